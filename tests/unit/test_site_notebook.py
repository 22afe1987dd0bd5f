"""The notebook pipeline: parameters, normal form, stamp, execution."""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from beyondloss.experiment import syntax
from beyondloss.experiment.errors import BadInput, DamagedFile
from beyondloss.site import notebook

PARAMETERS = 'scale = "quick"\nonly = None\nseeds = None\nfresh = False\noverrides = {}'


def chapter(*sources: str, parameters: str = PARAMETERS):
    """A notebook with a parameters cell and the given code."""
    first = new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# A chapter", id="title"), first]
    return new_notebook(cells=cells + [new_code_cell(s, id=f"cell-{i}") for i, s in enumerate(sources)])


@pytest.fixture
def written(tmp_path):
    """Write a notebook as `09_toy.ipynb` and return its path."""

    def write(nb) -> Path:
        path = tmp_path / "09_toy.ipynb"
        nbformat.write(nb, path)
        return path

    return write


# Parameters ------------------------------------------------------------------------------------------------


def test_parameters_are_the_literals_of_the_tagged_cell():
    assert notebook.parameters(chapter()) == {
        "scale": "quick",
        "only": None,
        "seeds": None,
        "fresh": False,
        "overrides": {},
    }


def test_a_notebook_without_the_cell_has_no_parameters():
    assert notebook.parameters(new_notebook(cells=[new_code_cell("x = 1")])) == {}


@pytest.mark.parametrize(
    "line", ["steps = 2 * 100", "import os", "a, b = 1, 2", "a.b = 1", "x =", "x: int", "a.b: int = 1"]
)
def test_a_parameters_cell_that_derives_is_refused(line):
    with pytest.raises(BadInput, match="literal"):
        notebook.parameters(chapter(parameters=line))


def test_parameters_may_have_types():
    typed = chapter(parameters='scale: str = "quick"\nseeds: str | None = None\nfresh: bool = False')
    assert notebook.parameters(typed) == {"scale": "quick", "seeds": None, "fresh": False}


def test_a_notebook_without_the_cell_takes_none():
    with pytest.raises(BadInput, match="no cell is tagged `parameters`, so the notebook takes none: scale"):
        notebook.check_parameters(new_notebook(cells=[new_code_cell("x = 1")]), {"scale": "smoke"})


def test_a_misspelt_parameter_names_the_nearest():
    with pytest.raises(BadInput, match="'scal'.*did you mean 'scale'"):
        notebook.check_parameters(chapter(), {"scal": "smoke"})


@pytest.mark.parametrize(("name", "value"), [("scale", 1), ("fresh", "no"), ("fresh", 0), ("overrides", [])])
def test_a_parameter_of_another_type_is_refused(name, value):
    with pytest.raises(BadInput, match=f"parameter {name} takes"):
        notebook.check_parameters(chapter(), {name: value})


def test_only_changed_parameters_are_injected():
    assert notebook.changed(chapter(), {"scale": "quick", "seeds": "0:2"}) == {"seeds": "0:2"}


# Normal form -----------------------------------------------------------------------------------------------


def noisy():
    """A notebook as papermill leaves it: counts, times, widgets, bars, addresses, cut streams."""
    nb = chapter("plot()")
    cell = nb.cells[-1]
    cell.execution_count = 7
    cell.metadata = {
        "tags": ["keep"],
        "papermill": {"duration": 1.5},
        "execution": {"iopub.status.busy": "now"},
    }
    widget = {notebook.WIDGET: {"model_id": "0f3a"}, "text/plain": "IntSlider()"}
    explorer = {notebook.WIDGET: {"model_id": "77aa"}, "text/html": "<div>curve</div>"}
    cell.outputs = [
        new_output("stream", name="stdout", text="one "),
        new_output("stream", name="stdout", text="two\n"),
        new_output("stream", name="stderr", text="10%\r50%\r100%\r"),
        new_output("display_data", data=widget),
        new_output("display_data", data=explorer),
        new_output("execute_result", data={"text/plain": "<Thing at 0x7f21d0a3b5e0>"}, execution_count=7),
    ]
    nb.metadata.update({"papermill": {"version": "2"}, "widgets": {"state": {}}, "mystnb": {"kept": True}})
    nb.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    return nb


def test_normalise_removes_what_changes_from_run_to_run_and_nothing_else():
    nb = notebook.normalise(noisy())
    cell = nb.cells[-1]
    assert cell.metadata == {"tags": ["keep"]}
    assert cell.execution_count is None
    text, picture, result = cell.outputs
    assert text.text == "one two\n"
    assert picture.data == {"text/html": "<div>curve</div>"}
    assert result.data["text/plain"] == "<Thing at 0x0>"
    assert set(nb.metadata) == {"kernelspec", "language_info", "mystnb"}
    assert "3.11" not in json.dumps(nb)
    nbformat.validate(nb)


def test_normalise_is_idempotent():
    once = notebook.normalise(noisy())
    assert notebook.normalise(nbformat.from_dict(json.loads(json.dumps(once)))) == once


