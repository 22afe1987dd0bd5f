"""The plain figure of an explorer: the same panels drawn once by matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

State = Mapping[str, Any]  # of one panel, as explorer.mjs gets it
Data = Sequence[Any]  # all data at one setting of the sliders


def draw(setting: str, panels: Sequence, states: Sequence[State], data: Data) -> Figure:
    """Draw all panels, two in a row, under a line that gives the sliders' `setting`."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    # a Figure of its own, not pyplot's: a notebook would show that a second time
    with matplotlib.rc_context(theme.rc()):
        figure = Figure(figsize=(1 + 4 * columns, 3.3 * rows + 0.3))
        for i, (panel, state) in enumerate(zip(panels, states, strict=True)):
            ax = figure.add_subplot(rows, columns, (i + 1, rows * columns) if i + 1 == len(panels) else i + 1)
            _PAINTERS[state["kind"]](ax, panel, state, data)
            _head(ax, panel, state, data)
        if setting:
            figure.suptitle(setting, x=0.01, ha="left", fontsize=9.5, color=theme.FAINT)
        figure.get_layout_engine().execute(figure)
        for ax, state in zip(figure.axes, states, strict=True):
            if state["kind"] == "plot":
                _names(ax, panel_state=state)
    return figure


def _head(ax: Axes, panel: Any, state: State, data: Data) -> None:
    readouts = [
        f"{item.name} {data[number]}" for item, number in zip(panel.readouts, state["readouts"], strict=True)
    ]
    lines = textwrap.wrap(",  ".join(readouts), 54)
    ax.set_title(panel.title, pad=8 + 11 * len(lines))
    ax.annotate("\n".join(lines), (0, 1), (0, 4), "axes fraction", "offset points", fontsize=8.5)


def _plot(ax: Axes, panel: Any, state: State, data: Data) -> None:
    ax.set(xlabel=state["xLabel"], ylabel=state["yLabel"], xlim=state["xRange"], ylim=state["yRange"])
    ax.set_xscale("log" if state["xLog"] else "linear")
    ax.set_yscale("log" if state["yLog"] else "linear")
    for series in state["series"]:
        x, colour = _floats(data[series["x"]]), series["tint"][0]
        style = {"linestyle": "--" if series["dashed"] else "-", "marker": "o" if series["dots"] else None}
        if series["low"] is not None:
            low, high = _floats(data[series["low"]]), _floats(data[series["high"]])
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        ax.plot(
            x, _floats(data[series["y"]]), color=colour, markersize=4, label=series["name"] or "_", **style
        )
    for shade in state["shades"]:
        low, high = data[shade["low"]], data[shade["high"]]
        if low is not None and high is not None:
            ax.axvspan(low, high, color=shade["tint"][0], alpha=0.14, linewidth=0, label=f"_{shade['name']}")
    for marker in state["markers"]:
        _mark(ax, marker, data)


def _mark(ax: Axes, marker: State, data: Data) -> None:
    x, colour, name = data[marker["x"]], marker["tint"][0], f"_{marker['name']}"
    if x is None:
        return
    if marker["y"] is None:
        ax.axvline(x, color=colour, linestyle=":", linewidth=1.6, label=name)
    elif data[marker["y"]] is not None:
        ax.plot([x], [data[marker["y"]]], "o", color=colour, markersize=7, label=name)


def _names(ax: Axes, panel_state: State) -> None:
    """Lines are named at their ends, shaded regions and markers in a small key."""
    theme.label_lines(ax)
    names = {
        f"_{item['name']}" for kind in ("shades", "markers") for item in panel_state[kind] if item["name"]
    }
    handles = [artist for artist in (*ax.patches, *ax.lines) if artist.get_label() in names]
    if handles:
        ax.legend(handles, [artist.get_label()[1:] for artist in handles], loc="best", fontsize=8.5)


def _text(ax: Axes, panel: Any, state: State, data: Data) -> None:
    lines = [part for line in data[state["texts"]].splitlines() for part in textwrap.wrap(line, 46) or [""]]
    ax.text(
        0, 1, "\n".join(lines), family="monospace", fontsize=8.5, va="top", transform=ax.transAxes, wrap=False
    )
    ax.set_axis_off()


def _heat(ax: Axes, panel: Any, state: State, data: Data) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colour = state["tint"][0]
    shades = LinearSegmentedColormap.from_list("cells", [colour + "0a", colour + "80"])
    values = np.array([_floats(row) for row in data[state["values"]]])
    ax.imshow(values, cmap=shades, vmin=state["range"][0], vmax=state["range"][1], aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(j, i, f"{value:.{state['digits']}f}", ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(state["columns"])), state["columns"])
    ax.set_yticks(range(len(state["rows"])), state["rows"])
    ax.set(xlabel=state["xLabel"], ylabel=state["yLabel"])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _bars(ax: Axes, panel: Any, state: State, data: Data) -> None:
    values = _floats(data[state["values"]])
    order = np.argsort(-values, kind="stable")[::-1]
    colours = [state["tints"][int(state["lit"][i])][0] for i in order]
    ax.barh(
        range(len(order)),
        values[order] - state["range"][0],
        left=state["range"][0],
        color=colours,
        alpha=0.75,
    )
    if state["low"] is not None:
        low, high = (_floats(data[state[key]])[order] for key in ("low", "high"))
        ax.hlines(range(len(order)), low, high, color=theme.INK, linewidth=1.2)
    if state["mark"] is not None and data[state["mark"]] is not None:
        ax.axvline(data[state["mark"]], color=state["tints"][2][0], linestyle=":", linewidth=1.6)
    ax.set_yticks(range(len(order)), [state["names"][i] for i in order])
    ax.set(xlabel=state["xLabel"], xlim=state["range"])
    ax.grid(False)


def _pictures(ax: Axes, panel: Any, state: State, data: Data) -> None:
    size, columns, count = state["size"], state["columns"], len(state["names"])
    levels = np.array([int(digit, 16) for digit in data[state["pixels"]]]).reshape(count, size, size)
    for i, (name, picture) in enumerate(zip(state["names"], levels, strict=True)):
        left, top = 1.25 * (i % columns), 1.5 * (i // columns)
        ax.imshow(picture, cmap="gray", vmin=0, vmax=15, extent=(left, left + 1, top + 1, top))
        ax.text(left + 0.5, top + 1.08, name, ha="center", va="top", fontsize=8)
    ax.set(xlim=(0, 1.25 * min(columns, count)), ylim=(1.5 * -(-count // columns), 0))
    ax.set_axis_off()


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


_PAINTERS = {"plot": _plot, "text": _text, "heat": _heat, "bars": _bars, "pictures": _pictures}
