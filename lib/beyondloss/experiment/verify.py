"""Measure some of the stored points again: where all agree, an edit of the code has not changed what it measures."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

from beyondloss.experiment.engines import Job
from beyondloss.experiment.errors import BadInput, SweepFailed
from beyondloss.experiment.experiment import Plan
from beyondloss.experiment.store import Store
from beyondloss.experiment.sweep import engine_for, terminable


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found: `disagreements` lists (point, metric, stored, measured)."""

    experiment: str
    scale: str
    stored: int
    checked: int
    disagreements: tuple[tuple[Any, str, Any, Any], ...]
    restamped: int

    @property
    def ok(self) -> bool:
        """Whether every point that was measured again agrees."""
        return not self.disagreements


def verify(
    plan: Plan,
    *,
    share: float | int = 0.1,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    store: Store | None = None,
) -> VerifyReport:
    """Measure a random share of the stored points again; where all agree, the stale ones become current.

    A point agrees when each of its metrics does within the experiment's tolerance. Raises BadInput where nothing is
    stored, NotEnough without `force` as `sweep` does, SweepFailed where a point cannot be measured.
    """
    if not 0 < share <= 1:
        raise BadInput(f"share must lie in (0, 1], not {share!r}")
    store, experiment = store or Store.of(plan), plan.experiment
    records = {point: record for point in plan.grid if (record := store.get(experiment, point))}
    if not records:
        raise BadInput(f"{experiment.name} has no stored points at scale {plan.scale!r}: run it first")
    if not force:
        plan.cost.check(f"{experiment.name} at scale {plan.scale!r}")
    groups = experiment.groups(list(records))
    chosen = random.Random(seed).sample(groups, max(1, round(share * len(groups))))
    wrong = []
    for point, metrics in _measured(plan, chosen, store.code(experiment), workers):
        found = differences(records[point].metrics, metrics, experiment.tolerance)
        wrong += [(point, *difference) for difference in found]
    restamped = 0 if wrong else sum(store.restamp(experiment, point) for point in records)
    checked = sum(map(len, chosen))
    return VerifyReport(experiment.name, plan.scale, len(records), checked, tuple(wrong), restamped)


def _measured(plan: Plan, groups: list[tuple], code: str, workers: int | None) -> Iterator[tuple[Any, dict]]:
    points = [point for group in groups for point in group]
    jobs = (Job(plan.experiment.run, group, code) for group in groups)  # no checkpoints: all is measured anew
    with terminable(), engine_for(plan, "local", workers, points) as engine:
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
