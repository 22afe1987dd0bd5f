"""What an output of a notebook carries for the site, in its metadata under KEY: what it is and the numbers behind it.

`kind` is "figure", "explorer" or "source"; a figure and an explorer have `experiments`, whose points they draw, and
`table`, tidy rows by column. An explorer has what its page is made of besides. Committed notebooks keep no numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KEY = "beyondloss"
NUMBERS = ("table", "state", "skeleton")  # what committed notebooks go without
FIRST, LAST = ("panel", "mark", "series"), ("x", "y", "left", "right", "low", "high", "value")

Row = Mapping[str, Any]

_given: WeakKeyDictionary[Figure, dict[str, Any]] = WeakKeyDictionary()


def metadata(
    kind: str, name: str, experiments: Sequence[str] = (), rows: Sequence[Row] = (), **more: Any
) -> dict[str, Any]:
    """The metadata of an output. `more` has to be JSON."""
    carried = {"kind": kind, "name": name, "experiments": list(experiments), **more}
    return {KEY: {**carried, "table": table(rows)} if rows else carried}


def table(rows: Sequence[Row]) -> dict[str, list]:
    """Rows by column, floats with six digits; without the columns that no row fills."""
    found = dict.fromkeys(column for row in rows for column in row)  # in order of appearance
    filled = {column for row in rows for column, value in row.items() if value not in (None, "")}
    between = [column for column in found if column not in (*FIRST, *LAST)]
    columns = [column for column in (*FIRST, *between, *LAST) if column in filled]
    cells = []
    for row in rows:
        cells.append([_cell(row.get(column)) for column in columns])
    return {"columns": columns, "rows": cells}


def experiments(tables: Iterable[pd.DataFrame]) -> list[str]:
    """The experiments that tables come from. Raises ValueError for a table that did not come from `sweep`."""
    names = [table.attrs.get("experiment") for table in tables]
    if None in names:
        raise ValueError("a table of no experiment: give the table that sweep() returned")
    return list(dict.fromkeys(names))


def show_figure(*tables: pd.DataFrame, data: pd.DataFrame | None = None) -> None:
    """Show the current figure, which draws points of `tables` (as `sweep` returned them).

    What its artists draw is offered as its data, unless there is better: tidy `data`, one row an observation.
    """
    import matplotlib.pyplot as plt

    given: dict[str, Any] = {"experiments": experiments(tables)}
    if data is not None:
        given["rows"] = data.to_dict("records")
    _given[plt.gcf()] = given
    plt.show()


def record() -> None:
    """From now on every figure that this kernel shows carries its numbers; nothing outside a kernel."""
    from IPython import get_ipython
    from matplotlib.figure import Figure

    if shell := get_ipython():
        shell.display_formatter.mimebundle_formatter.for_type(Figure, lambda shown: ({}, of_figure(shown)))


def of_figure(figure: Figure) -> dict[str, Any]:
    """The metadata of a figure: what `show_figure` was given, and else what it draws."""
    from beyondloss.page import artists

    given = _given.get(figure, {})
    rows = given.get("rows") or artists.rows(figure)
    return metadata("figure", "", given.get("experiments", ()), rows)


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
