"""What every chapter does with a table of points: choose rows, choose a learning rate, unfold curves, average seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import stdtrit

from beyondloss.experiment.errors import MissingPoints

UPPER = 0.975  # quantile at which a two-sided 95% interval ends


def need(*tables: pd.DataFrame) -> None:
    """Raises MissingPoints, naming the experiments, where a table that `sweep` returned has no points."""
    empty = [table.attrs.get("experiment", "an experiment") for table in tables if table.empty]
    if empty:
        raise MissingPoints(f"no point of {', '.join(empty)}")


def select(table: pd.DataFrame, **conditions: Any) -> pd.DataFrame:
    """The rows that meet all conditions, a float to rounding. Raises MissingPoints if there are none."""
    for name, value in conditions.items():
        met = (
            np.isclose(table[name].astype(float), value) if isinstance(value, float) else table[name] == value
        )
        table = table[met]
    if table.empty:
        said = ", ".join(f"{name} = {value!r}" for name, value in conditions.items())
        raise MissingPoints(f"no point with {said}")
    return table


def column(table: pd.DataFrame, *name: Any) -> pd.Series:
    """A column of a pivoted table, by its name or by the parts of it. Raises MissingPoints if it was not measured."""
    key = name if len(name) > 1 else name[0]
    if key not in table:
        raise MissingPoints(f"no point with {', '.join(map(str, name))}")
    return table[key]


def best(table: pd.DataFrame, setting: str, metric: str, most: Literal["least", "greatest"]) -> Any:
    """The value of `setting` whose mean of `metric` over all its rows is the least or the greatest.

    Of equal ones the smallest value of `setting`. For hyper-parameters: give it rows of tuning seeds, so that the
    seeds that count have no say.
    """
    mean = table.astype({metric: float}).groupby(setting)[metric].mean()
    return mean.idxmin() if most == "least" else mean.idxmax()


def explode(table: pd.DataFrame, keep: Sequence[str], lists: Mapping[str, type]) -> pd.DataFrame:
    """One row an entry of the lists that stand in the columns `lists`, each as its type; `keep` are repeated."""
    long = table[[*keep, *lists]].explode(list(lists), ignore_index=True)
    return long.astype(dict(lists))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines for a terminal: columns of even width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = map(str.ljust, row, widths)
        lines.append("  ".join(padded).rstrip())
    return lines


def mean_band(values: Float[np.ndarray, "seed ..."]) -> Float[np.ndarray, "3 ..."]:
    """Mean over the seeds with Student's 95% interval: mean, low, high. A single seed has a band of no width."""
    mean, n = values.mean(0), len(values)
    if n == 1:
        return np.stack([mean] * 3)
    half = stdtrit(n - 1, UPPER) * values.std(0, ddof=1) / math.sqrt(n)
    return np.stack([mean, mean - half, mean + half])
