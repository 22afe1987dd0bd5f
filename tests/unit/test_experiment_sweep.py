"""From a plan to a table, and what `verify` makes of it."""

import importlib
import itertools
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy
from toy import CHAPTER, DEAR, TOY, Point, measured, score

from beyondloss import catalogue
from beyondloss.experiment import (
    Axis,
    BadInput,
    Experiment,
    SweepFailed,
    checkpoint_folder,
    sweep,
    table,
    verify,
)
from beyondloss.experiment.verify import differences

pytestmark = pytest.mark.usefixtures("own_store")
NAMES = (f"edited{i}" for i in itertools.count())


def smoke(**overrides):
    return TOY.plan("smoke", overrides=overrides)


def quiet(plan, **how):
    return sweep(plan, **{"workers": 1, "progress": False, **how})


@pytest.mark.parametrize("workers", [1, 2])
def test_the_table_has_a_row_a_point(workers):
    frame = quiet(smoke(), workers=workers)
    assert list(zip(frame.k, frame.seed, strict=True)) == [(k, s) for k in (2, 3) for s in (0, 1, 2)]
    assert np.allclose(frame.score, [score(p) for p in smoke().grid], rtol=1e-6)
    assert frame.curve[0] == [plain_score(Point()), None]
    assert set(frame.state) == {"current"} and frame.commit[0].startswith("release")
    assert list(frame.columns)[:7] == ["k", "rate", "mood", "window", "pause", "note", "seed"]
    assert list(frame.columns)[-4:] == ["seconds", "device", "commit", "state"]


def plain_score(point):
    return float(f"{score(point):.7g}")


def test_stored_points_are_the_same_and_not_measured_again():
    first = quiet(smoke())
    assert quiet(smoke()).equals(first)
    assert quiet(TOY.plan("smoke", seeds=4)).shape[0] == 8
    assert len(measured()) == len(set(measured())) == 8


def test_fresh_measures_every_point_once_more():
    quiet(smoke())
    quiet(smoke(), fresh=True)
    assert len(measured()) == 12


def test_an_experiment_that_is_not_asked_for_is_only_looked_up():
    frame = quiet(CHAPTER.preset("smoke", only="dear")["toy"])
    assert frame.empty and list(frame.columns[:2]) == ["k", "rate"] and frame.attrs["planned"] == 6
    assert not measured()


def test_a_stored_experiment_is_measured_only_when_asked_for():
    plan = DEAR.plan("smoke")
    assert quiet(plan).empty
    assert len(quiet(plan, compute_stored=True)) == 2
    assert len(quiet(plan)) == len(measured()) == 2
    quiet(plan, fresh=True)
    assert len(measured()) == 2
    quiet(plan, fresh=True, compute_stored=True)
    assert len(measured()) == 4


def test_a_metric_named_like_a_field_fails(monkeypatch):
    monkeypatch.setattr(toy, "score", lambda point: 1.0)
    monkeypatch.setattr(toy, "_measured", lambda point: {"k": 1})
    with pytest.raises(SweepFailed, match="named like fields of the point: k"):
        quiet(smoke())


def test_too_few_results_fail(monkeypatch):
    monkeypatch.setattr(toy, "_measured", lambda point: {} if point.seed else None)
    with pytest.raises(SweepFailed):
        quiet(smoke())


@pytest.mark.parametrize("how", [{"engine": "rya"}, {"workers": 0}, {"workers": "2"}])
def test_a_wrong_argument_is_refused_before_any_work(how):
    with pytest.raises(BadInput, match="ray|workers"):
        sweep(smoke(), **how)
    assert not measured()


# Code that changes -----------------------------------------------------------------------------------------

MODULE = '''
"""A method in a module of its own."""
from dataclasses import dataclass
from beyondloss.experiment import Axis, Cost, Experiment
from {package}.law import law

@dataclass(frozen=True)
class Point:
    k: int = 1
    seed: int = 0

def run(points):
    return [{{"y": law(point.k)}} for point in points]

PRESET = {{"k": Axis(1, 2, 3, 4), "seed": Axis(0, 1)}}
E = Experiment("e", "E", Point, run, {{"smoke": PRESET}}, {{"smoke": Cost(1)}}, tolerance={{"y": 0.01}})
DEAR = Experiment("d", "D", Point, run, {{"smoke": PRESET}}, {{"smoke": Cost(1)}}, stored=frozenset({{"smoke"}}))
'''


@pytest.fixture
def method(tmp_path, monkeypatch):
    """A module with an experiment whose law is in another module: (module, function that rewrites the law)."""
    folder = tmp_path / next(NAMES)
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "method.py").write_text(MODULE.format(package=folder.name))

    def write(body):
        (folder / "law.py").write_text(f"def law(k):\n    {body}\n")
        sys.modules.pop(f"{folder.name}.law", None)

    write("return 2 * k")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return importlib.import_module(f"{folder.name}.method"), write


