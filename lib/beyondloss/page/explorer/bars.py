"""A panel that ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page import theme
from beyondloss.page.explorer.grid import Drawn, Grid, Row, Values, columns, floats, number, numbers, tint
from beyondloss.page.explorer.panel import Data, Kind, Readout, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class BarsPanel(Kind):
    """A bar for each of `names`, ordered by `values` [*grid, bars] at every setting; the line `mark` [*grid] is named.

    `band` is a pair (low, high) of the shape of `values`. Bars of the names in `lit` have the second colour.
    """

    title: str
    names: Sequence[str]
    values: Values
    x_label: str = ""
    over: Sequence[str] | None = None
    band: tuple[Values, Values] | None = None
    mark: Values = None
    mark_name: str = ""
    lit: Sequence[str] = ()
    digits: int = 3
    range: tuple[float, float] | None = None
    readouts: Sequence[Readout] = ()
    description: str = ""

    kind = "bars"

    @property
    def summary(self) -> str:
        return f"{self.title}: {len(self.names)} bars, the longest on top"

    @property
    def height(self) -> int:
        return 27 * len(self.names) + 62

    def state(self, grid: Grid) -> dict[str, Any]:
        owner, (low, high) = f"bars {self.title!r}", self.band or (None, None)
        given = {"values": self.values, "low": low, "high": high}
        data = grid.add_all(owner, given, self.over, 1, numbers)
        grid.same_length(owner, data, len(self.names))
        return {
            **data,
            "mark": grid.add(f"mark {self.mark_name!r}", self.mark, self.over, 0, number),
            "markName": self.mark_name,
            "names": list(self.names),
            "lit": [name in self.lit for name in self.names],
            "digits": self.digits,
            "xLabel": self.x_label,
            "range": self.range or grid.span(data.values(), pad=0.05),
            "tints": [tint("blue"), tint("vermillion"), tint("grey")],
        }

    def drawn(self, state: State) -> Iterator[Drawn]:
        def bars(**values: list) -> Iterator[Row]:
            for name, row in zip(state["names"], columns(**values), strict=True):
                yield {"series": name, **row}

        yield Drawn("bar", "", {"x": state["values"], "low": state["low"], "high": state["high"]}, bars)
        if state["mark"] is not None:
            yield Drawn("line", state["markName"], {"x": state["mark"]})

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        values, start = floats(data[state["values"]]), state["range"][0]
        order = np.argsort(-values, kind="stable")[::-1]
        colours = [state["tints"][int(state["lit"][i])][0] for i in order]
        rungs = range(len(order))
        ax.barh(rungs, values[order] - start, left=start, color=colours, alpha=0.75)
        ends = values[order]
        if state["low"] is not None:
            low, high = floats(data[state["low"]])[order], floats(data[state["high"]])[order]
            ax.hlines(rungs, low, high, color=theme.INK, linewidth=1.2)
            ends = np.fmax(ends, high)
        x_label = state["xLabel"]
        if state["mark"] is not None and data[state["mark"]] is not None:
            ax.axvline(data[state["mark"]], color=theme.INK, linestyle=":", linewidth=1.6)
            x_label = f"{x_label} (dotted: {state['markName']})".lstrip()
        for rung, end, value in zip(rungs, ends, values[order], strict=True):
            if np.isfinite(value):
                beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
                ax.annotate(f"{value:.{state['digits']}f}", (end, rung), **beside, fontsize=8)
        ax.set_yticks(rungs, [state["names"][i] for i in order])
        ax.set(xlabel=x_label, xlim=state["range"])
        ax.grid(False)
