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
