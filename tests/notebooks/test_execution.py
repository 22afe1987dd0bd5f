"""Every chapter, executed once: by the build of the site, whose executed copies are looked at here.

- Cells tagged `nbval-check-output`, which print verdicts that hold at every scale, say in the executed copy what they
  say in the committed notebook.
- A falsified constant makes its cell fail. One kernel a chapter runs, at smoke scale, no more than the cells that this
  needs, by nbval: as they stand they pass, falsified they fail.
- Every experiment is measured at smoke scale and every claim is judged.
"""

import ast
import math
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from beyondloss import catalogue
from beyondloss.experiment import sweep
from beyondloss.experiment.claims import HELD, NOT_RUN
from beyondloss.experiment.judging import verdicts
from beyondloss.site import build, notebook

CHAPTERS = build.chapter_notebooks()
each_chapter = pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
FALSIFIED = {  # chapter -> constants of its code, each with a wrong value that its checks must not let pass
    "02_simplicity_bias": {
        # up to where SAM is sure to delay
        "peak = np.cbrt(2 / 5 * three.optimum)": "peak = np.cbrt(3 / 5 * three.optimum)",
    },
    "03_masked_diffusion": {
        # the ridge of the noise regime
        "logit[small] ** 2 / 8": "logit[small] ** 2 / 9",
    },
    "06_dataset_distillation": {
        # what no student of hard labels undercuts
        "theory.least_angle(m, 10)": "60 * theory.least_angle(m, 10)",
    },
    "08_safety_lora": {
        # interference: the slope, the half, the metric, the share of even directions
        "metric, residual), rise": "metric), rise",
        "0.5 * np.mean(np.sum(error * (metric @ error), axis=0))": "np.mean(np.sum(error * (metric @ error), axis=0))",
        "theory.interference(delta, moment, metric), loss": "theory.interference(delta, moment), loss",
        "/ (2 * 3)": "/ 3",
        # curvature along an update, exact and by K-FAC
        "hessians, moved) / 200\n": "hessians, moved) / 100\n",
        "kfac = 2 * ": "kfac = ",
        # the best update of a rank
        "0.5 * np.sum(values[rank:] ** 2)": "0.5 * np.sum(values[rank - 1 :] ** 2)",
        "theory.best_low_rank(d, moment, rank)": "theory.best_low_rank(d, np.eye(5), rank)",
        "np.diag([2.0, 1, 1])": "np.diag([2.0, 1, 0.9])",
        # LoRA's first step
        "(6 / 2) ** 2": "(6 / 2)",
        # one input: law, mean overlap, ceiling
        "(n - 1) / 2": "n / 2",
        "theory.mean_row_share(rank, n)": "theory.row_share(rank, n)",
        "theory.mean_first_step_overlap(full": "theory.first_step_overlap(full",
        "(n - rank) / 2": "(n - 1) / 2",
        # rank one
        '"signs": rng.choice([-1.0, 1.0]': '"signs": rng.choice([-1.0, 2.0]',
        # many inputs: moments, rows, overlap, length, columns, uniform entries
        "(rank + 1) * k + np.trace(k)": "(rank + 2) * k + np.trace(k)",
        "theory.row_share(rank, n, span=2)": "theory.row_share(rank, n, span=1)",
        "theory.first_step_overlap(full, rank, n)) < 0.01": "theory.first_step_overlap(full, rank, n + 1)) < 0.01",
        "theory.first_step_energy(rank, n, 3.0)": "theory.first_step_energy(rank, n + 1, 3.0)",
        "gradient @ gradient.T\n": "gradient @ gradient.T + 0.1 * np.eye(4)\n",
        'theory.KURTOSIS["uniform"]': 'theory.KURTOSIS["normal"]',
        # three readings, and the edge of the noise
        "0.2**2 / (2 * 12)": "0.2**2 / 12",
        "1.5 < a_rank(d=12)": "3.9 < a_rank(d=12)",
        '< a_rank(d=48, energy="in all")': '> a_rank(d=48, energy="in all")',
        "theory.noise_edge(96, 24, samples, noise) / 2": "theory.noise_edge(96, 24, samples, noise)",
        "theory.noise_edge(800, 400, samples=1)": "theory.noise_edge(800, 200, samples=1)",
        # chance of every overlap, and its deviation
        "column.mean() * m": "column.mean() * n",
        "uniform.mean() * n / top": "uniform.mean() * n",
        "both.mean() * m * n": "both.mean() * m",
        "theory.isotropic_deviation(weight, m, rank)": "theory.isotropic_deviation(weight, m, 1)",
        "theory.isotropic_deviation(np.ones(top), n, rank)": "theory.isotropic_deviation(np.ones(top), n + 1, rank)",
        # stable rank: the bound, signs, their limits
        "theory.stable_rank_bound(noise, 1.0), 3": "1 + np.sum(noise**2), 3",
        "np.sign(np.outer(g, x))), 1": "np.outer(g, x) + 0.1), 1",
        "theory.stable_rank_of_sign(g, x, 1.2) - 1": "theory.stable_rank_of_sign(g, x, 1.7) - 1",
        "** -2)": "** -1)",
        "(1 + 1.2**2)": "(1 + 1.2)",
        "np.pi / 2": "2",
        # the line and its price
        "kept * gain(best)": "place * gain(best)",
        "paid * theory.interference(best, base)": "place * theory.interference(best, base)",
        "theory.cost_of_keeping(kept), paid": "theory.cost_of_keeping(kept), kept",
        # the front, and removal
        "theory.pareto_update(d, tuned, base, mu)\n": "theory.pareto_update(d, tuned, base, 2 * mu)\n",
        "3 * mu / (1 + 3 * mu)": "mu / (1 + mu)",
        "cost - np.trace(part @ base @ d.T) / 2": "cost - np.trace(part @ base @ d.T)",
        "1 - np.trace(part @ tuned @ d.T) / energy": "1 - np.trace(part @ base @ d.T) / energy",
        "/ cost, 1 - q)": "/ cost, q)",
    },
    "10_hallucination": {
        # the bias of the degree score
        "1 - (n * (n - 1)).sum() / 90": "1 - (n * (n - 1)).sum() / 100",
    },
}

