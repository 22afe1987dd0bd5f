"""From a plan to a tidy table: measure what the store does not have, and keep every point as it comes."""

import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from beyondloss.experiment import digest, paths
from beyondloss.experiment.engines import Inline, Job, Local, OnRay, Outcome
from beyondloss.experiment.errors import BadInput, SweepFailed, choose
from beyondloss.experiment.experiment import Plan
from beyondloss.experiment.progress import Tick, ticking
from beyondloss.experiment.resources import cores
from beyondloss.experiment.store import Store

if TYPE_CHECKING:
    import pandas as pd

PATIENCE = 0.2  # seconds between looks at points that another process is measuring
logger = logging.getLogger("beyondloss")


def sweep(
    plan: Plan,
    *,
    engine: str = "local",
    workers: Any = None,
    fresh: Any = False,
    compute_stored: Any = False,
    force: Any = False,
    store: Store | None = None,
    progress: bool | None = None,
) -> "pd.DataFrame":
    """Table of the plan's points: one row a point with its settings, metrics, seconds, device, commit and state.

    Missing and stale points are measured and stored one by one, unless the plan is stored at its scale (or needs a GPU
    that is not here): then missing points are left out and stale ones shown as such; `compute_stored` measures both.
    fresh: measure every point once, whatever the store has; of a stored plan only with `compute_stored`.
    workers: processes (default: one a core); with one the points are measured in this process.
    force: go on with less memory, disk or GPUs than predicted.
    progress: show it; None does so outside notebooks.
    Raises SweepFailed when points failed (the others are stored), NotEnough, DamagedFile, BadInput.
    """
    choose("engine", engine, ("local", "ray"))
    for name, value in {"fresh": fresh, "compute_stored": compute_stored, "force": force}.items():
        if type(value) is not bool:  # papermill's `-p fresh no` is the text "no", which is true
            raise BadInput(f"{name} must be True or False, not {value!r}")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise BadInput(f"workers must be a positive number, not {workers!r}")
    store = store or Store.of(plan)
    work = _Sweep(plan, store, fresh)
    if plan.compute and (missing := work.missing()):
        asked = compute_stored or (fresh and not plan.stored) or engine == "ray"
        if asked or not (plan.stored or plan.out_of_reach):
            if engine == "local" and not force:
                plan.cost.check(f"{plan.experiment.name} at scale {plan.scale!r}")
            with terminable(), ticking(len(missing), plan.experiment.name, progress) as tick:
                work.run(lambda: engine_for(plan, engine, workers, missing), tick)
    frame = table(plan, store)
    if stale := sorted(set(frame.commit[frame.state == "stale"])):
        logger.warning("%s: stale points, computed at commit %s", plan.experiment.name, ", ".join(stale))
    return frame


def table(plan: Plan, store: Store | None = None) -> "pd.DataFrame":
    """The stored points of a plan in grid order, stale ones too (column `state`); nothing is computed."""
    import pandas as pd

    store = store or Store.of(plan)
    names = [f.name for f in fields(plan.experiment.point)]
    rows = []
    for point in plan.grid:
        if record := store.get(plan.experiment, point):
            settings = {name: getattr(point, name) for name in names}
            origin = {name: record.provenance[name] for name in ("device", "commit")}
            made = {"seconds": record.seconds, **origin, "state": record.state}
            rows.append(settings | record.metrics | made)
    frame = pd.DataFrame(rows, columns=None if rows else [*names, "seconds", "device", "commit", "state"])
    frame.attrs |= {"planned": len(plan.grid), "experiment": plan.experiment.name}
    return frame


def engine_for(plan: Plan, engine: str, workers: int | None, points: list) -> Inline:
    """The engine for these points: processes only where there is more than one group to share among them."""
    gpus, experiment = plan.cost.gpus, plan.experiment
    if engine == "ray":
        return OnRay(workers, gpus)
    size = min(workers or (1 if gpus else cores()), len(experiment.groups(points)))
    # code edited since it was loaded here is measured as it stands on disk: by a new process
    edited = digest.edited_since(experiment.imported_at, experiment.run, experiment.point)
    return Inline() if size == 1 and not edited else Local(size)


