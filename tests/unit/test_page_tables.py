"""What a reader sees of a table of pandas."""

import html
import re

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from beyondloss.page import tables

ROWS = pd.DataFrame({"set": ["DM", "<b>"], "gain": ["+0.199 [+0.145, +0.253]", "none [yet, so]"]})


@pytest.mark.parametrize("frame", [ROWS, ROWS.iloc[::-1], ROWS[ROWS["set"] == "DM"]])
def test_a_count_of_rows_is_not_shown_and_text_stays_text(frame):
    shown = tables.html_of(frame)
    assert shown.count("<th>") == 2 and "<th></th>" not in shown
    assert "<b>" not in shown
    assert [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", shown)] == [
        cell.replace(", +", ",\N{NO-BREAK SPACE}+") for row in frame.to_numpy() for cell in row
    ]


@pytest.mark.parametrize(
    "frame",
    [ROWS.set_index("set"), ROWS.rename_axis("place"), ROWS.groupby(["set", "gain"]).size().to_frame()],
)
def test_an_index_that_says_something_is_shown(frame):
    shown = tables.html_of(frame)
    assert all(f"<th>{name}</th>" in shown for name in frame.index.names)


def test_a_long_table_shows_eight_rows_and_folds_all():
    frame = pd.DataFrame({"x": range(9)})
    shown, folded = tables.html_of(frame).split("<details>")
    assert [frame["x"][:8].tolist(), frame["x"].tolist()] == [
        [int(cell) for cell in re.findall("<td>(.*?)</td>", part)] for part in (shown, folded)
    ]
    assert "<summary>All 9 rows</summary>" in folded
    assert "<details>" not in tables.html_of(frame.head(8))


def test_a_table_that_is_too_long_to_open_is_cut():
    shown = tables.html_of(pd.DataFrame({"x": range(1000)}))
    assert shown.count("<tr>") < 100 and "..." in shown


def test_a_missing_value_is_a_dash():
    assert re.findall("<td>(.*?)</td>", tables.html_of(pd.DataFrame({"x": [1.5, None]}))) == ["1.5", "–"]


def test_a_kernel_shows_tables_so():
    shell = InteractiveShell.instance()
    try:
        tables.register_html_formatter()
        assert shell.display_formatter.format(ROWS)[0]["text/html"] == tables.html_of(ROWS)
    finally:
        shell.display_formatter.formatters["text/html"].pop(pd.DataFrame)
        InteractiveShell.clear_instance()


def test_a_wide_table_may_break_its_intervals():
    wide = pd.concat([ROWS] * 4, axis=1)
    assert "&nbsp;" in tables.html_of(ROWS) and "&nbsp;" not in tables.html_of(wide)