def test_cell_ids_stay_and_missing_or_copied_ones_come_from_the_source():
    nb = chapter("a = 1", "a = 1", "b = 2")
    nb.cells[-3].id = nb.cells[-2].id = "copied"
    nb.cells[-1].id = ""
    ids = [cell.id for cell in notebook.normalise(nb).cells]
    assert ids[:3] == ["title", "parameters", "copied"]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in notebook.normalise(nb).cells]


def test_a_table_of_pandas_has_a_stable_name():
    nb = chapter("table")
    html = '<style>#T_0a1b2_row0 {}</style><table id="T_0a1b2"></table>'
    nb.cells[-1].outputs = [new_output("display_data", data={"text/html": html})]
    assert "0a1b2" not in notebook.normalise(nb).cells[-1].outputs[0].data["text/html"]


def png(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png", dpi=(110, 110))
    return base64.b64encode(out.getvalue()).decode("ascii")


def normal(picture: str) -> Image.Image:
    """The picture in a normalised notebook, where a second normalisation leaves it as it is."""
    nb = chapter("plot()")
    nb.cells[-1].outputs = [new_output("display_data", data={"image/png": picture})]
    once = notebook.normalise(nb).cells[-1].outputs[0].data["image/png"]
    assert notebook.normalise(nb).cells[-1].outputs[0].data["image/png"] == once
    assert len(once) <= len(picture)
    return Image.open(io.BytesIO(base64.b64decode(once)))


def test_a_drawing_gets_a_palette_and_keeps_size_dpi_and_looks():
    figure = Figure(figsize=(5, 3), dpi=110)
    for shift in range(6):
        figure.subplots().plot(np.sin(np.linspace(shift, shift + 9, 300)))
    out = io.BytesIO()
    figure.savefig(out, format="png", transparent=True)
    drawn, picture = Image.open(out), normal(base64.b64encode(out.getvalue()).decode("ascii"))
    assert picture.mode == "P" and picture.size == drawn.size == (550, 330)
    assert round(picture.info["dpi"][0]) == 110
    before, after = (np.asarray(image.convert("RGBA"), float) for image in (drawn, picture))
    assert np.abs(before - after)[before[..., 3] > 0].mean() < 8
    assert (after[before[..., 3] == 0][:, 3] == 0).all(), "the ground stays transparent"


def test_a_photograph_keeps_its_colours():
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert (np.asarray(normal(png(noise)).convert("RGB")) == noise).all()


def test_a_large_notebook_is_refused(written):
    path = written(chapter("x = '" + "a" * notebook.MAX_BYTES + "'"))
    with pytest.raises(BadInput, match="more than 1,000,000"):
        notebook.check_size(path)


# Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ["", "{", '{"cells": 3}', '{"nbformat": 4, "cells": [{"cell_type": "x"}]}']
)
def test_a_damaged_notebook_is_refused_by_name_with_the_way_out(tmp_path, content):
    path = tmp_path / "03_damaged.ipynb"
    path.write_text(content)
    with pytest.raises(DamagedFile, match=r"03_damaged\.ipynb.*git checkout"):
        notebook.read(path)


def test_the_diff_driver_shows_sources_without_outputs_and_never_fails(written, tmp_path):
    nb = noisy()
    path = written(nb)
    broken = tmp_path / "broken.ipynb"
    broken.write_text("<<<<<<< ours")

    def shown(file: Path) -> str:
        command = [sys.executable, "-m", "beyondloss.site.notebook", "--source", file]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "# %% [code] keep\nplot()" in shown(path)
    assert "curve" not in shown(path)
    assert shown(broken).strip() == "<<<<<<< ours"


# Freshness -------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A checkout whose chapter `toy` uses a copied library: its digests are those of files the test may edit."""
    data = tmp_path / "data" / "results" / "toy"
    data.mkdir(parents=True)
    (data / "quick.json").write_text("{}")
    monkeypatch.setattr(notebook, "root", lambda: tmp_path)
    module, empty = tmp_path / "module.py", tmp_path / "empty.py"
    module.write_text('def f():\n    """Doc."""\n    return 1  # one\n')
    empty.write_text("")
    files = {"beyondloss": empty, "beyondloss.methods": empty, "beyondloss.methods.toy": module}
    monkeypatch.setattr(syntax, "file_of", files.get)
    return tmp_path


USES = "from beyondloss.methods import toy"


def stamped():
    nb = chapter(USES, "toy.f()")
    nb.metadata["beyondloss"] = notebook.stamp(nb, "toy")
    return nb


def test_a_stamped_notebook_is_current(library, written):
    assert notebook.is_stale(written(stamped())) == []


def test_an_unstamped_notebook_is_stale(library, written):
    assert notebook.is_stale(written(chapter("1 + 1"))) == ["cells", "library", "results", "parameters"]


def test_prose_does_not_make_outputs_stale(library, written):
    nb = stamped()
    nb.cells[0].source = "# Another title"
    assert notebook.is_stale(written(nb)) == []


def test_code_makes_outputs_stale(library, written):
    nb = stamped()
    nb.cells[-1].source = "toy.f() + 1"
    assert notebook.is_stale(written(nb)) == ["cells"]


