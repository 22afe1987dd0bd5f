"""What a chapter says of its own measurements: the run card, the table of claims, the numbers that the paper published.

All of it is read from the store, so executing a notebook again shows the same: the device, versions, dates and times
of a card are those of the points it stands for, not of the kernel that draws it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beyondloss.experiment import (
    BadInput,
    Chapter,
    Claim,
    Config,
    DamagedFile,
    Plan,
    Record,
    Store,
    Verdict,
    choose,
    duration,
    findings,
)
from beyondloss.experiment.claims import ABSENT, HELD, NOT_RUN, Finding
from beyondloss.experiment.paths import data
from beyondloss.experiment.tables import aligned
from beyondloss.page.tables import ROWS

if TYPE_CHECKING:
    import pandas as pd


class Card:
    """A table as a notebook output: HTML for pages, aligned text for a terminal. Cells hold text in simple Markdown."""

    def __init__(
        self, kind: str, head: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()
    ):
        self.kind, self.head, self.notes = kind, list(head), list(notes)
        self.rows = [list(map(_as_text, row)) for row in rows]

    def _repr_html_(self) -> str:
        table = self.table_html
        if len(self.rows) > ROWS:  # as a long table of pandas is shown
            folded = f"<details><summary>All {len(self.rows)} rows</summary>{table}</details>"
            table = self._html_of(self.rows[:ROWS]) + folded
        return f'<div class="bl-card bl-{self.kind} tex2jax_process">{table}{self.notes_html}</div>'

    @property
    def table_html(self) -> str:
        """The table alone, all of its rows."""
        return self._html_of(self.rows)

    def _html_of(self, rows: Iterable[Sequence[str]]) -> str:
        head = "".join(f'<th scope="col">{inline_html(cell)}</th>' for cell in self.head)
        body = "".join("<tr>" + "".join(map(_cell, row, self.head)) + "</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    @property
    def notes_html(self) -> str:
        """The notes alone, a paragraph each."""
        return "".join(f"<p>{inline_html(note)}</p>" for note in self.notes)

    def __repr__(self) -> str:
        rows = [self.head]
        for row in self.rows:
            rows.append([cell.replace("\n", " ") for cell in row])
        return "\n".join([*aligned(rows), *self.notes])


class Chip(str):
    """A cell that opens with a verdict, which pages set in a frame."""


def _as_text(cell: Any) -> str:
    # str() would make a chip an ordinary text, without its frame
    return cell if isinstance(cell, Chip) else str(cell)


# a predicted time stands beside the card, and is shorter where points run side by side
ADDED_UP = (
    "The time is that of all points one after the other, on a machine that may have done other work meanwhile; a "
    "predicted time is that of the whole run, its points side by side on the hardware that is named with it."
)


def run_card(config: Config) -> Card:
    """Scale, seeds and size of each experiment of a chapter, and where, when and with what its points were measured."""
    measured = {name: _records(plan) for name, plan in config.plans.items()}
    rows = [_run(plan, measured[name]) for name, plan in config.plans.items()]
    everything = [record for records in measured.values() for record in records]
    origin = [_origin(everything), ADDED_UP] if everything else []
    command = f"Again from nothing: `beyondloss run {config.chapter.slug} --scale {config.scale} --fresh`"
    return Card(
        "run",
        ["Experiment", "Seeds", "Points", "Time, added up", "Measured on"],
        rows,
        [" ".join([f"Scale **{config.scale}**.", *origin]), command],
    )


class ClaimsCard:
    """A paper's claims as sentences with verdicts; the tests of each fold under it."""

    def __init__(self, found: Sequence[Finding], scale: str):
        self.found, self.scale = list(found), scale
        self.ran = any(finding.ran for finding in self.found)
        self.tests = [
            Card("tests", ["Test", "Statement and criterion", "Verdict"], map(_test_row, finding.tests))
            for finding in self.found
        ]

    def _repr_html_(self) -> str:
        claims = "".join(map(self._claim_html, self.found, self.tests))
        note = "" if self.ran else f"<p>{nothing_run(self.scale)}</p>"
        return f'<div class="bl-card bl-claims tex2jax_process">{claims}{note}</div>'

    def _claim_html(self, finding: Finding, tests: Card) -> str:
        chip = chip_html(finding.verdict) if self._told(finding) else ""
        sentence = f"<strong>{finding.claim.id}</strong> {inline_html(finding.claim.statement)} {chip}"
        inside = f"<p>{tally(finding)}</p>{tests.table_html}"
        return f"<details><summary>{sentence}</summary>{inside}</details>"

    def _told(self, finding: Finding) -> bool:
        return self.ran or finding.verdict != NOT_RUN

    def __repr__(self) -> str:
        lines = []
        for finding, tests in zip(self.found, self.tests, strict=True):
            verdict = f" ({finding.verdict})" if self._told(finding) else ""
            lines.append(f"{finding.claim.id} {finding.claim.statement}{verdict}")
            lines += [f"  {line}" for line in repr(tests).splitlines()[1:]]
        return "\n".join(lines if self.ran else [*lines, nothing_run(self.scale)])


def claims_table(chapter: Chapter, scale: str) -> ClaimsCard:
    """What the paper of a chapter claims, each with its verdict at `scale` from the stored points, and its tests."""
    return ClaimsCard(findings(chapter, scale), scale)


def nothing_run(*scales: str) -> str:
    """The sentence that stands where columns of verdicts would say nothing."""
    return f"None of these claims was tested at {' or '.join(scales)} scale yet; what is proved holds at every scale."


