"""What is left of a chapter whose execution is stopped in the middle, and how the next one goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import nbformat
import pytest
from fontTools.ttLib import TTFont
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
    "LANGUAGE": "tr",
    "COLUMNS": "37",
    "PYTHONHASHSEED": "7",
    "PYTHONWARNINGS": "error",
    "PYTHONDEVMODE": "1",
    "PYTHONOPTIMIZE": "2",
    "NO_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "OMP_NUM_THREADS": "2",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}
OUTPUTS = """
import os, time, warnings
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from beyondloss import page
page.use_theme()
print(time.strftime("%Z"), list({"a", "b", "c", "d"}), plt.rcParams["figure.dpi"], __debug__)
warnings.warn("of another's library", stacklevel=1)
print(pd.DataFrame({"column %d" % i: [i] for i in range(20)}))
fig, ax = plt.subplots()
sns.stripplot(x=[1, 2, 3, 4, 9], ax=ax)  # jitter
sns.lineplot(x=[1, 1, 1, 2, 2, 2], y=[1, 3, 4, 2, 5, 9], ax=ax)  # a bootstrapped band
ax.set_title("In letters of their own")
plt.show()
"""


@pytest.fixture
def unfriendly(tmp_path, monkeypatch):
    """Another user's machine: settings, start-up files, a kernel, a font and a folder of theirs, and a strict umask."""
    home = tmp_path / "home of another"
    start_up, kernel, fonts = (
        home / "profile_default" / "startup",
        home / "kernels" / "python3",
        home / "fonts",
    )
    for folder in (start_up, kernel, fonts):
        folder.mkdir(parents=True)
    (start_up / "0.py").write_text("print('of the user')")
    (home / "matplotlibrc").write_text("figure.dpi: 33\n")
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "none", "language": "python"}')
    font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf")
    for name in font["name"].names:  # seaborn takes Arial where there is one
        name.string = "Arial" if name.nameID in (1, 4, 16) else name.toUnicode()
    font.save(fonts / "arial.ttf")
    for name, value in UNFRIENDLY.items():
        monkeypatch.setenv(name, value)
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_PATH", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("MPLCONFIGDIR", str(home / "matplotlib"))  # so that it looks for fonts
    monkeypatch.setenv("MATPLOTLIBRC", str(home / "matplotlibrc"))
    monkeypatch.chdir(home)
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def friendly_first(tmp_path, monkeypatch, request):
    """A notebook, parameters for it, and what it is executed to as things are, before `unfriendly` is set up."""
    monkeypatch.setenv("BEYONDLOSS_STORE", str(tmp_path / "journal"))
    source, parameters = request.param(tmp_path)
    return source, parameters, notebook.execute(source, tmp_path / "here.ipynb", parameters)


def plain_notebook(folder):
    """One cell whose outputs show each setting."""
    source = folder / "09_plain.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(OUTPUTS)]), source)
    return source, None


@pytest.mark.parametrize("friendly_first", [plain_notebook], indirect=True, ids=["plain"])
def test_outputs_do_not_depend_on_the_environment_of_the_caller(friendly_first, unfriendly, tmp_path):
    source, parameters, here = friendly_first
    there = notebook.execute(source, tmp_path / "there.ipynb", parameters)
    drawn = 0
    for one, other in zip(here.cells, there.cells, strict=True):
        assert one.get("outputs") == other.get("outputs"), one.source
        drawn += sum("image/png" in output.get("data", {}) for output in one.get("outputs", ()))
    assert drawn
