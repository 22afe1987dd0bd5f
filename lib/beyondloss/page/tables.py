"""How a table of pandas is shown on a page: without a count of rows, and intervals in one piece where there is room."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ROOM = 6  # columns that the width of a page has room for, with an interval in each
INTERVAL = re.compile(r"(\[[-+\d.]+,) ([-+\d.]+\])")


def register_html_formatter() -> None:
    """From now on every table that this kernel shows is shown so; nothing outside a kernel."""
    import pandas as pd
    from IPython import get_ipython

    if shell := get_ipython():
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, html_of)


def html_of(frame: pd.DataFrame) -> str:
    """The table as HTML, cut as pandas would cut it; its index is shown where it is more than a count of rows."""
    import pandas as pd

    index = frame.index
    counts = index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index)
    most = {"max_rows": pd.get_option("display.max_rows"), "max_cols": pd.get_option("display.max_columns")}
    table = frame.to_html(index=not counts, border=0, justify="left", **most)
    return INTERVAL.sub(r"\1&nbsp;\2", table) if frame.shape[1] <= ROOM else table
