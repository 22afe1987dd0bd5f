"""A panel with two axes and marks between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beyondloss.page import theme
from beyondloss.page.explorer.bars import BarsPanel
from beyondloss.page.explorer.graph import GraphPanel
from beyondloss.page.explorer.grid import Drawn, Grid, Values
from beyondloss.page.explorer.heat import HeatPanel
from beyondloss.page.explorer.marks import Cells, Histogram, Mark, Marker, Points, Series, Shade
from beyondloss.page.explorer.panel import Data, Kind, Readout, State
from beyondloss.page.explorer.pictures import PicturesPanel
from beyondloss.page.explorer.text import TextPanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Panel(Kind):
    """A plot. `Panel.text`, `.heat`, `.bars`, `.pictures` and `.graph` make the other kinds.

    Marks are painted in this order: cells, histograms, shades, series, points, markers.
    """

    title: str
    x_label: str = ""
    y_label: str = ""
    series: Sequence[Series] = ()
    shades: Sequence[Shade] = ()
    markers: Sequence[Marker] = ()
    readouts: Sequence[Readout] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_log: bool = False
    y_log: bool = False
    height: int = 300
    description: str = ""
    points: Sequence[Points] = ()
    histograms: Sequence[Histogram] = ()
    cells: Sequence[Cells] = ()

    kind = "plot"

    @property
    def summary(self) -> str:
        return f"{self.title}: {self.y_label} against {self.x_label}"

    @property
    def marks(self) -> tuple[Mark, ...]:
        return (*self.cells, *self.histograms, *self.shades, *self.series, *self.points, *self.markers)

    def state(self, grid: Grid) -> dict[str, Any]:
        colours = itertools.cycle(theme.COLOURS)
        marks = [mark.complete_state(grid, mark.colour or next(colours)) for mark in self.marks]
        across = self._data(marks, "across") or [state["x"] for state in marks if state["mark"] == "marker"]
        along = self._data(marks, "along")
        pad = 0.0 if self.cells else 0.05  # a map fills its frame
        return {
            "xLabel": self.x_label,
            "yLabel": self.y_label,
            "xRange": self.x_range or grid.span(across, self.x_log, pad=0.05 if self.points and pad else 0.0),
            "yRange": self.y_range or grid.span(along, self.y_log, pad=pad),
            "xLog": self.x_log,
            "yLog": self.y_log,
            "marks": marks,
        }

    def _data(self, marks: Sequence[State], axis: str) -> list[int | None]:
        """The numbers of the data that an axis must hold."""
        found = []
        for mark, state in zip(self.marks, marks, strict=True):
            found += [state[key] for key in getattr(mark, axis)]
        return found

    def drawn(self, state: State) -> Iterator[Drawn]:
        for mark, of_mark in zip(self.marks, state["marks"], strict=True):
            yield from mark.drawn(of_mark)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        ax.set(xlabel=state["xLabel"], ylabel=state["yLabel"], xlim=state["xRange"], ylim=state["yRange"])
        ax.set_xscale("log" if state["xLog"] else "linear")
        ax.set_yscale("log" if state["yLog"] else "linear")
        for mark, of_mark in zip(self.marks, state["marks"], strict=True):
            mark.draw(ax, of_mark, data)

    def label(self, ax: Axes, state: State, data: Data) -> None:
        """Lines are named at their ends, points beside them, regions, histograms and markers in a small key."""
        theme.label_lines(ax)
        for mark, of_mark in zip(self.marks, state["marks"], strict=True):
            if isinstance(mark, Points):
                named = zip(data[of_mark["x"]], data[of_mark["y"]], mark.names, strict=True)
                there = [point for point in named if None not in point]
                theme.label_points(ax, *map(list, zip(*there, strict=True)))
        names = {f"_{mark.name}" for mark in self.marks if mark.name}
        handles = [artist for artist in (*ax.patches, *ax.lines) if artist.get_label() in names]
        if handles:
            ax.legend(handles, [artist.get_label()[1:] for artist in handles], loc="best", fontsize=8.5)

    # the other kinds, so that an author needs one name ------------------------------------------------------

    @staticmethod
    def text(title: str, texts: Values, **options) -> TextPanel:
        """A panel of text samples, `texts` [*grid] of str. See TextPanel for the options."""
        return TextPanel(title, texts, **options)

    @staticmethod
    def heat(title: str, values: Values, rows: Sequence, columns: Sequence, **options) -> HeatPanel:
        """A panel of numbers in shaded cells, `values` [*grid, rows, columns]. See HeatPanel for the options."""
        return HeatPanel(title, values, rows, columns, **options)

    @staticmethod
    def bars(title: str, names: Sequence[str], values: Values, **options) -> BarsPanel:
        """A ranking: a bar a name, the longest on top, `values` [*grid, bars]. See BarsPanel for the options."""
        return BarsPanel(title, names, values, **options)

    @staticmethod
    def pictures(title: str, names: Sequence[str], pixels: Values, size: int, **options) -> PicturesPanel:
        """Small pictures in grey or in colour. See PicturesPanel for `pixels` and the options."""
        return PicturesPanel(title, names, pixels, size, **options)

    @staticmethod
    def graph(
        title: str, names: Sequence[str], x: Values, y: Values, arrows: Sequence[tuple[str, str]], **options
    ) -> GraphPanel:
        """Nodes at `x`, `y` [*grid, nodes] and arrows between them. See GraphPanel for the options."""
        return GraphPanel(title, names, x, y, arrows, **options)
