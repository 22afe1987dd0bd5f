"""The command line on a toy chapter: what it answers, and what bad input gets."""

import errno
import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import toy
from nbformat.v4 import new_code_cell, new_notebook

from beyondloss import catalogue, cli, summaries
from beyondloss.experiment import Store
from beyondloss.site import notebook

PARAMETERS = 'scale = "quick"\nonly = None\nseeds = None\nengine = "local"\nfresh = False\noverrides = {}'
READS_THE_STORE = (
    "import toy\nfrom beyondloss.experiment import sweep\n"
    "cfg = toy.CHAPTER.preset(scale, only=only, seeds=seeds, overrides=overrides)\n"
    "print(len(sweep(cfg['toy'], fresh=fresh)))"
)


@pytest.fixture
def book(own_store, monkeypatch):
    """A checkout with the toy chapter as its only one; its root."""
    monkeypatch.setattr(catalogue, "chapters", lambda: [toy.CHAPTER])
    monkeypatch.chdir("/")
    here = own_store.parent / "checkout"
    (here / "_toc.yml").touch()
    (here / "notebooks").mkdir()
    first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    nbformat.write(
        new_notebook(cells=[first, new_code_cell(READS_THE_STORE)]), here / "notebooks/03_toy.ipynb"
    )
    return here


