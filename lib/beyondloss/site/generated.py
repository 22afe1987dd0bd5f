"""Parts of pages that are made from the catalogue and the results, so that they cannot be out of date.

A page marks such a part with a comment before and after it::

    <!-- generated: chapters -->
    <!-- end of generated part -->

The build fills them in its own copy; `beyondloss notebooks` fills the committed ones, and a test compares.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from beyondloss import catalogue
from beyondloss.experiment import Chapter, Finding, Plan, Store, Verdict, duration, findings, root
from beyondloss.experiment.claims import NOT_RUN, ORDER, by_deciding_tests
from beyondloss.experiment.errors import choose
from beyondloss.experiment.judging import tables
from beyondloss.page.cards import brief, chip_html, details, nothing_run, statement_lines, tally
from beyondloss.site.benchmarks import benchmarks_table, students_table
from beyondloss.site.mutants import mutants_table

SHOWN = ("quick", "full")  # what readers are told; smoke only walks the code
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end of generated part -->)", re.DOTALL)


def fill(text: str, to_root: str = "") -> str:
    """`text` with its generated parts made anew; links start with `to_root`, the way from the page to the root."""

    def made(part: re.Match) -> str:
        make = MAKERS[choose("generated part", part[2], MAKERS)]
        return f"{part[1]}\n{make(to_root)}\n\n{part[3]}"

    return PART.sub(made, text)


def pages(root: Path) -> list[Path]:
    """Pages of the checkout that may have generated parts."""
    return [root / "README.md", *sorted((root / "book").glob("*.md"))]


def filled(page: Path, root: Path) -> str:
    """The text of `page` with its generated parts made anew."""
    return fill(
        page.read_text(encoding="utf-8"),
        "../" * len(page.relative_to(root).parent.parts),
    )


def chapters_table(to_root: str) -> str:
    """One row a chapter: paper, cost, and what became of the paper's claims at each scale at which some was tested."""
    written = [(chapter, findings_of(chapter)) for chapter in catalogue.chapters()]
    scales = scales_run([found for _, found in written])
    lines = _head("No.", "Chapter", "Cost from an empty store", *(f"At {scale} scale" for scale in scales))
    for chapter, found in written:
        name = _two_lines(_link(chapter, to_root), _paper(chapter))
        costs = "<br>".join(f"{scale}: {cost_at(chapter, scale)}" for scale in SHOWN)
        lines.append(_row(chapter.number, name, costs, *(_claims_in_words(found[scale]) for scale in scales)))
    return "\n".join([*lines, *_nothing_run(scales)])


def _claims_in_words(found: list[Finding]) -> str:
    """Sentences with verdicts; of claims that were not run only how many they are."""
    ran = [finding for finding in found if finding.verdict != NOT_RUN]
    lines = [f"{f.claim.id} {f.claim.statement} **{f.verdict[0].upper()}{f.verdict[1:]}.**" for f in ran]
    if len(found) > len(ran):
        lines.append(f"{_many(len(found) - len(ran), 'claim')} not run.")
    return "<br>".join(f"<small>{line}</small>" for line in lines)


def contents_table(to_root: str) -> str:
    """The parts of the book with all their chapters, those that are not written yet too."""
    written = {chapter.number: chapter for chapter in catalogue.chapters()}
    lines = ["| No. | Paper | Chapter |", "|---|---|---|"]
    for part in planned():
        lines.append(_row("", f"**{part['title']}**", ""))
        for chapter in part["chapter"]:
            number, arxiv = chapter["number"], chapter["arxiv"]
            paper = f"{chapter['paper']} ([arXiv:{arxiv}](https://arxiv.org/abs/{arxiv}))"
            state = _link(written[number], to_root) if number in written else "*planned*"
            lines.append(_row(number, paper, state))
    return "\n".join(lines)


def planned() -> list[dict]:
    """Parts of the book, each with its chapters, as book/contents.toml has them."""
    return tomllib.loads((root() / "book" / "contents.toml").read_text(encoding="utf-8"))["part"]


