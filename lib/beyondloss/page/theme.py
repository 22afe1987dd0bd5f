"""One look for every figure of the book: dark ink on no ground, direct labels, colours that everybody can tell apart.

Figures are drawn once, for a light page. The site's stylesheet inverts them where the page is dark
(`invert(1) hue-rotate(180deg)`: lightness turns round, hue stays); `on_dark` is that filter, for what is not an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

INK = "#1f2530"
FAINT = "#6b7280"

# At least 3:1 against a white page and, inverted, against the dark one; at least 12 units of CIE Lab apart
# for full colour vision and for protanopia, deuteranopia and tritanopia (tests/unit/test_page_theme.py).
PALETTE = {
    "blue": "#0b62b8",
    "vermillion": "#d9590b",
    "green": "#0a9c74",
    "plum": "#8e2f78",
    "brown": "#4d3808",
    "sky": "#3f96db",
    "grey": "#767c86",
}
COLOURS = tuple(PALETTE.values())

DPI = 110

_INVERSION = np.array(
    [[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]]
)  # W3C: hue-rotate(180deg)


def colour(name: str) -> str:
    """The hex code of a palette name; a hex code is returned as it is. Raises ValueError for anything else."""
    if name in PALETTE:
        return PALETTE[name]
    if name.startswith("#") and len(name) == 7:
        return name.lower()
    raise ValueError(f"unknown colour {name!r}: choose one of {', '.join(PALETTE)} or a code like '#0b62b8'")


def on_dark(code: str) -> str:
    """The colour that a figure's `code` ("#rrggbb") becomes on a dark page."""
    return _code(_INVERSION @ (255 - _channels(code)))


def for_text(code: str) -> str:
    """A colour with three tenths of ink, in which small text is readable. The explorer mixes its labels like this."""
    return _code(0.7 * _channels(code) + 0.3 * _channels(INK))


def _channels(code: str) -> np.ndarray:
    """Red, green and blue of "#rrggbb", from 0 to 255."""
    return np.array(list(bytes.fromhex(code[1:])))


def _code(channels: np.ndarray) -> str:
    """The code "#rrggbb" of red, green and blue, what lies outside of 0 to 255 moved to the nearest end."""
    return "#" + bytes(np.clip(channels, 0, 255).round().astype(np.uint8)).hex()


def rc() -> dict[str, object]:
    """The settings of matplotlib that make the look."""
    from cycler import cycler

    return {
        "figure.figsize": (6.4, 3.4),
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "figure.constrained_layout.use": True,
        "axes.facecolor": "none",
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.labelsize": 10,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlepad": 10,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS),
        "grid.color": INK,
        "grid.alpha": 0.1,
        "grid.linewidth": 0.8,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "xtick.major.size": 3.5,
        "ytick.major.size": 0,
        "text.color": INK,
        # matplotlib's own; seaborn prefers Arial, which some machines have
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "lines.linewidth": 2,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 9,
        "image.cmap": "cividis",
    }


def use_theme() -> None:
    """Show every later figure and table of this process in the look of the book, and keep what figures draw.

    A cell that needs points which are missing ends with a sentence that says so.
    """
    import seaborn

    from beyondloss.page import carried, missing, tables

    seaborn.set_theme(style="ticks", palette=COLOURS, rc=rc())
    # seaborn draws jitter and bootstrapped bands from numpy's own generator: the same ones in every execution
    np.random.seed(0)
    carried.record()
    tables.register_html_formatter()
    missing.end_cells_without_points()


