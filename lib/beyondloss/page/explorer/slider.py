"""The sliders of an explorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def without_dust(value: Any) -> Any:
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
        values = tuple(without_dust(value) for value in self.values)
        object.__setattr__(self, "values", values)
        if not values:
            raise ValueError(f"slider {self.name!r} has no values")
        if self.step is not None and not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"slider {self.name!r} has a step but its values are not numbers")
        start = values[len(values) // 2] if self.start is None else without_dust(self.start)
        if start not in values:
            raise ValueError(
                f"slider {self.name!r} starts at {start!r}, which is none of its values {values}"
            )
        object.__setattr__(self, "start", start)

    def state(self) -> dict[str, Any]:
        """What the page's script knows of the slider: its values, and how each is written."""
        return {"name": self.name, "values": self.values, "texts": list(map(self.text, self.values))}

    def text(self, value: Any) -> str:
        return value if isinstance(value, str) else format(value, self.format)

    def settle(self, value: Any) -> Any:
        """Where the slider can stand nearest to `value`: anywhere between its ends with a step, else on its grid."""
        if self.step is None or value in self.values:
            return self.values[self.nearest(value)]
        inside = min(max(value, min(self.values)), max(self.values))
        whole = all(isinstance(number, int) for number in (*self.values, self.step))
        return round(inside) if whole else without_dust(float(inside))

    def nearest(self, value: Any) -> int:
        """The index of the grid's value nearest to `value`."""
        if value in self.values:
            return self.values.index(value)
        if isinstance(value, str):
            raise ValueError(
                f"slider {self.name!r} has no value {value!r}: choose one of {', '.join(self.values)}"
            )
        return int(np.argmin(np.abs(np.asarray(self.values, dtype=float) - value)))
