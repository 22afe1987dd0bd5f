"""A chapter: one paper, its experiments and claims, and the parameters of one run of it."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from beyondloss.experiment.claims import Claim, PaperClaim
from beyondloss.experiment.errors import BadInput, choose
from beyondloss.experiment.experiment import SCALES, Experiment, Plan, duration
from beyondloss.experiment.resources import Cost

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Paper:
    """The paper that a chapter is about."""

    title: str
    authors: str
    arxiv: str
    year: int
    venue: str = ""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One paper: its experiments, and what it claims, with the tests under each claim.

    boards: experiment -> table of its points, to title -> leaderboard, for a chapter that ranks something.
    """

    number: int
    slug: str
    title: str
    paper: Paper
    experiments: tuple[Experiment, ...]
    claims: tuple[PaperClaim, ...] = ()
    boards: "Callable[[Mapping[str, pd.DataFrame]], Mapping[str, pd.DataFrame]] | None" = None

    def __post_init__(self):
        for test in self.tests:
            wanted = [test.experiment, test.precondition.experiment if test.precondition else ""]
            for experiment in filter(None, wanted):
                self.experiment(experiment)
        for ids in ([claim.id for claim in self.claims], [test.id for test in self.tests]):
            if twice := sorted({name for name in ids if ids.count(name) > 1}):
                raise BadInput(f"{self.name} has two claims {twice[0]}")

    @property
    def tests(self) -> tuple[Claim, ...]:
        """The tests under all the claims, in order."""
        return tuple(test for claim in self.claims for test in claim.tests)

    @property
    def name(self) -> str:
        """Name of the notebook, "03_masked_diffusion"."""
        return f"{self.number:02d}_{self.slug}"

    def experiment(self, name: str) -> Experiment:
        """The experiment called `name`. BadInput if there is none."""
        known = {e.name: e for e in self.experiments}
        return known[choose(f"experiment of {self.name}", name, known)]

    def at(self, scale: str) -> list[Experiment]:
        """The experiments that have a preset at `scale`."""
        return [e for e in self.experiments if scale in e.presets]

    def reader_cost(self, scale: str) -> Cost:
        """Predicted cost of what a reader computes at `scale`, from an empty store."""
        return self.preset(scale).cost

    def preset(
        self,
        scale: str,
        *,
        only: str | Sequence[str] | None = None,
        seeds: Any = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> "Config":
        """Resolve the parameters of a chapter before any work starts. Raises BadInput naming what is wrong.

        only: name or names of the experiments to compute; of the others the table has what is stored.
        seeds, overrides: as in `Experiment.plan`, for the computed experiments. An override is called `field`, for
            all of them that have it, or `experiment.field`. An experiment without a preset at `scale` is left out.
        """
        choose("scale", scale, SCALES)
        known = {e.name: e for e in self.at(scale)}
        names = known if only is None else [only] if isinstance(only, str) else only
        kind = f"experiment of {self.name} at scale {scale}"
        computed = [known[choose(kind, name, known)] for name in names]
        asked = _asked(computed, overrides or {})
        plans = {}
        for e in known.values():
            chosen = e.name in asked
            plan = e.plan(scale, seeds=seeds, overrides=asked[e.name]) if chosen else e.plan(scale)
            plans[e.name] = replace(plan, compute=chosen)
        return Config(self, scale, plans)


def _asked(computed: list[Experiment], overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Experiment -> field -> value, from keys `field` and `experiment.field`."""
    having = {e.name: e.parameters for e in computed}
    asked: dict[str, dict[str, Any]] = {name: {} for name in having}
    for key, value in overrides.items():
        name, dot, parameter = key.rpartition(".")
        if dot:
            choose(f"parameter of {choose('experiment', name, having)}", parameter, having[name])
        else:
            choose("parameter", parameter, sorted({p for known in having.values() for p in known}))
        for e in [name] if dot else [e for e in having if parameter in having[e]]:
            asked[e][parameter] = value
    return asked


@dataclass(frozen=True, eq=False)
class Config:
    """Resolved parameters of a chapter: one plan an experiment. Shows itself as a table."""

    chapter: Chapter
    scale: str
    plans: Mapping[str, Plan]

    def __getitem__(self, experiment: str) -> Plan:
        return self.plans[choose("experiment", experiment, self.plans)]

    @property
    def computed(self) -> list[Plan]:
        """Plans of the experiments that were asked for."""
        return [plan for plan in self.plans.values() if plan.compute]

    @property
    def cost(self) -> Cost:
        """Predicted cost of what is computed unless stored: times and disk add up, of the others the largest counts."""
        return _total([plan.cost for plan in self.computed if not plan.stored])

    def check_resources(self, force: bool = False, stored: bool = False) -> None:
        """Raise NotEnough if this machine has less than predicted. `stored`: for the stored experiments as well."""
        if not force:
            cost = _total([plan.cost for plan in self.computed]) if stored else self.cost
            cost.check(f"{self.chapter.name} at scale {self.scale!r}")

    def table(self) -> "pd.DataFrame":
        """One row an experiment: what varies over its points, what does not, their number, the predicted cost."""
        import pandas as pd

        columns = ["experiment", "varied", "held fixed", "size", "predicted time", "memory", "hardware"]
        return pd.DataFrame([_row(name, plan) for name, plan in self.plans.items()], columns=columns)

    def __repr__(self) -> str:
        rows = self.table().itertuples(index=False, name=None)
        lines = [
            f"{name}: {', '.join(map(str, rest))}\n  {varied}\n  {fixed}"
            for name, varied, fixed, *rest in rows
        ]
        return "\n".join([f"{self.chapter.name}, scale {self.scale}", *lines])

    def _repr_html_(self) -> str:
        # pandas escapes nothing here, because what is held fixed is folded
        formats = dict.fromkeys(self.table().columns, html.escape) | {"held fixed": _folded}
        return self.table().to_html(index=False, border=0, justify="left", escape=False, formatters=formats)


def _folded(settings: str) -> str:
    return f"<details><summary>settings</summary>{html.escape(settings)}</details>"


def _row(name: str, plan: Plan) -> list[str]:
    varied, fixed = [], []
    for parameter, values in plan.settings().items():
        said = f"{parameter} = {', '.join(map(repr, values))}"
        (varied if len(values) > 1 else fixed).append(said)
    cost = plan.cost
    time = duration(cost.seconds) + ("" if plan.compute and not plan.stored else " (stored)")
    size, memory = f"{len(plan.grid)} points", f"{cost.memory_gb:g} GB"
    return [name, "; ".join(varied), "; ".join(fixed), size, time, memory, cost.hardware]


def _total(costs: list[Cost]) -> Cost:
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        memory_gb=max((cost.memory_gb for cost in costs), default=0),
        gpus=max((cost.gpus for cost in costs), default=0),
        disk_gb=sum(cost.disk_gb for cost in costs),
        hardware=", ".join(dict.fromkeys(cost.hardware for cost in costs)),
    )
