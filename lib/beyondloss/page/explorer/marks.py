"""What stands in a plot: curves, named points, histograms, maps of cells, shaded regions, markers.

Each mark gives its state for the page (drawn by `marks.mjs`), its part of the plain figure and the table behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from beyondloss.page.explorer.grid import Drawn, Grid, Row, Values, columns, floats, number, numbers, tint
from beyondloss.page.explorer.panel import Data, Picture, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Band = tuple[Values, Values]  # (low, high)


class Mark(Picture):
    """A mark in a plot."""

    mark: ClassVar[str]
    across: ClassVar[Sequence[str]] = ()  # keys of its state whose data the x axis must hold
    along: ClassVar[Sequence[str]] = ()  # and the y axis
    name: str
    colour: str | None

    def complete_state(self, grid: Grid, colour: str) -> dict[str, Any]:
        """The state with the mark's kind, its name and its colour."""
        return {"mark": self.mark, "name": self.name, "tint": tint(colour), **self.state(grid)}

    @property
    def owner(self) -> str:
        return f"{self.mark} {self.name!r}"


@dataclass(frozen=True)
class Series(Mark):
    """A curve `y` over `x`, both [*grid, n], named at its end; `band` is a pair (low, high) of the same shape."""

    name: str
    x: Values
    y: Values
    over: Sequence[str] | None = None
    colour: str | None = None
    band: Band | None = None
    dashed: bool = False
    dots: bool = False

    mark, across, along = "series", ("x",), ("y", "low", "high")

    def state(self, grid: Grid) -> dict[str, Any]:
        low, high = self.band or (None, None)
        given = {"x": self.x, "y": self.y, "low": low, "high": high}
        data = grid.add_all(self.owner, given, self.over, 1, numbers)
        grid.same_length(self.owner, data)
        return {"dashed": self.dashed, "dots": self.dots, **data}

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        x, colour = floats(data[state["x"]]), state["tint"][0]
        style = {"linestyle": "--" if self.dashed else "-", "marker": "o" if self.dots else None}
        if state["low"] is not None:
            low, high = floats(data[state["low"]]), floats(data[state["high"]])
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        y = floats(data[state["y"]])
        ax.plot(x, y, color=colour, markersize=4, label=self.name or "_", **style)

    def drawn(self, state: State) -> Iterator[Drawn]:
        yield Drawn("line", self.name, {key: state[key] for key in ("x", "y", "low", "high")})


@dataclass(frozen=True)
class Points(Mark):
    """Points at `x`, `y` [*grid, points] with their `names`, none over another.

    `x_band` and `y_band` are pairs (low, high) of the same shape, drawn as intervals. Points of the names in `lit` have
    the second colour.
    """

    names: Sequence[str]
    x: Values
    y: Values
    over: Sequence[str] | None = None
    colour: str | None = "blue"
    x_band: Band | None = None
    y_band: Band | None = None
    lit: Sequence[str] = ()
    name: str = ""

    mark, across, along = "points", ("x", "left", "right"), ("y", "low", "high")

    def state(self, grid: Grid) -> dict[str, Any]:
        left, right = self.x_band or (None, None)
        low, high = self.y_band or (None, None)
        given = {"x": self.x, "y": self.y, "left": left, "right": right, "low": low, "high": high}
        data = grid.add_all(self.owner, given, self.over, 1, numbers)
        grid.same_length(self.owner, data, len(self.names))
        lit = [name in self.lit for name in self.names]
        return {"names": list(self.names), "lit": lit, "second": tint("vermillion"), **data}

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        x, y = floats(data[state["x"]]), floats(data[state["y"]])
        colours = [state["second" if lit else "tint"][0] for lit in state["lit"]]
        if state["left"] is not None:
            ax.hlines(y, floats(data[state["left"]]), floats(data[state["right"]]), colours, linewidth=1.2)
        if state["low"] is not None:
            ax.vlines(x, floats(data[state["low"]]), floats(data[state["high"]]), colours, linewidth=1.2)
        ax.scatter(x, y, color=colours, s=26, zorder=3)

    def drawn(self, state: State) -> Iterator[Drawn]:
        def points(**values: list) -> Iterator[Row]:
            for name, row in zip(self.names, columns(**values), strict=True):
                yield {"series": name, **row}

        keys = ("x", "y", "left", "right", "low", "high")
        yield Drawn("point", self.name, {key: state[key] for key in keys}, points)


@dataclass(frozen=True)
class Histogram(Mark):
    """Bars of height `counts` [*grid, bins] between `edges` [*grid, bins + 1]; several are drawn over each other."""

    name: str
    edges: Values
    counts: Values
    over: Sequence[str] | None = None
    colour: str | None = None

    mark, across, along = "histogram", ("edges",), ("counts", "floor")

    def state(self, grid: Grid) -> dict[str, Any]:
        edges = grid.add(self.owner, self.edges, self.over, 1, numbers)
        counts = grid.add(self.owner, self.counts, self.over, 1, numbers)
        bins = len(grid.cells(edges)[0]) - 1
        grid.same_length(self.owner, {"counts": counts}, bins)
        # bars begin at zero, so the axis holds it
        return {"edges": edges, "counts": counts, "floor": grid.add(self.owner, 0, None, 0, number)}

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        counts, edges = floats(data[state["counts"]]), floats(data[state["edges"]])
        ax.stairs(counts, edges, fill=True, alpha=0.35, color=state["tint"][0])
        ax.stairs(counts, edges, color=state["tint"][0], linewidth=1.4, label=f"_{self.name}")

    def drawn(self, state: State) -> Iterator[Drawn]:
        def bins(edges: list, counts: list) -> Iterator[Row]:
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
                yield {"low": low, "high": high, "y": count}

        yield Drawn("bin", self.name, {"edges": state["edges"], "counts": state["counts"]}, bins)


