"""What is left of a chapter whose execution is stopped in the middle, and how the next one goes on."""

import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from beyondloss.site import notebook

EXECUTE = (
    "import sys; from pathlib import Path; from beyondloss.site.notebook import execute\n"
    "execute(Path(sys.argv[1]), Path(sys.argv[2]))"
)


@pytest.fixture
def paths(tmp_path):
    """A chapter that says when it is half-way and then takes its time; where it is executed to."""
    half = tmp_path / "half-way"
    wait = f"import pathlib, time\npathlib.Path({str(half)!r}).touch()\ntime.sleep(60)"
    source, target = tmp_path / "09_slow.ipynb", tmp_path / "out" / "09_slow.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print('first')"), new_code_cell(wait)]), source)
    target.parent.mkdir()
    return source, target, half


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_execution_leaves_the_old_notebook_whole(paths, number):
    source, target, half = paths
    target.write_text("the old one")
    running = subprocess.Popen([sys.executable, "-c", EXECUTE, source, target], start_new_session=True)
    deadline = time.monotonic() + 60
    while not half.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(number)
    assert running.wait(timeout=60) != 0
    assert target.read_text() == "the old one"
    nbformat.write(new_notebook(cells=[new_code_cell("print('again')")]), source)
    notebook.execute(source, target)
    assert "again" in target.read_text()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


UNFRIENDLY = {
    "MPLBACKEND": "Agg",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "COLUMNS": "37",
    "PYTHONHASHSEED": "7",
    "PYTHONWARNINGS": "error",
    "NO_COLOR": "1",
}
OUTPUTS = """
import time, warnings
import matplotlib.pyplot as plt
import pandas as pd
print(time.strftime("%Z"), list({"a", "b", "c", "d"}), plt.rcParams["figure.dpi"])
warnings.warn("of another's library", stacklevel=1)
print(pd.DataFrame({"column %d" % i: [i] for i in range(20)}))
plt.plot([1, 2]);
"""


def test_outputs_do_not_depend_on_the_environment_of_the_caller(tmp_path, monkeypatch):
    source = tmp_path / "09_plain.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(OUTPUTS)]), source)
    here = notebook.execute(source, tmp_path / "here.ipynb")
    start_up = tmp_path / "ipython" / "profile_default" / "startup"
    start_up.mkdir(parents=True)
    (start_up / "0.py").write_text("print('of the user')")
    (start_up / "matplotlibrc").write_text("figure.dpi: 33\n")
    with monkeypatch.context() as unfriendly:
        for name, value in UNFRIENDLY.items():
            unfriendly.setenv(name, value)
        unfriendly.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        unfriendly.setenv("MATPLOTLIBRC", str(start_up / "matplotlibrc"))
        there = notebook.execute(source, tmp_path / "there.ipynb")
    assert any("image/png" in output.get("data", {}) for output in here.cells[0].outputs)
    assert here.cells[0].outputs == there.cells[0].outputs
