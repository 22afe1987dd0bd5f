"""The figures of an executed chapter: what number each has, what it draws, and which command makes it again."""

from __future__ import annotations

import ast
import base64
import html
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from beyondloss.experiment import Chapter
from beyondloss.page import figure_data
from beyondloss.page.explorer import STATE, heavy_part

OPENING = (
    "opening"  # tag of the cell whose figure stands at a chapter's opening; without it the first one does
)


@dataclass(frozen=True)
class Figure:
    """One figure of a chapter. `png` is base64; `csv` is what it draws, None where that is no data."""

    chapter: Chapter
    position: int
    alt: str
    png: str
    csv: str | None
    experiments: tuple[str, ...]
    opening: bool
    explorer: bool
    output: NotebookNode = field(repr=False, compare=False)

    @property
    def number(self) -> str:
        return f"{self.chapter.number}.{self.position}"

    @property
    def name(self) -> str:
        """Name of its files and, on the page, of its anchor."""
        return f"figure-{self.chapter.number}-{self.position}"

    def write(self) -> list[Path]:
        """Write the picture and the data into the current folder."""
        written = {f"{self.name}.png": base64.b64decode(self.png)}
        if self.csv:
            written[f"{self.name}.csv"] = self.csv.encode()
        for name, content in written.items():
            Path(name).write_bytes(content)
        return [Path(name) for name in written]

    @property
    def commands(self) -> list[str]:
        """What makes the figure again from stored points, and what measures them."""
        only = ",".join(self.experiments)
        again = f"beyondloss figure {self.number}"
        return [again, f"beyondloss run {self.chapter.number} --only {only} --fresh"] if only else [again]


def figures(chapter: Chapter, nb: NotebookNode) -> list[Figure]:
    """Every figure and explorer of an executed chapter, in order."""
    experiments = experiments_of_cells(chapter, nb)
    found: list[Figure] = []
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" not in data:
                continue
            page = data.get("text/html", "")
            state = explorer_state(page)
            alt = _alt(page) if state else cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            csv = explorer_csv(state) if state else data.get(figure_data.MIME)
            tagged = OPENING in cell.metadata.get("tags", [])
            used = experiments[cell.id]
            found.append(
                Figure(
                    chapter, len(found) + 1, alt, data["image/png"], csv, used, tagged, bool(state), output
                )
            )
    return found


def caption(figure: Figure, files: str) -> NotebookNode:
    """A line for under the figure: number, data, commands. `files` is the way from the page to its data."""
    data = f'<a href="{files}{figure.name}.csv" download>data (CSV)</a>' if figure.csv else ""
    commands = [f"<code>{html.escape(command)}</code>" for command in figure.commands]
    said = dict(zip(("again", "its points"), commands, strict=False))
    parts = [f"<b>Figure {figure.number}</b>", data, *(f"{what}: {code}" for what, code in said.items())]
    spans = "".join(f"<span>{part}</span>" for part in parts if part)
    line = f'<p class="bl-figure" id="{figure.name}">{spans}</p>'
    return new_output("display_data", {"text/html": line, "text/plain": f"Figure {figure.number}"})


# Which experiments a cell draws ---------------------------------------------------------------------------------


def experiments_of_cells(chapter: Chapter, nb: NotebookNode) -> dict[str, tuple[str, ...]]:
    """Cell id -> the experiments whose points reach it, followed through the assignments of the notebook."""
    order = [e.name for e in chapter.experiments]
    carried: dict[str, set[str]] = {}  # variable -> experiments
    used = {}
    for cell in nb.cells:
        reached: set[str] = set()
        for statement in _statements(cell):
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            loaded = {n.id for n in names if isinstance(n.ctx, ast.Load)}
            now = set().union(*(carried.get(name, set()) for name in loaded), _asked(statement, order))
            carried |= {n.id: now for n in names if isinstance(n.ctx, ast.Store)}
            reached |= now
        used[cell.id] = tuple(name for name in order if name in reached)
    return used