@pytest.fixture
def told(book, capsys):
    """Call the command line; its exit status, output and complaint."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def files(book) -> set:
    return {path for path in book.parent.rglob("*") if path.is_file()}


# Answers ---------------------------------------------------------------------------------------------------


def test_list_as_json(told):
    status, out, _ = told("list", "--json")
    (row,) = json.loads(out)
    assert status == 0
    assert list(row) == ["chapter", "slug", "experiments", "claims", "cost"]
    assert (row["chapter"], row["slug"]) == (3, "toy")
    assert row["experiments"] == ["toy", "dear"]
    assert row["claims"] == ["3.1", "3.2", "3.3"]
    assert row["cost"]["smoke"]["seconds"] == 6, "a stored experiment costs its reader nothing"
    assert row["cost"]["smoke"]["experiments"]["dear"]["stored"]
    assert row["cost"]["full"]["gpus"] == 99


def test_list_for_people(told):
    status, out, _ = told("list")
    assert status == 0
    assert " 3  toy: Toys" in out and "claims: 3.1, 3.2, 3.3" in out and "99 GPU" in out


def test_claims_as_json(told):
    assert told("run", "3", "--scale", "smoke")[0] == 0
    status, out, _ = told("claims", "--json", "--scale", "smoke")
    rows = json.loads(out)
    keys = ["chapter", "claim", "scale", "statement", "verdict", "summary", "tests"]
    assert status == 0
    assert [list(row) for row in rows] == [keys] * 3
    assert [row["verdict"] for row in rows] == ["held", "not run at this scale", "held"]
    (test,), (unmeasured,) = rows[0]["tests"], rows[1]["tests"]
    assert rows[0]["chapter"] == 3 and rows[0]["statement"] == "Toys are good."
    assert (test["test"], test["verdict"], test["survives"]) == ("3.1a", "held", True)
    assert test["effect"]["low"] > 1 == test["margin"] and test["effect"]["seeds"] == 6
    assert 0 < test["p"] == test["p_holm"] < 0.05, "one test alone needs no correction"
    assert unmeasured["effect"] is None and unmeasured["p"] is None and unmeasured["survives"] is None


def test_claims_show_quick_and_full_and_compute_nothing(told):
    status, out, _ = told("claims", "toy")
    assert status == 0
    assert out.count("3.1 ") == 2 and out.count("not run at this scale") == 4 and "3.1a" not in out
    assert out.count("Toys make sense.\n        held (1 test: 1 held)") == 2
    assert told("claims", "toy", "--tests")[1].count("3.1a") == 2
    assert toy.measured() == []


@pytest.mark.parametrize("command", [["list", "--json"], ["claims", "--json"], ["--help"]])
def test_an_answer_asked_again_loads_neither_torch_nor_anything_else_that_is_slow(tmp_path, command):
    """What it loads decides how long a reader waits, and unlike a time it is the same on every machine."""
    slow = ("torch", "matplotlib", "nbformat", "scipy", "pandas", "numpy")
    code = (
        f"import sys\nfrom beyondloss import cli\ntry: cli.main({command})\n"
        f"except SystemExit: print([m for m in {slow} if m in sys.modules])"
    )
    ask = [sys.executable, "-c", code]
    environment = {**os.environ, "BEYONDLOSS_STORE": str(tmp_path)}
    first, second = (
        subprocess.run(ask, env=environment, capture_output=True, text=True, check=True) for _ in "ab"
    )
    assert second.stdout.splitlines()[-1] == "[]"
    assert first.stdout.splitlines()[:-1] == second.stdout.splitlines()[:-1]


def test_an_answer_is_made_anew_when_points_or_code_change(own_store, monkeypatch):
    asked = []
    monkeypatch.setattr(summaries, "__file__", str(own_store.parent / "package" / "summaries.py"))
    module = own_store.parent / "package" / "methods" / "toy.py"
    module.parent.mkdir(parents=True)

    def ask():
        return summaries.kept("how many", lambda: asked.append(1) or len(asked))

    assert ask() == ask() == 1
    point = own_store / "toy" / "quick" / "point.json"
    point.parent.mkdir(parents=True)
    point.write_text("{}")
    assert ask() == ask() == 2
    module.write_text("x = 1")
    assert ask() == ask() == 3
    published = own_store.parent / "checkout" / "data" / "results" / "toy" / "quick.json"
    published.parent.mkdir(parents=True)
    published.write_text("{}")
    assert ask() == ask() == 4
    (kept,) = (own_store / "answers").iterdir()
    kept.write_text("{")
    assert ask() == 5


# Running ---------------------------------------------------------------------------------------------------


def test_run_measures_and_executes_from_the_store(told, book):
    status, out, err = told("run", "toy", "--scale", "smoke", "--set", "toy.k=5", "--seeds", "0:2")
    assert status == 0, err
    executed = notebook.read(book / "_build" / "executed" / "smoke" / "03_toy.ipynb")
    assert executed.cells[-1].outputs[0].text == "2\n"
    assert sorted(point[2:] for point in toy.measured()) == [(5, 0), (5, 1)], "each point once"
    assert executed.metadata.beyondloss.parameters == {
        "scale": "smoke", "seeds": "0:2", "overrides": {"toy.k": 5},
    }  # fmt: skip
    assert "toy: 2 of 2 points" in err, "plain lines in a log"


def test_run_again_measures_nothing_and_fresh_measures_all(told):
    arguments = ["run", "3", "--scale", "smoke", "--only", "toy"]
    assert told(*arguments)[0] == 0
    assert told(*arguments)[0] == 0
    assert len(toy.measured()) == 6
    assert told(*arguments, "--fresh")[0] == 0
    assert len(toy.measured()) == 12


def test_what_is_made_goes_to_the_folder_that_is_named(told, book, own_store, monkeypatch):
    elsewhere = own_store.parent / "made elsewhere"
    monkeypatch.setenv("BEYONDLOSS_BUILD", str(elsewhere))
    before = sorted(book.rglob("*"))
    status, _, err = told("run", "3", "--scale", "smoke")
    assert status == 0, err
    assert (elsewhere / "executed" / "smoke" / "03_toy.ipynb").is_file()
    assert sorted(book.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to_is_named_with_the_way_out(told, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "/book/_build/executed")

    monkeypatch.setattr(notebook, "execute", refuse)
    status, _, err = told("run", "3", "--scale", "smoke", "--seeds", "1")
    said = err.strip().splitlines()[-1]
    assert status == 1 and "Traceback" not in err
    assert said.startswith(
        f"beyondloss: cannot write /book/_build/executed ({os.strerror(number)}); BEYONDLOSS_STORE"
    )


def test_an_error_of_our_own_is_not_taken_for_a_full_disk(told, monkeypatch):
    monkeypatch.setattr(notebook, "execute", lambda *_: open("/nowhere/at/all"))
    with pytest.raises(FileNotFoundError):
        cli.main(["run", "3", "--scale", "smoke", "--seeds", "1"])


def test_run_leaves_stored_experiments_alone_unless_told(told):
    assert told("run", "3", "--scale", "smoke")[0] == 0
    assert len(toy.measured()) == 6
    assert told("run", "3", "--scale", "smoke", "--stored")[0] == 0
    assert len(toy.measured()) == 8


def test_run_publishes_when_asked(told, book):
    assert told("run", "3", "--scale", "smoke", "--publish")[0] == 0
    assert (book / "data" / "results" / "toy" / "smoke.json").is_file()


def test_verify_agrees(told):
    assert told("run", "3", "--scale", "smoke", "--only", "toy")[0] == 0
    status, out, _ = told("verify", "3", "--scale", "smoke", "--only", "toy", "--share", "1")
    assert status == 0
    assert "6 of 6 points measured again, all agree" in out


def test_verify_says_what_differs(told, monkeypatch):
    assert told("run", "3", "--scale", "smoke", "--only", "toy")[0] == 0
    point = toy.TOY.plan("smoke").grid[0]
    wrong = {"score": 99.0, "curve": [99.0, None], "verdict": "fine", "diverged_at": None}
    store = Store("toy", "smoke")
    store.put(toy.TOY, point, wrong, 1.0, store.get(toy.TOY, point).provenance)
    status, out, _ = told("verify", "3", "--scale", "smoke", "--only", "toy", "--share", "1")
    assert status == 1
    assert "score: stored 99.0, measured 2.1" in out


# What bad input gets ---------------------------------------------------------------------------------------

BAD = {
    "unknown command": (["rum"], "No such command 'rum'"),
    "unknown chapter": (["run", "tyo"], "unknown chapter 'tyo'; did you mean 'toy'"),
    "unknown chapter number": (["run", "12"], "unknown chapter '12'"),
    "unknown scale": (["run", "3", "--scale", "smok"], "did you mean 'smoke'"),
    "unknown scale to build": (["build", "--scale", "fll"], "did you mean 'full'"),
    "unknown option": (["run", "3", "--scal", "smoke"], "No such option: --scal"),
    "unknown experiment": (["run", "3", "--only", "toi"], "did you mean 'toy'"),
    "unknown field": (["run", "3", "--set", "rat=1"], "did you mean 'rate'"),
    "unknown field of an experiment": (["run", "3", "--set", "toy.kk=1"], "kk"),
    "wrong type": (["run", "3", "--set", "k=2.5"], "must be int, not 2.5"),
    "wrong type, a word": (["run", "3", "--set", "k=two"], "must be int, not 'two'"),
    "unknown value": (["run", "3", "--set", "mood=wel"], "did you mean 'well'"),
    "impossible value": (["run", "3", "--set", "k=-1"], "k must be at least 1"),
    "no value": (["run", "3", "--set", "k"], "--set takes NAME=VALUE, not 'k'"),
    "no seeds": (["run", "3", "--seeds", "5:5"], "seed"),
    "no such seeds": (["run", "3", "--seeds", "a"], "seeds 'a'"),
    "unknown engine": (["run", "3", "--engine", "rya"], "did you mean 'ray'"),
    "a share that is none": (["verify", "3", "--share", "2"], "--share"),
    "no seeds to verify": (["verify", "3", "--most", "0"], "--most"),
    "nothing to verify": (["verify", "3", "--scale", "smoke"], "no stored points"),
    "no such figure": (["figure", "3.9"], "unknown figure of chapter 3 '3.9'"),
    "unknown scale of claims": (["claims", "--scale", "ful"], "did you mean 'full'"),
    "no site to serve": (["serve"], "beyondloss build --scale quick"),
    "more GPUs than there are": (["run", "3", "--scale", "full"], "99 GPUs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_status_2_before_anything_is_done(told, book, monkeypatch, case):
    arguments, complaint = BAD[case]
    monkeypatch.setattr(notebook, "execute", lambda *_: pytest.fail("a kernel was started"))
    before = files(book)
    status, out, err = told(*arguments)
    assert status == 2
    assert complaint in err
    assert err.startswith("beyondloss: ") and err.count("\n") == 1, err
    assert out == ""
    assert files(book) == before
    assert toy.measured() == []


def test_force_goes_on_without_the_gpu(told):
    status, out, err = told("run", "3", "--scale", "full", "--only", "toy", "--force")
    assert status == 0, err
    assert len(toy.measured()) == 2


def test_a_full_run_without_a_gpu_is_told_before_any_download(told):
    _, _, err = told("run", "3", "--scale", "full")
    assert "predicted to need 99 GPUs" in err and "here are 0 GPUs" in err and "--force" in err


def test_a_cluster_is_not_asked_what_this_machine_has(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # not installed
    status, _, err = told("run", "3", "--scale", "full", "--engine", "ray")
    assert status == 2
    assert "pip install -e '.[cluster]'" in err and "GPU" not in err


def test_a_failing_point_does_not_stop_the_others(told, monkeypatch):
    monkeypatch.setattr(notebook, "execute", lambda *_: pytest.fail("executed although points are missing"))
    status, _, err = told("run", "3", "--scale", "smoke", "--stored", "--set", "toy.mood=fails")
    assert status == 1
    assert "6 of 6 points failed" in err and "RuntimeError: this toy fails" in err and "log.txt" in err
    assert Store("toy", "smoke").get(toy.DEAR, toy.DEAR.plan("smoke").grid[0]), "the other experiment went on"


def test_a_failing_cell_is_named_with_its_traceback(told, book):
    path = book / "notebooks" / "03_toy.ipynb"
    nb = notebook.read(path)
    nb.cells.append(new_code_cell("assert len('ab') == 3, 'falsified'"))
    nbformat.write(nb, path)
    status, _, err = told("run", "3", "--scale", "smoke", "--only", "toy")
    assert status == 1
    assert "03_toy.ipynb: cell" in err and "AssertionError: falsified" in err
    assert len(toy.measured()) == 6, "finished points are kept"


def test_damaged_results_are_refused_by_name_with_the_way_out(told, book):
    assert told("run", "3", "--scale", "smoke", "--only", "toy", "--publish")[0] == 0
    published = book / "data" / "results" / "toy" / "smoke.json"
    published.write_text(published.read_text()[:-40])
    shutil.rmtree(os.environ["BEYONDLOSS_STORE"])
    for command in (["claims", "--scale", "smoke"], ["run", "3", "--scale", "smoke"]):
        status, _, err = told(*command)
        assert status == 2
        assert "data/results/toy/smoke.json" in err and "git checkout" in err and "--fresh" in err


def test_a_damaged_notebook_is_refused_by_name(told, book):
    (book / "notebooks" / "03_toy.ipynb").write_text("{")
    status, _, err = told("run", "3", "--scale", "smoke")
    assert status == 2
    assert "03_toy.ipynb" in err and "git checkout" in err
    assert toy.measured() == []


def test_without_a_checkout_the_way_out_is_said(told, monkeypatch, tmp_path):
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(tmp_path / "nowhere"))
    status, _, err = told("build")
    assert status == 2
    assert "BEYONDLOSS_ROOT" in err


def test_ctrl_c_ends_with_130_and_no_traceback(told, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "chapter", interrupted)
    status, _, err = told("run", "3")
    assert status == 130
    assert err == "beyondloss: stopped; what was finished is kept\n"


# Showing ---------------------------------------------------------------------------------------------------


def test_serve_says_that_a_port_is_taken(told, book):
    import socket

    site = book / "_build" / "site" / "quick"
    site.mkdir(parents=True)
    (site / "index.html").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = told("serve", "--port", str(taken.getsockname()[1]))
    assert status == 2
    assert "is not free" in err


def test_lab_opens_the_chapter(told, book, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.extend(arguments))
    assert told("lab", "3")[0] == 0
    assert started[1:3] == ["-m", "jupyterlab"]
    assert started[-1] == str(book / "notebooks" / "03_toy.ipynb")


@pytest.mark.parametrize("chapter", ["3", None])
def test_lab_passes_options_on(told, book, monkeypatch, chapter):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.extend(arguments))
    assert told("lab", *filter(None, [chapter]), "--", "--no-browser", "--ip", "0.0.0.0")[0] == 0
    assert started[-3:] == ["--no-browser", "--ip", "0.0.0.0"]
    assert (str(book / "notebooks" / "03_toy.ipynb") in started) == (chapter is not None)


def test_serve_refuses_what_is_no_port(told):
    status, _, err = told("serve", "--port", "70000")
    assert status == 2 and "0 to 65535" in err
