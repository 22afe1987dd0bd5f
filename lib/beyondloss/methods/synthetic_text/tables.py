"""From tables of points to what the figures of chapter 7 draw."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from beyondloss.experiment import MissingPoints, paired_interval
from beyondloss.experiment.tables import mean_band, select
from beyondloss.methods.synthetic_text.arms import ZERO_SHOT
from beyondloss.methods.synthetic_text.measures import (
    ALL,
    RANDOM,
    SIZE,
    Choice,
    at_choice,
    counting,
    family,
    of_texts,
    own_choice,
    with_settings,
)

ROWS = {  # name in figures -> arms among which the tuning seeds choose
    "as it stands": (ZERO_SHOT,),
    "random tokens": ("random tokens",),
    "generated": family("generated"),
    "generated from examples": family("generated from examples"),
    "generated, chosen by gradient": family("generated, chosen"),
    "GRADMM": family("GRADMM"),
    "GRADMM by squares": family("GRADMM by squares"),
    "GRADMM without perplexity": family("GRADMM without perplexity"),
    "GRADMM from noise": family("GRADMM from noise"),
    "GRADMM as published": ("GRADMM as published",),
    "embeddings without words": ("embeddings",),
    "real, at random": RANDOM,
    "real, herding": ("real, herding",),
    "real, k-center": ("real, k-center",),
    "real, by gradient": ("real, gradient",),
    "all real": ALL,
}
TEXTS = ("distance", "distance_of_tested", "surprise", "diversity", "copied", "nearest_real", "made_seconds")


def choices(table: pd.DataFrame, size: int = SIZE) -> dict[str, Choice]:
    """What the tuning seeds choose of every row of ROWS that was measured."""
    found = {}
    for name, arms in ROWS.items():
        try:
            found[name] = own_choice(table, arms, size)
        except MissingPoints:
            continue
    if not found:
        raise MissingPoints("no point on the tuning seeds")
    return found


def accuracies(table: pd.DataFrame, size: int = SIZE) -> pd.DataFrame:
    """One row a set and seed that counts: its accuracy at what the tuning seeds choose."""
    rows = []
    for name, choice in choices(table, size).items():
        values = at_choice(table, choice, "accuracy", size)
        rows += [
            {"set": name, "arm": choice.arm, "setting": choice.setting, "seed": seed, "accuracy": value}
            for seed, value in values.items()
        ]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, size: int = SIZE, metrics: Iterable[str] = TEXTS) -> pd.DataFrame:
    """One row a set: arm, setting, accuracy and what its texts are like, as means with 95% intervals over seeds."""
    rows = []
    for name, choice in choices(table, size).items():
        values = at_choice(table, choice, "accuracy", size)
        row = {"set": name, "arm": choice.arm, "learned at": choice.setting}
        row["accuracy"] = f"{paired_interval(values):.3f}"
        for metric in metrics:
            try:
                row[metric] = f"{paired_interval(of_texts(table, choice.arm, metric, size)):.3f}"
            except MissingPoints:
                row[metric] = ""
        rows.append(row)
    return pd.DataFrame(rows)


def attacks(table: pd.DataFrame, arms: Mapping[str, Sequence[str]], size: int = SIZE) -> pd.DataFrame:
    """One row a set and what it learned at: accuracy and area under the attack's curve, each with a 95% band."""
    rows = []
    long = counting(with_settings(table, size))
    for name, among in arms.items():
        arm = own_choice(table, among, size).arm
        for setting, group in select(long, arm=arm).groupby("setting", sort=False):
            row = {"set": name, "setting": setting}
            for metric in ("accuracy", "attack"):
                mean, low, high = mean_band(group[metric].to_numpy(float))
                row |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def rounds(table: pd.DataFrame, arm: str, size: int = SIZE) -> pd.DataFrame:
    """One row a seed, group of texts and round of GRADMM: distances of embeddings and of words, and how far apart."""
    names = ("distance_of_embeddings", "distance_of_words", "apart")
    found = []
    for point in select(counting(table), arm=arm, per_label=size).itertuples():
        if not isinstance(point.apart, list):
            raise MissingPoints(f"no rounds of {arm}")
        for group, _ in enumerate(point.apart):
            for number, values in enumerate(zip(*(getattr(point, n)[group] for n in names), strict=True), 1):
                found.append(
                    {"seed": point.seed, "group": group, "round": number}
                    | dict(zip(names, values, strict=True))
                )
    return pd.DataFrame(found)
