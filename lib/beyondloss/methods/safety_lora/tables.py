"""From tables of points to what the figures of chapter 8 draw."""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from beyondloss.experiment import Effect, MissingPoints, paired_interval
from beyondloss.experiment.tables import mean_band, select
from beyondloss.methods.safety_lora import theory
from beyondloss.methods.safety_lora.arms import ALPHAS, NO_TUNING, RANKS
from beyondloss.methods.safety_lora.base import BaseConfig
from beyondloss.methods.safety_lora.measures import (
    TUNING_SEEDS,
    Choice,
    at_choice,
    base_of,
    chosen,
    counting,
    difference,
    lora_at_one_rate,
    lora_at_own_rates,
    low_rank_keeps,
    merging_gain,
    one_rate,
    own_choice,
    penalty_gain,
    room,
    smaller_overlap,
    tax_at_one_rate,
    tax_at_own_rate,
    tuning,
    with_merges,
)

METRICS = ("reasoning", "benign_right", "kept", "refusal", "over_refusal")
WORDS = {  # how tables for a reader call the metrics
    "reasoning": "chains right",
    "benign_right": "harmless right",
    "over_refusal": "harmless refused",
    "far_refusal": "unrelated refused",
}
OVERLAPS = ("row_overlap", "column_overlap", "two_sided_overlap")


# Settings ---------------------------------------------------------------------------------------------------


def protocols(table: pd.DataFrame) -> dict[str, Choice]:
    """The settings that the claims compare, by name."""
    lora = one_rate(table)
    return {
        "before tuning": Choice(NO_TUNING, 0.0),
        "LoRA at its own rate": lora,
        "full at LoRA's rate": Choice("full", lora.lr),
        "full at its own rate": own_choice(table, "full"),
    }


def own_rates(table: pd.DataFrame, arms: Iterable[str]) -> dict[str, Choice]:
    """Each arm at the rate that the tuning seeds choose for it, without arms that refuse too little at every rate."""
    found = {}
    for arm in arms:
        try:
            found[arm] = own_choice(table, arm)
        except MissingPoints:
            continue
    if not found:
        raise MissingPoints("no arm refuses enough on the tuning seeds")
    return found


def merging_rates(table: pd.DataFrame, arm: str) -> dict[str, Choice]:
    """Each way of merging an arm's update, at the rate that the tuning seeds choose for it."""
    rows = with_merges(table)
    rows = rows[rows["seed"].isin(set(tuning(table)["seed"])) & (rows["arm"] == arm)]
    found = {"as it is": own_choice(table, arm)}
    for name, group in rows.groupby("merged", sort=False):
        try:
            found[name] = chosen(group, [arm])
        except MissingPoints:
            continue
    return found


def grids(table: pd.DataFrame) -> pd.DataFrame:
    """One row an arm: its learning rates, the one that the tuning seeds choose, and whether that lies inside.

    Arms whose best rate isn't inside come first.
    """
    rows = tuning(table)
    rows = rows[rows["arm"] != NO_TUNING]
    own = own_rates(table, rows["arm"].unique())
    found = []
    for arm, group in rows.groupby("arm", sort=False):
        tried = sorted(group["lr"].unique())
        lr = own[arm].lr if arm in own else None
        if lr is None:
            place = "refuses too little at every rate"
        elif lr in (tried[0], tried[-1]):
            place = "lower end" if lr == tried[0] else "upper end"
        else:
            place = "inside"
        row = {"arm": arm, "rates": len(tried), "from": f"{tried[0]:.1e}", "to": f"{tried[-1]:.1e}"}
        found.append(row | {"chosen": f"{lr:.1e}" if lr else "–", "it lies": place})
    return pd.DataFrame(sorted(found, key=lambda row: row["it lies"] == "inside"))


# Bases ------------------------------------------------------------------------------------------------------

REASONS = 0.9  # share of chains that a base must have right to count as one that reasons
EFFECTS = {  # what the claims measure in the small world
    "8.1a tax at one rate": tax_at_one_rate,
    "8.1b tax at its own rate": tax_at_own_rate,
    "8.2a LoRA at one rate": lora_at_one_rate,
    "8.2b LoRA at own rates, chains": partial(lora_at_own_rates, metric="reasoning"),
    "8.2c LoRA at own rates, harmless": partial(lora_at_own_rates, metric="benign_right"),
    "8.2d rank 1 against rank 64": low_rank_keeps,
    "8.3a smaller overlap": smaller_overlap,
    "8.4 room": room,
    "8.4a penalty": penalty_gain,
    "8.4b removal against scaling": merging_gain,
}


def bases(table: pd.DataFrame) -> pd.DataFrame:
    """One row a base, those that count first: what it has right before it is tuned."""
    rows = select(table, arm=NO_TUNING).sort_values("seed")
    found = rows[["seed", "reasoning", "benign_right", "refusal"]].astype({"reasoning": float})
    use = np.where(found["seed"].isin(TUNING_SEEDS), "chooses", "counts")
    return found.rename(columns=WORDS).assign(use=use)


