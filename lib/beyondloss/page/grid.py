"""An explorer's data: each value at each setting of its sliders, once, and panels that refer to them by number."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beyondloss.page import theme
from beyondloss.page.panels import (
    BarsPanel,
    HeatPanel,
    Marker,
    Panel,
    PicturesPanel,
    Series,
    Shade,
    Slider,
    TextPanel,
    Values,
)

AnyPanel = Panel | TextPanel | HeatPanel | BarsPanel | PicturesPanel

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

    def _from_function(self, owner: str, function: Callable, over, ndim: int, finish: Callable) -> Datum:
        parameters = inspect.signature(function).parameters.values()
        sliders = self._named(owner, [p.name for p in parameters if p.default is p.empty])
        settings = itertools.product(*(slider.values for slider in sliders))
        names = [slider.name for slider in sliders]
        cells = [finish(function(**dict(zip(names, setting, strict=True)))) for setting in settings]
        return Datum(owner, sliders, cells, finish, function)

    def _from_array(self, owner: str, values: Any, over, ndim: int, finish: Callable) -> Datum:
        array = np.asarray(values)
        if array.ndim == ndim:  # the same at every setting
            return Datum(owner, (), [finish(array)], finish)
        sliders = self._named(owner, list(self.sliders) if over is None else list(over))
        expected = tuple(len(slider.values) for slider in sliders)
        if array.ndim != ndim + len(sliders) or array.shape[: len(sliders)] != expected:
            grid = ", ".join(f"{slider.name}: {len(slider.values)}" for slider in sliders)
            raise ValueError(
                f"{owner} has shape {array.shape}, but its sliders ask for leading axes ({grid})"
            )
        cells = array.reshape(-1, *array.shape[len(sliders) :])
        return Datum(owner, sliders, [finish(cell) for cell in cells], finish)

    def _named(self, owner: str, names: Sequence[str]) -> tuple[Slider, ...]:
        unknown = [name for name in names if name not in self.sliders]
        if unknown:
            raise ValueError(
                f"{owner} depends on {unknown[0]!r}; the sliders are {', '.join(self.sliders) or 'none'}"
            )
        return tuple(self.sliders[name] for name in names)


def _number(value: Any) -> float | int | None:
    """A number as short as drawing needs it; None, a gap, for what is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def _numbers(values: Any) -> list:
    return [_numbers(value) if np.ndim(value) else _number(value) for value in values]


def _written(spec: str) -> Callable[[Any], str]:
    def written(value: Any) -> str:
        value = value.item() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(value, str):
            return value
        return format(value, spec) if value is not None and math.isfinite(value) else "–"

    return written


def _tint(code: str) -> list[str]:
    """A colour on a light page and on a dark one."""
    return [theme.colour(code), theme.on_dark(theme.colour(code))]