def test_a_comment_keeps_the_points_and_an_edit_measures_them_as_the_code_now_is(method):
    module, write = method
    plan = module.E.plan("smoke")
    first = quiet(plan)
    assert list(first.y) == [2, 2, 4, 4, 6, 6, 8, 8]
    time.sleep(0.02)
    write("'doc'  # a comment\n    return 2 * k")
    assert quiet(plan).equals(first)
    write("return 3 * k")  # this process still has the law that was loaded first
    assert list(quiet(plan).y) == [3, 3, 6, 6, 9, 9, 12, 12]
    assert set(quiet(plan).state) == {"current"}


def test_stale_points_of_a_stored_experiment_are_shown_as_such(method, caplog):
    module, write = method
    plan = module.DEAR.plan("smoke")
    quiet(plan, compute_stored=True)
    write("return 3 * k")
    with caplog.at_level(logging.WARNING, "beyondloss"):
        frame = quiet(plan)
    assert set(frame.state) == {"stale"} and list(frame.y[:2]) == [2, 2]
    assert [r.getMessage() for r in caplog.records] == [
        f"d: stale points, computed at commit {frame.commit[0]}"
    ]
    assert set(quiet(plan, compute_stored=True).state) == {"current"}


def test_code_edited_during_a_sweep_is_not_taken_for_what_was_asked(method):
    from beyondloss.experiment.engines import Job, Local

    module, write = method
    before = module.E.code_digest
    write("return 3 * k")
    with Local(1) as engine:
        _, outcome = next(engine.measure(iter([Job(module.run, module.E.plan("smoke").grid[:2], before)])))
    assert "was edited while the sweep was running" in outcome.failure


# Verify ----------------------------------------------------------------------------------------------------


def test_verify_stamps_all_when_those_that_it_measures_agree(method):
    module, write = method
    plan = module.E.plan("smoke")
    quiet(plan)
    write("return k + k * 1.001")
    report = verify(plan, share=0.5)
    assert (report.ok, report.stored, report.checked, report.restamped) == (True, 8, 4, 8)
    frame = quiet(plan)
    assert set(frame.state) == {"current"} and frame.y[0] == 2  # the stored numbers, not those of the check


def test_verify_refuses_when_one_disagrees(method):
    module, write = method
    plan = module.E.plan("smoke")
    quiet(plan)
    write("return 2 * k if k < 4 else 9")
    report = verify(plan, share=1.0)
    assert (report.ok, report.restamped) == (False, 0)
    assert [(p.k, p.seed, *found) for p, *found in report.disagreements] == [
        (4, s, "y", 8, 9) for s in (0, 1)
    ]
    assert set(table(plan).state) == {"stale"}


def test_verify_measures_a_tenth_but_at_least_one_group():
    plan = TOY.plan("smoke", overrides={"k": Axis(*range(1, 31))})
    quiet(plan)
    assert verify(plan, workers=1).checked == 9
    assert verify(smoke(), share=0.01, workers=1).checked == 3
    assert verify(smoke(), share=1.0, most=1, workers=1).checked == 2
    first, second, third = (
        [(k, s) for _, _, k, s in measured()[-9:]] for seed in (0, 0, 1) if verify(plan, seed=seed, workers=1)
    )
    assert first == second != third


@pytest.fixture
def elsewhere(method, tmp_path, monkeypatch):
    """Points of a commit that a machine of other rounding stored: (plan, to rewrite the law, to commit it)."""
    module, write = method
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]

    def commit():
        for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "law"]):
            subprocess.run([*git, *arguments], check=True)

    write("import os\n    print('of the law')\n    return k * float(os.environ['ROUNDING'])")
    commit()
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(tmp_path))
    monkeypatch.setenv("ROUNDING", "2.1")
    quiet(module.E.plan("smoke"))
    monkeypatch.setenv("ROUNDING", "2")
    return module.E.plan("smoke"), write, commit


@pytest.mark.parametrize("workers", [1, 2])
def test_verify_against_a_commit_compares_both_codes_on_this_machine(elsewhere, workers):
    plan, write, _ = elsewhere
    write("return 2 * k")
    assert not verify(plan, share=1.0).ok  # as the stored points were rounded elsewhere
    report = verify(plan, share=0.5, against="HEAD", workers=workers)
    assert (report.ok, report.stored, report.checked, report.restamped) == (True, 8, 4, 8)
    frame = quiet(plan)
    assert set(frame.state) == {"current"} and frame.y[0] == 2.1


def test_verify_against_a_commit_finds_what_the_edit_changed(elsewhere):
    plan, write, _ = elsewhere
    write("return 2 * k if k < 4 else 9")
    report = verify(plan, share=1.0, against="HEAD")
    assert (report.ok, report.restamped) == (False, 0)
    assert [found for _, *found in report.disagreements] == [["y", 8, 9]] * 2
    assert set(table(plan).state) == {"stale"}


def test_verify_against_a_commit_that_measured_nothing_of_it_is_refused(elsewhere):
    plan, write, commit = elsewhere
    write("return 2 * k")
    with pytest.raises(BadInput, match="commit 'nowhere' is none of this checkout"):
        verify(plan, against="nowhere")
    commit()
    with pytest.raises(BadInput, match="the code at 'HEAD' has measured no stored point of e"):
        verify(plan, against="HEAD")
    write("return 2.0 * k")
    assert verify(plan, against="HEAD~").ok