KERNEL_ONLY = ("parameters", "injected-parameters")  # tags of cells that every other one may need


# What the site executed ------------------------------------------------------------------------------------


@each_chapter
def test_the_executed_chapter_says_what_the_committed_one_says(source):
    build.execute_chapters([source], "quick")  # nothing, where the site has been built
    committed, executed = notebook.read(source), build.executed(source, "quick")
    said = [(cell.id, texts(cell)) for cell in committed.cells if compared(cell)]
    assert said and all(text for _, text in said)
    assert [(cell.id, texts(cell)) for cell in executed.cells if compared(cell)] == said


def compared(cell) -> bool:
    return "nbval-check-output" in cell.metadata.get("tags", [])


def texts(cell) -> list[str]:
    """What a cell prints and what its last value is as text."""
    return [output.get("text") or output.data["text/plain"] for output in cell.outputs]


# Falsified -------------------------------------------------------------------------------------------------


@each_chapter
def test_a_wrong_constant_and_a_changed_verdict_fail_and_nothing_else_does(source, tmp_path):
    nb = at_smoke_scale(source, tmp_path)
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    falsified = {}  # position of a cell -> its falsified copies
    for right, wrong in FALSIFIED[source.stem].items():
        at = next(i for i, cell in enumerate(cells) if right in cell.source)
        false = deepcopy(cells[at])
        false.source = false.source.replace(right, wrong)
        falsified.setdefault(at, []).append(false)
    verdict = min((i for i, cell in enumerate(cells) if compared(cell)), key=lambda i: len(needed(cells, i)))
    changed = deepcopy(cells[verdict])
    changed.outputs = [new_output("stream", name="stdout", text="theory against measurement: differ\n")]
    falsified.setdefault(verdict, []).append(changed)

    nb.cells, bad = [], []
    for i in sorted(set().union(*(needed(cells, at) for at in falsified))):
        nb.cells.append(cells[i])
        # a wrong copy stands before the right one, which then makes again what others use
        for copy in falsified.get(i, []):
            nb.cells.insert(-1, copy)
            bad.append(copy)
    for count, cell in enumerate(nb.cells, 1):
        cell.id = f"cell-{count}"
        cell.execution_count = count  # nbval takes a cell without one for a cell that was not run
    failed, said = failures_of(nb, tmp_path / "falsified.ipynb")
    sound = [nb.cells[i].source for i in failed if nb.cells[i] not in bad]
    passed = [cell.source for cell in bad if nb.cells.index(cell) not in failed]
    assert sound == [] and passed == [], said