def summary(_to_root: str) -> str:
    """How much is written, how many claims got which verdict, and how many tests stand under them."""
    written = catalogue.chapters()
    claims = sum(len(chapter.claims) for chapter in written)
    tests = sum(len(chapter.tests) for chapter in written)
    of = sum(len(part["chapter"]) for part in planned())
    told = [
        f"Written so far: {_many(len(written), 'chapter')} of {of}. Their papers make {_many(claims, 'claim')}, "
        f"which {_many(tests, 'test')} examine."
    ]
    for scale in SHOWN:
        found = [finding for chapter in written for finding in findings_at(chapter, scale)]
        told.append(f"At {scale} scale {verdict_counts(found)}." if any_run(found) else nothing_run(scale))
    return " ".join(told)


def verdict_counts(found: list[Finding]) -> str:
    """How many claims got which verdict: "5 held, 3 held in part, 2 did not hold, 1 not run"."""
    counts = Counter(finding.verdict for finding in found)
    return ", ".join(f"{counts[verdict]} {brief(verdict)}" for verdict in ORDER if counts[verdict])


def headlines_table(to_root: str) -> str:
    """One row a written chapter: the claim that matters most, as book/contents.toml names it, and its verdicts."""
    heads = {chapter["number"]: chapter.get("headline") for part in planned() for chapter in part["chapter"]}
    chosen = []
    for chapter in catalogue.chapters():
        known = {claim.id: i for i, claim in enumerate(chapter.claims)}
        named = heads.get(chapter.number) or chapter.claims[0].id
        index = known[choose(f"claim of chapter {chapter.number}", named, known)]
        by_scale = {scale: [found[index]] for scale, found in findings_of(chapter).items()}
        chosen.append((chapter, by_scale))
    scales = scales_run([found for _, found in chosen])
    lines = _head("No.", "What the paper claims", *map(str.title, scales))
    for chapter, found in chosen:
        claim = found[SHOWN[0]][0].claim
        sentence = _two_lines(claim.statement, _link(chapter, to_root))
        chips = [chip_html(found[scale][0].verdict, scale) for scale in scales]
        lines.append(_row(chapter.number, sentence, *chips))
    return "\n".join([*lines, *_nothing_run(scales)])


def findings_table(_to_root: str) -> str:
    """One row a claim of the book: what the paper says, and its verdict at each scale; it leads to the tests."""
    written = [findings_of(chapter) for chapter in catalogue.chapters()]
    scales = scales_run(written)
    lines = _head("Claim", "What the paper says", *map(str.title, scales))
    for found in written:
        for at in zip(*(found[scale] for scale in scales or SHOWN[:1]), strict=True):
            claim = at[0].claim
            link = f'<a href="#{anchor(claim.id)}">{claim.id}</a>'  # both tables stand on one page
            chips = [chip_html(finding.verdict, finding.scale) for finding in at] if scales else []
            lines.append(_row(link, claim.statement, *chips))
    return "\n".join([*lines, *_nothing_run(scales)])


def anchor(claim: str) -> str:
    """Where the page of claims tells of a claim or a test: `claim-3-3`, `claim-3-3a`."""
    return f"claim-{claim.replace('.', '-')}"


def claims_tables(to_root: str) -> str:
    """Chapter by chapter: each claim of the paper with its verdicts, and its tests folded under it."""
    return "\n\n".join(_claims_of(chapter, to_root) for chapter in catalogue.chapters())


def _claims_of(chapter: Chapter, to_root: str) -> str:
    found = findings_of(chapter)
    scales = scales_run([found])
    blocks = [
        f"## {chapter.number}. {_link(chapter, to_root)}",
        f"{chapter.paper.authors}. *{chapter.paper.title}.* {_paper(chapter)}.",
        *_nothing_run(scales)[1:],
    ]
    for at in zip(*(found[scale] for scale in scales or SHOWN[:1]), strict=True):
        blocks.append(_claim_block(at if scales else (), at[0]))
    return "\n\n".join(blocks)


def _claim_block(at: Sequence[Finding], any_of_them: Finding) -> str:
    """A claim's sentence with its verdicts, and the folded table of its tests."""
    claim = any_of_them.claim
    chips = [f"{finding.scale.title()}: {chip_html(finding.verdict)}" for finding in at]
    sentence = (
        f'<span id="{anchor(claim.id)}">**{claim.id}**</span> {claim.statement} {" ".join(chips)}'.strip()
    )
    rule = [] if claim.rule is by_deciding_tests else [f"Its verdict: {rule_in_words(claim.rule)}"]
    counts = [f"{finding.scale}: {tally(finding)}" for finding in at]
    lines = _head("Test", "Statement, and criterion fixed before the run", *(f.scale.title() for f in at))
    for i, test in enumerate(claim.tests):
        name = f'<span id="{anchor(test.id)}">{test.id}</span>'
        verdicts = [_judged(f.tests[i], f.scale) for f in at]
        lines.append(_row(name, _two_lines(*statement_lines(test)), *verdicts))
    folded = f"<details><summary>{'; '.join(counts) or _many(len(claim.tests), 'test')}</summary>"
    return "\n\n".join([sentence, *rule, folded, "\n".join(lines), "</details>"])


