"""What becomes of the points when processes are killed, disks fill, files are damaged and points fail."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy import CHAPTER, TOY, Point, measured, score

from beyondloss.experiment import (
    Axis,
    BadInput,
    DamagedFile,
    NotEnough,
    Store,
    SweepFailed,
    judge,
    sweep,
    table,
    verify,
)

pytestmark = pytest.mark.usefixtures("own_store")
SWEEP = """
from toy import TOY
from beyondloss.experiment import sweep
sweep(TOY.plan({plan}), workers=2, progress=False)
"""


def start(plan, **how):
    """A sweep of the toy in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP.format(plan=plan)], stderr=subprocess.PIPE, text=True, **how
    )


def stored(scale):
    """Name -> content of the points in the journal."""
    folder = Store("toy", scale).folder
    return {path.name: path.read_bytes() for path in folder.glob("toy-*.json")}


def names(plan):
    """(k, seed) -> name of the point's file."""
    store = Store.of(plan)
    return {(p.k, p.seed): store.path(TOY, p).name for p in plan.grid}


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    """Whether a process runs (one that has ended but was not yet collected does not)."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_right(frame, plan):
    assert list(zip(frame.k, frame.seed, strict=True)) == [(p.k, p.seed) for p in plan.grid]
    assert list(frame.score) == pytest.approx([score(p) for p in plan.grid], rel=1e-6)


# Kills -----------------------------------------------------------------------------------------------------


def test_a_sweep_killed_at_twenty_random_moments_loses_nothing_and_measures_nothing_stored_again():
    plan = TOY.plan("quick")
    name_of = names(plan)
    moment = random.Random(20)
    kept, seen, interrupted = {}, 0, 0
    for _ in range(20):
        child = start("'quick'")
        if moment.random() < 0.8:  # in the midst of its work; else as it starts
            wait_until(lambda before=seen: len(measured()) > before + 4)
        time.sleep(moment.uniform(0, 0.3))
        interrupted += child.poll() is None
        child.kill()
        child.communicate()
        now = stored("quick")
        assert kept.items() <= now.items(), "a stored point was lost or written again"
        lines = measured()
        again = {name_of[k, seed] for _, _, k, seed in lines[seen:]} & kept.keys()
        assert not again, "a stored point was measured again"
        kept, seen = now, len(lines)
    assert interrupted == 20 and 0 < len(kept) < len(plan.grid)

    wait_until(lambda: not any(alive(pid) for _, pid, *_ in measured()))  # no worker outlives its sweep
    seen = len(measured())
    assert_right(sweep(plan, workers=2, progress=False), plan)
    assert sorted(name_of[k, seed] for _, _, k, seed in measured()[seen:]) == sorted(
        name_of.values() - kept.keys()
    )
    assert kept.items() <= stored("quick").items()
    assert not list(Store.of(plan).folder.rglob("*.part"))


def test_a_terminated_sweep_ends_at_once_and_leaves_what_it_measured():
    plan = TOY.plan("smoke", overrides={"k": Axis(1, 2, 3, 4), "pause": 0.3})
    child = start("'smoke', overrides={'k': [1, 2, 3, 4], 'pause': 0.3}")
    wait_until(lambda: len(stored("smoke")) >= 3)
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGTERM
    wait_until(lambda: not any(alive(pid) for _, pid, *_ in measured()))
    before, seen = stored("smoke"), len(measured())
    assert_right(sweep(plan, workers=1, progress=False), plan)
    assert len(measured()) - seen == 12 - len(before) > 0


def test_an_interrupted_sweep_ends_with_its_workers():
    """Ctrl-C on a terminal reaches the sweep and its workers alike."""
    child = start("'smoke', overrides={'pause': 30}", start_new_session=True)
    wait_until(lambda: len(measured()) >= 2)
    os.killpg(child.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in child.communicate(timeout=60)[1]
    wait_until(lambda: not any(alive(pid) for _, pid, *_ in measured()))


def test_a_killed_worker_takes_down_its_own_point_only():
    plan = TOY.plan("smoke", overrides={"k": Axis(1, 2, 3), "mood": Axis("well", "dies"), "seed": 0})
    with pytest.raises(SweepFailed, match="the worker process was killed") as error:
        sweep(plan, workers=2, progress=False)
    assert sorted((p.k, p.mood) for p in error.value.failures) == [(k, "dies") for k in (1, 2, 3)]
    assert list(table(plan).mood) == ["well"] * 3


def test_a_worker_killed_while_idle_is_replaced():
    from beyondloss.experiment.engines import Job, Local

    point = TOY.plan("smoke").grid[:1]
    job = Job(TOY.run, point, TOY.code_digest)
    with Local(1) as engine:
        _, first = next(engine.measure(iter([job])))
        os.kill(measured()[0][1], signal.SIGKILL)
        time.sleep(0.3)
        _, second = next(engine.measure(iter([job])))
    assert first.metrics == second.metrics and measured()[0][1] != measured()[1][1]


# Points that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mood, said", [("fails", "RuntimeError: this toy fails at seed 1")])
def test_the_others_finish_when_a_point_fails(workers, mood, said, own_store):
    bad = TOY.plan("smoke", overrides={"mood": Axis("well", mood), "seed": 1, "k": 2})
    with pytest.raises(SweepFailed) as error:
        sweep(bad, workers=workers, progress=False)
    [point] = error.value.failures
    assert point == Point(k=2, mood=mood, seed=1)
    for part in ("1 of 2 points failed", "mood='fails'", said, "Traceback"):
        assert part in str(error.value)
        assert part in (own_store / "toy" / "smoke" / "log.txt").read_text() or part.startswith("1 of")
    assert list(table(bad).mood) == ["well"]


def test_seeds_beside_a_failing_one_finish(monkeypatch):
    import toy

    healthy = toy._measured
    monkeypatch.setattr(toy, "_measured", lambda p: healthy(p) if p.seed != 1 else 1 / 0)
    with pytest.raises(SweepFailed, match=r"2 of 6 points failed(.|\n)*ZeroDivisionError") as error:
        sweep(TOY.plan("smoke"), workers=1, progress=False)
    assert {p.seed for p in error.value.failures} == {1}
    assert list(table(TOY.plan("smoke")).seed) == [0, 2, 0, 2]


def test_a_failed_point_is_tried_again_by_the_next_sweep(monkeypatch):
    import toy

    plan = TOY.plan("smoke", overrides={"seed": 0})
    with monkeypatch.context() as broken, pytest.raises(SweepFailed):
        broken.setattr(toy, "_measured", lambda p: 1 / 0)
        sweep(plan, workers=1, progress=False)
    assert_right(sweep(plan, workers=1, progress=False), plan)


def test_a_point_that_leaves_the_process_fails_like_another():
    plan = TOY.plan("smoke", overrides={"mood": Axis("well", "exits"), "seed": 0, "k": 2})
    with pytest.raises(SweepFailed, match="this toy leaves"):
        sweep(plan, workers=2, progress=False)
    assert list(table(plan).mood) == ["well"]


def test_a_diverged_point_is_recorded_and_the_claim_says_so():
    plan = TOY.plan("smoke", overrides={"mood": Axis("well", "diverges"), "k": 2, "seed": Axis(0, 1)})
    frame = sweep(plan, workers=1, progress=False)
    assert list(frame.diverged_at.dropna()) == [7, 7] and frame.score.isna().sum() == 2
    for text in stored("smoke").values():
        assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    verdict = judge(CHAPTER.tests[0], {"toy": frame}, "smoke")
    assert (verdict.verdict, verdict.note) == ("did not hold", "2 of 4 points diverged")


# The disk --------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder):
    """A disk of 64 kB at `folder`; yields what makes room on it. Where none can be mounted, files are kept short."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
        free = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # noqa: E731
        try:
            yield free
        finally:
            free()
        return
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_whole_points_and_the_next_sweep_goes_on(own_store):
    plan = TOY.plan("quick", overrides={"k": Axis(*range(1, 11)), "pause": 0.0})
    with small_disk(own_store) as make_room:
        with pytest.raises(
            SweepFailed, match="cannot write to the store, (No space left|File too large).*make room"
        ):
            sweep(plan, workers=1, progress=False)
        before, seen = stored("quick"), len(measured())
        assert len(before) < len(plan.grid) and not list(own_store.rglob("*.part"))
        assert len(table(plan)) == len(before)  # each of them is whole
        make_room()
        assert_right(sweep(plan, workers=1, progress=False), plan)
        assert len(measured()) - seen == len(plan.grid) - len(before)
        assert before.items() <= stored("quick").items()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_keeps_the_point_that_was_there(monkeypatch, call):
    plan = TOY.plan("smoke")
    sweep(plan, workers=1, progress=False)
    before = stored("smoke")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(SweepFailed, match="No space left on device"):
        sweep(plan, workers=1, progress=False, fresh=True)
    assert stored("smoke") == before and not list(Store.of(plan).folder.rglob("*.part"))