def at_smoke_scale(source: Path, folder: Path):
    """The chapter with its committed outputs, set to run at smoke scale by papermill."""
    copy = folder / source.name
    command = [sys.executable, "-m", "papermill", "--prepare-only", "--log-level=ERROR", "-k", "python3"]
    subprocess.run([*command, source, copy, "-p", "scale", "smoke"], check=True)
    return notebook.read(copy)


def needed(cells: list, at: int) -> set[int]:
    """The cells, by position, that have to run for the cell at `at`: those that make the names it uses, and so on."""
    wanted, found = names(cells[at], ast.Load), {at}
    for i in reversed(range(at)):
        made = names(cells[i], ast.Store)
        if made & wanted or any(tag in KERNEL_ONLY for tag in cells[i].metadata.get("tags", [])):
            found.add(i)
            wanted |= names(cells[i], ast.Load)
    return found


def names(cell, how: type) -> set[str]:
    """Names that a cell uses (`ast.Load`) or makes (`ast.Store`), imports and definitions among the latter."""
    found = set()
    for node in ast.walk(ast.parse(notebook.plain_python(cell.source))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, how):
            found.add(node.id)
        elif how is ast.Store and isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif how is ast.Store and isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def failures_of(nb, path: Path) -> tuple[list[int], str]:
    """Positions of the cells that fail under nbval, away from this project's settings of pytest, and what it says."""
    nbformat.write(nb, path)
    report = path.with_suffix(".xml")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "-q",
        f"--junitxml={report}",
    ]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--rootdir={path.parent}", "-c", os.devnull, path],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    cases = ET.parse(report).getroot().findall(".//testcase")
    assert len(cases) == len(nb.cells), done.stdout
    return [i for i, case in enumerate(cases) if len(case)], done.stdout


# Smoke scale -----------------------------------------------------------------------------------------------


@pytest.fixture
def empty_journal(tmp_path, monkeypatch):
    monkeypatch.setenv("BEYONDLOSS_STORE", str(tmp_path / "journal"))


# tests whose experiment is measured at smoke scale, but not in the setting that they are about
NO_POINTS_AT_SMOKE = {"2.1e", "2.2d", "6.1e", "6.1f", "6.1m", "10.3e", "10.3f"}
# in two steps nothing is taught to refuse, so no rate is chosen
NO_POINTS_AT_SMOKE |= {"8.1a", "8.1b", "8.2a", "8.2b", "8.2c", "8.2d", "8.3a", "8.4a", "8.4b"}
# a ratio of nothing learned, or a correlation of equal ranks, is no number after a few steps
NO_NUMBER_AT_SMOKE = {"2.1b", "2.1c", "2.2a", "3.3c"}


# peft asks transformers for a property by its old name
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("chapter", catalogue.chapters(), ids=lambda chapter: chapter.slug)
def test_every_experiment_is_measured_and_every_claim_judged_at_smoke_scale(chapter, empty_journal):
    """Experiments that readers get from the store at this scale, too, need models or data that are not here."""
    measured = [plan for plan in chapter.preset("smoke").computed if not plan.stored]
    for plan in measured:
        assert len(sweep(plan, fresh=True, workers=1, progress=False)) == len(plan.grid)
    names = {plan.experiment.name for plan in measured}
    found = {verdict.claim.id: verdict for verdict in verdicts(chapter, "smoke")}
    judged = {test for test, verdict in found.items() if verdict.verdict != NOT_RUN}
    wanted = {test for test, verdict in found.items() if experiments_of(verdict.claim) <= names}
    assert len(measured) >= 2 and judged == wanted - NO_POINTS_AT_SMOKE
    proved = {test for test in judged if found[test].claim.by == "proof"}
    assert all(found[test].verdict == HELD for test in proved)
    effects = {test: found[test].effect or found[test].control for test in judged - proved}
    unknown = {test for test, effect in effects.items() if not math.isfinite(effect.value)}
    assert unknown == NO_NUMBER_AT_SMOKE & judged


def experiments_of(claim):
    """The experiments whose points a test needs, its positive control's among them; none for a proof."""
    control = claim.precondition.experiment if claim.precondition else ""
    return {claim.experiment, control} - {""}


def test_papermill_alone_runs_a_chapter_from_any_folder(tmp_path, empty_journal):
    """What a reader types who knows papermill and not our command."""
    source = shutil.copy(CHAPTERS[-1], tmp_path / "chapter.ipynb")
    command = [sys.executable, "-m", "papermill", source, "out.ipynb", "-p", "scale", "smoke"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.ipynb").is_file()
