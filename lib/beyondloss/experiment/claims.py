"""Claims, their criteria, and the verdict of a table of points."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from beyondloss.experiment.chapter import Chapter
from beyondloss.experiment.errors import BadInput, MissingPoints
from beyondloss.experiment.sweep import table

if TYPE_CHECKING:
    import pandas as pd

HELD, DIRECTION, NOT_HELD, NOT_RUN = "held", "held in direction only", "did not hold", "not run at this scale"


@dataclass(frozen=True)
class Effect:
    """An effect that is positive where the claim is right, with its 95% interval."""

    value: float | int
    low: float | int
    high: float | int
    seeds: int
    unit: str = ""

    def __format__(self, spec: str) -> str:
        """Value and interval, each number as `spec` says: f"{effect:+.3f}" is "+0.012 [-0.003, +0.027]"."""
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper in our words, with a criterion written down before the run.

    measure: table of `experiment` -> Effect; raises MissingPoints where the table has too few points.
    margin: the interval must lie above it for the claim to hold.
    by: "proof" for a claim that the chapter proves; it needs neither experiment nor measure.
    """

    id: str
    statement: str
    criterion: str
    experiment: str = ""
    measure: "Callable[[pd.DataFrame], Effect] | None" = None
    margin: float | int = 0.0
    by: Literal["experiment", "proof"] = "experiment"

    def __post_init__(self):
        if self.by == "experiment" and not (self.experiment and self.measure):
            raise BadInput(f"claim {self.id} is by experiment: it needs `experiment` and `measure`")


@dataclass(frozen=True)
class Verdict:
    """What became of a claim at one scale. `effect`, `low` and `high` are None where nothing was measured."""

    claim: Claim
    scale: str
    verdict: str
    effect: float | int | None = None
    low: float | int | None = None
    high: float | int | None = None
    seeds: int = 0
    note: str = ""


def judge(claim: Claim, table: "pd.DataFrame | None", scale: str) -> Verdict:
    """Verdict of `claim` from the table of its experiment at `scale`."""
    if claim.measure is None:
        return Verdict(claim, scale, HELD, note="proved in the chapter")
    try:
        if table is None or table.empty:
            raise MissingPoints
        effect = claim.measure(table)
    except MissingPoints as error:
        return Verdict(claim, scale, NOT_RUN, note=str(error))
    held = HELD if effect.low > claim.margin else DIRECTION if effect.value > 0 else NOT_HELD
    return Verdict(claim, scale, held, effect.value, effect.low, effect.high, effect.seeds, _note(table))


def _note(table: "pd.DataFrame") -> str:
    """What a reader must know of the points behind a verdict."""
    notes = []
    if (planned := table.attrs.get("planned", len(table))) > len(table):
        notes.append(f"{len(table)} of {planned} points")
    if "diverged_at" in table and (diverged := int(table["diverged_at"].notna().sum())):
        notes.append(f"{diverged} of {len(table)} points diverged")
    stale = table[table["state"] == "stale"] if "state" in table else table[:0]
    if len(stale):
        notes.append(f"{len(stale)} points computed at commit {', '.join(sorted(set(stale['commit'])))}")
    return "; ".join(notes)


def paired_interval(differences: Iterable[float], confidence: float = 0.95, unit: str = "") -> Effect:
    """Mean of paired differences, one a seed, with Student's t interval.

    The interval of a single difference is unbounded. A difference that is not a number (a diverged point) is not left
    out: it makes the effect not a number, and the claim does not hold.
    """
    import numpy as np
    from scipy.special import stdtrit

    d = np.asarray(list(differences), dtype=float)
    if not d.size:
        raise MissingPoints("no pair of points to compare")
    if d.size == 1:
        return Effect(float(d[0]), -math.inf, math.inf, 1, unit)
    half = stdtrit(d.size - 1, (1 + confidence) / 2) * d.std(ddof=1) / math.sqrt(d.size)
    return Effect(float(d.mean()), float(d.mean() - half), float(d.mean() + half), d.size, unit)


def verdicts(chapter: Chapter, scale: str) -> list[Verdict]:
    """Verdicts of a chapter's claims from the stored points; nothing is computed."""
    config = chapter.preset(scale)
    tables = {name: table(plan) for name, plan in config.plans.items()}
    return [judge(claim, tables.get(claim.experiment), scale) for claim in chapter.claims]
