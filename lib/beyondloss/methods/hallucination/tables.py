"""From tables of points to what the claims compare and the figures of chapter 10 draw."""

import numpy as np
import pandas as pd

from beyondloss.methods.hallucination import generator

ROWS = ("target", "verifier", "detector", "budget", "auroc", "auarc", "error", "asked", "wrong")
MEASURED = ("detector", "budget", "auroc", "low", "high", "auarc", "gain", "gain_low", "gain_high", "asked")
NAMES = {
    "best": "best policy",
    "interval_both": "interval, both scores",
    "interval": "interval, the paper's rule",
    "random": "by lot, both scores",
}


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """One row a world, pair and detector. `itself` marks a model that was its own verifier."""
    if table.empty:
        return pd.DataFrame(columns=["seed", *ROWS, "itself"])
    long = table[["seed", *ROWS]].explode(list(ROWS), ignore_index=True)
    numbers = {name: float for name in ROWS[3:]}
    return long.astype(numbers).assign(itself=long["target"] == long["verifier"])


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
    long = table[[*keep, *MEASURED]].explode(list(MEASURED), ignore_index=True)
    long = long.astype({name: float for name in MEASURED[1:]})
    return long.assign(itself=long["target"] == long["verifier"])


def curves(table: pd.DataFrame, names: dict[str, str], suffix: str = "") -> pd.DataFrame:
    """Generator's curves over the budget, one row a point, budget and rule; `names` maps metrics to labels."""
    settings = ["confident", "verifier_error", "seed"]
    parts = [
        table[settings].assign(rule=label, budget=table["budget"], value=table[f"{metric}{suffix}"])
        for metric, label in names.items()
    ]
    long = pd.concat(parts).explode(["budget", "value"], ignore_index=True)
    return long.astype({"budget": float, "value": float})


def at_budgets(table: pd.DataFrame, metric: str, *budgets: float) -> pd.Series:
    """Mean of a curve over some budgets and over the settings, one value a seed."""
    positions = [generator.BUDGETS.index(budget) for budget in budgets]
    values = np.array([np.array(curve, dtype=float)[positions].mean() for curve in table[metric]])
    return table.assign(value=values).groupby("seed")["value"].mean()
