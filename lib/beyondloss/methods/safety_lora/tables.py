"""From tables of points to what the claims and figures of chapter 8 compare.

Learning rates, ranks and strengths are chosen on the tuning seeds, by one rule: of the settings whose mean refusal of
unseen forbidden requests is at least SAFE, the one that keeps most, kept being the mean of the shares of chains and of
benign requests that are still answered rightly. What counts is then read from the other seeds.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from beyondloss.experiment import MissingPoints, paired_interval
from beyondloss.experiment.tables import explode, mean_band, select
from beyondloss.methods.safety_lora.arms import ALPHAS, RANKS

TUNING_SEEDS = (100, 101, 102)
SAFE = 0.95  # refusal of unseen forbidden requests, the mean over tuning seeds
PAPER_ARMS = tuple("LoRA 16" if rank == 16 else f"LoRA {rank}, fixed" for rank in RANKS)
PENALTIES = tuple(
    f"LoRA 16, {side} penalty {strength:g}" for side in ("column", "row") for strength in (1, 10)
)
METRICS = ("reasoning", "benign_right", "kept", "refusal", "over_refusal")
OVERLAPS = ("row_overlap", "column_overlap", "two_sided_overlap")


class Choice(NamedTuple):
    """One setting of one arm; `merged` is a way of merging, or empty."""

    arm: str
    lr: float
    merged: str = ""


def with_kept(table: pd.DataFrame) -> pd.DataFrame:
    """The points with what they keep of the two tasks that safety tuning should not touch."""
    return table.assign(kept=(table["reasoning"].astype(float) + table["benign_right"].astype(float)) / 2)


def counting(table: pd.DataFrame) -> pd.DataFrame:
    """Points of the seeds that count."""
    return with_kept(table[~table["seed"].isin(TUNING_SEEDS)])


def tuning(table: pd.DataFrame) -> pd.DataFrame:
    """Points of the seeds on which hyper-parameters are chosen."""
    return with_kept(table[table["seed"].isin(TUNING_SEEDS)])


def with_merges(table: pd.DataFrame) -> pd.DataFrame:
    """One row a point and way of merging its update, with the metrics of the merged model."""
    names = ("reasoning", "benign_right", "refusal", "over_refusal", "reasoning_loss")
    if "merged" not in table:
        raise MissingPoints("no point whose update was merged in other ways")
    rows = table[table["merged"].notna()]
    lists = {"merged": str} | {f"merged_{name}": float for name in names}
    long = explode(rows, ["seed", "arm", "lr"], lists)
    return with_kept(long.rename(columns={f"merged_{name}": name for name in names}))


def chosen(rows: pd.DataFrame, arms: Iterable[str]) -> Choice:
    """The setting that keeps most among those that refuse, over rows of tuning seeds. Raises MissingPoints."""
    rows = rows[rows["arm"].isin(list(arms))]
    keys = ["arm", "lr", *(["merged"] if "merged" in rows else [])]
    mean = rows.groupby(keys)[["refusal", "kept"]].mean() if len(rows) else pd.DataFrame()
    safe = mean[mean["refusal"] >= SAFE] if len(mean) else mean
    if safe.empty:
        raise MissingPoints(f"no setting of {', '.join(arms)} refuses {SAFE:.0%} on the tuning seeds")
    return Choice(*safe["kept"].idxmax())


def own_choice(table: pd.DataFrame, *arms: str) -> Choice:
    """The setting of some arms that the tuning seeds choose."""
    return chosen(tuning(table).drop(columns="merged", errors="ignore"), arms)


def at_choice(table: pd.DataFrame, choice: Choice, metric: str) -> pd.Series:
    """A metric of the seeds that count, by seed, at a setting."""
    rows = with_merges(table) if choice.merged else counting(table)
    rows = rows[~rows["seed"].isin(TUNING_SEEDS)]
    conditions = {"merged": choice.merged} if choice.merged else {}
    found = select(rows, arm=choice.arm, **conditions)
    near = found[np.isclose(found["lr"].astype(float), choice.lr, rtol=0.05)]
    if near.empty:
        raise MissingPoints(f"no point of {choice.arm} at the learning rate {choice.lr:g}")
    return near.set_index("seed")[metric].astype(float).sort_index()


def one_rate(table: pd.DataFrame) -> Choice:
    """The paper's protocol: LoRA with alpha 16, and the one learning rate, its own, that every arm then gets."""
    return own_choice(table, *PAPER_ARMS)


def base_of(table: pd.DataFrame, metric: str) -> pd.Series:
    """A metric of the models before tuning, by seed."""
    return at_choice(table, Choice("base", 0.0), metric)


def protocols(table: pd.DataFrame) -> dict[str, Choice]:
    """The settings that the claims compare, by name."""
    lora = one_rate(table)
    return {
        "LoRA at its own rate": lora,
        "full at LoRA's rate": Choice("full", lora.lr),
        "full at its own rate": own_choice(table, "full"),
    }


def summary(
    table: pd.DataFrame, choices: dict[str, Choice], metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """One row a setting: arm, learning rate, and each metric as mean with 95% interval over the seeds that count."""
    rows = []
    for name, choice in choices.items():
        row = {"setting": name, "arm": choice.arm, "lr": f"{choice.lr:.1e}", "merged": choice.merged}
        for metric in metrics:
            row[metric] = f"{paired_interval(at_choice(table, choice, metric)):.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def fronts(table: pd.DataFrame, arms: Iterable[str], metric: str = "reasoning") -> pd.DataFrame:
    """One row an arm and learning rate: refusal and a metric, each as mean with 95% band over the seeds that count."""
    rows = []
    for (arm, lr), group in counting(table).groupby(["arm", "lr"]):
        if arm in set(arms):
            row = {"arm": arm, "lr": lr}
            for name in ("refusal", "over_refusal", metric):
                mean, low, high = mean_band(group[name].to_numpy(float))
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def ranks(table: pd.DataFrame, metric: str = "reasoning") -> pd.DataFrame:
    """By rule of alpha and rank, at the rate that the tuning seeds choose and at LoRA's one rate, by seed."""
    rows, lr = [], one_rate(table).lr
    for rule in ALPHAS:
        for rank in RANKS:
            arm = "LoRA 16" if rank == 16 else f"LoRA {rank}, {rule}"
            for rate, choice in {"own rate": own_choice(table, arm), "one rate": Choice(arm, lr)}.items():
                values = at_choice(table, choice, metric)
                rows += [
                    {"rule": rule, "rank": rank, "rate": rate, "seed": seed, metric: value}
                    for seed, value in values.items()
                ]
    return pd.DataFrame(rows)
