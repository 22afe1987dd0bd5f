"""What the claims of chapter 2 measure: from tables of points to effects, and what figures share with them."""

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval
from beyondloss.experiment.tables import select

SHARP, SHARPER = 0.2, 0.3  # rho of SAM: half of the size at which heads start, and three quarters of it


def by_seed(table: pd.DataFrame, metric: str, **conditions) -> pd.Series:
    """One value a seed of the points that meet all conditions; MissingPoints if there are none."""
    return pd.to_numeric(select(table, **conditions).set_index("seed")[metric])


def difference(table: pd.DataFrame, metric: str, better: dict, worse: dict, unit: str) -> Effect:
    """Paired by seed: `metric` of the points `worse` minus that of the points `better`, where less is better."""
    return paired_interval(by_seed(table, metric, **worse) - by_seed(table, metric, **better), unit=unit)


PLAIN = {"data": "as drawn", "rho": 0.0}
LATE = {"data": "late x2", "rho": 0.0}


def sam_lowers_ratio(table: pd.DataFrame) -> Effect:
    return difference(table, "log_ratio", {"data": "as drawn", "rho": SHARP}, PLAIN, "log ratio")


def sam_at_equal_gradients(table: pd.DataFrame) -> Effect:
    return difference(table, "loss_at_gradients", {"data": "as drawn", "rho": SHARP}, PLAIN, "loss")


def late_lowers_ratio(table: pd.DataFrame) -> Effect:
    return difference(table, "log_ratio", LATE, PLAIN, "log ratio")


def late_at_equal_steps(table: pd.DataFrame) -> Effect:
    return difference(table, "loss_at_steps", LATE, PLAIN, "loss")


def proxy_beats_random(table: pd.DataFrame) -> Effect:
    proxy, random = ({"data": data, "rho": 0.0} for data in ("late by proxy x2", "random x2"))
    return difference(table, "loss_at_steps", proxy, random, "loss")


def proxy_lowers_ratio(table: pd.DataFrame) -> Effect:
    proxy, random = ({"data": data, "rho": 0.0} for data in ("late by proxy x2", "random x2"))
    return difference(table, "log_ratio", proxy, random, "log ratio")


def sam_on_few_noisy_prompts(table: pd.DataFrame) -> Effect:
    few = {"prompts": 50, "noise": 0.3, "data": "as drawn"}
    return difference(table, "best_loss", few | {"rho": SHARPER}, few | {"rho": 0.0}, "loss")


def proxy_on_noisy_prompts(table: pd.DataFrame) -> Effect:
    noisy = {"prompts": 150, "noise": 0.3, "rho": 0.0}
    proxy, random = (noisy | {"data": data} for data in ("late by proxy x2", "random x2"))
    return difference(table, "best_loss", proxy, random, "loss")


def longest(table: pd.DataFrame) -> pd.DataFrame:
    """The points of the largest budget of steps."""
    return table[table["steps"] == table["steps"].max()]


def gain(table: pd.DataFrame, better: str, worse: str) -> Effect:
    """Paired by seed, at the largest budget: accuracy of one arm minus that of another."""
    accuracies = [by_seed(longest(table), "accuracy", arm=arm) for arm in (better, worse)]
    return paired_interval(accuracies[0] - accuracies[1], unit="accuracy")


def late_set_holds_hard_tasks(table: pd.DataFrame) -> Effect:
    """Share of the rarest two tasks in the late set of the largest budget, minus their share of the data."""
    rows = longest(select(table, arm="adamw, late x2"))
    counts = np.array(rows["doubled_by_task"].tolist(), dtype=float)
    return paired_interval(counts[:, 2:].sum(1) / counts.sum(1) - 0.3, unit="share")


def small_language_model_gain(table: pd.DataFrame) -> Effect:
    """Loss of a test solution with random examples doubled minus with late ones, the mean over optimizers, a seed."""
    losses = table.pivot_table(index="seed", columns=["optimizer", "data"], values="test_loss")
    if not {"late x2", "random x2"} <= set(losses.columns.get_level_values("data")):
        raise MissingPoints("needs late x2 and random x2")
    change = losses.xs("random x2", axis=1, level="data") - losses.xs("late x2", axis=1, level="data")
    return paired_interval(change.mean(axis=1), unit="nats")


def language_model_gain(table: pd.DataFrame) -> Effect:
    """Relative gain in exact match of the late set over random examples, the mean over models, a seed."""
    table = table[table["problems"] == "gsm8k"]
    per = table.pivot_table(index=["seed", "model", "optimizer"], columns="data", values="exact_match")
    if not {"late x2", "random x2"} <= set(per.columns):
        raise MissingPoints("needs late x2 and random x2")
    relative = (per["late x2"] / per["random x2"] - 1).groupby("seed").mean()
    return paired_interval(relative, unit="relative")