def test_a_comment_in_the_library_makes_outputs_stale_because_the_page_shows_it(library, written):
    path = written(stamped())
    module = library / "module.py"
    module.write_text(module.read_text().replace("# one", "# said otherwise"))
    assert notebook.is_stale(path) == ["library"]


def test_what_no_cell_reaches_does_not(library, written):
    path = written(stamped())
    with (library / "module.py").open("a") as file:
        file.write("def g():\n    return 2\n")
    assert notebook.is_stale(path) == []


def test_a_script_of_the_library_counts(library, written):
    path = written(stamped())
    (library / "explorer.mjs").write_text("export default {}")
    assert notebook.is_stale(path) == ["library"]


def test_results_make_outputs_stale(library, written):
    path = written(stamped())
    (library / "data" / "results" / "toy" / "full.json").write_text("{}")
    assert notebook.is_stale(path) == ["results"]


def test_results_of_another_chapter_do_not(library, written):
    path = written(stamped())
    other = library / "data" / "results" / "other"
    other.mkdir()
    (other / "quick.json").write_text("{}")
    assert notebook.is_stale(path) == []


def test_the_library_digest_follows_imports_of_the_code_magics_left_out():
    code = "%matplotlib inline\nimport torch\nfrom beyondloss.site import notebook as n\n!ls"
    nothing, read, write, other = (
        notebook._library_digest(f"{code}\n{used}") for used in ("", "n.read", "n.write", "torch.sum")
    )
    assert len({nothing, read, write}) == 3 and other == nothing
    timed = notebook._library_digest(code, "%%time\nn.read")
    assert timed == notebook._library_digest(code, "n.read") == read


@pytest.mark.parametrize(
    "cell",
    ["%%bash\nfor f in *; do echo $f; done", "%%html\n<b>x</b>", "files = !ls -l", "len?", "len??",
     "if True:\n    !ls\n    y = 2", "%%capture out\n%%time\nx = 1", "for i in range(2):\n    %time i"],
)  # fmt: skip
def test_what_is_ipythons_own_in_a_cell_makes_nothing_fail(library, written, cell):
    nb = chapter(USES, "toy.f()", cell)
    nb.metadata["beyondloss"] = notebook.stamp(nb, "toy")
    assert notebook.is_stale(written(nb)) == []


def test_a_cell_that_is_no_python_is_named(written, tmp_path):
    with pytest.raises(BadInput, match="a cell is no Python .*: y = = 2"):
        notebook.execute(written(chapter("x = 1", "y = = 2")), tmp_path / "out.ipynb")


# Execution -------------------------------------------------------------------------------------------------


def test_execute_gives_the_same_notebook_twice_and_stands_in_its_own_folder(written, tmp_path, monkeypatch):
    source = written(chapter("import os\nprint(os.path.basename(os.getcwd()))", "print(scale)"))
    monkeypatch.chdir("/")
    targets = [tmp_path / name / "09_toy.ipynb" for name in ("a", "b")]
    for target in targets:
        notebook.execute(source, target, {"scale": "smoke"})
    first, second = (target.read_bytes() for target in targets)
    assert first == second
    nb = notebook.read(targets[0])
    assert [cell.outputs[0].text for cell in nb.cells[-2:]] == [f"{tmp_path.name}\n", "smoke\n"]
    assert nb.metadata.beyondloss.parameters == {"scale": "smoke"}
    assert not list(tmp_path.rglob("*.part.ipynb"))


def test_a_failing_cell_is_named_and_the_old_result_stays(written, tmp_path):
    target = tmp_path / "out" / "09_toy.ipynb"
    target.parent.mkdir()
    target.write_text("the old one")
    with pytest.raises(notebook.CellFailed) as failed:
        notebook.execute(written(chapter("print('so far')", "assert 1 == 2, 'wrong constant'")), target)
    message = str(failed.value)
    assert "09_toy.ipynb: cell" in message and "AssertionError: wrong constant" in message
    assert "\x1b" not in message
    assert target.read_text() == "the old one"
    assert "so far" in target.with_suffix(".part.ipynb").read_text()


def test_a_misspelt_parameter_starts_no_kernel_and_writes_nothing(written, tmp_path, monkeypatch):
    import papermill

    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    with pytest.raises(BadInput, match="did you mean"):
        notebook.execute(written(chapter("1")), tmp_path / "out" / "x.ipynb", {"seed": 1})
    assert not (tmp_path / "out").exists()


def test_folders_that_the_caller_names_from_where_it_stands_are_found_from_where_the_kernel_stands(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEYONDLOSS_STORE", "points")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["lib", "/elsewhere"]))
    monkeypatch.delenv("BEYONDLOSS_BUILD", raising=False)
    with notebook.kernel_environment():
        assert os.environ["BEYONDLOSS_STORE"] == str(tmp_path / "points")
        assert os.environ["PYTHONPATH"] == os.pathsep.join([str(tmp_path / "lib"), "/elsewhere"])
        assert "BEYONDLOSS_BUILD" not in os.environ
    assert os.environ["BEYONDLOSS_STORE"] == "points"
