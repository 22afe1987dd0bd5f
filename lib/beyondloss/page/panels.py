"""What an author writes to make an explorer: sliders, and panels of curves, regions, markers, numbers and texts.

Wherever values are asked for, one of three will do: a constant; an array over the grid, [*grid, ...] with one leading
axis a slider (all of them, or those that `over` names, in that order); or a function whose arguments are named like
the sliders that it depends on. Functions are computed over the grid for the page, and called off the grid where there
is a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = Any


def plain(value: Any) -> Any:
    """A number as Python's own, without the dust of binary fractions (0.30000000000000004)."""
    if isinstance(value, np.generic):
        value = value.item()
    return float(f"{value:.12g}") if isinstance(value, float) else value


@dataclass(frozen=True)
class Slider:
    """One parameter: the values of its grid, and where it starts.

    `step` is for the kernel: the live slider moves in such steps from the first value to the last, and functions are
    called off the grid. Without it the slider knows the grid only. `format` is a format specification ("g", ".2f").
    """

    name: str
    label: str
    values: Sequence[Any] | np.ndarray
    start: Any = None
    step: float | None = None
    format: str = "g"

    def __post_init__(self):
        values = tuple(plain(value) for value in self.values)
        object.__setattr__(self, "values", values)
        if not values:
            raise ValueError(f"slider {self.name!r} has no values")
        if self.step is not None and not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"slider {self.name!r} has a step but its values are not numbers")
        start = values[len(values) // 2] if self.start is None else plain(self.start)
        if start not in values:
            raise ValueError(
                f"slider {self.name!r} starts at {start!r}, which is none of its values {values}"
            )
        object.__setattr__(self, "start", start)

    def text(self, value: Any) -> str:
        return value if isinstance(value, str) else format(value, self.format)

    def settle(self, value: Any) -> Any:
        """Where the slider can stand nearest to `value`: anywhere between its ends with a step, else on its grid."""
        if self.step is None or value in self.values:
            return self.values[self.nearest(value)]
        inside = min(max(value, min(self.values)), max(self.values))
        whole = all(isinstance(number, int) for number in (*self.values, self.step))
        return round(inside) if whole else plain(float(inside))

    def nearest(self, value: Any) -> int:
        """The index of the grid's value nearest to `value`."""
        if value in self.values:
            return self.values.index(value)
        if isinstance(value, str):
            raise ValueError(
                f"slider {self.name!r} has no value {value!r}: choose one of {', '.join(self.values)}"
            )
        return int(np.argmin(np.abs(np.asarray(self.values, dtype=float) - value)))


@dataclass(frozen=True)
class Series:
    """A curve `y` over `x`, both [*grid, n], named at its end; `band` is a pair (low, high) of the same shape."""

    name: str
    x: Values
    y: Values
    over: Sequence[str] | None = None
    colour: str | None = None
    band: tuple[Values, Values] | None = None
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Shade:
    """The region between two abscissae `low` and `high`, both [*grid]."""

    name: str
    low: Values
    high: Values
    over: Sequence[str] | None = None
    colour: str = "blue"


@dataclass(frozen=True)
class Marker:
    """A vertical line at `x` [*grid], or a point where `y` [*grid] is given."""

    name: str
    x: Values
    y: Values = None
    over: Sequence[str] | None = None
    colour: str = "grey"


@dataclass(frozen=True)
class Readout:
    """A number or text [*grid], written above the plot; `format` is a format specification (".3f", ".0%")."""

    name: str
    values: Values
    format: str = ".3f"
    over: Sequence[str] | None = None


@dataclass(frozen=True)
class Panel:
    """One plot of an explorer. `Panel.text` and `Panel.heat` make the other two kinds."""

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

    kind = "plot"

    @property
    def summary(self) -> str:
        return f"{self.title}: {self.y_label} against {self.x_label}"

    @staticmethod
    def text(title: str, texts: Values, **options) -> TextPanel:
        """A panel of text samples, `texts` [*grid] of str. See TextPanel for the options."""
        return TextPanel(title, texts, **options)

    @staticmethod
    def heat(title: str, values: Values, rows: Sequence, columns: Sequence, **options) -> HeatPanel:
        """A panel of numbers in shaded cells, `values` [*grid, rows, columns]. See HeatPanel for the options."""
        return HeatPanel(title, values, rows, columns, **options)


@dataclass(frozen=True)
class TextPanel:
    """Text in a fixed pitch, such as a sample at each denoising step.

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


@dataclass(frozen=True)
class HeatPanel:
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
