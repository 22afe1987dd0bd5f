"""A cell whose points are missing ends with a sentence and counts as success; every other error stays one."""

import matplotlib.pyplot as plt
import nbclient
import pandas as pd
import pytest
from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from beyondloss import page
from beyondloss.experiment import MissingPoints
from beyondloss.page import missing
from beyondloss.site import notebook

SET_UP = """
import asyncio
import matplotlib.pyplot as plt
import pandas as pd
from beyondloss import page
page.use_theme()
window, longer = pd.DataFrame({"k": [1]}), pd.DataFrame()
window.attrs["experiment"], longer.attrs["experiment"] = "window", "longer"
"""


def table_of(name: str, *rows: int) -> pd.DataFrame:
    table = pd.DataFrame({"k": rows})
    table.attrs["experiment"] = name
    return table


def executed(*sources: str, allow_errors: bool = True) -> list:
    """The cells `sources` after the set-up, run in one kernel, unless told otherwise whatever becomes of them."""
    nb = new_notebook(cells=[new_code_cell(source) for source in (SET_UP, *sources)])
    with notebook.kernel_environment():
        nbclient.NotebookClient(nb, kernel_name="python3", timeout=60, allow_errors=allow_errors).execute()
    return nb.cells[1:]


def test_a_figure_begins_only_where_every_table_has_points():
    fig, axes = page.subplots([table_of("window", 1), table_of("longer", 2)], 1, 2, figsize=(4, 2))
    assert len(axes) == 2 and fig.get_size_inches().tolist() == [4, 2]
    plt.close(fig)
    with pytest.raises(MissingPoints, match="^no point of longer, language$"):
        page.subplots([table_of("longer"), table_of("window", 1), table_of("language")])
    assert not plt.get_fignums()


def test_need_names_the_experiments_without_points():
    page.need(table_of("window", 1))
    with pytest.raises(MissingPoints, match="^no point of longer$"):
        page.need(table_of("window", 1), table_of("longer"))


def test_a_shell_is_told_and_outside_of_one_nothing_is(monkeypatch):
    told = []
    monkeypatch.setattr(InteractiveShell, "set_custom_exc", lambda shell, kinds, handler: told.append(kinds))
    assert get_ipython() is None
    missing.end_cells_without_points()
    assert told == [] and not InteractiveShell.initialized()  # nor was one made for it
    InteractiveShell.instance()
    told.clear()  # a new shell sets its own
    try:
        missing.end_cells_without_points()
    finally:
        InteractiveShell.clear_instance()
    assert told == [(MissingPoints,)]


def test_a_cell_without_points_ends_with_a_sentence_and_no_half_drawn_figure():
    sources = [
        "fig, ax = page.subplots(longer)\nnever = 1",
        "fig, ax = plt.subplots()\nax.plot([1, 2])\npage.need(longer)",
        "await asyncio.sleep(0)\npage.need(longer)",  # the kernel takes another way with these
        "print('before')\ndisplay(window)\npage.need(longer)",
    ]
    *cells, last = executed(*sources)
    for cell in cells:
        (output,) = cell.outputs
        assert (output.name, output.text) == ("stdout", "Not run at this scale: no point of longer.\n")
    assert [output.output_type for output in last.outputs] == ["stream", "display_data", "stream"]


def test_papermill_and_run_all_go_on_after_such_a_cell(tmp_path):
    """Both stop at the first reply that is an error."""
    lines = ("page.need(longer)", "await asyncio.sleep(0)\npage.need(longer)", "print(7)")
    nb = new_notebook(cells=[new_code_cell(source) for source in (SET_UP, *lines)])
    notebook.write(nb, tmp_path / "09_toy.ipynb")
    made = notebook.execute(tmp_path / "09_toy.ipynb", tmp_path / "out.ipynb")
    assert [cell.outputs[0].text.split(":")[0].strip() for cell in made.cells[1:]] == [
        missing.SENTENCE,
        missing.SENTENCE,
        "7",
    ]


def test_any_other_error_stays_one():
    cells = executed("page.need(longer)", "{}['k']", "page.subplots(window)[1].plot(nothing)")
    kinds = [[o.ename for o in cell.outputs if o.output_type == "error"] for cell in cells]
    assert kinds == [[], ["KeyError"], ["NameError"]]


def test_any_other_error_stops_what_runs_all_cells():
    """The reply of the kernel, not the output of the cell, is what papermill and "Run all" stop at."""
    with pytest.raises(CellExecutionError, match="KeyError"):
        executed("page.need(longer)", "{}['k']", allow_errors=False)
