"""Parts of pages that are made from the catalogue and the results, so that they cannot be out of date.

A page marks such a part with a comment before and after it::

    <!-- generated: chapters -->
    <!-- end of generated part -->

The build fills them in its own copy; `beyondloss notebooks` fills the committed ones, and a test compares.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from beyondloss import catalogue
from beyondloss.experiment import Chapter, Plan, Store, Verdict, duration, judge, root, table
from beyondloss.experiment.errors import choose
from beyondloss.site.benchmarks import benchmarks_table, students_table

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
    """One row a chapter: paper, and at each scale cost and verdicts."""
    lines = [
        "| No. | Chapter | Paper | " + " | ".join(f"At {scale} scale" for scale in SHOWN) + " |",
        "|---|---|---|" + "---|" * len(SHOWN),
    ]
    for chapter in catalogue.chapters():
        at = [_two_lines(cost_at(chapter, scale), *_by_verdict(chapter, scale)) for scale in SHOWN]
        lines.append(_row(chapter.number, _link(chapter, to_root), _paper(chapter), *at))
    return "\n".join(lines)


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
    """How much is written, and how many claims got which verdict."""
    written = catalogue.chapters()
    claims = sum(len(chapter.claims) for chapter in written)
    of = sum(len(part["chapter"]) for part in planned())
    told = [f"Written so far: {_many(len(written), 'chapter')} of {of}, with {_many(claims, 'claim')}."]
    for scale in SHOWN:
        counts = Counter(v.verdict for chapter in written for v in verdicts_at(chapter, scale))
        told.append(f"At {scale} scale: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}.")
    return " ".join(told).replace(" not run at this scale", " not run")


def headlines_table(to_root: str) -> str:
    """One row a written chapter: the claim that matters most, as book/contents.toml names it, and its verdicts."""
    heads = {chapter["number"]: chapter.get("headline") for part in planned() for chapter in part["chapter"]}
    lines = ["| No. | The claim that matters | " + " | ".join(map(str.title, SHOWN)) + " |"]
    lines.append("|---|---|" + "---|" * len(SHOWN))
    for chapter in catalogue.chapters():
        known = {claim.id: i for i, claim in enumerate(chapter.claims)}
        named = heads.get(chapter.number) or chapter.claims[0].id
        index = known[choose(f"claim of chapter {chapter.number}", named, known)]
        at = [_chip(verdicts_at(chapter, scale)[index]) for scale in SHOWN]
        claim = f"{chapter.claims[index].statement}<br><small>{_link(chapter, to_root)}</small>"
        lines.append(_row(chapter.number, claim, *at))
    return "\n".join(lines)


def findings_table(_to_root: str) -> str:
    """One row a claim of the book: what the paper says, and its verdict at each scale; it leads to the criterion."""
    lines = ["| Claim | What the paper says | " + " | ".join(map(str.title, SHOWN)) + " |"]
    lines.append("|---|---|" + "---|" * len(SHOWN))
    for chapter in catalogue.chapters():
        by_scale = [verdicts_at(chapter, scale) for scale in SHOWN]
        for claim, *at in zip(chapter.claims, *by_scale, strict=True):
            link = f'<a href="#{anchor(claim.id)}">{claim.id}</a>'  # both tables stand on one page
            lines.append(_row(link, claim.statement, *map(_chip, at)))
    return "\n".join(lines)


def anchor(claim: str) -> str:
    """Where the page of claims tells of a claim: `claim-3-3a`."""
    return f"claim-{claim.replace('.', '-')}"


def claims_tables(to_root: str) -> str:
    """One table a chapter: each claim with its criterion and its verdict at each scale."""
    return "\n\n".join(_claims_of(chapter, to_root) for chapter in catalogue.chapters())


def _claims_of(chapter: Chapter, to_root: str) -> str:
    lines = [
        f"## {chapter.number}. {_link(chapter, to_root)}",
        "",
        f"{chapter.paper.authors}. *{chapter.paper.title}.* {_paper(chapter)}.",
        "",
        "| Claim | Statement, and criterion fixed before the run | "
        + " | ".join(map(str.title, SHOWN))
        + " |",
        "|---|---|" + "---|" * len(SHOWN),
    ]
    by_scale = [verdicts_at(chapter, scale) for scale in SHOWN]
    for claim, *at in zip(chapter.claims, *by_scale, strict=True):
        verdicts = [_two_lines(v.verdict, *_details(v)) for v in at]
        name = f'<span id="{anchor(claim.id)}">**{claim.id}**</span>'
        lines.append(_row(name, _two_lines(claim.statement, claim.criterion), *verdicts))
    return "\n".join(lines)


def leaderboard(to_root: str) -> str:
    """The boards of every chapter that has some, from the committed points of each scale, best entry first."""
    lines = []
    for chapter in catalogue.chapters():
        for scale in SHOWN if chapter.boards else ():
            plans = [e.plan(scale) for e in chapter.at(scale)]
            tables = {plan.experiment.name: table(plan, committed(plan)) for plan in plans}
            for title, board in chapter.boards(tables).items():
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


def sentence(verdict: Verdict) -> str:
    """`held: 0.12 [0.08, 0.16], 5 seeds`, with what has to be said about it."""
    details = _details(verdict)
    return f"{verdict.verdict}: {'; '.join(details)}" if details else verdict.verdict


def _details(verdict: Verdict) -> list[str]:
    """The effect with its interval, and the note; nothing for what there is none of."""
    effect = "" if verdict.effect is None else f"{verdict.effect:.3g}"
    if verdict.seeds > 1:
        effect += f" [{verdict.low:.3g}, {verdict.high:.3g}], {verdict.seeds} seeds"
    return [part for part in (effect, verdict.note) if part]


def _two_lines(first: str, *others: str) -> str:
    return first + "".join(f"<br><small>{other}</small>" for other in others)


def _chip(verdict: Verdict) -> str:
    """A verdict in the frame that the site's stylesheet gives it, with what has to be said of its points."""
    name = verdict.verdict.replace(" ", "-")
    chip = f'<span class="bl-chip bl-{name}">{verdict.verdict.removesuffix(" at this scale")}</span>'
    return _two_lines(chip, *([verdict.note] if verdict.note else []))


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _by_verdict(chapter: Chapter, scale: str) -> list[str]:
    """Claims by verdict: `held: 3.1, 3.3a` and `did not hold: 3.2`."""
    by_verdict: dict[str, list[str]] = {}
    for v in verdicts_at(chapter, scale):
        by_verdict.setdefault(v.verdict, []).append(v.claim.id)
    return [f"{verdict}: {', '.join(ids)}" for verdict, ids in by_verdict.items()]


def verdicts_at(chapter: Chapter, scale: str) -> list[Verdict]:
    """Verdicts from the committed points alone, so that a page is the same in every checkout."""
    plans = [e.plan(scale) for e in chapter.at(scale)]
    tables = {plan.experiment.name: table(plan, committed(plan)) for plan in plans}
    return [judge(claim, tables.get(claim.experiment), scale) for claim in chapter.claims]


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
    "benchmarks": benchmarks_table,
    "students": students_table,
    "leaderboard": leaderboard,
}
