"""A panel of text samples."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beyondloss.page.explorer.grid import Drawn, Grid, Values, written
from beyondloss.page.explorer.panel import Data, Kind, Readout, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class TextPanel(Kind):
    """Text in a fixed pitch, `texts` [*grid], such as a sample at each denoising step.

    Each `mask` character is drawn as an empty box. Where `along` names a slider, the characters that differ from
    its previous value are lit up: what this step has revealed.
    """

    title: str
    texts: Values
    over: Sequence[str] | None = None
    mask: str = "□"
    along: str | None = None
    readouts: Sequence[Readout] = ()
    lines: int = 8
    description: str = ""

    kind = "text"

    @property
    def summary(self) -> str:
        return self.title

    def state(self, grid: Grid) -> dict[str, Any]:
        owner = f"text {self.title!r}"
        if self.along is not None:
            grid.named(owner, [self.along])
        texts = grid.add(owner, self.texts, self.over, 0, written(""))
        return {"texts": texts, "mask": self.mask, "along": self.along}

    def drawn(self, state: State) -> Iterator[Drawn]:
        yield Drawn("text", "", {"value": state["texts"]})

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        lines: list[str] = []
        for line in data[state["texts"]].splitlines():
            lines += textwrap.wrap(line, 46) or [""]
        text = "\n".join(lines)
        ax.text(0, 1, text, family="monospace", fontsize=8.5, va="top", transform=ax.transAxes, wrap=False)
        ax.set_axis_off()

    def body(self, state: State, data: Data) -> str:
        text, height = html.escape(data[state["texts"]]), self.lines * 1.5 + 1.5
        return f'<pre tabindex="0" role="region" aria-label="{self.about}" style="height:{height}em">{text}</pre>'
