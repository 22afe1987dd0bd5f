"""A cell that draws points which nobody has measured ends at that line, with one sentence in place of its output.

A chapter runs at every scale, and most of its experiments have points at some scales only. A cell needs no `if` for
that: `subplots` and `need` raise MissingPoints, as the tables of the chapters do, and a notebook's kernel takes a cell
that ends so as one that went well. Everywhere else MissingPoints is an exception like any other.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pandas as pd

from beyondloss.experiment import MissingPoints
from beyondloss.experiment.tables import need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

SENTENCE = "Not run at this scale"  # how the sentence begins


def subplots(tables: pd.DataFrame | Sequence[pd.DataFrame], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """`plt.subplots(*args, **kwargs)` for a figure of the points of `tables` (one, or several).

    Raises MissingPoints, before a figure is begun, where one of them is empty.
    """
    import matplotlib.pyplot as plt

    need(*([tables] if isinstance(tables, pd.DataFrame) else tables))
    return plt.subplots(*args, **kwargs)


def end_cells_without_points() -> None:
    """From now on a cell of this kernel that raises MissingPoints ends with a sentence; nothing outside a kernel."""
    from IPython import get_ipython

    if shell := get_ipython():
        shell.set_custom_exc((MissingPoints,), _say)
        shell.events.register("post_run_cell", _count_as_success)


def _say(
    shell: InteractiveShell,
    kind: type[MissingPoints],
    error: MissingPoints,
    traceback: TracebackType,
    tb_offset: int | None = None,
) -> None:
    """Takes the place of the traceback. A figure that was begun is not shown half-drawn."""
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
    print(f"{SENTENCE}: {error}.")


def _count_as_success(result: ExecutionResult | None) -> None:
    """The kernel makes its reply from `result` after this: an error in it would stop `papermill` and "Run all"."""
    if result is not None and isinstance(result.error_in_exec, MissingPoints):
        result.error_in_exec = None
