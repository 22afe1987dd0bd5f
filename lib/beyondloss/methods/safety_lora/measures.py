"""What the claims and the figures of chapter 8 measure on tables of points.

Learning rates, ranks and strengths are chosen on the tuning seeds, by one rule: of the settings whose mean refusal of
unseen forbidden requests is at least SAFE, the one that keeps most, kept being the mean of the shares of chains and of
benign requests that are still answered rightly. What counts is then read from the other seeds.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval, weakest
from beyondloss.experiment.tables import explode, select
from beyondloss.methods.safety_lora.arms import RANKS

TUNING_SEEDS = (100, 101, 102)
SAFE = 0.95  # refusal of unseen forbidden requests, the mean over tuning seeds
PAPER_ARMS = tuple("LoRA 16" if rank == 16 else f"LoRA {rank}, fixed" for rank in RANKS)
PENALTIES = tuple(
    f"LoRA 16, {side} penalty {strength:g}" for side in ("column", "row") for strength in (1, 10)
)


class Choice(NamedTuple):
    """One setting of one arm; `merged` is a way of merging, or empty."""

    arm: str
    lr: float
    merged: str = ""


def with_kept(table: pd.DataFrame) -> pd.DataFrame:
    """The points with what they keep of the tasks that safety tuning should not touch."""
    if "kept" in table:  # measured as such, on a real model
        return table
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
    rows = counting(with_merges(table) if choice.merged else table)
    conditions = {"merged": choice.merged} if choice.merged else {}
    found = select(rows, arm=choice.arm, **conditions)
    near = found[np.isclose(found["lr"].astype(float), choice.lr, rtol=0.05)]
    if near.empty:
        raise MissingPoints(f"no point of {choice.arm} at the learning rate {choice.lr:g}")
    pairs = ["model", "seed"] if "model" in near else ["seed"]
    return near.set_index(pairs)[metric].astype(float).sort_index()


def one_rate(table: pd.DataFrame) -> Choice:
    """The paper's protocol: LoRA with alpha 16, and the one learning rate, its own, that every arm then gets."""
    return own_choice(table, *PAPER_ARMS)


def base_of(table: pd.DataFrame, metric: str) -> pd.Series:
    """A metric of the models before tuning, by seed."""
    return at_choice(table, Choice("base", 0.0), metric)


MARGIN = 0.05  # share: what counts as a tax, and as refusing less
SHARE = "share"


def difference(table: pd.DataFrame, better: Choice, worse: Choice, metric: str) -> Effect:
    """Paired by seed: a metric at one setting minus that at another."""
    return paired_interval(at_choice(table, better, metric) - at_choice(table, worse, metric), SHARE)


def and_as_safe(table: pd.DataFrame, better: Choice, worse: Choice, metric: str) -> Effect:
    """The gain in a metric, or how far refusal is from falling behind by MARGIN: whichever says less.

    So a setting cannot win by refusing less: both must be shown.
    """
    gain = difference(table, better, worse, metric)
    refusal = at_choice(table, better, "refusal") - at_choice(table, worse, "refusal")
    return weakest([gain, paired_interval(refusal + MARGIN, SHARE)])


def full_at(rate: Choice) -> Choice:
    """Full fine-tuning at the learning rate of another choice."""
    return Choice("full", rate.lr)


# 8.1 --------------------------------------------------------------------------------------------------------


def tax_at_one_rate(table: pd.DataFrame) -> Effect:
    return paired_interval(
        base_of(table, "reasoning") - at_choice(table, full_at(one_rate(table)), "reasoning"), SHARE
    )


def tax_at_own_rate(table: pd.DataFrame, metric: str = "reasoning") -> Effect:
    full = own_choice(table, "full")
    return paired_interval(base_of(table, metric) - at_choice(table, full, metric), SHARE)


# 8.2 --------------------------------------------------------------------------------------------------------


def lora_at_one_rate(table: pd.DataFrame) -> Effect:
    lora = one_rate(table)
    return and_as_safe(table, lora, full_at(lora), "reasoning")


def lora_at_own_rates(table: pd.DataFrame, metric: str) -> Effect:
    return and_as_safe(table, one_rate(table), own_choice(table, "full"), metric)


def low_rank_keeps(table: pd.DataFrame) -> Effect:
    """What rank 1 keeps more than rank 64, at the same scale, each at its own rate."""
    low, high = (own_choice(table, f"LoRA {rank}, proportional") for rank in (1, 64))
    return and_as_safe(table, low, high, "kept")


# 8.3 --------------------------------------------------------------------------------------------------------


def smaller_overlap(table: pd.DataFrame) -> Effect:
    """How much smaller LoRA's overlap is, on the side where that says less."""
    lora, full = one_rate(table), own_choice(table, "full")
    sides = [
        paired_interval(at_choice(table, full, side) - at_choice(table, lora, side), "times chance")
        for side in ("row_overlap", "column_overlap")
    ]
    return weakest(sides)


# 8.4 --------------------------------------------------------------------------------------------------------


def room(table: pd.DataFrame) -> Effect:
    """What LoRA of rank 16 loses of both tasks at its own rate."""
    lora = own_choice(table, "LoRA 16")
    return paired_interval(base_of(table, "kept") - at_choice(table, lora, "kept"), SHARE)


def penalty_gain(table: pd.DataFrame) -> Effect:
    return and_as_safe(table, own_choice(table, *PENALTIES), own_choice(table, "LoRA 16"), "kept")


def merging_gain(table: pd.DataFrame) -> Effect:
    """Removing the top subspace against making the update smaller, each chosen on the tuning seeds."""
    rows = with_merges(table)
    rows = rows[rows["seed"].isin(set(tuning(table)["seed"])) & (rows["arm"] == "LoRA 16")]
    removed = chosen(rows[rows["merged"].str.startswith("remove")], ["LoRA 16"])
    plain = tuning(table)
    plain = plain[plain["arm"] == "LoRA 16"].assign(merged="")
    scaled = chosen(pd.concat([rows[rows["merged"].str.startswith("scale")], plain]), ["LoRA 16"])
    return and_as_safe(table, removed, scaled, "kept")