def test_verify_against_a_commit_that_cannot_measure_names_the_point(elsewhere, monkeypatch):
    plan, write, _ = elsewhere
    write("return 2 * k")
    monkeypatch.delenv("ROUNDING")
    with pytest.raises(SweepFailed, match="could not measure .*\n(?s:.*)KeyError: 'ROUNDING'"):
        verify(plan, against="HEAD")


def test_verify_without_points_or_with_a_wrong_number_is_refused():
    with pytest.raises(BadInput, match="no stored points"):
        verify(smoke())
    with pytest.raises(BadInput, match="share"):
        verify(smoke(), share=0.0)
    with pytest.raises(BadInput, match="most must be a number of seeds from 1 on, not 0"):
        verify(smoke(), most=0)


@pytest.mark.parametrize(
    "stored, measured, differ",
    [
        ({"a": 1.0}, {"a": 1.0000001}, []),
        ({"a": 1.0}, {"a": 1.00001}, ["a"]),
        ({"s": 1.0}, {"s": 1.0009}, []),
        ({"s": [1.0, [2.0]]}, {"s": [1.0009, [2.0]]}, []),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}, ["a"]),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, ["a"]),
        ({"a": None}, {"a": None}, []),
        ({"a": None}, {"a": 0.0}, ["a"]),
        ({"a": "x"}, {"a": "y"}, ["a"]),
        ({"a": 1.0, "b": None}, {"a": 1.0}, ["b"]),
    ],
)
def test_differences(stored, measured, differ):
    assert [name for name, _, _ in differences(stored, measured, {"s": 1e-3})] == differ


# Where sweeps are called from ------------------------------------------------------------------------------


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\nfrom toy import TOY\nfrom beyondloss.experiment import sweep\n"
        "print(len(sweep(TOY.plan('smoke'), workers=2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["started", "6"]
    assert done.stderr == "toy: 6 of 6 points\n"  # plain lines in a log


def test_a_notebook_sweeps_in_processes_and_shows_nothing_of_it():
    import nbclient
    from nbformat.v4 import new_code_cell, new_notebook

    cell = (
        "from toy import TOY\nfrom beyondloss.experiment import sweep\n"
        "t = sweep(TOY.plan('smoke'), workers=2); print(len(t))"
    )
    nb = new_notebook(cells=[new_code_cell(cell)])
    nbclient.NotebookClient(nb, kernel_name="python3", timeout=60).execute()
    assert [(o.name, o.text) for o in nb.cells[0].outputs] == [("stdout", "6\n")]
    parents = {parent for parent, *_ in measured()}
    assert len(measured()) == 6 and len(parents) == 1  # children of the kernel, not the kernel


def test_importing_the_pipe_loads_nothing_heavy():
    code = "import sys, beyondloss.experiment, beyondloss.catalogue; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", "import json;" + code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "pandas", "numpy", "scipy", "matplotlib"} & set(json.loads(done.stdout))


def test_workers_divide_the_threads(monkeypatch):
    from beyondloss.experiment.resources import cores

    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    plan = Experiment("t", "T", Point, toy.threads, {"smoke": {"k": Axis(1, 2)}}, TOY.cost).plan("smoke")
    assert set(quiet(plan, workers=2).threads) == {str(max(1, cores() // 2))}


def test_a_checkpoint_folder_is_there_for_the_sweep_alone(own_store):
    plan = Experiment("c", "C", Point, toy.checkpointed, {"smoke": {}}, TOY.cost).plan("smoke")
    with pytest.raises(SweepFailed, match="stopped half-way"):
        quiet(plan)
    assert quiet(plan).resumed[0]  # the next sweep finds what the first one left
    assert checkpoint_folder() is None and not list(own_store.rglob("half"))
    assert verify(plan).disagreements[0][1:] == ("resumed", True, False)  # and verify starts anew


# The catalogue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["3", "03", 3, "toy", "03_toy"])
def test_a_chapter_has_several_names(name, monkeypatch):
    monkeypatch.setattr(catalogue, "chapters", lambda: [CHAPTER])
    assert catalogue.chapter(name) is CHAPTER


@pytest.mark.parametrize(
    "name, near", [("tyo", "toy"), ("03_toi", "03_toy"), ("4", None), ("-1", None), ("", None)]
)
def test_an_unknown_chapter_is_answered_with_the_nearest(name, near, monkeypatch):
    monkeypatch.setattr(catalogue, "chapters", lambda: [CHAPTER])
    with pytest.raises(BadInput, match=f"did you mean '{near}'" if near else "unknown chapter"):
        catalogue.chapter(name)


def test_the_book_s_chapters_are_found():
    numbers = [c.number for c in catalogue.chapters()]
    assert numbers == sorted(set(numbers))
    notebooks = Path(__file__).parents[2].glob("notebooks/[0-9]*.ipynb")
    assert all(catalogue.chapter(path.stem).name == path.stem for path in notebooks)
