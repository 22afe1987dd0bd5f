"""The numbers that a figure draws, read from the figure itself when it is shown: they are what the reader sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from beyondloss.page import theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PolyCollection, QuadMesh
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.patches import Rectangle

CELLS = 20_000  # of one image; a larger one is a photograph and no data

Row = dict[str, Any]


def rows(figure: Figure) -> list[Row]:
    """One row a point, bar, cell, or place of a band: panel, mark, series, and x, y or low, high or value."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    # names are looked for in the whole figure: panels that share a legend have it in one of them
    names: dict[str, str] = {}
    for ax in panels:
        names |= _names(ax)
    for legend in figure.legends:  # says less than the lines themselves: it tells no dashes apart
        names = _of_legend(legend) | names
    found: list[Row] = []
    for ax in panels:
        title = ax.get_title("left") or ax.get_title() or ax.get_ylabel()
        for row in _rows(ax, names):
            found.append({"panel": title, **row} if len(panels) > 1 else row)
    return found


def _rows(ax: Axes, names: dict[str, str]) -> Iterator[Row]:
    """What one panel draws. Lines that span it, such as `axhline`, are no data."""
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
    from matplotlib.patches import Rectangle

    across, along = _Places(ax.xaxis), _Places(ax.yaxis)

    def points(mark: str, artist: Artist, places: Any) -> Iterator[Row]:
        series = _series(artist, names)
        for x, y in np.asarray(places, dtype=float):
            yield {"mark": mark, "series": series, "x": across(x), "y": along(y)}

    for line in ax.get_lines():
        if line.get_transform() == ax.transData:
            yield from points("line", line, np.transpose(line.get_data(orig=False)))
    for group in ax.collections:
        if isinstance(group, QuadMesh):
            yield from _mesh(group, across, along)
        elif isinstance(group, PolyCollection):
            yield from _bands(group, _series(group, names), across)
        elif isinstance(group, PathCollection):
            yield from points("dot", group, np.ma.getdata(group.get_offsets()))
        elif isinstance(group, LineCollection):
            for segment in group.get_segments():
                yield from points("line", group, segment)
    lying = {bar for bars in _bars(ax) if bars.orientation == "horizontal" for bar in bars}
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and patch.get_data_transform() == ax.transData:
            yield from points("bar", patch, [_end_of_bar(patch, lies=patch in lying)])
    for image in ax.get_images():
        values = np.ma.getdata(image.get_array())
        if values.ndim == 2 and values.size <= CELLS:
            for (i, j), value in np.ndenumerate(values):
                yield {"mark": "cell", "x": across(j), "y": along(i), "value": float(value)}


def _bars(ax: Axes) -> list[BarContainer]:
    from matplotlib.container import BarContainer

    return [container for container in ax.containers if isinstance(container, BarContainer)]


def _end_of_bar(bar: Rectangle, lies: bool) -> tuple[float, float]:
    """The middle of a bar's end: at its right if it lies, else at its top."""
    x, y, width, height = map(float, (bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()))
    return (x + width, y + height / 2) if lies else (x + width / 2, y + height)


def _bands(group: PolyCollection, series: str, across: Callable) -> Iterator[Row]:
    """Filled bands between two curves: their lower and upper edge at each abscissa."""
    for path in group.get_paths():
        # the outline goes along one curve and back along the other, so each abscissa has both
        at: dict[float, list[float]] = {}
        for x, y in path.vertices:
            at.setdefault(float(x), []).append(float(y))
        for x, ys in sorted(at.items()):
            yield {"mark": "band", "series": series, "x": across(x), "low": min(ys), "high": max(ys)}


def _mesh(group: QuadMesh, across: Callable, along: Callable) -> Iterator[Row]:
    """A heat map: a row a cell, at its middle."""
    corners = np.asarray(group.get_coordinates())
    middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    values = np.ma.getdata(group.get_array()).reshape(middles.shape[:2])
    for (i, j), value in np.ndenumerate(values):
        x, y = middles[i, j]
        yield {"mark": "cell", "x": across(x), "y": along(y), "value": float(value)}


def _is_its_number(label: str, tick: Any) -> bool:
    try:
        return bool(float(label.replace("\N{MINUS SIGN}", "-")) == tick)
    except ValueError:
        return False


class _Places:
    """What numbers on an axis mean: names, where its ticks have fixed labels one step apart; else themselves."""

    def __init__(self, axis: Axis):
        from matplotlib.category import StrCategoryLocator
        from matplotlib.ticker import FixedLocator

        self.names: dict[float, str] = {}
        if isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            ticks = axis.get_ticklocs()
            # categories stand at 0, 1, 2, …; chosen ticks of a numeric axis lie anywhere, and say their own numbers
            named = len(labels) == len(ticks) and np.allclose(np.diff(ticks), 1)
            if named and not all(map(_is_its_number, labels, ticks)):
                self.names = dict(zip(map(float, ticks), labels, strict=True))

    def __call__(self, place: float) -> float | str:
        """The name that stands nearest, since marks of one category are put beside each other; else the number."""
        nearest = min(self.names, key=lambda tick: abs(tick - place), default=np.nan)
        return self.names[nearest] if abs(nearest - place) <= 0.5 else float(place)


# Names of what is drawn, by its colour and dashes: seaborn names the legend, not the lines -----------------------


def _names(ax: Axes) -> dict[str, str]:
    """Names by colour and dashes ("#0b62b8--"), and by the colour alone for marks that have no dashes."""
    named: dict[str, str] = {}
    for line, name in theme.named_lines(ax):
        colour, dashes = theme.look(line)
        named[colour + str(dashes)] = name
        named.setdefault(colour, name)
    return _of_legend(ax.get_legend()) | named


def _of_legend(legend: Legend | None) -> dict[str, str]:
    """Names by colour."""
    if legend is None:
        return {}
    entries = zip(legend.legend_handles, legend.get_texts(), strict=True)
    return {_colour(handle): text.get_text() for handle, text in entries}


def _series(artist: Artist, names: dict[str, str]) -> str:
    """Name of what an artist draws: its own label or that of its look; "" where it has none."""
    label = str(artist.get_label())
    if label and not label.startswith("_"):
        return label
    dashes = str(artist.get_linestyle()) if hasattr(artist, "is_dashed") else ""
    return names.get(_colour(artist) + dashes) or names.get(_colour(artist), "")


def _colour(artist: Any) -> str:
    """Colour as "#rrggbb", whatever kind of artist it is; "" for one without."""
    from matplotlib.colors import to_hex

    for getter in ("get_color", "get_facecolor", "get_edgecolor"):
        if hasattr(artist, getter):
            colour = getattr(artist, getter)()
            try:
                return to_hex(colour)
            except (TypeError, ValueError):  # a list of colours, one a point
                return to_hex(colour[0]) if len(colour) else ""
    return ""