def tally(finding: Finding) -> str:
    """How many tests stand under a claim and what became of them: "3 tests: 2 held (1 after Holm), 1 did not hold"."""
    total = len(finding.tests)
    counts = [
        f"{number} {brief(verdict)}{_survivors(finding, verdict)}"
        for verdict, number in finding.counts.items()
    ]
    return f"{total} {'test' if total == 1 else 'tests'}: {', '.join(counts)}"


def _survivors(finding: Finding, verdict: str) -> str:
    """How many of the tests that held do after the correction, where it is not all of them."""
    held = [test.survives for test in finding.tests if test.verdict == HELD]
    return f" ({held.count(True) + held.count(None)} after Holm)" if verdict == HELD and False in held else ""


def details(verdict: Verdict) -> list[str]:
    """What stands beside the verdict of a test: effect with interval, correction, positive control, and the note."""
    said = []
    if verdict.effect is not None:
        said.append(_measured(verdict))
    if verdict.adjusted is not None:
        survives = " (survives)" if verdict.survives else " (does not survive)"
        correction = f"p {_chance(verdict.p)}, after Holm {_chance(verdict.adjusted)}"
        said.append(correction + survives if verdict.verdict == HELD else correction)
    if verdict.control is not None:
        failed = " failed" if verdict.verdict == ABSENT else ""
        said.append(f"positive control{failed}: {verdict.claim.precondition.statement} {verdict.control:.3g}")
    return [*said, verdict.note] if verdict.note else said


def sentence(verdict: Verdict) -> str:
    """`held: 0.12 [0.08, 0.16], 5 seeds`, with what has to be said about it."""
    said = details(verdict)
    return f"{verdict.verdict}: {'; '.join(said)}" if said else verdict.verdict


def _measured(verdict: Verdict) -> str:
    effect = verdict.effect
    text = " ".join(filter(None, [f"{effect:.3g}", effect.unit]))
    if effect.interval == "bootstrap":
        return f"{text}, interval by bootstrap"
    return f"{text}, {effect.seeds} seeds" if effect.seeds > 1 else f"{text}, one seed"


def _chance(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


ROLES = {
    "decides": "",
    "supports": "Supports the reading; does not decide.",
    "ours": "Not a claim of the paper; does not decide.",
}


def marked_statement(claim: Claim) -> str:
    """The sentence of a test, with a mark where it is the book's own and not the paper's."""
    return f"*Ours.* {claim.statement}" if claim.role == "ours" else claim.statement


def statement_lines(claim: Claim) -> list[str]:
    """A test in words: its statement, its criterion, its positive control, and its role where it does not decide."""
    lines = [marked_statement(claim), claim.criterion]
    if claim.precondition is not None:
        lines.append(f"Positive control: {claim.precondition.statement} {claim.precondition.criterion}")
    return [*lines, ROLES[claim.role]] if ROLES[claim.role] else lines


def _test_row(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    return [
        claim.id,
        "\n".join(statement_lines(claim)),
        Chip("\n".join([verdict.verdict, *details(verdict)])),
    ]


def chip_html(verdict: str, scale: str = "") -> str:
    """A verdict in the frame that the site's stylesheet gives it; where columns have no room, it says its `scale`."""
    at = f' data-scale="{scale.title()}"' if scale else ""
    return f'<span class="bl-chip bl-{verdict.replace(" ", "-")}"{at}>{brief(verdict)}</span>'


def brief(verdict: str) -> str:
    """A verdict where the scale is said beside it: "not run" for "not run at this scale"."""
    return verdict.removesuffix(" at this scale")


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
    numbers = data()
    path = numbers / "published" / f"{chapter.slug}.json" if numbers else None
    if path is None or not path.is_file():
        raise BadInput(
            f"no published numbers of {chapter.slug}: they lie in data/published/{chapter.slug}.json of the book; "
            "clone it and set BEYONDLOSS_ROOT to it"
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
    devices = _distinct((record.provenance for record in records), "device")
    return [
        plan.experiment.title,
        _span(seeds),
        f"{points}, {stale} of them stale" if stale else points,
        duration(sum(record.seconds for record in records)) if records else "–",
        devices or "not measured yet",
    ]


def _origin(records: Sequence[Record]) -> str:
    """Dates, commits and versions of the points, in words."""
    origins = [record.provenance for record in records]
    dates = sorted({origin["date"] for origin in origins})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(f"{name} {_distinct(origins, name)}" for name in ("python", "torch", "numpy"))
    return f"Measured {when} at {_distinct(origins, 'commit')}; {versions}."


def _distinct(origins: Iterable[Mapping[str, str]], what: str) -> str:
    return ", ".join(sorted({origin[what] for origin in origins}))


def _span(seeds: Sequence[int]) -> str:
    together = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if together else ", ".join(map(str, seeds))


def _cell(text: str, head: str) -> str:
    """A cell: its first line as it is (a chip's in a frame), the others smaller. Phones put `head` before it."""
    first, *others = text.split("\n")
    shown = chip_html(first) if isinstance(text, Chip) else inline_html(first)
    small = "".join(f"<small>{inline_html(line)}</small>" for line in others)
    return f'<td data-label="{html.escape(head)}">{shown}{small}</td>'


_MARKS = {
    r"\$([^$]+)\$": r"\\(\1\\)",
    r"`([^`]+)`": r"<code>\1</code>",
    r"\*\*([^*]+)\*\*": r"<strong>\1</strong>",
    r"\*([^*\s][^*]*)\*": r"<em>\1</em>",
}


def inline_html(text: str) -> str:
    """HTML of a line with `code`, **bold**, *emphasis* and $mathematics$."""
    text = html.escape(text, quote=False)
    for mark, replacement in _MARKS.items():
        text = re.sub(mark, replacement, text)
    return text
