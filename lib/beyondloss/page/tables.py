"""How a table of pandas is shown on a page: no count of rows, folded where it is long."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ROOM = 6  # columns that the width of a page has room for, with an interval in each
ROWS = 8  # that are shown before a table folds
INTERVAL = re.compile(r"(\[[-+\d.]+,) ([-+\d.]+\])")


def register_html_formatter() -> None:
    """From now on every table that this kernel shows is shown so; nothing outside a kernel."""
    import pandas as pd
    from IPython import get_ipython

    if shell := get_ipython():
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, html_of)


def html_of(frame: pd.DataFrame) -> str:
    """The table as HTML; of a long one the first eight rows, and under them all of it, folded, as pandas would cut it.

    The index is shown where it is more than a count of rows, a missing value as a dash.
    """
    if len(frame) <= ROWS:
        return _html(frame)
    folded = f"<details><summary>All {len(frame)} rows</summary>{_html(frame)}</details>"
    return _html(frame.head(ROWS)) + folded


def _html(frame: pd.DataFrame) -> str:
    import pandas as pd

    index = frame.index
    counts = index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index)
    most = {"max_rows": pd.get_option("display.max_rows"), "max_cols": pd.get_option("display.max_columns")}
    table = frame.to_html(index=not counts, border=0, justify="left", na_rep="–", **most)
    return INTERVAL.sub(r"\1&nbsp;\2", table) if frame.shape[1] <= ROOM else table