def spread(positions: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Move `positions` as little as possible (least squares) until neighbours stand `gap` apart, in the same order.

    The result keeps within [low, high] where there is room for it, and starts at `low` where there is not.
    """
    from scipy.optimize import isotonic_regression

    positions = np.asarray(positions, dtype=float)
    if not positions.size:
        return positions
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(positions.size)
    # y_i - i·gap must not decrease: an isotonic regression, whose box constraint is a clip
    inner = isotonic_regression(positions[order] - steps).x
    result = np.empty_like(positions)
    result[order] = np.clip(inner, low, max(low, high - steps[-1])) + steps
    return result


def label_lines(ax: Axes, *, fontsize: float = 9) -> None:
    """Write each line's label at its right end in its own colour, none over another nor the title, without a legend.

    Lines take the label that they were drawn with or, where the legend alone knows it (seaborn), the legend's text.
    """
    from matplotlib.colors import to_hex

    ax.get_xlim(), ax.get_ylim()  # matplotlib settles its limits only when asked
    named = named_lines(ax)
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    for line, label in named:  # the legend is gone, its names are not
        line.set_label(label)
    ax.figure.draw_without_rendering()  # the height of the axes is known only when drawn
    # all heights are fractions of the axes' height, in which a line of text has this one
    axes_height = ax.get_position().height * ax.figure.get_figheight() * 72  # points
    line_height = 1.25 * fontsize / axes_height
    to_fraction = (ax.transData - ax.transAxes).transform
    ends = [to_fraction(_last_point(line)) for line, _ in named]
    heights = spread([height for _, height in ends], line_height, high=1 - line_height / 2)
    for (line, label), (right, _), height in zip(named, ends, heights, strict=True):
        ax.annotate(
            label,
            xy=(right, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=fontsize,
            color=for_text(to_hex(line.get_color())),
            annotation_clip=False,
        )


def named_lines(ax: Axes) -> list[tuple[Line2D, str]]:
    """The lines of `ax` that have a name: their label or, where the legend alone knows it (seaborn), its text."""
    from matplotlib.lines import Line2D

    drawn = [line for line in ax.get_lines() if np.isfinite(_last_point(line)).all()]
    labels = [(line, str(line.get_label())) for line in drawn]
    named = [(line, label) for line, label in labels if not label.startswith("_")]  # matplotlib's "no name"
    legend = ax.get_legend()
    if named or legend is None:
        return named
    # seaborn names handles of the legend that are other lines, of the same look
    names = {}
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        if isinstance(handle, Line2D):
            names[look(handle)] = text.get_text()
    return [(line, names[look(line)]) for line in drawn if look(line) in names]


def look(line: Line2D) -> tuple:
    """Colour ("#rrggbb") and line style: what a legend tells lines apart by."""
    from matplotlib.colors import to_hex

    return to_hex(line.get_color()), line.get_linestyle()


def _last_point(line: Line2D) -> tuple[float, float]:
    """The last point of a line that is drawn, in its data's units; not a number where none is."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data(orig=False))
    drawn = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return (float(x[drawn[-1]]), float(y[drawn[-1]])) if drawn.size else (np.nan, np.nan)


def log_axes(ax: Axes, which: str = "xy") -> None:
    """Logarithmic scale on the named axes ("x", "y" or "xy"), with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for name in which:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def label_points(
    ax: Axes, x: Sequence[float], y: Sequence[float], labels: Sequence[str], *, fontsize: float = 8
) -> None:
    """Write each point's label beside it, none over another nor the title; labels of one place share it.

    To its right, to its left where that alone is free, else moved up or down on the right, with a line to its point.
    """
    from matplotlib.transforms import Bbox

    shared: dict[tuple[float, float], list[str]] = {}
    for across, along, label in zip(x, y, labels, strict=True):
        shared.setdefault((across, along), []).append(label)
    texts = []
    for place in sorted(shared, key=lambda place: place[1]):  # from below: each moves up over those before it
        text = " · ".join(shared[place])
        offset = {"xytext": (6, 0), "textcoords": "offset points"}
        texts.append(ax.annotate(text, place, **offset, fontsize=fontsize, va="center"))
    ax.figure.draw_without_rendering()  # boxes are known only when drawn
    to_points, top = 72 / ax.figure.dpi, ax.get_window_extent().y1
    # points are boxes of six points' width, because no name may cover one, its own included
    radius = 3 / to_points
    placed = []
    for centre in ax.transData.transform(np.column_stack([x, y])):
        placed.append(Bbox.from_extents(*(centre - radius), *(centre + radius)))
    left_end = ax.get_window_extent().x0
    for text in texts:
        box = text.get_window_extent()
        mirrored = box.translated(-box.width - 12 / to_points, 0)
        if not _is_free(box, placed, top) and mirrored.x0 > left_end and _is_free(mirrored, placed, top):
            text.set_ha("right")
            text.xyann, box = (-6, 0), mirrored
        elif shift := _way_out(box, placed, top):
            text.xyann, box = (6, shift * to_points), box.translated(0, shift)
            line = {"arrowstyle": "-", "color": PALETTE["grey"], "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", text.xy, text.xyann, textcoords="offset points", arrowprops=line)
        placed.append(box)


def _is_free(box: Bbox, placed: Sequence[Bbox], top: float) -> bool:
    return box.y1 <= top and not any(other.overlaps(box) for other in placed)


def _way_out(box: Bbox, placed: Sequence[Bbox], top: float) -> float:
    """How far to move `box` up, or down where up leads over `top`, until it covers none of `placed`; in pixels."""
    for upwards in (True, False):
        shift = 0.0
        while hit := [other for other in placed if other.overlaps(box.translated(0, shift))]:
            if upwards:
                shift = max(other.y1 for other in hit) - box.y0 + 1
            else:
                shift = min(other.y0 for other in hit) - box.y1 - 1
        if not shift or box.y1 + shift <= top:
            break
    return shift
