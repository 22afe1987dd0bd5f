"""The HTML of an explorer: its view before any script runs, and the whole of it on the site."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beyondloss.page.explorer.panel import Data, Kind, State
from beyondloss.page.explorer.slider import Slider

_FOLDER = Path(__file__).parent
STYLE = (_FOLDER / "explorer.css").read_text(encoding="utf-8")


def _script() -> str:
    """All scripts as one: the base, then the marks and kinds, which add themselves to its tables."""
    first = _FOLDER / "base.mjs"
    parts = [first, *sorted(path for path in _FOLDER.glob("*.mjs") if path != first)]
    return "\n".join(path.read_text(encoding="utf-8") for path in parts)


MODULE = f"{_script()}\nexport default {{ render }};\n"  # for anywidget
# For the site: a page that is opened from disk may load scripts, but no module.
SCRIPT = f"(() => {{\n{_script()}\nstandAll();\n}})();\n"


def to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def skeleton(
    title: str,
    description: str,
    sliders: Sequence[Slider],
    panels: Sequence[tuple[Kind, State]],
    data: Data,
    *,
    live: bool,
) -> str:
    """All of the view but its drawings, so that a page has its full height before any script runs."""
    label = max((len(slider.label) for slider in sliders), default=0)
    texts = [slider.text(value) for slider in sliders for value in slider.values]
    value = max(map(len, texts), default=0)
    rows = "".join(_slider(slider, live=live) for slider in sliders)
    sections = "".join(_panel(panel, state, data) for panel, state in panels)
    return (
        f'<p class="bl-title">{html.escape(title)}</p><p class="bl-hidden">{html.escape(description)}</p>'
        f'<div class="bl-sliders" style="--bl-label:{0.9 * label:.1f}ch;--bl-value:{value}ch">{rows}</div>'
        f'<div class="bl-panels">{sections}</div>'
        '<p class="bl-hidden bl-status" role="status"></p>'
    )


def on_the_site(carried: Mapping[str, Any], png: str, source: str = "") -> str:
    """The HTML of an explorer from what its output carries; `SCRIPT` and `STYLE` are the site's to load.

    With a `source` the state stays out of the page: the script loads it from there, as `state_script` has it.
    """
    traits = {"values": carried["values"]}
    traits |= {"source": source} if source else {"state": carried["state"]}
    # inside a script only "<" can do harm: "</script>", "<!--"
    data = to_json(traits).replace("<", "\\u003c")
    about = html.escape(carried["description"])
    return (
        f'<div class="bl-explorer" id="{carried["name"]}" role="group" '
        f'aria-label="{html.escape(carried["title"])}">\n'
        f'<div class="bl-view">{carried["skeleton"]}</div>\n'
        f'<img class="bl-plain" alt="{about}" src="data:image/png;base64,{png}">\n'
        f'<script type="application/json">{data}</script>\n</div>'
    )


def state_script(carried: Mapping[str, Any]) -> str:
    """A script that holds an explorer's state: opened from disk, a page may load no JSON."""
    return f"(self.explorerData ??= {{}})[{to_json(carried['name'])}] = {to_json(carried['state'])};\n"


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


def _panel(panel: Kind, state: State, data: Data) -> str:
    readouts = "".join(
        f"<span>{html.escape(item.name)} <b>{html.escape(data[number])}</b></span>"
        for item, number in zip(panel.readouts, state["readouts"], strict=True)
    )
    return (
        f'<section class="bl-panel bl-{panel.kind}"><p class="bl-panel-title">{html.escape(panel.title)}</p>'
        f'<div class="bl-readouts"{"" if readouts else " hidden"}>{readouts}</div>'
        f"{panel.body(state, data)}</section>"
    )
