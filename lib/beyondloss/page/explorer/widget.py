"""The explorer itself: a widget in JupyterLab, and what it carries for the site."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from beyondloss.page import carried
from beyondloss.page.explorer.grid import Grid, Row
from beyondloss.page.explorer.panel import Kind
from beyondloss.page.explorer.skeleton import MODULE, STYLE, skeleton, to_json
from beyondloss.page.explorer.slider import Slider

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LIMIT = 150_000  # bytes of data that one explorer may add to a page
# of one that says it is heavy: the site keeps its data in a file of their own until it comes into view
HEAVY = 500_000


class Explorer(anywidget.AnyWidget):
    """Sliders over panels: the one interactive figure of the book.

    `title` names it and must be its own on its page (the anchor `#explorer-…` comes from it); `description` is the
    alternative text: what is drawn and what to see in it. `tables` are those of `sweep` from which it draws. See
    `Panel` for what a panel takes.

    On the static page its setting stands in the address, so that it can be linked.

    Raises ValueError where a slider, a shape or a colour does not fit, or where the data exceed LIMIT (HEAVY for a
    `heavy` one, which the site loads when it comes into view).
    """

    _esm = MODULE
    _css = STYLE

    skeleton = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)  # what the kernel computed off the grid, and at which values

    def __init__(
        self,
        title: str,
        sliders: Sequence[Slider],
        panels: Sequence[Kind],
        description: str,
        heavy: bool = False,
        tables: Sequence[pd.DataFrame] = (),
    ):
        self.title, self.description, self.heavy = title, description, heavy
        self.sliders, self.panels = tuple(sliders), tuple(panels)
        self.experiments = carried.experiments(tables)
        self._start = {slider.name: slider.start for slider in sliders}
        if len(self._start) != len(self.sliders):
            raise ValueError(f"explorer {title!r}: two sliders share a name")
        self._grid = Grid(sliders)
        drawn = [panel.complete_state(self._grid) for panel in panels]
        state = {
            "sliders": [slider.state() for slider in sliders],
            "panels": drawn,
            "data": [datum.state() for datum in self._grid.data],
        }
        self._check_size(state)
        super().__init__(state=state, values=self._start, skeleton=self._skeleton(drawn, live=True))

    @property
    def id(self) -> str:
        """The explorer's anchor on its page, made of its title."""
        return "explorer-" + re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def at(self, values: Mapping[str, Any] | None = None) -> list[Any]:
        """All data at a setting of the sliders (default: their start), in the order of `state["data"]`."""
        values = self._settle(values or {})
        return [datum.at(values) for datum in self._grid.data]

    def rows(self) -> Iterator[Row]:
        """All that the panels draw, at every setting of the sliders that it depends on."""
        for panel, state in zip(self.panels, self.state["panels"], strict=True):
            for table in panel.tables(state):
                for row in self._grid.rows(table):
                    yield {"panel": panel.title, **row}

    def figure(self, values: Mapping[str, Any] | None = None) -> Figure:
        """The plain figure at a setting of the sliders (default: their start)."""
        from beyondloss.page.explorer.figure import draw

        values = self._settle(values or {})
        setting = ", ".join(f"{slider.label} = {slider.text(values[slider.name])}" for slider in self.sliders)
        return draw(setting, self.panels, self.state["panels"], self.at(values))

    def __repr__(self) -> str:
        sliders = "; ".join(
            f"{s.label}: {s.text(s.values[0])} to {s.text(s.values[-1])}" for s in self.sliders
        )
        return f"Explorer: {self.title} ({sliders})"

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """The live view, the plain figure and a line of text; the site makes its page from the metadata.

        No part of it differs between two runs, but for the identifier of the live view.
        """
        data, metadata = super()._repr_mimebundle_(**kwargs)
        site = carried.metadata(
            "explorer",
            self.id,
            self.experiments,
            list(self.rows()),
            title=self.title,
            description=self.description,
            values=self._start,
            state=self.state,
            skeleton=self._skeleton(self.state["panels"], live=False),
        )
        return {**data, "text/plain": repr(self), "image/png": self._png()}, {**metadata, **site}

    @traitlets.validate("values")
    def _validate_values(self, proposal) -> dict[str, Any]:
        return self._settle(proposal["value"])

    @traitlets.observe("values")
    def _answer(self, change) -> None:
        """Compute for a live view what the grid does not hold; an error is the reader's to see."""
        values = change["new"]
        if all(values[slider.name] in slider.values for slider in self.sliders):
            return
        texts = {slider.name: slider.text(values[slider.name]) for slider in self.sliders}
        try:
            self.frame = {"values": values, "texts": texts, "data": self.at(values)}
        except Exception as error:  # whatever the author's function raises
            self.frame = {"values": values, "texts": texts, "error": f"{type(error).__name__}: {error}"}

    def _settle(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Complete a setting, and move each value to where its slider can stand."""
        unknown = [name for name in values if name not in self._start]
        if unknown:
            raise ValueError(f"no slider {unknown[0]!r}; the sliders are {', '.join(self._start)}")
        given = {**self._start, **values}
        return {slider.name: slider.settle(given[slider.name]) for slider in self.sliders}

    def _check_size(self, state: Mapping[str, Any]) -> None:
        sizes = {datum.owner: 0 for datum in self._grid.data}
        for datum, cells in zip(self._grid.data, state["data"], strict=True):
            sizes[datum.owner] += len(to_json(cells))
        total, largest = len(to_json(state)), max(sizes, key=sizes.get, default="")
        limit = HEAVY if self.heavy else LIMIT
        if total > limit:
            way_out = "" if self.heavy else f", or heavy=True for up to {HEAVY // 1000} KB"
            raise ValueError(
                f"explorer {self.title!r} holds {total / 1000:.0f} KB of data, more than {limit // 1000} KB; the most, "
                f"{sizes[largest] / 1000:.0f} KB, is {largest}: fewer slider values, fewer points, a shorter `over`"
                f"{way_out}"
            )

    def _skeleton(self, drawn: Sequence[Mapping], *, live: bool) -> str:
        panels = list(zip(self.panels, drawn, strict=True))
        return skeleton(self.title, self.description, self.sliders, panels, self.at(), live=live)

    def _png(self) -> str:
        """The plain figure, base64, with a palette."""
        from beyondloss.page.png import small

        drawn = io.BytesIO()
        self.figure().savefig(drawn, format="png")
        return small(base64.b64encode(drawn.getvalue()).decode("ascii"))