class States:
    """Turns panels into JSON: labels and colours, and the numbers of their data in the grid."""

    def __init__(self, grid: Grid):
        self.grid = grid

    def panel(self, panel: AnyPanel) -> dict[str, Any]:
        state = {"kind": panel.kind, **getattr(self, f"_{panel.kind}")(panel)}
        state["readouts"] = [
            self.grid.add(f"readout {item.name!r}", item.values, item.over, 0, _written(item.format))
            for item in panel.readouts
        ]
        return state

    def _plot(self, panel: Panel) -> dict[str, Any]:
        colours = itertools.cycle(theme.COLOURS)
        items = {
            "series": [self._series(item, item.colour or next(colours)) for item in panel.series],
            "shades": [self._span(item, "shade", low=item.low, high=item.high) for item in panel.shades],
            "markers": [self._span(item, "marker", x=item.x, y=item.y) for item in panel.markers],
        }
        across = [item["x"] for item in items["series"]] or [item["x"] for item in items["markers"]]
        along = [item[key] for item in items["series"] for key in ("y", "low", "high")]
        return {
            "xLabel": panel.x_label,
            "yLabel": panel.y_label,
            "xRange": panel.x_range or self._range(across, panel.x_log, pad=0.0),
            "yRange": panel.y_range or self._range(along, panel.y_log, pad=0.05),
            "xLog": panel.x_log,
            "yLog": panel.y_log,
            **items,
        }

    def _series(self, item: Series, colour: str) -> dict[str, Any]:
        owner = f"series {item.name!r}"
        low, high = item.band or (None, None)
        data = {
            key: self.grid.add(owner, values, item.over, 1, _numbers)
            for key, values in {"x": item.x, "y": item.y, "low": low, "high": high}.items()
        }
        lengths = {
            len(cell)
            for number in data.values()
            if number is not None
            for cell in self.grid.data[number].cells
        }
        if len(lengths) != 1:
            raise ValueError(
                f"{owner}: x, y and band differ in length ({', '.join(map(str, sorted(lengths)))})"
            )
        return {"name": item.name, "tint": _tint(colour), "dashed": item.dashed, "dots": item.dots, **data}

    def _span(self, item: Shade | Marker, kind: str, **values: Values) -> dict[str, Any]:
        data = {
            k: self.grid.add(f"{kind} {item.name!r}", v, item.over, 0, _number) for k, v in values.items()
        }
        return {"name": item.name, "tint": _tint(item.colour), **data}

    def _text(self, panel: TextPanel) -> dict[str, Any]:
        texts = self.grid.add(f"text {panel.title!r}", panel.texts, panel.over, 0, _written(""))
        if panel.along is not None:
            self.grid._named(f"text {panel.title!r}", [panel.along])
        return {"texts": texts, "mask": panel.mask, "along": panel.along}

    def _heat(self, panel: HeatPanel) -> dict[str, Any]:
        values = self.grid.add(f"heat {panel.title!r}", panel.values, panel.over, 2, _numbers)
        return {
            "values": values,
            "digits": panel.digits,
            "rows": [str(row) for row in panel.rows],
            "columns": [str(column) for column in panel.columns],
            "xLabel": panel.x_label,
            "yLabel": panel.y_label,
            "range": panel.range or self._range([values], log=False, pad=0.0),
            "tint": _tint(panel.colour),
        }

    def _bars(self, panel: BarsPanel) -> dict[str, Any]:
        owner, (low, high) = f"bars {panel.title!r}", panel.band or (None, None)
        data = {
            key: self.grid.add(owner, values, panel.over, 1, _numbers)
            for key, values in {"values": panel.values, "low": low, "high": high}.items()
        }
        drawn = [data["values"], data["low"], data["high"]]
        return {
            **data,
            "mark": self.grid.add(f"mark {panel.mark_name!r}", panel.mark, panel.over, 0, _number),
            "markName": panel.mark_name,
            "names": list(panel.names),
            "lit": [name in panel.lit for name in panel.names],
            "digits": panel.digits,
            "xLabel": panel.x_label,
            "range": panel.range or self._range(drawn, log=False, pad=0.05),
            "tints": [_tint("blue"), _tint("vermillion"), _tint("grey")],
        }

    def _pictures(self, panel: PicturesPanel) -> dict[str, Any]:
        pixels = self.grid.add(f"pictures {panel.title!r}", panel.pixels, panel.over, 0, _written(""))
        wanted = len(panel.names) * panel.size**2
        if any(len(cell) != wanted for cell in self.grid.data[pixels].cells):
            raise ValueError(
                f"pictures {panel.title!r}: {len(panel.names)} pictures have {wanted} pixels at every setting"
            )
        return {"pixels": pixels, "names": list(panel.names), "size": panel.size, "columns": panel.columns}

    def _range(self, data: Sequence[int | None], log: bool, pad: float) -> list[float]:
        """The least and the greatest drawn number over the whole grid, so that axes stay still while a slider moves."""
        cells = [cell for number in data if number is not None for cell in self.grid.data[number].cells]
        drawn = np.array([v for cell in cells for v in np.ravel(np.asarray(cell, dtype=float))])
        drawn = drawn[np.isfinite(drawn) & ((drawn > 0) | (not log))]
        low, high = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
        if log:
            return [low, high] if low < high else [low / 2, high * 2]
        room = pad * (high - low) or (0.5 * abs(high) or 1.0) * (low == high)
        floor = 0.0 if low >= 0 and pad else -math.inf  # room below a curve must not suggest negative values
        return [max(low - room, floor), high + room]
