"""Every chapter executed at smoke scale, the cells that say so compared with the committed outputs.

Compared are cells tagged `nbval-check-output`; they print verdicts that hold at every scale.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from beyondloss.site import build, notebook

CHAPTERS = build.chapter_notebooks()
FALSIFIED = {  # chapter -> a constant of its code, and a wrong value that its checks must not let pass
    "02_simplicity_bias": (
        "peak = np.cbrt(2 / 5 * three.optimum)",
        "peak = np.cbrt(3 / 5 * three.optimum)",
    ),  # up to where SAM is sure to delay
    "03_masked_diffusion": (
        "logit[small] ** 2 / 8",
        "logit[small] ** 2 / 9",
    ),  # the ridge of the noise regime
    "06_dataset_distillation": (
        "theory.least_angle(m, 10)",
        "60 * theory.least_angle(m, 10)",
    ),  # what no student of hard labels undercuts
    "10_hallucination": (
        "1 - (n * (n - 1)).sum() / 90",
        "1 - (n * (n - 1)).sum() / 100",
    ),  # the bias of the degree score
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One empty journal for all chapters, so that the same points are not measured twice."""
    return tmp_path_factory.mktemp("journal")


def prepared(source: Path, folder: Path) -> Path:
    """A copy of the chapter that will run at smoke scale, with its committed outputs still in place.

    The committed form has no execution counts; nbval takes a cell without one for a cell that was not run.
    """
    copy = folder / source.name
    command = [sys.executable, "-m", "papermill", "--prepare-only", "--log-level=ERROR", "-k", "python3"]
    subprocess.run([*command, source, copy, "-p", "scale", "smoke"], check=True)
    nb = notebook.read(copy)
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    nbformat.write(nb, copy)
    return copy


def compare(copy: Path, store: Path) -> subprocess.CompletedProcess:
    """Execute the notebook and compare its tagged cells, away from this project's settings of pytest."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, f"--rootdir={copy.parent}", "-c", os.devnull, copy],
        cwd=copy.parent,
        env={**os.environ, "BEYONDLOSS_STORE": str(store)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_at_smoke_scale_and_its_verdicts_stand(source, tmp_path, store):
    nb = notebook.read(source)
    assert any("nbval-check-output" in cell.metadata.get("tags", []) for cell in nb.cells)
    done = compare(prepared(source, tmp_path), store)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_with_a_falsified_constant_fails(source, tmp_path, store):
    right, wrong = FALSIFIED[source.stem]
    copy = prepared(source, tmp_path)
    nb = notebook.read(copy)
    at = next(i for i, cell in enumerate(nb.cells) if cell.cell_type == "code" and right in cell.source)
    nb.cells[at].source = nb.cells[at].source.replace(right, wrong)
    del nb.cells[at + 1 :]  # nothing after it is of interest
    nbformat.write(nb, copy)
    done = compare(copy, store)
    assert done.returncode == 1, "the chapter does not notice a wrong constant"
    assert "Error" in done.stdout or "mismatch" in done.stdout, done.stdout


def test_a_verdict_that_changed_fails(tmp_path, store):
    """The comparison itself: the code is right, what was committed says otherwise."""
    source = CHAPTERS[0]
    copy = prepared(source, tmp_path)
    nb = notebook.read(copy)
    at = next(i for i, c in enumerate(nb.cells) if "nbval-check-output" in c.metadata.get("tags", []))
    nb.cells[at].outputs = [new_output("stream", name="stdout", text="theory against measurement: differ\n")]
    del nb.cells[at + 1 :]
    nbformat.write(nb, copy)
    done = compare(copy, store)
    assert done.returncode == 1
    assert "mismatch" in done.stdout and "theory against measurement: differ" in done.stdout


def test_papermill_alone_runs_a_chapter_from_any_folder(tmp_path, store):
    """What a reader types who knows papermill and not our command."""
    source = shutil.copy(CHAPTERS[0], tmp_path / "chapter.ipynb")
    command = [sys.executable, "-m", "papermill", source, "out.ipynb", "-p", "scale", "smoke"]
    environment = {**os.environ, "BEYONDLOSS_STORE": str(store)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.ipynb").is_file()