def with_bases_that_reason(table: pd.DataFrame) -> pd.DataFrame:
    """The points without those seeds that count whose base has fewer than REASONS of its chains right."""
    before = base_of(table, "reasoning")
    weak = before.index[before < REASONS]
    return table[~table["seed"].isin(weak)]


def without_weak_bases(table: pd.DataFrame) -> pd.DataFrame:
    """Each effect of the claims over all bases that count, and over those that reason: looked at afterwards."""
    strong = with_bases_that_reason(table)
    rows = []
    for name, measure in EFFECTS.items():
        row = {"effect": name}
        for column, points in {"all bases": table, f"at least {REASONS:.0%} of chains": strong}.items():
            row[column] = f"{measure(points):.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def against_base(table: pd.DataFrame) -> pd.DataFrame:
    """The points with the shares that are right less those of the same seed's base. No choice changes by it."""
    before = select(table, arm=NO_TUNING).set_index("seed")
    columns = {}
    for name in ("reasoning", "benign_right"):
        columns[name] = table[name].astype(float) - table["seed"].map(before[name].astype(float))
    columns["kept"] = (columns["reasoning"] + columns["benign_right"]) / 2
    return table.assign(**columns)


def merges_against_base(table: pd.DataFrame) -> pd.DataFrame:
    """`against_base`, with the shares of merged models less those of the base, too."""
    found = against_base(table)
    before = select(table, arm=NO_TUNING).set_index("seed")
    for name in ("reasoning", "benign_right"):
        base = table["seed"].map(before[name].astype(float))
        lists = [
            [float(value) - start for value in values] if isinstance(values, list) else None
            for values, start in zip(table[f"merged_{name}"], base, strict=True)
        ]
        found[f"merged_{name}"] = pd.Series(lists, index=table.index, dtype=object)
    return found


# Metrics ----------------------------------------------------------------------------------------------------