class _Sweep:
    """One call of `sweep`: which points are still to be measured, and what became of the others."""

    def __init__(self, plan: Plan, store: Store, fresh: bool):
        self.plan, self.store, self.fresh = plan, store, fresh
        self.experiment = plan.experiment
        self.begun = time.time()
        self.done: set = set()
        self.failures: dict[Any, str] = {}
        self.alone: set = set()  # points of a group that failed: each is tried by itself

    def missing(self) -> list:
        """Points still to be measured, in grid order."""
        return [point for point in self.plan.grid if self._needed(point)]

    def run(self, make_engine: Any, tick: Tick) -> None:
        """Measure what is missing, until this process or another has stored it or failed."""
        self._log(f"{len(self.missing())} of {len(self.plan.grid)} points to measure")
        self.commit = commit()
        started = make_engine()  # what goes wrong with a cluster is not the store's fault
        try:
            with started as engine:
                while missing := self.missing():
                    if not self._round(engine, missing, tick):
                        time.sleep(PATIENCE)
        except OSError as error:  # of the store, for what goes wrong in a point is its outcome
            raise SweepFailed(
                f"{self.experiment.name}: cannot write to the store, {error.strerror} ({error.filename or 'disk'}). "
                "Points stored before are kept: make room, or set BEYONDLOSS_STORE to another folder, and run again."
            ) from error
        finally:
            self.store.release_all()
        if self.failures:
            raise SweepFailed(self._summary(), self.failures)

    def _needed(self, point: Any) -> bool:
        if point in self.done or point in self.failures:
            return False
        if self.fresh:  # what another process has measured since then is fresh too
            path = self.store.path(self.experiment, point)
            return not (path.exists() and path.stat().st_mtime >= self.begun)
        record = self.store.get(self.experiment, point)
        return record is None or record.state == "stale"

    def _round(self, engine: Inline, missing: list, tick: Tick) -> int:
        """Measure the missing points that no other process holds; return how many groups they were."""
        groups = self.experiment.groups([point for point in missing if point not in self.alone])
        groups += [(point,) for point in missing if point in self.alone]
        jobs = (job for group in groups if (job := self._claim(group)))
        settled = 0
        for job, outcome in engine.measure(jobs):
            tick(self._settle(job, outcome))
            settled += 1
        return settled

    def _claim(self, group: tuple) -> Job | None:
        """A job of the points of `group` that are ours to measure, None if there are none."""
        held = [point for point in group if self.store.acquire(self.experiment, point)]
        points = tuple(point for point in held if self._needed(point))  # its last holder may have stored it
        self._release(set(held) - set(points))
        if not points:
            return None
        folder = self.store.scratch(self.experiment, points)
        if self.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        return Job(self.experiment.run, points, self.store.code(self.experiment), folder)

    def _settle(self, job: Job, outcome: Outcome) -> int:
        """Store what was measured or note the failure; return how many points that settles."""
        if not outcome.failure:
            self._keep(job, outcome)
        elif len(job.points) > 1:
            self.alone.update(job.points)
        else:
            self.failures[job.points[0]] = outcome.failure
            self._log(f"failed: {job.points[0]}\n{outcome.failure}")
        self._release(job.points)
        return sum(point not in self.alone or point in self.failures for point in job.points)

    def _keep(self, job: Job, outcome: Outcome) -> None:
        origin = outcome.provenance | {"commit": self.commit, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        for point, metrics in zip(job.points, outcome.metrics, strict=True):
            self.store.put(self.experiment, point, metrics, outcome.seconds, origin)
        self.done.update(job.points)
        self.alone.difference_update(job.points)
        self._log(f"{outcome.seconds * len(job.points):.1f} s: {', '.join(map(str, job.points))}")
        shutil.rmtree(job.folder, ignore_errors=True)

    def _release(self, points: Any) -> None:
        for point in points:
            self.store.release(self.experiment, point)

    def _log(self, line: str) -> None:
        self.store.log(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {self.experiment.name}: {line}")

    def _summary(self) -> str:
        listed = [f"  {point}: {text.strip().splitlines()[-1]}" for point, text in self.failures.items()]
        head = f"{self.experiment.name}: {len(listed)} of {len(self.plan.grid)} points failed, the others are stored"
        first = next(iter(self.failures.values())).strip()
        return "\n".join([head, *listed, "The first failure:", first, f"Log: {self.store.log_path}"])


def commit() -> str:
    """Short commit of the checkout, with "+" if the library was edited since; the release without a checkout.

    An unpacked release inside of a repository of the reader's own is no checkout.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    here, release = paths.root(), f"release {version('beyondloss')}"
    try:
        if here is None or not here.samefile(git("rev-parse", "--show-toplevel")):
            return release
        return git("rev-parse", "--short=10", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "lib") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return release


class _Terminated(BaseException):
    pass


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the sweep (workers stopped, locks released) before it ends the process as it would have."""

    def unwind(number: int, frame: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, unwind) or signal.SIG_DFL
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, before)
        os.kill(os.getpid(), signal.SIGTERM)
        raise SystemExit(143) from None  # where the earlier handler lives on
    finally:
        signal.signal(signal.SIGTERM, before)
