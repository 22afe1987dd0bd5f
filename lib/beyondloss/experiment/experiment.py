"""An experiment with its presets, and the plan of its points at one scale."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import product
from typing import Any, get_type_hints

from beyondloss.experiment import digest
from beyondloss.experiment.errors import BadInput, choose
from beyondloss.experiment.parameters import axis, parse_seeds
from beyondloss.experiment.resources import Cost, gpus_here

SCALES = ("smoke", "quick", "full")


@dataclass(frozen=True, eq=False)
class Experiment:
    """A measurement `run` over points of the frozen dataclass `point`, with its presets.

    run: measures points that are equal but for `seed` side by side, and returns one dict of metrics a point (numbers,
        None, text, lists of these); it must give what it gives one at a time, to rounding. A metric `diverged_at` holds
        the step at which the loss ceased to be finite, or None. The code digest covers what it and `point` reach
        by name (see `digest`), so neither presets nor figures are part of it.
    presets: scale -> field -> value, or Axis of values. Fields that a preset leaves out take the point's defaults.
    stored: scales too dear for their budget: points come from the store unless asked for.
    together: at most so many seeds side by side.
    tolerance: metric -> relative tolerance within which `verify` calls two measurements equal (others: 1e-6).
    """

    name: str
    title: str
    point: type
    run: Callable[[Sequence[Any]], list[dict]]
    presets: Mapping[str, Mapping[str, Any]]
    cost: Mapping[str, Cost]
    stored: frozenset[str] = frozenset()
    together: int = 8
    tolerance: Mapping[str, float | int] = field(default_factory=dict)
    imported_at: float = field(default_factory=time.time, repr=False)

    def __post_init__(self):
        if not (is_dataclass(self.point) and get_type_hints(self.point).get("seed") is int):
            raise BadInput(f"{self.name}: `point` must be a dataclass with a field `seed: int`")
        if "." in self.run.__qualname__ or "<" in self.run.__qualname__:
            raise BadInput(
                f"{self.name}: `run` must be a function of a module, for other processes to find it"
            )
        for scale in self.presets:
            choose(f"cost of {self.name} at scale", scale, self.cost)

    @property
    def slug(self) -> str:
        """Name of the method's module, under which the points are stored."""
        parts = self.run.__module__.split(".")
        return parts[2] if parts[:2] == ["beyondloss", "methods"] and len(parts) > 2 else parts[-1]

    @property
    def parameters(self) -> list[str]:
        """Names of the point's fields, in order."""
        return [field.name for field in fields(self.point)]

    @property
    def code_digest(self) -> str:
        """Digest of the code that measures the points, as it lies on disk."""
        return digest.code_digest(self.run, self.point)

    def plan(self, scale: str, *, seeds: Any = None, overrides: Mapping[str, Any] | None = None) -> "Plan":
        """The grid of points at `scale`; the seed varies fastest.

        seeds: a number of seeds, a range "0:5", or a list of seeds, instead of the preset's.
        overrides: field -> value, or an Axis or list of values. Raises BadInput naming what is wrong.
        """
        choose(f"scale of {self.name}", scale, self.presets)
        settings = {**self.presets[scale], **(overrides or {})}
        if seeds is not None:
            settings["seed"] = parse_seeds(seeds)
        return Plan(self, scale, self._grid(settings))

    def groups(self, points: Sequence[Any]) -> list[tuple]:
        """The points that are equal but for the seed, at most `together` in a group."""
        alike: dict[Any, list] = {}
        for point in points:
            alike.setdefault(replace(point, seed=0), []).append(point)
        size = self.together
        return [tuple(same[i : i + size]) for same in alike.values() for i in range(0, len(same), size)]

    def _grid(self, settings: Mapping[str, Any]) -> tuple:
        hints = get_type_hints(self.point)
        for name in settings:
            choose(f"parameter of {self.name}", name, hints)
        names = sorted(settings, key=lambda name: (name == "seed", list(hints).index(name)))
        try:
            axes = [axis(name, settings[name], hints[name]) for name in names]
            points = (self.point(**dict(zip(names, values, strict=True))) for values in product(*axes))
            return tuple(dict.fromkeys(points))
        except (TypeError, ValueError) as error:
            raise BadInput(f"{self.name}: {error}") from None


@dataclass(frozen=True, eq=False)
class Plan:
    """An experiment at one scale: its points in order, and whether missing ones may be computed."""

    experiment: Experiment
    scale: str
    grid: tuple
    compute: bool = True

    @property
    def stored(self) -> bool:
        """Whether readers get the points from the store, because they are too dear to compute at this scale."""
        return self.scale in self.experiment.stored

    @property
    def out_of_reach(self) -> bool:
        """Whether the points need a GPU that is not here."""
        return self.cost.gpus > 0 and self.cost.gpus > gpus_here()

    @property
    def cost(self) -> Cost:
        """Predicted cost; time in proportion to the number of points."""
        preset = self.experiment.cost[self.scale]
        usual = len(self.experiment.plan(self.scale).grid)
        return replace(preset, seconds=preset.seconds * len(self.grid) / usual)

    def settings(self) -> dict[str, list]:
        """Field -> its values over the grid."""
        found = {}
        for name in self.experiment.parameters:
            values = [getattr(point, name) for point in self.grid]
            found[name] = list(dict.fromkeys(values))  # each once, in the order of the grid
        return found


def duration(seconds: float | int) -> str:
    """Time for people: "40 s", "5 min", "3 h"."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