def _statements(cell: NotebookNode) -> list[ast.stmt]:
    if cell.cell_type != "code":
        return []
    plain = "\n".join(
        "" if line.lstrip().startswith(("%", "!")) else line for line in cell.source.splitlines()
    )
    try:
        return ast.parse(plain).body
    except SyntaxError:
        return []


def _asked(statement: ast.stmt, experiments: list[str]) -> set[str]:
    """The experiments that a statement names as `cfg["name"]`."""
    keys = {
        node.slice.value
        for node in ast.walk(statement)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    }
    return keys & set(experiments)


# Explorers --------------------------------------------------------------------------------------------------


def explorer_state(page: str) -> dict[str, Any]:
    """The state of the explorer in an output's HTML; empty where it holds none."""
    found = STATE.search(page)
    return json.loads(found[2])["state"] if found else {}


def lighten(figure: Figure, address: str) -> str | None:
    """Move the data of a heavy explorer out of its page; return them, to be put at `address` (seen from the page)."""
    data = figure.output.data
    data["text/html"], moved = heavy_part(data["text/html"], address)
    return moved


def explorer_csv(state: dict[str, Any]) -> str | None:
    """All curves, cells, numbers and texts of an explorer at every setting of the sliders that they depend on."""
    sliders = {slider["name"]: slider["values"] for slider in state["sliders"]}
    rows = [
        row for i, panel in enumerate(state["panels"]) for row in _panel_rows(i + 1, panel, state, sliders)
    ]
    columns = ("panel", "mark", "series", *sliders, *figure_data.COLUMNS[3:], "value")
    return figure_data.text_of(rows, columns) if rows else None


def _panel_rows(number: int, panel: dict, state: dict, sliders: dict[str, list]) -> Iterator[dict[str, Any]]:
    curves = [("line", item, ("x", "y", "low", "high")) for item in panel.get("series", [])]
    curves += [("dot", item, ("x", "y")) for item in panel.get("markers", [])]
    curves += [("region", item, ("low", "high")) for item in panel.get("shades", [])]
    for mark, item, keys in curves:
        parts = {key: state["data"][item[key]] for key in keys if item.get(key) is not None}
        for setting, values in _settings(parts, sliders):
            columns = [values[key] if isinstance(values[key], list) else [values[key]] for key in parts]
            for numbers in zip(*columns, strict=True):
                points = dict(zip(parts, numbers, strict=True))
                yield {"panel": number, "mark": mark, "series": item["name"], **setting, **points}
    if panel["kind"] in ("heat", "text"):
        key = {"heat": "values", "text": "texts"}[panel["kind"]]
        for setting, values in _settings({key: state["data"][panel[key]]}, sliders):
            cells = _cells(panel, values[key]) if key == "values" else [{"value": values[key]}]
            yield from ({"panel": number, "mark": panel["kind"], **setting, **cell} for cell in cells)


def _cells(panel: dict, values: list[list]) -> Iterator[dict[str, Any]]:
    for row, numbers in zip(panel["rows"], values, strict=True):
        yield from (
            {"x": column, "y": row, "value": v} for column, v in zip(panel["columns"], numbers, strict=True)
        )


def _settings(parts: dict[str, dict], sliders: dict[str, list]) -> Iterator[tuple[dict, dict]]:
    """Each setting of the sliders that any of the data depends on, and what the data are there."""
    over = [name for name in sliders if any(name in datum["over"] for datum in parts.values())]
    for at in itertools.product(*(range(len(sliders[name])) for name in over)):
        where = dict(zip(over, at, strict=True))
        setting = {name: sliders[name][i] for name, i in where.items()}
        yield setting, {key: _value(datum, where, sliders) for key, datum in parts.items()}


def _value(datum: dict, where: dict[str, int], sliders: dict[str, list]) -> Any:
    index = 0
    for name in datum["over"]:
        index = index * len(sliders[name]) + where[name]
    return datum["cells"][index]


def _alt(page: str) -> str:
    found = re.search(r'<img class="bl-plain" alt="([^"]*)"', page)
    return html.unescape(found[1]) if found else ""
