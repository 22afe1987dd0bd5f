"""A panel of nodes with arrows between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page import theme
from beyondloss.page.explorer.grid import Drawn, Grid, Row, Values, columns, numbers, tint
from beyondloss.page.explorer.panel import Data, Kind, Readout, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class GraphPanel(Kind):
    """Nodes with `names` at `x`, `y` [*grid, nodes], y upwards, and arrows between them.

    `arrows` are pairs (from, to) of names, the same at every setting; `weights` [*grid, arrows] in [0, 1] make an arrow
    wider and darker, an arrow of weight 0 is not drawn. `values` [*grid, nodes] in [0, 1] fill the nodes.
    """

    title: str
    names: Sequence[str]
    x: Values
    y: Values
    arrows: Sequence[tuple[str, str]]
    weights: Values = None
    values: Values = None
    over: Sequence[str] | None = None
    colour: str = "blue"
    height: int = 300
    readouts: Sequence[Readout] = ()
    description: str = ""

    kind = "graph"

    @property
    def summary(self) -> str:
        return f"{self.title}: {len(self.names)} nodes, {len(self.arrows)} arrows"

    def state(self, grid: Grid) -> dict[str, Any]:
        owner, names = f"graph {self.title!r}", list(self.names)
        unknown = {name for arrow in self.arrows for name in arrow} - set(names)
        if unknown:
            raise ValueError(f"{owner}: an arrow at {min(unknown)!r}; the nodes are {', '.join(names)}")
        given = {"x": self.x, "y": self.y, "values": self.values}
        nodes = grid.add_all(owner, given, self.over, 1, numbers)
        weights = grid.add(owner, self.weights, self.over, 1, numbers)
        grid.same_length(owner, nodes, len(names))
        grid.same_length(owner, {"weights": weights}, len(self.arrows))
        return {
            **nodes,
            "weights": weights,
            "names": names,
            "arrows": [[names.index(start), names.index(end)] for start, end in self.arrows],
            "xRange": grid.span([nodes["x"]]),
            "yRange": grid.span([nodes["y"]]),
            "tint": tint(self.colour),
        }

    def drawn(self, state: State) -> Iterator[Drawn]:
        def nodes(**values: list) -> Iterator[Row]:
            for name, row in zip(state["names"], columns(**values), strict=True):
                yield {"series": name, **row}

        def arrows(value: list) -> Iterator[Row]:
            for (start, end), weight in zip(self.arrows, value, strict=True):
                yield {"series": f"{start} → {end}", "value": weight}

        yield Drawn("node", "", {"x": state["x"], "y": state["y"], "value": state["values"]}, nodes)
        if state["weights"] is not None:
            yield Drawn("arrow", "", {"value": state["weights"]}, arrows)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        x, y = data[state["x"]], data[state["y"]]
        colour = state["tint"][0]
        fills = [0.0] * len(x) if state["values"] is None else data[state["values"]]
        weights = [1.0] * len(self.arrows) if state["weights"] is None else data[state["weights"]]
        for (start, end), weight in zip(state["arrows"], weights, strict=True):
            if weight:
                style = {
                    "arrowstyle": "-|>",
                    "connectionstyle": "arc3,rad=0.12",
                    "shrinkA": 13,
                    "shrinkB": 13,
                }
                style |= {"color": colour, "alpha": 0.25 + 0.75 * weight, "linewidth": 0.8 + 2.2 * weight}
                ax.annotate("", (x[end], y[end]), (x[start], y[start]), arrowprops=style)
        ax.scatter(x, y, s=480, color="white", edgecolors=theme.INK, linewidths=1.2, zorder=2)
        ax.scatter(
            x, y, s=480, color=colour, alpha=0.6 * np.array(fills, dtype=float), linewidths=0, zorder=3
        )
        for name, across, up in zip(state["names"], x, y, strict=True):
            ax.text(across, up, name, ha="center", va="center", fontsize=8.5, zorder=4)
        ax.margins(0.15)
        ax.set_axis_off()