def summary(
    table: pd.DataFrame, choices: Mapping[str, Choice], metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """One row a setting: arm, learning rate, and each metric as mean with 95% interval over the seeds that count."""
    rows = []
    for name, choice in choices.items():
        rate = f" at {choice.lr:.1e}" if choice.lr else ""
        row = {"setting": name, "arm and rate": f"{choice.arm}{rate}"}
        if choice.merged:
            row["merged"] = choice.merged
        for metric in metrics:
            row[WORDS.get(metric, metric.replace("_", " "))] = (
                f"{paired_interval(at_choice(table, choice, metric)):.2f}"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def lora_minus_full(
    table: pd.DataFrame, metrics: Iterable[str] = ("reasoning", "benign_right", "refusal")
) -> pd.DataFrame:
    """LoRA at its own rate less full fine-tuning, at that rate and at its own: differences paired by seed."""
    settings = protocols(table)
    lora = settings["LoRA at its own rate"]
    rows = []
    for name in ("full at LoRA's rate", "full at its own rate"):
        row = {"LoRA less": name}
        for metric in metrics:
            row[WORDS.get(metric, metric)] = f"{difference(table, lora, settings[name], metric):.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def by_seed(
    table: pd.DataFrame, choices: Mapping[str, Choice], metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """One row a setting and seed that counts, with its metrics."""
    parts = []
    for name, choice in choices.items():
        values = {metric: at_choice(table, choice, metric) for metric in metrics}
        parts.append(pd.DataFrame(values).assign(setting=name).reset_index())
    return pd.concat(parts, ignore_index=True)


def fronts(table: pd.DataFrame, arms: Iterable[str], metric: str = "reasoning") -> pd.DataFrame:
    """One row an arm and learning rate: refusal and a metric, each as mean with 95% band over the seeds that count."""
    rows = []
    arms = list(arms)
    for (arm, lr), group in counting(table).groupby(["arm", "lr"]):
        if arm in arms:
            row = {"arm": arm, "lr": lr}
            for name in ("refusal", "over_refusal", metric):
                mean, low, high = mean_band(group[name].to_numpy(float))
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    if not rows:
        raise MissingPoints(f"no point of {', '.join(arms)} on the seeds that count")
    found = pd.DataFrame(rows)
    order = found["arm"].map(arms.index)
    return found.assign(order=order).sort_values(["order", "lr"]).drop(columns="order")


def curves(table: pd.DataFrame, arms: Iterable[str], metric: str) -> pd.DataFrame:
    """One row an arm, learning rate and seed that counts, in the order of `arms`, which lose the paper's rule."""
    rows, arms = counting(table), list(arms)
    rows = rows[rows["arm"].isin(arms)]
    if rows.empty:
        raise MissingPoints(f"no point of {', '.join(arms)} on the seeds that count")
    order = rows["arm"].map(arms.index)
    named = rows["arm"].str.removesuffix(", fixed")
    found = rows.assign(arm=named, order=order).astype({metric: float}).sort_values(["order", "lr"])
    return found[["arm", "lr", "seed", metric]]


def stable_ranks(table: pd.DataFrame, arms: Iterable[str]) -> pd.DataFrame:
    """One row an arm: stable rank of its updates at the smallest rate, at its own and at the largest."""
    found = []
    for arm, choice in own_rates(table, arms).items():
        tried = sorted(counting(select(table, arm=arm))["lr"].unique())
        if not tried:
            raise MissingPoints(f"no point of {arm} on the seeds that count")
        row = {"arm": arm}
        for name, lr in (("smallest rate", tried[0]), ("own rate", choice.lr), ("largest rate", tried[-1])):
            row[name] = f"{paired_interval(at_choice(table, Choice(arm, lr), 'stable_rank')):.2f}"
        found.append(row)
    return pd.DataFrame(found)


def ranks(table: pd.DataFrame, metric: str = "reasoning") -> pd.DataFrame:
    """By rule of alpha and rank, at the rate that the tuning seeds choose and at LoRA's one rate, by seed.

    The grids of some settings do not have the one rate.
    """
    rows, lr = [], one_rate(table).lr
    for rule in ALPHAS:
        for rank in RANKS:
            arm = ranked(rank, rule)
            for rate, choice in {"own rate": own_choice(table, arm), "one rate": Choice(arm, lr)}.items():
                if rate == "one rate" and not has_rate(table, choice):
                    continue
                values = at_choice(table, choice, metric)
                rows += [
                    {"rule": rule, "rank": rank, "rate": rate, "seed": seed, metric: value}
                    for seed, value in values.items()
                ]
    return pd.DataFrame(rows)


def has_rate(table: pd.DataFrame, choice: Choice) -> bool:
    """Whether an arm was tried at a rate."""
    tried = counting(table).loc[lambda rows: rows["arm"] == choice.arm, "lr"].astype(float)
    return bool(np.isclose(tried, choice.lr, rtol=0.05).any())


def ranked(rank: int, rule: str) -> str:
    """The arm of LoRA of a rank under a rule of alpha; at rank 16 the rules agree."""
    return "LoRA 16" if rank == 16 else f"LoRA {rank}, {rule}"


# Theory against points --------------------------------------------------------------------------------------


def predicted_overlap(full: float, rank: int) -> float:
    """Row overlap that eq. sl-chance gives LoRA's first step on the small world's MLP, a mean over its matrices.

    full: that of full fine-tuning, taken to be the same for the up-, gate- and down-projection.
    """
    config = BaseConfig()
    sizes = (config.width, config.width, config.mlp)  # inputs of up, gate and down
    return float(np.mean([theory.mean_first_step_overlap(full, rank, n) for n in sizes]))


def predicted_rises(table: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and rate: rise of the chains' loss, predicted at W0 and measured, means over the seeds that count.

    Rises that are not positive in the mean have no place on a logarithmic axis, and are left out.
    """
    rows = counting(table)
    before = at_choice(table, Choice(NO_TUNING, 0.0), "reasoning_loss")
    rows = rows[rows["predicted_rise"].notna()]
    rise = rows["reasoning_loss"].astype(float) - rows["seed"].map(before)
    rows = rows.assign(measured=rise, predicted=rows["predicted_rise"].astype(float))
    mean = rows.groupby(["arm", "lr"], sort=False)[["predicted", "measured"]].mean().reset_index()
    mean = mean[(mean["predicted"] > 0) & (mean["measured"] > 0)]
    return mean.assign(kind=np.where(mean["arm"].str.startswith("full"), "full", "LoRA"))


def curvature_ranks(table: pd.DataFrame) -> Effect:
    """Rank correlation of the rise that K-FAC predicts with that of the chains' loss, over the tunings of a seed."""
    rows = counting(table)
    before = at_choice(table, Choice(NO_TUNING, 0.0), "reasoning_loss")
    found = {}
    for seed, group in rows[rows["predicted_rise"].notna()].groupby("seed"):
        rise = group["reasoning_loss"].astype(float) - before[seed]
        found[seed] = float(spearmanr(group["predicted_rise"].astype(float), rise)[0])
    return paired_interval(pd.Series(found), "rank correlation")


def prices(linear: pd.DataFrame) -> pd.DataFrame:
    """What a rank beyond the task costs in the linear model, by draw, in the three cases of theorem sl-readings."""
    kinds = {
        "(i) fixed size": {"energy": "per direction", "fixed_size": 0.2},
        "(ii) noise, energy 1 in each": {"energy": "per direction", "fixed_size": 0.0},
        "(iii) noise, energy 1 in all": {"energy": "in all", "fixed_size": 0.0},
    }
    parts = []
    for name, conditions in kinds.items():
        conditions = {key: value for key, value in conditions.items() if key in linear}
        parts.append(select(linear, **conditions).assign(setting=name))
    return pd.concat(parts, ignore_index=True).rename(columns={"a_rank": "price"})
