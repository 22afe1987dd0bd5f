"""From a chapter's stored points to the verdicts on its claims; nothing is computed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from beyondloss.experiment.chapter import Chapter
from beyondloss.experiment.claims import Finding, Verdict
from beyondloss.experiment.claims import findings as judged
from beyondloss.experiment.experiment import Plan
from beyondloss.experiment.store import Store
from beyondloss.experiment.sweep import table

if TYPE_CHECKING:
    import pandas as pd

StoreOf = Callable[[Plan], Store]  # where the points of a plan are read from


def tables(chapter: Chapter, scale: str, store: StoreOf = Store.of) -> "dict[str, pd.DataFrame]":
    """Experiment -> table of its stored points, for the experiments that have a preset at `scale`."""
    plans = [experiment.plan(scale) for experiment in chapter.at(scale)]
    return {plan.experiment.name: table(plan, store(plan)) for plan in plans}


def findings(chapter: Chapter, scale: str, store: StoreOf = Store.of) -> list[Finding]:
    """What became of each of the paper's claims, with the tests under it."""
    return judged(chapter.claims, tables(chapter, scale, store), scale)


def verdicts(chapter: Chapter, scale: str, store: StoreOf = Store.of) -> list[Verdict]:
    """What became of every test of the chapter, in order, corrected for their number."""
    return [verdict for finding in findings(chapter, scale, store) for verdict in finding.tests]
