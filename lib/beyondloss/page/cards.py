"""What a chapter says of its own measurements: the run card, the table of claims, the numbers that the paper published.

All of it is read from the store, so executing a notebook again shows the same: the device, versions, dates and times
of a card are those of the points it stands for, not of the kernel that draws it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from beyondloss.experiment import (
    BadInput,
    Chapter,
    Config,
    DamagedFile,
    Plan,
    Record,
    Store,
    Verdict,
    choose,
    duration,
    root,
    verdicts,
)

if TYPE_CHECKING:
    import pandas as pd


class Card:
    """A table as a notebook output: HTML for pages, aligned text for a terminal. Cells hold text in simple Markdown."""

    def __init__(
        self, kind: str, head: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
    ):
        self.kind, self.head, self.notes = kind, list(head), list(notes)
        self.rows = [[cell if isinstance(cell, Chip) else str(cell) for cell in row] for row in rows]

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in self.head)
        rows = "".join("<tr>" + "".join(map(_cell, row, self.head)) + "</tr>" for row in self.rows)
        notes = "".join(f"<p>{_inline(note)}</p>" for note in self.notes)
        return (
            f'<div class="bl-card bl-{self.kind} tex2jax_process"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>{notes}</div>"
        )

    def __repr__(self) -> str:
        rows = [self.head, *([str(cell).replace("\n", " ") for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), *self.notes])


class Chip(str):
    """A cell that opens with a verdict, which pages set in a frame."""


def has_points(table: pd.DataFrame) -> bool:
    """Whether a table has points to draw; says so in one line where it has none."""
    if table.empty:
        print("No point of this experiment is stored at this scale, and none was computed.")
    return not table.empty


def run_card(config: Config) -> Card:
    """Scale, seeds and size of each experiment of a chapter, and where, when and with what its points were measured."""
    measured = {name: _records(plan) for name, plan in config.plans.items()}
    rows = [_run(plan, measured[name]) for name, plan in config.plans.items()]
    everything = [record for records in measured.values() for record in records]
    command = f"Again from nothing: `beyondloss run {config.chapter.slug} --scale {config.scale} --fresh`"
    return Card(
        "run",
        ["Experiment", "Seeds", "Points", "Time", "Measured on"],
        rows,
        [f"Scale **{config.scale}**. {_origin(everything)}".strip(), command],
    )


def claims_table(chapter: Chapter, scale: str) -> Card:
    """Each claim of a chapter with its criterion and its verdict at `scale`, from the stored points."""
    rows = [
        (v.claim.id, f"{v.claim.statement}\n{v.claim.criterion}", _verdict(v))
        for v in verdicts(chapter, scale)
    ]
    return Card("claims", ["Claim", "Statement and criterion", f"Verdict at {scale} scale"], rows)


def published_table(chapter: Chapter, name: str) -> Card:
    """A table that the paper published, marked as such. See `published_numbers`."""
    table = _published(chapter, name)
    note = f"Published by the paper, not measured here. {table['title']} {table['source']}"
    return Card("published", table["columns"], table["rows"], [note])


def published_numbers(chapter: Chapter, name: str) -> pd.DataFrame:
    """The numbers of `published_table`, to be drawn beside one's own.

    They are kept in data/published/<slug>.json: name -> {title, source, columns, rows}. Raises BadInput where there is
    no such table, DamagedFile where the file is none.
    """
    import pandas as pd

    table = _published(chapter, name)
    return pd.DataFrame(table["rows"], columns=table["columns"])


def _published(chapter: Chapter, name: str) -> dict[str, Any]:
    checkout = root()
    path = checkout / "data" / "published" / f"{chapter.slug}.json" if checkout else None
    if path is None or not path.is_file():
        raise BadInput(
            f"no published numbers of {chapter.slug}: they lie in the checkout, data/published/{chapter.slug}.json"
        )
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFile(
            f"data/published/{path.name} is no JSON ({error}); restore it: git checkout -- data/published"
        ) from None
    return tables[choose("published table", name, tables)]


def _records(plan: Plan) -> list[Record]:
    store = Store.of(plan)
    return [record for point in plan.grid if (record := store.get(plan.experiment, point))]


def _run(plan: Plan, records: Sequence[Record]) -> list[str]:
    seeds = plan.settings()["seed"]
    stale = sum(record.state == "stale" for record in records)
    points = f"{len(records)} of {len(plan.grid)}" if len(records) < len(plan.grid) else f"{len(records)}"
    devices = _distinct(record.provenance["device"] for record in records)
    return [
        plan.experiment.title,
        _span(seeds),
        f"{points}, {stale} of them stale" if stale else points,
        duration(sum(record.seconds for record in records)) if records else "–",
        devices or "not measured yet",
    ]


def _origin(records: Sequence[Record]) -> str:
    """Dates, commits and versions of the points, in words; nothing where there are none."""
    if not records:
        return ""
    origins = [record.provenance for record in records]
    dates = sorted({origin["date"] for origin in origins})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(
        f"{name} {_distinct(o[name] for o in origins)}" for name in ("python", "torch", "numpy")
    )
    return f"Measured {when} at {_distinct(o['commit'] for o in origins)}; {versions}."


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _span(seeds: Sequence[int]) -> str:
    together = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if together else ", ".join(map(str, seeds))


def _verdict(verdict: Verdict) -> Chip:
    lines = [verdict.verdict]
    if verdict.effect is not None:
        interval = f" [{verdict.low:.3g}, {verdict.high:.3g}]" if verdict.seeds > 1 else ""
        seeds = f"{verdict.seeds} seeds" if verdict.seeds > 1 else "one seed"
        lines.append(f"{verdict.effect:.3g}{interval}, {seeds}")
    return Chip("\n".join([*lines, verdict.note] if verdict.note else lines))


def _cell(text: str, head: str) -> str:
    """A cell: its first line as it is (a chip's in a frame), the others smaller. Phones put `head` before it."""
    first, *others = text.split("\n")
    shown = _inline(first)
    if isinstance(text, Chip):
        shown = f'<span class="bl-chip bl-{first.replace(" ", "-")}">{shown}</span>'
    small = "".join(f"<small>{_inline(line)}</small>" for line in others)
    return f'<td data-label="{html.escape(head)}">{shown}{small}</td>'


_MARKS = {
    r"\$([^$]+)\$": r"\\(\1\\)",
    r"`([^`]+)`": r"<code>\1</code>",
    r"\*\*([^*]+)\*\*": r"<strong>\1</strong>",
    r"\*([^*\s][^*]*)\*": r"<em>\1</em>",
}


def _inline(text: str) -> str:
    """HTML of a line with `code`, **bold**, *emphasis* and $mathematics$."""
    text = html.escape(text, quote=False)
    for mark, replacement in _MARKS.items():
        text = re.sub(mark, replacement, text)
    return text
