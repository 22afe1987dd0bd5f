"""A panel of numbers in shaded cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page.explorer.grid import Drawn, Grid, Row, Values, floats, numbers, tint
from beyondloss.page.explorer.panel import Data, Kind, Readout, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class HeatPanel(Kind):
    """Numbers in shaded cells: `values` [*grid, rows, columns] with `digits` decimals, stronger for more in `range`."""

    title: str
    values: Values
    rows: Sequence[Any]
    columns: Sequence[Any]
    x_label: str = ""
    y_label: str = ""
    over: Sequence[str] | None = None
    digits: int = 2
    range: tuple[float, float] | None = None
    colour: str = "blue"
    readouts: Sequence[Readout] = ()
    description: str = ""

    kind = "heat"

    @property
    def summary(self) -> str:
        return f"{self.title}: {len(self.rows)} by {len(self.columns)} cells"

    @property
    def height(self) -> int:
        return 34 * len(self.rows) + 60

    def state(self, grid: Grid) -> dict[str, Any]:
        values = grid.add(f"heat {self.title!r}", self.values, self.over, 2, numbers)
        return {
            "values": values,
            "digits": self.digits,
            "rows": [str(row) for row in self.rows],
            "columns": [str(column) for column in self.columns],
            "xLabel": self.x_label,
            "yLabel": self.y_label,
            "range": self.range or grid.span([values]),
            "tint": tint(self.colour),
        }

    def drawn(self, state: State) -> Iterator[Drawn]:
        def cells(values: list[list]) -> Iterator[Row]:
            for y, row in zip(state["rows"], values, strict=True):
                for x, value in zip(state["columns"], row, strict=True):
                    yield {"x": x, "y": y, "value": value}

        yield Drawn("cell", "", {"values": state["values"]}, cells)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colour = state["tint"][0]
        shades = LinearSegmentedColormap.from_list("cells", [colour + "0a", colour + "80"])
        values = floats(data[state["values"]])
        ax.imshow(values, cmap=shades, vmin=state["range"][0], vmax=state["range"][1], aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.{state['digits']}f}", ha="center", va="center", fontsize=9)
        ax.set_xticks(range(len(state["columns"])), state["columns"])
        ax.set_yticks(range(len(state["rows"])), state["rows"])
        ax.set(xlabel=state["xLabel"], ylabel=state["yLabel"])
        ax.grid(False)
        ax.spines[:].set_visible(False)
