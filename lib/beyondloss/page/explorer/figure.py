"""The plain figure of an explorer: the same panels drawn once by matplotlib, for print and where no script runs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beyondloss.page import theme
from beyondloss.page.explorer.panel import Data, Kind, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(setting: str, panels: Sequence[Kind], states: Sequence[State], data: Data) -> Figure:
    """Draw all panels, two in a row, under a line that gives the sliders' `setting`."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    # a Figure of its own, not pyplot's: a notebook would show that a second time
    with matplotlib.rc_context(theme.rc()):
        figure = Figure(figsize=(1 + 4 * columns, 3.3 * rows + 0.3))
        places = list(range(1, len(panels) + 1))
        places[-1] = (places[-1], rows * columns)  # the last one fills its row
        drawn = []
        for place, panel, state in zip(places, panels, states, strict=True):
            ax = figure.add_subplot(rows, columns, place)
            panel.draw(ax, state, data)
            _head(ax, panel, state, data)
            drawn.append((ax, panel, state))
        if setting:
            figure.suptitle(setting, x=0.01, ha="left", fontsize=9.5, color=theme.FAINT)
        figure.get_layout_engine().execute(figure)
        for ax, panel, state in drawn:
            panel.label(ax, state, data)
    return figure


def _head(ax: Axes, panel: Kind, state: State, data: Data) -> None:
    """Title, and under it the readouts."""
    numbers = zip(panel.readouts, state["readouts"], strict=True)
    lines = textwrap.wrap(",  ".join(f"{item.name} {data[number]}" for item, number in numbers), 54)
    ax.set_title(panel.title, pad=8 + 11 * len(lines))
    ax.annotate("\n".join(lines), (0, 1), (0, 4), "axes fraction", "offset points", fontsize=8.5)
