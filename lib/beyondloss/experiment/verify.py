"""Measure some of the stored points again: where all agree, an edit of the code has not changed what it measures."""

import random
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from math import isclose
from typing import Any

from beyondloss.experiment.commits import Earlier, files_of
from beyondloss.experiment.engines import Inline, Job
from beyondloss.experiment.errors import BadInput, SweepFailed
from beyondloss.experiment.experiment import Plan
from beyondloss.experiment.store import Record, Store
from beyondloss.experiment.sweep import engine_for, terminable


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found: `disagreements` lists (point, metric, before, measured).

    before: what is stored, or what the code of `against` measures on this machine.
    """

    experiment: str
    scale: str
    stored: int
    checked: int
    disagreements: tuple[tuple[Any, str, Any, Any], ...]
    restamped: int
    against: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every point that was measured again agrees."""
        return not self.disagreements


def verify(
    plan: Plan,
    *,
    share: float | int = 0.1,
    seed: int = 0,
    most: int | None = None,
    workers: int | None = None,
    force: bool = False,
    store: Store | None = None,
    against: str | None = None,
) -> VerifyReport:
    """Measure a random share of the stored points again; where all agree, the stale ones become current.

    A point agrees when each of its metrics does within the experiment's tolerance.

    share, seed, most: so many of the groups of points that differ in the seed alone, which ones, and at most how many
        seeds of each (all by default).
    against: a commit. Its code measures the same points on this machine, and today's is compared with that instead of
        with the stored numbers, which another machine may have rounded otherwise. It must be the code that measured
        the stored points; those of other code are left out.

    Raises BadInput where nothing is stored or `against` is no such commit, NotEnough without `force` as `sweep` does,
    SweepFailed where a point cannot be measured.
    """
    if not 0 < share <= 1:
        raise BadInput(f"share must lie in (0, 1], not {share!r}")
    if most is not None and most < 1:
        raise BadInput(f"most must be a number of seeds from 1 on, not {most!r}")
    store, experiment = store or Store.of(plan), plan.experiment
    records = {point: record for point in plan.grid if (record := store.get(experiment, point))}
    if not records:
        raise BadInput(f"{experiment.name} has no stored points at scale {plan.scale!r}: run it first")
    if not force:
        plan.cost.check(f"{experiment.name} at scale {plan.scale!r}")
    with nullcontext() if against is None else files_of(against) as files:
        if files:
            records = _measured_by(Earlier(files), plan, records, against)
        groups = experiment.groups(list(records))
        drawn = random.Random(seed).sample(groups, max(1, round(share * len(groups))))
        chosen = [group[:most] for group in drawn]
        points = [point for group in chosen for point in group]
        with terminable(), engine_for(plan, "local", workers, points) as engine:
            before = {point: record.metrics for point, record in records.items()}
            if files:
                with Earlier(files, engine.size) as past:
                    before = dict(_measured(plan, chosen, past))
            now = dict(_measured(plan, chosen, engine, store.code(experiment)))
    wrong = [
        (point, *difference)
        for point in points
        for difference in differences(before[point], now[point], experiment.tolerance)
    ]
    restamped = 0 if wrong else sum(store.restamp(experiment, point) for point in records)
    return VerifyReport(
        experiment.name, plan.scale, len(records), len(points), tuple(wrong), restamped, against
    )


def _measured_by(past: Earlier, plan: Plan, records: Mapping[Any, Record], commit: str) -> dict[Any, Record]:
    """The stored points that the earlier code has measured; BadInput where there are none."""
    code = past.code_digest(plan.experiment)
    theirs = {point: record for point, record in records.items() if record.code_digest == code}
    if not theirs:
        commits = ", ".join(sorted({record.provenance.get("commit", "?") for record in records.values()}))
        raise BadInput(
            f"the code at {commit!r} has measured no stored point of {plan.experiment.name}: name a commit whose code "
            f"has (measured at {commits}, or verified later)"
        )
    return theirs


def _measured(plan: Plan, groups: list[tuple], engine: Inline, code: str = "") -> Iterator[tuple[Any, dict]]:
    jobs = (Job(plan.experiment.run, group, code) for group in groups)  # no checkpoints: all is measured anew
    for job, outcome in engine.measure(jobs):
        if outcome.failure:
            what = f"{plan.experiment.name}: could not measure {job.points} again"
            raise SweepFailed(f"{what}\n{outcome.failure}")
        yield from zip(job.points, outcome.metrics, strict=True)


def differences(stored: dict, measured: dict, tolerance: Mapping) -> Iterator[tuple[str, Any, Any]]:
    """Metrics that differ by more than their relative tolerance (1e-6 by default), with both values."""
    for name in sorted(stored.keys() | measured.keys()):
        old, new = stored.get(name), measured.get(name)
        if (name in stored) != (name in measured) or not _close(old, new, tolerance.get(name, 1e-6)):
            yield name, old, new


def _close(a: Any, b: Any, tolerance: float | int) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return isclose(a, b, rel_tol=tolerance, abs_tol=1e-9)
    return a == b
