"""The numbers that a figure draws, as CSV: read from the figure itself, so they are what the reader sees.

`use_theme` records them beside each picture of an executed notebook; the site offers them under the figure. They stay
out of the committed notebooks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page import theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIME = "text/csv"
COLUMNS = ("panel", "mark", "series", "x", "y", "low", "high")
CELLS = 20_000  # of one image; a larger one is a photograph and no data

Row = dict[str, Any]


def record() -> None:
    """From now on every figure that this kernel shows brings its numbers along; nothing outside a kernel."""
    from IPython import get_ipython
    from IPython.core.formatters import BaseFormatter, catch_format_error
    from matplotlib.figure import Figure
    from traitlets import Unicode

    class Numbers(BaseFormatter):
        format_type = Unicode(MIME)

        @catch_format_error  # a reader's figure is shown, whatever becomes of its numbers
        def __call__(self, shown: Any) -> str | None:
            # not by type: the inline backend forgets types of figures
            return csv_of(shown) if isinstance(shown, Figure) else None

    if shell := get_ipython():
        shell.display_formatter.formatters[MIME] = Numbers(parent=shell.display_formatter)


def csv_of(figure: Figure) -> str | None:
    """All that `figure` draws as one table of COLUMNS, six digits a number; None where it draws no data."""
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    names = {look: name for ax in axes for look, name in _names(ax).items()}
    rows = [row for ax in axes for row in _rows(ax, names)]
    return text_of(rows, COLUMNS[len(axes) < 2 :]) if rows else None


def text_of(rows: list[Row], columns: tuple[str, ...]) -> str:
    """CSV of rows, without the columns that none of them fills."""
    filled = [column for column in columns if any(row.get(column, "") not in ("", None) for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(filled)
    writer.writerows([_cell(row.get(column, "")) for column in filled] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else "" if value is None else value


def _rows(ax: Axes, names: dict[str, str]) -> Iterator[Row]:
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
    from matplotlib.patches import Rectangle

    panel = ax.get_title("left") or ax.get_title() or ax.get_ylabel()
    across, along = _category(ax.xaxis), _category(ax.yaxis)

    def row(mark: str, artist: Artist, x: Any, y: Any, **more: Any) -> Row:
        series = _series(artist, names)
        return {"panel": panel, "mark": mark, "series": series, "x": across(x), "y": along(y), **more}

    for line in ax.get_lines():
        if line.get_transform() == ax.transData:  # not the lines that span the whole panel
            yield from (row("line", line, x, y) for x, y in zip(*_floats(line), strict=True))
    for group in ax.collections:
        if isinstance(group, QuadMesh):
            yield from _mesh(group, row)
        elif isinstance(group, PolyCollection):
            yield from (r for path in group.get_paths() for r in _band(group, path.vertices, row))
        elif isinstance(group, PathCollection):
            yield from (row("dot", group, float(x), float(y)) for x, y in np.ma.getdata(group.get_offsets()))
        elif isinstance(group, LineCollection):
            yield from (row("line", group, float(x), float(y)) for s in group.get_segments() for x, y in s)
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and patch.get_data_transform() == ax.transData:
            x, width, y, height = patch.get_x(), patch.get_width(), patch.get_y(), patch.get_height()
            at = (x + width, y + height / 2) if _has_categories(ax.yaxis) else (x + width / 2, y + height)
            yield row("bar", patch, *map(float, at))
    for image in ax.get_images():
        values = np.ma.getdata(image.get_array())
        if values.ndim == 2 and values.size <= CELLS:
            cells = np.ndenumerate(values)
            yield from (
                {"panel": panel, "mark": "cell", "x": j, "y": i, "low": float(v)} for (i, j), v in cells
            )


def _band(group: Any, vertices: np.ndarray, row: Any) -> Iterator[Row]:
    """A filled band between two curves: its lower and upper edge at each abscissa."""
    at: dict[float, list[float]] = {}
    for x, y in vertices:
        at.setdefault(float(x), []).append(float(y))
    for x, ys in sorted(at.items()):
        yield {**row("band", group, x, None), "y": "", "low": min(ys), "high": max(ys)}


def _mesh(group: Any, row: Any) -> Iterator[Row]:
    """A heat map: one row a cell, its value under `low`."""
    values = np.ma.getdata(group.get_array())
    labels = [[t.get_text() for t in axis.get_ticklabels()] for axis in (group.axes.xaxis, group.axes.yaxis)]
    for (i, j), value in np.ndenumerate(values):
        x, y = (names[k] if k < len(names) else k for names, k in zip(labels, (j, i), strict=True))
        yield {**row("cell", group, None, None), "x": x, "y": y, "low": float(value)}


def _category(axis: Any) -> Any:
    """What a number on this axis means: the name of the category that it stands at or beside, else itself."""
    if not _has_categories(axis):
        return lambda value: value
    names = {number: name for name, number in axis.units._mapping.items()}
    return lambda value: value if value is None else names.get(round(value), value)


def _has_categories(axis: Any) -> bool:
    return bool(getattr(axis.units, "_mapping", None))


def _floats(line: Any) -> list[list[float]]:
    return [np.asarray(values, dtype=float).tolist() for values in line.get_data(orig=False)]


# Names of what is drawn, by its colour and dashes: seaborn names the legend, not the lines -----------------------


def _names(ax: Axes) -> dict[str, str]:
    named = {theme._look(line)[0] + str(line.get_linestyle()): name for line, name in theme._named_lines(ax)}
    legend = ax.get_legend()
    if legend is not None:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            named.setdefault(_colour(handle), text.get_text())
    return named | {look[:7]: name for look, name in named.items() if look[:7] not in named}


def _series(artist: Artist, names: dict[str, str]) -> str:
    label = str(artist.get_label())
    if label and not label.startswith("_"):
        return label
    dashes = str(artist.get_linestyle()) if hasattr(artist, "is_dashed") else ""
    return names.get(_colour(artist) + dashes) or names.get(_colour(artist), "")


def _colour(artist: Any) -> str:
    from matplotlib.colors import to_hex

    for getter in ("get_color", "get_facecolor", "get_edgecolor"):
        if hasattr(artist, getter):
            colour = getattr(artist, getter)()
            try:
                return to_hex(colour)
            except (TypeError, ValueError):  # a list of colours, one a point
                return to_hex(colour[0]) if len(colour) else ""
    return ""
