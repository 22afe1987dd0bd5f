"""What the claims and the figures of chapter 7 measure on tables of points.

An arm has a setting of its own (a temperature, a rho, a way of choosing) and all have a learning rate and a number of
steps. They are chosen together, on the tuning seeds and their texts, by accuracy; what counts is read elsewhere.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval, weakest
from beyondloss.experiment.tables import explode, select
from beyondloss.methods.synthetic_text.arms import ARMS, ZERO_SHOT
from beyondloss.methods.synthetic_text.settings import TUNING_SEEDS

SIZE = 8  # texts of a label at which arms are compared
LISTS = {"setting": str, "accuracy": float, "loss": float, "real_loss": float, "attack": float}
SHARE, NATS = "share", "nats a token"


def family(name: str) -> tuple[str, ...]:
    """The arms that differ in their own setting alone: "GRADMM" stands for "GRADMM, rho 0.1" and so on."""
    return tuple(
        arm for arm in ARMS if arm == name or arm.startswith((f"{name}, rho", f"{name}, temperature"))
    )


GRADMM = family("GRADMM")
GENERATED, FROM_EXAMPLES, CHOSEN = (
    family(name) for name in ("generated", "generated from examples", "generated, chosen")
)
RANDOM, SELECTED, ALL = (
    ("real, random",),
    ("real, herding", "real, k-center", "real, gradient"),
    ("real, all",),
)
STARTS = {"GRADMM": "generated, temperature 1"}  # what it begins with


class Choice(NamedTuple):
    """An arm and what it learns at."""

    arm: str
    setting: str


def is_tuning(table: pd.DataFrame) -> pd.Series:
    return table["seed"].isin(TUNING_SEEDS)


def counting(table: pd.DataFrame) -> pd.DataFrame:
    """Points of the seeds that count."""
    return table[~is_tuning(table)]


def with_settings(table: pd.DataFrame, size: int = SIZE) -> pd.DataFrame:
    """One row a point and what it learned at. Raises MissingPoints for no point of the size."""
    rows = select(table, per_label=size)
    if "setting" not in rows:
        raise MissingPoints("no point that learned")
    rows = rows[rows["setting"].notna()]
    return explode(rows, ["arm", "seed"], LISTS)


def own_choice(table: pd.DataFrame, arms: Sequence[str], size: int = SIZE) -> Choice:
    """What the tuning seeds choose of some arms: the most accurate, among equals the first. Raises MissingPoints."""
    rows = with_settings(table, size)
    rows = rows[is_tuning(rows) & rows["arm"].isin(list(arms))]
    if rows.empty:
        raise MissingPoints(f"no point of {', '.join(arms)} on the tuning seeds")
    return Choice(*rows.groupby(["arm", "setting"], sort=False)["accuracy"].mean().idxmax())


def at_choice(table: pd.DataFrame, choice: Choice, metric: str = "accuracy", size: int = SIZE) -> pd.Series:
    """A metric of the seeds that count, by seed."""
    rows = counting(with_settings(table, size))
    found = select(rows, arm=choice.arm, setting=choice.setting)
    return found.set_index("seed")[metric].sort_index()


def own(table: pd.DataFrame, arms: Sequence[str], metric: str = "accuracy", size: int = SIZE) -> pd.Series:
    """A metric of some arms at what the tuning seeds choose for them."""
    return at_choice(table, own_choice(table, arms, size), metric, size)


def of_texts(table: pd.DataFrame, arm: str, metric: str, size: int = SIZE) -> pd.Series:
    """A property of the texts of an arm, whatever is learned from them: the mean where it is one a label."""
    rows = select(counting(table), arm=arm, per_label=size)
    if metric not in rows or rows[metric].isna().any():
        raise MissingPoints(f"no {metric} of {arm}")
    return rows.set_index("seed")[metric].map(np.mean).astype(float).sort_index()


# 7.1 --------------------------------------------------------------------------------------------------------


def nearer(table: pd.DataFrame) -> Effect:
    """Share of the distance from the gradient of texts that were not matched, which GRADMM takes off its start's."""
    chosen = own_choice(table, GRADMM).arm
    before, after = (of_texts(table, arm, "distance_of_tested") for arm in (STARTS["GRADMM"], chosen))
    return paired_interval(1 - after / before, "share of the distance")


def readable(table: pd.DataFrame) -> Effect:
    """How far the perplexity stays below twice that of real texts, as a logarithm."""
    chosen = own_choice(table, GRADMM).arm
    real, own = (of_texts(table, arm, "surprise") for arm in (RANDOM[0], chosen))
    return paired_interval(real + math.log(2) - own, NATS)


# 7.2 --------------------------------------------------------------------------------------------------------

CLOSE = 0.05  # share: what counts as close


def close(table: pd.DataFrame) -> Effect:
    """How far accuracy stays above that of learning from all real examples, less CLOSE."""
    return paired_interval(own(table, GRADMM) - own(table, ALL) + CLOSE, SHARE)


# 7.3 --------------------------------------------------------------------------------------------------------


def real_teach(table: pd.DataFrame) -> Effect:
    """What all real examples teach beyond the model as it stands, calibrated where that is better."""
    return paired_interval(own(table, ALL) - own(table, [ZERO_SHOT]), SHARE)


def beyond(table: pd.DataFrame, rivals: Sequence[Sequence[str]]) -> Effect:
    """How much more accurate GRADMM is than each of the rivals, all at their own choices: the least."""
    ours = own(table, GRADMM)
    return weakest([paired_interval(ours - own(table, rival), SHARE) for rival in rivals])


# 7.4 --------------------------------------------------------------------------------------------------------


def most_telling(table: pd.DataFrame) -> Choice:
    """At what a model that learned from all real examples shows most of them, on the tuning seeds."""
    rows = with_settings(table)
    rows = rows[is_tuning(rows) & rows["arm"].isin(ALL)]
    if rows.empty:
        raise MissingPoints("no point of all real examples on the tuning seeds")
    return Choice(ALL[0], rows.groupby("setting", sort=False)["attack"].mean().idxmax())


def members_show(table: pd.DataFrame) -> Effect:
    """Beyond chance, how well real examples are told from others by a model that learned from them."""
    return paired_interval(at_choice(table, most_telling(table), "attack") - 0.5, "area")


def members_hidden(table: pd.DataFrame) -> Effect:
    """How far the same attack on GRADMM's model stays below half of what it finds in the other one, beyond chance."""
    setting = most_telling(table).setting
    shown = at_choice(table, most_telling(table), "attack") - 0.5
    ours = at_choice(table, Choice(own_choice(table, GRADMM).arm, setting), "attack") - 0.5
    return paired_interval(shown / 2 - ours, "area")
