"""What the claims of chapter 3 measure: from tables of points to effects, and what figures share with them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval
from beyondloss.experiment.tables import best, select

ROUNDING = 1e-9  # largest error of an identity that float64 explains


def censored(table: pd.DataFrame, metric: str) -> pd.Series:
    """Steps at which something was reached; the whole budget where it never was."""
    return pd.to_numeric(table[metric]).fillna(table["steps"])


def decomposition(table: pd.DataFrame) -> Effect:
    """How many decades the pull on the features grows from no noise to half noise, where the identity is exact."""
    if max(table["identity_error"].max(), table["gradient_error"].max()) > ROUNDING:
        return Effect(-1.0, -np.inf, np.inf, table["seed"].nunique(), "decades")
    between = table[(table["width"] > table["signal_inputs"]) & (table["width"] < table["inputs"])]
    pull = select(between, width=between["width"].median()).pivot(
        index="seed", columns="noise_share", values="pull"
    )
    if not {0.0, 0.5} <= set(pull.columns):
        raise MissingPoints("needs noise shares 0 and 0.5")
    return paired_interval(np.log10(pull[0.5] / pull[0.0]), unit="decades")


def at_best_lr(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The rows of an arm at the learning rate whose mean of the steps to 90%, as `steps_needed`, is smallest for it."""
    rows = select(table, arm=arm)
    rows = rows.assign(steps_needed=censored(rows, "steps_to_90"))
    return select(rows, lr=best(rows, "lr", "steps_needed", "least"))


def steps_of_best_lr(table: pd.DataFrame, arm: str) -> pd.Series:
    """Steps to 90% a seed, at the arm's own best learning rate."""
    return at_best_lr(table, arm).set_index("seed")["steps_needed"]


def window_speed(table: pd.DataFrame) -> Effect:
    ratio = steps_of_best_lr(table, "uniform") / steps_of_best_lr(table, "window")
    return paired_interval(np.log2(ratio).dropna(), unit="doublings")


def weighted_window_speed(table: pd.DataFrame) -> Effect:
    ratio = steps_of_best_lr(table, "uniform, 1/t") / steps_of_best_lr(table, "window, 1/t")
    return paired_interval(np.log2(ratio).dropna(), unit="doublings")


def mass_orders_speed(table: pd.DataFrame) -> Effect:
    """Rank correlation, a seed, of the signal mass with the speed of the laws at the smallest learning rate."""
    rows = select(table, lr=table["lr"].min())
    rows = rows.assign(speed=1 / censored(rows, "steps_to_90"))
    correlations = [
        rank_correlation(of_seed["signal_mass"], of_seed["speed"]) for _, of_seed in rows.groupby("seed")
    ]
    return paired_interval(correlations, unit="rank correlation")


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's; not a number where either is constant."""
    if min(first.nunique(), second.nunique()) < 2:
        return float("nan")
    return float(first.corr(second, method="spearman"))


def by_objective(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Metric without weight decay: rows (samples, seed), a column an objective."""
    rows = select(table, weight_decay=0.0)
    values = censored(rows, metric) if metric.endswith("_at") else rows[metric]
    return rows.assign(value=values).pivot(index=["samples", "seed"], columns="objective", values="value")


def solved(table: pd.DataFrame, objective: str) -> set[int]:
    """Sample sizes at which every seed of the objective generalises, without weight decay."""
    rows = select(table, weight_decay=0.0, objective=objective)
    return {n for n, r in rows.groupby("samples") if pd.to_numeric(r["generalised_at"]).notna().all()}


def at_sizes(values: pd.DataFrame, sizes: set[int]) -> pd.DataFrame:
    """Mean over the sample sizes, one row a seed."""
    chosen = values[values.index.get_level_values("samples").isin(sizes)]
    if chosen.empty:
        raise MissingPoints("no sample size at which the comparison can be made")
    return chosen.groupby("seed").mean()


def label_groks(table: pd.DataFrame) -> Effect:
    """How long after memorising label training first leaves chance, without weight decay; none where it never solves.

    Over the sizes at which every seed generalises; a run has left chance where held-out accuracy is 0.6 or more.
    """
    rows = select(table, weight_decay=0.0, objective="label")
    rows = rows[rows["samples"].isin(solved(table, "label"))]
    if rows.empty:
        return Effect(0.0, 0.0, 0.0, table["seed"].nunique(), "doublings")
    left = list(map(leaves_chance, rows["step"], rows["held_out_accuracy"]))
    doublings = np.log2(left / pd.to_numeric(rows["memorised_at"]))
    return paired_interval(doublings.groupby(rows["seed"]).mean(), unit="doublings")


def leaves_chance(steps: Sequence[float], accuracies: Sequence[float]) -> float:
    """The first step at which a run's held-out accuracy is 0.6 or more; every run that generalised has one."""
    return next(step for step, accuracy in zip(steps, accuracies, strict=True) if accuracy >= 0.6)


def diffusion_generalises_sooner(table: pd.DataFrame) -> Effect:
    steps = np.log2(by_objective(table, "generalised_at"))
    mean = at_sizes(steps, solved(table, "label") | solved(table, "diffusion, window"))
    return paired_interval(mean["label"] - mean["diffusion, window"], unit="doublings")


def diffusion_does_not_delay(table: pd.DataFrame) -> Effect:
    delay = np.log2(by_objective(table, "generalised_at") / by_objective(table, "memorised_at"))
    mean = at_sizes(delay, solved(table, "label") & solved(table, "diffusion, window"))
    return paired_interval(mean["label"] - mean["diffusion, window"], unit="doublings")


def diffusion_wins_on_few_samples(table: pd.DataFrame) -> Effect:
    rows = select(table, weight_decay=0.0, objective="label")
    hopeless = {n for n, r in rows.groupby("samples") if pd.to_numeric(r["generalised_at"]).isna().all()}
    mean = at_sizes(by_objective(table, "final_held_out"), hopeless)
    return paired_interval(mean["diffusion, window"] - mean["label"], unit="accuracy")


def bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Likelihood bound (nats a token), rows a seed, a column an arm, each at its best learning rate."""
    found = {}
    for arm, rows in table.groupby("arm", sort=False):
        found[arm] = select(rows, lr=best(rows, "lr", "bound", "least")).set_index("seed")["bound"]
    return pd.DataFrame(found)


def middle_window_gain(table: pd.DataFrame) -> Effect:
    bound = bounds(table)
    return paired_interval(bound["[0, 1]"] - bound["[0.45, 0.55]"], unit="nats a token")


def middle_beats_outer(table: pd.DataFrame) -> Effect:
    bound = bounds(table)
    low, high = ("[0.15, 0.25]", "[0.75, 0.85]") if "[0.15, 0.25]" in bound else ("[0.1, 0.2]", "[0.8, 0.9]")
    return paired_interval(bound[[low, high]].min(axis=1) - bound["[0.45, 0.55]"], unit="nats a token")


def llada_gain(table: pd.DataFrame) -> Effect:
    bound = table.assign(low=[window[0] for window in table["window"]]).pivot(
        index="seed", columns="low", values="nelbo"
    )
    return paired_interval(bound[0.0] - bound[0.45], unit="nats a token")
