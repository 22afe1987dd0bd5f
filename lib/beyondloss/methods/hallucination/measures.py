"""What the claims of chapter 10 measure: from tables of points to effects, and what figures share with them."""

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval
from beyondloss.experiment.tables import column, explode
from beyondloss.methods.hallucination import generator

ROWS = ("target", "verifier", "detector", "budget", "auroc", "auarc", "error", "asked", "wrong")
MEASURED = ("detector", "budget", "auroc", "low", "high", "auarc", "gain", "gain_low", "gain_high", "asked")
LITTLE = 0.02  # AUROC: what counts as little room
KEPT = 0.01  # AUROC, or share of errors: what counts as keeping the performance
UNIT = "AUROC"


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """One row a world, pair and detector. `itself` marks a model that was its own verifier."""
    if table.empty:
        return pd.DataFrame(columns=["seed", *ROWS, "itself"])
    long = explode(table, ["seed"], dict.fromkeys(ROWS[:3], str) | dict.fromkeys(ROWS[3:], float))
    return long.assign(itself=long["target"] == long["verifier"])


def of_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the pairs of different models: rows seeds, columns (detector, budget)."""
    rows = judged(table)
    rows = rows[(rows["verifier"] != "") & ~rows["itself"]]
    return rows.pivot_table(index="seed", columns=["detector", "budget"], values="auroc")


def of_targets(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the targets of what needs no verifier: rows seeds, columns detectors."""
    rows = judged(table)
    return rows[rows["verifier"] == ""].pivot_table(index="seed", columns="detector", values="auroc")


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """One row a point of the models experiment and detector."""
    keep = ["target", "verifier", "kernel", "data", "seed"]
    if table.empty:
        return pd.DataFrame(columns=[*keep, *MEASURED, "itself"])
    long = explode(table, keep, {MEASURED[0]: str} | dict.fromkeys(MEASURED[1:], float))
    return long.assign(itself=long["target"] == long["verifier"])


def at_budgets(table: pd.DataFrame, metric: str, *budgets: float) -> pd.Series:
    """Mean of a curve over some budgets and over the settings, one value a seed."""
    positions = [generator.BUDGETS.index(budget) for budget in budgets]
    values = np.array([np.array(curve, dtype=float)[positions].mean() for curve in table[metric]])
    return table.assign(value=values).groupby("seed")["value"].mean()


def exact_room(table: pd.DataFrame) -> Effect:
    gap = (table["self_oracle"] - table["self"]).groupby(table["seed"]).max()
    return paired_interval(LITTLE - gap, unit=UNIT)


def learned_room(table: pd.DataFrame) -> Effect:
    own = of_targets(table)
    return paired_interval(LITTLE - (own["self oracle"] - own["mean pairwise distance"]), unit=UNIT)


def exact_gain(table: pd.DataFrame) -> Effect:
    return paired_interval(
        (table["cross_oracle"] - table["self_oracle"]).groupby(table["seed"]).mean(), unit=UNIT
    )


def learned_gain(table: pd.DataFrame) -> Effect:
    both = column(of_pairs(table), "cross oracle", 1.0)
    return paired_interval(both - of_targets(table)["self oracle"], unit=UNIT)


def second_model_gain(table: pd.DataFrame) -> Effect:
    """What another model adds over as many more samples of the target itself."""
    rows = judged(table)
    rows = rows[rows["detector"] == "cross oracle"]
    mean = rows.pivot_table(index="seed", columns="itself", values="auroc")
    return paired_interval(mean[False] - mean[True], unit=UNIT)


def asking_always(table: pd.DataFrame, rule: str) -> Effect:
    """What a rule that asks about every question adds to asking about none, by mean pairwise distance."""
    always = column(of_pairs(table), rule, 1.0)
    return paired_interval(always - of_targets(table)["mean pairwise distance"], unit=UNIT)


def planned_asking(table: pd.DataFrame) -> Effect:
    fewer = at_budgets(table, "planned_error", 0.0) - at_budgets(table, "planned_error", 1.0)
    return paired_interval(fewer, unit="share of errors")


def keeps_at_half(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.5) - column(pairs, "interval", 1.0) + KEPT, unit=UNIT)


def keeps_the_logistic(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.5) - column(pairs, "value", 1.0) + KEPT, unit=UNIT)


def interval_over_lot(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.3) - column(pairs, "random", 0.3), unit=UNIT)


def exact_interval_over_lot(table: pd.DataFrame) -> Effect:
    budgets = (0.2, 0.3, 0.4, 0.5)
    difference = at_budgets(table, "exact_interval", *budgets) - at_budgets(table, "exact_random", *budgets)
    return paired_interval(difference, unit=UNIT)


def value_over_interval(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    budgets = (0.1, 0.2, 0.3, 0.5, 0.7)
    gains = [column(pairs, "value", b) - column(pairs, "interval", b) for b in budgets]
    return paired_interval(sum(gains) / len(gains), unit=UNIT)


def value_over_lot(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    budgets = (0.1, 0.2, 0.3, 0.5, 0.7)
    gains = [column(pairs, "value", b) - column(pairs, "random", b) for b in budgets]
    return paired_interval(sum(gains) / len(gains), unit=UNIT)


def planned_keeps(table: pd.DataFrame) -> Effect:
    more = at_budgets(table, "planned_error", 0.5) - at_budgets(table, "planned_error", 1.0)
    return paired_interval(KEPT - more, unit="share of errors")


def cross_over_mmd(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "cross distance", 1.0) - column(pairs, "MMD", 1.0), unit=UNIT)


def worst_pair(table: pd.DataFrame, detector: str) -> Effect:
    """What a detector adds in the pair of different models where it adds least; not by embeddings."""
    rows = measured(table)
    rows = rows[(rows["detector"] == detector) & ~rows["itself"] & (rows["kernel"] != "embedding")]
    if rows.empty:
        raise MissingPoints(f"no pair of different models with {detector}")
    worst = rows.loc[rows["gain_low"].idxmin()]
    return Effect(
        worst["gain"], worst["gain_low"], worst["gain_high"], rows["seed"].nunique(), UNIT, "bootstrap"
    )


def real_gain(table: pd.DataFrame) -> Effect:
    return worst_pair(table, "value 1")


def real_two_stage(table: pd.DataFrame) -> Effect:
    return worst_pair(table, "interval 0.5")
