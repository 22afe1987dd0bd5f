"""How a chapter opens on the site: verdicts, cost, a figure, and what one can take away from it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from beyondloss.experiment import Chapter, Finding, Verdict
from beyondloss.experiment.errors import BadInput
from beyondloss.page.cards import chip_html, inline_html, marked_statement, nothing_run, tally
from beyondloss.site import generated
from beyondloss.site.figures import Figure


@dataclass(frozen=True)
class Place:
    """Where the site will stand and where its source does; empty where not known, and then nothing links there.

    url: of the site, such as https://owner.github.io/book/.
    repository: such as https://github.com/owner/book. Raises BadInput for what is no address.
    """

    url: str = ""
    repository: str = ""
    branch: str = "main"

    def __post_init__(self):
        for name, address in {"--url": self.url, "--repository": self.repository}.items():
            if address and not (urlsplit(address).scheme in ("http", "https") and urlsplit(address).netloc):
                raise BadInput(f"{name} takes an address such as https://host/path, not {address!r}")
        object.__setattr__(self, "url", self.url.rstrip("/") + "/" if self.url else "")
        object.__setattr__(self, "repository", self.repository.rstrip("/").removesuffix(".git"))

    @property
    def launchers(self) -> dict[str, str]:
        """Name -> address, in which {notebook} stands for the notebook's path; GitHub's repositories only."""
        if urlsplit(self.repository).netloc != "github.com":
            return {}
        name = urlsplit(self.repository).path.strip("/")
        return {
            "Binder": f"https://mybinder.org/v2/gh/{name}/{self.branch}?labpath={{notebook}}",
            "Colab": f"https://colab.research.google.com/github/{name}/blob/launch/{{notebook}}",
        }


NOWHERE = Place()


def opening(chapter: Chapter, figures: list[Figure], scale: str, place: Place, here: Path) -> str:
    """The block under a chapter's claim, as Markdown: verdicts, cost, figure, downloads, citation."""
    facts = {
        f"What held at {scale} scale": _claims(generated.findings_at(chapter, scale), scale),
        "Cost": "; ".join(_cost(chapter, at) for at in dict.fromkeys((scale, "full"))),
        "Paper": _paper(chapter),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items())
    block = f'<div class="bl-opening"><dl>{rows}</dl>{_actions(chapter, scale, place, here)}{_picture(figures)}</div>'
    return f"```{{raw}} html\n{block}\n```"


def insert(source: str, block: str) -> str:
    """`source` of a chapter's first cell with `block` after its title and its claim."""
    parts = re.split(r"\n\s*\n", source.strip(), maxsplit=2)
    return "\n\n".join([*parts[:2], block, *parts[2:]])


def opening_figure(figures: list[Figure]) -> Figure | None:
    """The figure of the cell that is tagged so, else the first that is no explorer."""
    tagged = [figure for figure in figures if figure.opening]
    drawn = [figure for figure in figures if not figure.explorer]
    return next(iter([*tagged, *drawn]), None)


def citation(chapter: Chapter, place: Place, here: Path) -> str:
    """BibTeX of the paper, as book/references.bib has it, and of the chapter."""
    fields = {
        "author": "{The authors of Beyond the Loss}",  # in braces of its own: no first and last name
        "title": chapter.title,
        "booktitle": "Beyond the Loss",
        "chapter": chapter.number,
    }
    if place.url:
        fields["url"] = f"{place.url}notebooks/{chapter.name}.html"
    fields["year"] = yaml.safe_load((here / "_config.yml").read_text(encoding="utf-8"))["copyright"]
    fields["note"] = f"Version {version('beyondloss')}"
    lines = ",\n".join(f"  {name:<9} = {{{value}}}" for name, value in fields.items())
    own = f"@incollection{{beyondtheloss-{chapter.slug},\n{lines}\n}}"
    bibliography = (here / "book" / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{.*?^\}", bibliography, re.DOTALL | re.MULTILINE)
    paper = [entry for entry in entries if chapter.paper.arxiv in entry]
    return "\n\n".join([*paper[:1], own])


def _actions(chapter: Chapter, scale: str, place: Place, here: Path) -> str:
    notebook = f"notebooks/{chapter.name}.ipynb"
    links = [f'<a href="../_sources/{notebook}" download>Notebook</a>']
    links += [f'<a href="../data/{chapter.slug}/figures.zip" download>Data of the figures</a>']
    if (here / "data" / "results" / chapter.slug / f"{scale}.json").is_file():
        links += [f'<a href="../data/{chapter.slug}/{scale}.json" download>Results</a>']
    links += [f'<a href="{to.format(notebook=notebook)}">{name}</a>' for name, to in place.launchers.items()]
    cite = (
        '<details class="bl-cite"><summary>Cite</summary>'
        f'<pre tabindex="0" aria-label="BibTeX">{html.escape(citation(chapter, place, here))}</pre></details>'
    )
    return f'<p class="bl-actions">{"".join(links)}</p>{cite}'


def _picture(figures: list[Figure]) -> str:
    shown = opening_figure(figures)
    if shown is None:
        return ""
    image = f'<img src="../data/{shown.chapter.slug}/{shown.name}.png" alt="{html.escape(shown.alt)}">'
    return (
        f'<figure>{image}<figcaption><a href="#{shown.name}">Figure {shown.number}</a></figcaption></figure>'
    )


def _claims(found: list[Finding], scale: str) -> str:
    """The paper's claims as sentences with verdicts, their tests folded; one sentence where nothing was run."""
    if not generated.any_run(found):
        return nothing_run(scale)
    return f'<ul class="bl-findings">{"".join(map(_claim, found))}</ul>'


def _claim(finding: Finding) -> str:
    tests = "".join(f"<li>{_sentence(test, marked_statement(test.claim))}</li>" for test in finding.tests)
    folded = f"<details><summary>{tally(finding)}</summary><ul>{tests}</ul></details>"
    return f"<li>{_sentence(finding, finding.claim.statement)}{folded}</li>"


def _sentence(found: Finding | Verdict, said: str) -> str:
    """The verdict on a claim or a test, its number, which leads to the page of claims, and what it says."""
    link = f'<a href="../book/claims.html#{generated.anchor(found.claim.id)}">{found.claim.id}</a>'
    return f"{chip_html(found.verdict)} {link} {inline_html(said)}"


def _cost(chapter: Chapter, scale: str) -> str:
    return f"{generated.cost_at(chapter, scale)} at {scale} scale"


def _paper(chapter: Chapter) -> str:
    paper = chapter.paper
    where = f'<a href="https://arxiv.org/abs/{paper.arxiv}">arXiv:{paper.arxiv}</a>'
    title = f"<cite>{html.escape(paper.title)}</cite>"
    return f"{html.escape(paper.authors)}, {title}, {where}, {paper.venue or paper.year}"
