"""The figures of an executed chapter: what number each has, what it draws, and which command makes it again.

All of it stands in the metadata of the notebook's outputs: see `page.carried`.
"""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from beyondloss.experiment import Chapter
from beyondloss.page import carried
from beyondloss.page.explorer import LIMIT
from beyondloss.page.explorer.skeleton import on_the_site, state_script, to_json

# tag of the cell whose figure stands at a chapter's opening; without it the first one does
OPENING = "opening"


@dataclass(frozen=True)
class Figure:
    """One figure or explorer of a chapter. `png` is base64; `csv` is what it draws, None where it carries no data."""

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
    def commands(self) -> dict[str, str]:
        """What makes the figure again from stored points, and, where it draws some, what measures them."""
        made = {"again": f"beyondloss figure {self.number}"}
        if self.experiments:
            only = ",".join(self.experiments)
            made["its points"] = f"beyondloss run {self.chapter.number} --only {only} --fresh"
        return made


def figures(chapter: Chapter, nb: NotebookNode) -> list[Figure]:
    """Every figure and explorer of an executed chapter, in order."""
    found: list[Figure] = []
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                found.append(_figure(chapter, len(found) + 1, cell, output))
    return found


def _figure(chapter: Chapter, position: int, cell: NotebookNode, output: NotebookNode) -> Figure:
    told = carried_by(output)
    explorer = told.get("kind") == "explorer"
    return Figure(
        chapter,
        position,
        alt=told.get("description", "") if explorer else _alt(cell),
        png=output.data["image/png"],
        csv=as_csv(told["table"]) if "table" in told else None,
        experiments=tuple(told.get("experiments", ())),
        opening=OPENING in cell.metadata.get("tags", []),
        explorer=explorer,
        output=output,
    )


def carried_by(output: NotebookNode) -> Mapping[str, Any]:
    """What an output carries; {} for nothing."""
    return output.get("metadata", {}).get(carried.KEY, {})


def _alt(cell: NotebookNode) -> str:
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def as_csv(table: Mapping[str, list]) -> str:
    """A carried table as CSV, empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return text.getvalue()


def caption(figure: Figure, files: str) -> NotebookNode:
    """A line for under the figure: number, data, commands. `files` is the way from the page to its data."""
    parts = [f"<b>Figure {figure.number}</b>"]
    if figure.csv:
        parts.append(f'<a href="{files}{figure.name}.csv" download>data (CSV)</a>')
    for what, command in figure.commands.items():
        parts.append(f"{what}: <code>{html.escape(command)}</code>")
    spans = "".join(f"<span>{part}</span>" for part in parts)
    line = f'<p class="bl-figure" id="{figure.name}">{spans}</p>'
    return new_output("display_data", {"text/html": line, "text/plain": f"Figure {figure.number}"})


def put_explorer(figure: Figure, address: str) -> str | None:
    """Give an explorer its HTML; return the script of its data where they are too heavy for the page.

    The script is to be put at `address`, seen from the page.
    """
    told = carried_by(figure.output)
    heavy = len(to_json(told["state"])) > LIMIT
    figure.output.data["text/html"] = on_the_site(told, figure.png, address if heavy else "")
    return state_script(told) if heavy else None
