"""Interactive figures that need no kernel and no server.

An explorer is an `anywidget` whose values over a grid of sliders are computed ahead. In JupyterLab it is live: a slider
that has a `step` moves between the grid's values, and the kernel calls the functions behind the curves. On the static
page the same module (`explorer.mjs`) draws the same state from the notebook's stored output, and sliders snap to the
grid. For print, and for readers without scripts, there is the plain figure, drawn by matplotlib at the sliders' start.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from beyondloss.page.grid import Grid, States
from beyondloss.page.panels import HeatPanel, Panel, Slider, TextPanel

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

LIMIT = 150_000  # bytes of data that one explorer may add to a page
HEAVY = (
    500_000  # of one that says so: the site keeps its data in a file of their own until it comes into view
)

_MODULE = Path(__file__).with_suffix(".mjs").read_text(encoding="utf-8")
_STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")

# A module script cannot ask for its own place in the page, so a classic one imports the module from a Blob.
_STATIC = Template("""<div class="bl-explorer" id="$id" role="group" aria-label="$title">
<style>$style</style>
<div class="bl-view">$skeleton</div>
<img class="bl-plain" alt="$alt" src="data:image/png;base64,$png">
<script type="application/json">$state</script>
<script>(() => {
  const root = document.currentScript.parentElement;
  const { module, ...traits } = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  import(url).then((explorer) => explorer.default.stand(root, traits));
})()</script>
</div>""")
STATE = re.compile(r'(<script type="application/json">)(.*?)(</script>)', re.DOTALL)


class Explorer(anywidget.AnyWidget):
    """Sliders over panels: the one interactive figure of the book.

    `title` names it and must be its own on its page (the anchor `#explorer-…` comes from it); `description` is the
    alternative text: what is drawn and what to see in it. See `panels` for what a panel takes.

    On the static page its setting stands in the address, so that it can be linked.

    Raises ValueError where a slider, a shape or a colour does not fit, or where the data exceed LIMIT (HEAVY for a
    `heavy` one, which the site loads when it comes into view).
    """

    _esm = _MODULE
    _css = _STYLE

    skeleton = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)  # what the kernel computed off the grid, and at which values

    def __init__(
        self,
        title: str,
        sliders: Sequence[Slider],
        panels: Sequence[Panel | TextPanel | HeatPanel],
        description: str,
        heavy: bool = False,
    ):
        self.title, self.description, self.heavy = title, description, heavy
        self.sliders, self.panels = tuple(sliders), tuple(panels)
        self._start = {slider.name: slider.start for slider in sliders}
        if len(self._start) != len(self.sliders):
            raise ValueError(f"explorer {title!r}: two sliders share a name")
        self._grid = Grid(sliders)
        states = States(self._grid)
        drawn = [states.panel(panel) for panel in panels]
        state = {
            "sliders": [
                {"name": s.name, "values": s.values, "texts": [s.text(v) for v in s.values]} for s in sliders
            ],
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

    def figure(self, values: Mapping[str, Any] | None = None) -> Figure:
        """The plain figure at a setting of the sliders (default: their start)."""
        from beyondloss.page.plain import draw

        values = self._settle(values or {})
        setting = ", ".join(f"{slider.label} = {slider.text(values[slider.name])}" for slider in self.sliders)
        return draw(setting, self.panels, self.state["panels"], self.at(values))

    def controls(self) -> ipywidgets.VBox:
        """Controls of ipywidgets bound to this explorer, for a notebook that links it with something else."""
        import ipywidgets

        return ipywidgets.VBox([self._control(slider) for slider in self.sliders])

    def __repr__(self) -> str:
        sliders = "; ".join(
            f"{s.label}: {s.text(s.values[0])} to {s.text(s.values[-1])}" for s in self.sliders
        )
        return f"Explorer: {self.title} ({sliders})"

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """The live view, the static page, the plain figure and a line of text; no part differs between two runs."""
        data, metadata = super()._repr_mimebundle_(**kwargs)
        png = self._png()
        return {**data, "text/plain": repr(self), "text/html": self._html(png), "image/png": png}, metadata

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
            sizes[datum.owner] += len(_json(cells))
        total, largest = len(_json(state)), max(sizes, key=sizes.get, default="")
        limit = HEAVY if self.heavy else LIMIT
        if total > limit:
            way_out = "" if self.heavy else f", or heavy=True for up to {HEAVY // 1000} KB"
            raise ValueError(
                f"explorer {self.title!r} holds {total / 1000:.0f} KB of data, more than {limit // 1000} KB; the most, "
                f"{sizes[largest] / 1000:.0f} KB, is {largest}: fewer slider values, fewer points, a shorter `over`"
                f"{way_out}"
            )

    def _skeleton(self, drawn: Sequence[Mapping], *, live: bool) -> str:
        """All of the view but its drawings, so that a page has its full height before any script runs."""
        data = self.at()
        label = max((len(slider.label) for slider in self.sliders), default=0)
        value = max((len(slider.text(v)) for slider in self.sliders for v in slider.values), default=0)
        sliders = "".join(_slider(slider, live=live) for slider in self.sliders)
        panels = "".join(_panel(panel, state, data) for panel, state in zip(self.panels, drawn, strict=True))
        return (
            f'<p class="bl-title">{html.escape(self.title)}</p><p class="bl-hidden">{html.escape(self.description)}</p>'
            f'<div class="bl-sliders" style="--bl-label:{0.9 * label:.1f}ch;--bl-value:{value}ch">{sliders}</div>'
            f'<div class="bl-panels">{panels}</div>'
            '<p class="bl-hidden bl-status" role="status"></p>'
        )

    def _html(self, png: str) -> str:
        traits = {"module": _MODULE, "values": self._start, "state": self.state}
        return _STATIC.substitute(
            id=self.id,
            title=html.escape(self.title),
            alt=html.escape(self.description),
            style=_STYLE,
            skeleton=self._skeleton(self.state["panels"], live=False),
            png=png,
            # inside a script only "<" can do harm: "</script>", "<!--"
            state=_json(traits).replace("<", "\\u003c"),
        )

    def _png(self) -> str:
        """The plain figure, base64. A palette of 128 colours takes a third of the bytes and shows no difference."""
        from PIL import Image

        drawn, small = io.BytesIO(), io.BytesIO()
        self.figure().savefig(drawn, format="png")
        Image.open(drawn).quantize(128, method=Image.Quantize.FASTOCTREE).save(small, "png", optimize=True)
        return base64.b64encode(small.getvalue()).decode("ascii")

    def _control(self, slider: Slider) -> ipywidgets.Widget:
        import ipywidgets

        value, style = self.values[slider.name], {"description_width": "initial"}
        if slider.step is None:
            options = [(slider.text(v), v) for v in slider.values]
            control = ipywidgets.SelectionSlider(
                options=options, value=value, description=slider.label, style=style
            )
        else:
            control = ipywidgets.FloatSlider(
                value, min=min(slider.values), max=max(slider.values), step=slider.step, description=slider.label,
                readout_format=slider.format, style=style,
            )  # fmt: skip
        control.observe(
            lambda change: setattr(self, "values", {**self.values, slider.name: change["new"]}), "value"
        )
        self.observe(lambda change: setattr(control, "value", change["new"][slider.name]), "values")
        return control


def heavy_part(page: str, address: str) -> tuple[str, str | None]:
    """The HTML of an explorer without data above LIMIT, which it loads from `address`, and the script to put there.

    A script and no JSON: a page that is opened from disk may load nothing else.
    """
    found = STATE.search(page)
    traits = json.loads(found[2])
    state = _json(traits["state"])
    if len(state) <= LIMIT:
        return page, None
    name = re.search(r'id="(explorer-[^"]*)"', page)[1]
    rest = _json({**traits, "state": None, "source": address}).replace("<", "\\u003c")
    return (
        f"{page[: found.start(2)]}{rest}{page[found.end(2) :]}",
        f'(self.explorerData ??= {{}})["{name}"] = {state};\n',
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _slider(slider: Slider, *, live: bool) -> str:
    """A row: label, native range input, output. On the grid the input counts grid points, off it it holds the value."""
    label, text = html.escape(slider.label), html.escape(slider.text(slider.start))
    low, high, step, value, between = 0, len(slider.values) - 1, 1, slider.nearest(slider.start), ""
    if live and slider.step is not None:
        low, high, step, value = min(slider.values), max(slider.values), slider.step, slider.start
        between = " data-between"
    return (
        f'<div class="bl-slider"><label><span>{label}</span><input type="range" name="{html.escape(slider.name)}" '
        f'min="{low}" max="{high}" step="{step}" value="{value}" aria-label="{label}" aria-valuetext="{text}" '
        f'autocomplete="off"{between}></label><output>{text}</output></div>'
    )


def _panel(panel: Panel | TextPanel | HeatPanel, state: Mapping[str, Any], data: Sequence[Any]) -> str:
    title, about = html.escape(panel.title), html.escape(panel.description or panel.summary)
    readouts = "".join(
        f"<span>{html.escape(item.name)} <b>{html.escape(data[number])}</b></span>"
        for item, number in zip(panel.readouts, state["readouts"], strict=True)
    )
    if panel.kind == "text":
        text, height = html.escape(data[state["texts"]]), panel.lines * 1.5 + 1.5
        body = f'<pre tabindex="0" role="region" aria-label="{about}" style="height:{height}em">{text}</pre>'
    else:
        body = f'<svg role="img" aria-label="{about}" height="{panel.height}"></svg>'
    return (
        f'<section class="bl-panel bl-{panel.kind}"><p class="bl-panel-title">{title}</p>'
        f'<div class="bl-readouts"{"" if readouts else " hidden"}>{readouts}</div>{body}</section>'
    )