@pytest.mark.parametrize("how", ["truncated", "edited"])
def test_a_damaged_store_is_refused_before_any_work_and_fresh_heals_it(how):
    plan = TOY.plan("smoke")
    right = sweep(plan, workers=1, progress=False)
    path = Store.of(plan).path(TOY, plan.grid[3])
    text = path.read_text()
    path.write_text(text[: len(text) // 2] if how == "truncated" else text.replace('"score":3', '"score":4'))
    assert path.read_text() != text
    seen = len(measured())
    for attempt in (sweep, verify):
        with pytest.raises(DamagedFile, match=rf"{path.name} is truncated or was edited.*--fresh"):
            attempt(plan)
    assert len(measured()) == seen
    healed = sweep(plan, workers=1, progress=False, fresh=True)
    assert healed.score.equals(right.score)


# Two processes ---------------------------------------------------------------------------------------------


def test_two_processes_share_the_work_of_one_store():
    arguments = "'smoke', overrides={'k': list(range(1, 25)), 'pause': 0.02}"
    children = [start(arguments) for _ in range(2)]
    assert [child.communicate(timeout=60)[1] for child in children] == ["", ""]
    done = [(k, seed) for _, _, k, seed in measured()]
    assert sorted(done) == sorted((k, seed) for k in range(1, 25) for seed in range(3))  # each once
    share = [sum(parent == child.pid for parent, *_ in measured()) for child in children]
    assert min(share) >= 6 and sum(share) == 72
    plan = TOY.plan("smoke", overrides={"k": Axis(*range(1, 25)), "pause": 0.02})
    assert_right(table(plan), plan)


def test_a_point_held_by_another_process_is_awaited_and_taken_over_when_that_is_killed():
    child = start("'smoke', overrides={'pause': 60, 'k': 2}")
    wait_until(lambda: len(measured()) == 1)
    other = start("'smoke', overrides={'pause': 60, 'k': 2}")
    time.sleep(2)
    assert len(measured()) == 1 and other.poll() is None  # it waits
    child.kill()
    child.communicate()
    wait_until(lambda: len(measured()) == 2)
    other.terminate()
    other.communicate()


# Requests that cannot be met -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides, said",
    [
        ({"raet": 1}, "did you mean 'rate'"),
        ({"rate": "1"}, "must be float"),
        ({"k": 0}, "k must be at least 1"),
    ],
)
def test_bad_input_starts_nothing_and_writes_nothing(overrides, said, own_store):
    with pytest.raises(BadInput, match=said):
        sweep(CHAPTER.preset("smoke", overrides=overrides)["toy"])
    assert not own_store.exists() and not measured()


def test_full_scale_without_its_gpus_comes_from_the_store_is_refused_when_asked_for_and_forced(own_store):
    plan = TOY.plan("full")
    assert sweep(plan).empty
    for asked in ({"fresh": True}, {"compute_stored": True}):
        with pytest.raises(NotEnough, match=r"need 99 GPUs.* here are \d+ GPUs.*--force"):
            sweep(plan, **asked)
    assert not own_store.exists() and not measured()
    assert_right(sweep(plan, compute_stored=True, force=True, progress=False), plan)


def test_ray_that_is_not_installed_is_said_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install -e '\.\[cluster\]'"):
        sweep(TOY.plan("smoke"), engine="ray")
    assert not measured()
