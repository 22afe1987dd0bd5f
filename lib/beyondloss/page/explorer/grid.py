"""An explorer's data: each value at each setting of its sliders, once, and panels that refer to them by number."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beyondloss.page import theme
from beyondloss.page.explorer.slider import Slider

Values = Any  # a constant, an array over the grid, or a function of sliders
Row = dict[str, Any]

DIGITS = 4  # significant digits kept of a drawn number: finer than a tenth of a pixel


@dataclass(frozen=True)
class Datum:
    """What one drawn thing is at each point of the grid: `cells` in row-major order over the sliders `over`."""

    owner: str
    over: tuple[Slider, ...]
    cells: list[Any]
    finish: Callable[[Any], Any]
    function: Callable | None = None

    def at(self, values: Mapping[str, Any]) -> Any:
        """The value at a setting: computed where a function is known, else that of the nearest grid point."""
        if self.function is not None and any(
            values[slider.name] not in slider.values for slider in self.over
        ):
            return self.finish(self.function(**{slider.name: values[slider.name] for slider in self.over}))
        index = 0
        for slider in self.over:
            index = index * len(slider.values) + slider.nearest(values[slider.name])
        return self.cells[index]

    def state(self) -> dict[str, Any]:
        return {"over": [slider.name for slider in self.over], "cells": self.cells}


def columns(**values: Any) -> Iterator[Row]:
    """Rows of values by column; what is no list stands in one row."""
    lists = [value if isinstance(value, list) else [value] for value in values.values()]
    for numbers in zip(*lists, strict=True):
        yield dict(zip(values, numbers, strict=True))


@dataclass(frozen=True)
class Drawn:
    """One thing that a panel draws, as the table behind it: `data` are numbers of the grid's data by column.

    `rows` turns their values at one setting of the sliders into rows.
    """

    mark: str
    series: str
    data: Mapping[str, int | None]
    rows: Callable[..., Iterable[Row]] = columns


class Grid:
    """Collects the data of all panels, so that the page holds each once and refers to it by number."""

    def __init__(self, sliders: Sequence[Slider]):
        self.sliders = {slider.name: slider for slider in sliders}
        self.data: list[Datum] = []

    def add(
        self, owner: str, values: Values, over: Sequence[str] | None, ndim: int, finish: Callable
    ) -> int | None:
        """Store `values`, whose own dimension at one setting is `ndim`; the number of the datum (None for None).

        Raises ValueError where the array does not fit the grid or a function asks for an unknown slider.
        """
        if values is None:
            return None
        make = self._from_function if callable(values) else self._from_array
        self.data.append(make(owner, values, over, ndim, finish))
        return len(self.data) - 1

    def add_all(
        self, owner: str, given: Mapping[str, Values], over: Sequence[str] | None, ndim: int, finish: Callable
    ) -> dict[str, int | None]:
        """`add` each of what is `given` by name."""
        return {name: self.add(owner, values, over, ndim, finish) for name, values in given.items()}

    def cells(self, number: int | None) -> list[Any]:
        """A datum at every point of its grid; [] for None."""
        return [] if number is None else self.data[number].cells

    def same_length(self, owner: str, data: Mapping[str, int | None], length: int | None = None) -> None:
        """Raise ValueError where lists that belong together differ in length, or have another one than `length`."""
        given = {name: number for name, number in data.items() if number is not None}
        lengths = {len(cell) for number in given.values() for cell in self.cells(number)}
        if length is not None and lengths - {length}:
            raise ValueError(
                f"{owner}: {', '.join(given)} have {max(lengths - {length})} values, not {length}"
            )
        if len(lengths) > 1:
            found = ", ".join(map(str, sorted(lengths)))
            raise ValueError(f"{owner}: {', '.join(given)} differ in length ({found})")

    def span(self, data: Iterable[int | None], log: bool = False, pad: float = 0.0) -> list[float]:
        """The least and the greatest drawn number over the whole grid, so that axes stay still while a slider moves."""
        numbers = [np.ravel(np.asarray(cell, dtype=float)) for datum in data for cell in self.cells(datum)]
        drawn = np.concatenate([*numbers, np.empty(0)])
        drawn = drawn[np.isfinite(drawn) & ((drawn > 0) | (not log))]
        low, high = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
        if log:
            return [low, high] if low < high else [low / 2, high * 2]
        room = pad * (high - low)
        if low == high:
            room = room or 0.5 * abs(high) or 1.0
        # room below a curve must not suggest negative values
        floor = 0.0 if low >= 0 and pad else -math.inf
        return [max(low - room, floor), high + room]

    def rows(self, drawn: Drawn) -> Iterator[Row]:
        """The table behind a drawn thing, at every setting of the sliders that it depends on."""
        numbers = {column: number for column, number in drawn.data.items() if number is not None}
        used = {slider.name for number in numbers.values() for slider in self.data[number].over}
        sliders = [slider for name, slider in self.sliders.items() if name in used]
        for setting in itertools.product(*(slider.values for slider in sliders)):
            where = dict(zip((slider.name for slider in sliders), setting, strict=True))
            values = {column: self.data[number].at(where) for column, number in numbers.items()}
            for row in drawn.rows(**values):
                yield {"mark": drawn.mark, "series": drawn.series, **where, **row}

    def named(self, owner: str, names: Sequence[str]) -> tuple[Slider, ...]:
        """The sliders of these names. Raises ValueError for one that there is not."""
        unknown = [name for name in names if name not in self.sliders]
        if unknown:
            raise ValueError(
                f"{owner} depends on {unknown[0]!r}; the sliders are {', '.join(self.sliders) or 'none'}"
            )
        return tuple(self.sliders[name] for name in names)

    def _from_function(self, owner: str, function: Callable, over, ndim: int, finish: Callable) -> Datum:
        parameters = inspect.signature(function).parameters.values()
        sliders = self.named(owner, [p.name for p in parameters if p.default is p.empty])
        settings = itertools.product(*(slider.values for slider in sliders))
        names = [slider.name for slider in sliders]
        cells = [finish(function(**dict(zip(names, setting, strict=True)))) for setting in settings]
        return Datum(owner, sliders, cells, finish, function)

    def _from_array(self, owner: str, values: Any, over, ndim: int, finish: Callable) -> Datum:
        array = np.asarray(values)
        if array.ndim == ndim:  # the same at every setting
            return Datum(owner, (), [finish(array)], finish)
        sliders = self.named(owner, list(self.sliders) if over is None else list(over))
        expected = tuple(len(slider.values) for slider in sliders)
        if array.ndim != ndim + len(sliders) or array.shape[: len(sliders)] != expected:
            grid = ", ".join(f"{slider.name}: {len(slider.values)}" for slider in sliders)
            raise ValueError(
                f"{owner} has shape {array.shape}, but its sliders ask for leading axes ({grid})"
            )
        cells = array.reshape(-1, *array.shape[len(sliders) :])
        return Datum(owner, sliders, [finish(cell) for cell in cells], finish)


# What becomes of a value on its way into the page: the `finish` of a datum ------------------------------------------


def number(value: Any) -> float | int | None:
    """A number as short as drawing needs it; None, a gap, for what is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def numbers(values: Any) -> list:
    """`number` of each, in lists as deep as the array."""
    return [numbers(value) if np.ndim(value) else number(value) for value in values]


def written(spec: str) -> Callable[[Any], str]:
    """Text as it is, numbers by a format specification, a dash for what is not finite."""

    def write(value: Any) -> str:
        value = value.item() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(value, str):
            return value
        return format(value, spec) if value is not None and math.isfinite(value) else "–"

    return write


def tint(code: str) -> list[str]:
    """A colour on a light page and on a dark one."""
    return [theme.colour(code), theme.on_dark(theme.colour(code))]


def floats(values: Any) -> np.ndarray:
    """Numbers of the page as an array, gaps as NaN."""
    return np.array(values, dtype=float)  # float(None) is NaN to numpy
