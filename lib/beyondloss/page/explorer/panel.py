"""What every kind of panel is: its state for the page, its drawing for the plain figure, and the tables behind it.

A kind is a frozen dataclass in a file of its own, with a script of the same name beside it. The script draws the state
in a browser and adds itself to PAINTERS; nothing else has to know the kind.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from beyondloss.page.explorer.grid import Drawn, Grid, Values, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

State = Mapping[str, Any]  # of one panel, as its script gets it
Data = Sequence[Any]  # all data at one setting of the sliders


@dataclass(frozen=True)
class Readout:
    """A number or text [*grid], written above the plot; `format` is a format specification (".3f", ".0%")."""

    name: str
    values: Values
    format: str = ".3f"
    over: Sequence[str] | None = None


class Picture(ABC):
    """A panel, or a mark in one. Its fields hold what the author gives; `state` turns that into JSON."""

    @abstractmethod
    def state(self, grid: Grid) -> dict[str, Any]:
        """Labels, colours, and the numbers of its data, which it adds to `grid`."""

    @abstractmethod
    def draw(self, ax: Axes, state: State, data: Data) -> None:
        """Draw it at one setting with matplotlib."""

    @abstractmethod
    def drawn(self, state: State) -> Iterator[Drawn]:
        """The tables behind it."""


class Kind(Picture):
    """A kind of panel."""

    kind: ClassVar[str]  # the name of its script and of its style
    title: str
    readouts: Sequence[Readout]
    description: str

    @property
    @abstractmethod
    def summary(self) -> str:
        """What is drawn, for those who do not see it and got no description."""

    def label(self, ax: Axes, state: State, data: Data) -> None:  # noqa: B027
        """Name what is drawn, once the figure's layout is known."""

    def body(self, state: State, data: Data) -> str:
        """The HTML of the panel before its script has drawn anything, of its full height."""
        return f'<svg role="img" aria-label="{self.about}" height="{self.height}"></svg>'

    @property
    def about(self) -> str:
        return html.escape(self.description or self.summary)

    def complete_state(self, grid: Grid) -> dict[str, Any]:
        """The state with its kind and its readouts."""
        state = {"kind": self.kind, **self.state(grid)}
        state["readouts"] = [
            grid.add(f"readout {item.name!r}", item.values, item.over, 0, written(item.format))
            for item in self.readouts
        ]
        return state

    def tables(self, state: State) -> Iterator[Drawn]:
        """The tables behind the panel and its readouts."""
        yield from self.drawn(state)
        for item, number in zip(self.readouts, state["readouts"], strict=True):
            yield Drawn("readout", item.name, {"value": number})