@dataclass(frozen=True)
class Cells(Mark):
    """A map: `values` [*grid, y, x] in cells around the places `x` and `y`, which stand at equal distances.

    The further a value lies above `centre` the more of `colour` its cell has, the further below, the more of `below`;
    without a `centre` the least value has none. `range` (least, greatest) is that of all values where it is not given.
    Lines, points and markers of the same plot stand over it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    values: Values
    over: Sequence[str] | None = None
    colour: str | None = "blue"
    below: str = "vermillion"
    centre: float | None = None
    range: tuple[float, float] | None = None

    mark, across, along = "cells", ("xEdges",), ("yEdges",)

    def state(self, grid: Grid) -> dict[str, Any]:
        values = grid.add(self.owner, self.values, self.over, 2, numbers)
        shape = (len(self.y), len(self.x))
        if any((len(cell), len(cell[0])) != shape for cell in grid.cells(values)):
            raise ValueError(f"{self.owner}: values are no {shape[0]} by {shape[1]} cells at every setting")
        least, greatest = self.range or grid.span([values])
        return {
            "values": values,
            "xEdges": grid.add(self.owner, _edges(self.x), None, 1, numbers),
            "yEdges": grid.add(self.owner, _edges(self.y), None, 1, numbers),
            "range": [least, greatest],
            "centre": least if self.centre is None else self.centre,
            "below": tint(self.below),
        }

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        reach = _reach(state)
        ends = [(0, state["below"][0] + "b0"), (0.5, "#ffffff00"), (1, state["tint"][0] + "b0")]
        shades = LinearSegmentedColormap.from_list("map", ends)
        low, high = state["centre"] - reach, state["centre"] + reach
        edges = floats(data[state["xEdges"]]), floats(data[state["yEdges"]])
        drawn = ax.pcolormesh(*edges, floats(data[state["values"]]), cmap=shades, vmin=low, vmax=high)
        bar = ax.figure.colorbar(drawn, ax=ax, label=self.name, shrink=0.8)
        bar.ax.set_ylim(*state["range"])

    def drawn(self, state: State) -> Iterator[Drawn]:
        def cells(value: list[list]) -> Iterator[Row]:
            for y, row in zip(np.ravel(self.y).tolist(), value, strict=True):
                for x, number_there in zip(np.ravel(self.x).tolist(), row, strict=True):
                    yield {"x": x, "y": y, "value": number_there}

        yield Drawn("cell", self.name, {"value": state["values"]}, cells)


@dataclass(frozen=True)
class Shade(Mark):
    """The region between two abscissae `low` and `high`, both [*grid]."""

    name: str
    low: Values
    high: Values
    over: Sequence[str] | None = None
    colour: str | None = "blue"

    mark = "shade"

    def state(self, grid: Grid) -> dict[str, Any]:
        return grid.add_all(self.owner, {"low": self.low, "high": self.high}, self.over, 0, number)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        low, high = data[state["low"]], data[state["high"]]
        if low is not None and high is not None:
            ax.axvspan(low, high, color=state["tint"][0], alpha=0.14, linewidth=0, label=f"_{self.name}")

    def drawn(self, state: State) -> Iterator[Drawn]:
        yield Drawn("region", self.name, {"low": state["low"], "high": state["high"]})


@dataclass(frozen=True)
class Marker(Mark):
    """A vertical line at `x` [*grid], or a point where `y` [*grid] is given."""

    name: str
    x: Values
    y: Values = None
    over: Sequence[str] | None = None
    colour: str | None = "grey"

    mark = "marker"

    def state(self, grid: Grid) -> dict[str, Any]:
        return grid.add_all(self.owner, {"x": self.x, "y": self.y}, self.over, 0, number)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        x, colour, label = data[state["x"]], state["tint"][0], f"_{self.name}"
        if x is None:
            return
        if state["y"] is None:
            ax.axvline(x, color=colour, linestyle=":", linewidth=1.6, label=label)
        elif data[state["y"]] is not None:
            ax.plot([x], [data[state["y"]]], "o", color=colour, markersize=7, label=label)

    def drawn(self, state: State) -> Iterator[Drawn]:
        yield Drawn("dot", self.name, {"x": state["x"], "y": state["y"]})


def _edges(places: Sequence[float]) -> np.ndarray:
    """The borders of cells around places at equal distances."""
    places = np.asarray(places, dtype=float)
    steps = np.diff(places)
    if len(places) < 2 or not np.allclose(steps, steps[0]):
        raise ValueError("a map of cells wants two or more places at equal distances")
    return np.append(places - steps[0] / 2, places[-1] + steps[0] / 2)


def _reach(state: State) -> float:
    """The distance from the centre at which a cell has all of its colour."""
    return max(abs(end - state["centre"]) for end in state["range"]) or 1.0