def _judged(verdict: Verdict, scale: str) -> str:
    """A cell of a test: its verdict in a frame, and under it what stands beside a verdict."""
    return _two_lines(chip_html(verdict.verdict, scale), *details(verdict))


def rule(_to_root: str) -> str:
    """How the verdict of a paper's claim follows from its tests, in the words of the code that does it."""
    return rule_in_words(by_deciding_tests)


def rule_in_words(of: Callable) -> str:
    """The docstring of a rule on one line."""
    return " ".join(inspect.getdoc(of).split())


def leaderboard(to_root: str) -> str:
    """The boards of every chapter that has some, from the committed points of each scale, best entry first."""
    lines = []
    for chapter in catalogue.chapters():
        for scale in SHOWN if chapter.boards else ():
            for title, board in chapter.boards(tables(chapter, scale, committed)).items():
                lines += [
                    f"## {title[0].upper()}{title[1:]}",
                    "",
                    f"From {_link(chapter, to_root)}, {scale} scale.",
                    "",
                ]
                lines += [_row(*board.columns), "|---" * len(board.columns) + "|"]
                lines += [_row(*cells) for cells in board.itertuples(index=False)]
                lines.append("")
    return "\n".join(lines).rstrip() or "*No point is stored yet.*"


def _two_lines(first: str, *others: str) -> str:
    return first + "".join(f"<br><small>{other}</small>" for other in others)


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def findings_at(chapter: Chapter, scale: str) -> list[Finding]:
    """Verdicts from the committed points alone, so that a page is the same in every checkout."""
    return findings(chapter, scale, committed)


def findings_of(chapter: Chapter) -> dict[str, list[Finding]]:
    """Scale -> verdicts on the paper's claims, for the scales that readers are told of."""
    return {scale: findings_at(chapter, scale) for scale in SHOWN}


def any_run(found: Iterable[Finding]) -> bool:
    """Whether anything was measured for any of the claims."""
    return any(finding.ran for finding in found)


def scales_run(chapters: Sequence[Mapping[str, list[Finding]]]) -> list[str]:
    """The scales at which some claim was tested: a column for each; of the others one sentence is said."""
    run: set[str] = set()
    for found in chapters:
        run |= {scale for scale in SHOWN if any_run(found[scale])}
    return [scale for scale in SHOWN if scale in run]


def _nothing_run(scales: Sequence[str]) -> list[str]:
    """Lines under a table for the scales that have no column."""
    unrun = [scale for scale in SHOWN if scale not in scales]
    return ["", nothing_run(*unrun)] if unrun else []


def committed(plan: Plan) -> Store:
    """The store without the points that were measured here and are not published."""
    store = Store.of(plan)
    store.folder = Path(os.devnull)
    return store


def cost_at(chapter: Chapter, scale: str) -> str:
    cost = chapter.reader_cost(scale)
    return f"{duration(cost.seconds)}, {cost.memory_gb:g} GB, {cost.hardware}" if cost.seconds else "stored"


def _link(chapter: Chapter, to_root: str, text: str = "") -> str:
    return f"[{text or chapter.title}]({to_root}notebooks/{chapter.name}.ipynb)"


def _paper(chapter: Chapter) -> str:
    paper = chapter.paper
    place = f", {paper.venue}" if paper.venue else f", {paper.year}"
    return f"[arXiv:{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}){place}"


MAKERS: dict[str, Callable[[str], str]] = {
    "chapters": chapters_table,
    "contents": contents_table,
    "summary": summary,
    "headlines": headlines_table,
    "findings": findings_table,
    "claims": claims_tables,
    "rule": rule,
    "benchmarks": benchmarks_table,
    "students": students_table,
    "mutants": mutants_table,
    "leaderboard": leaderboard,
}
