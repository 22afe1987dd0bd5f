"""The reference of the library: one page a package, made by Sphinx's autodoc from the docstrings.

Docstrings of this project are plain text: paragraphs, `code`, lines that explain a name, and labels of the book ("eq.
md-signal-mass", "theorem md-posterior"). They become reStructuredText that is valid whatever they hold, with the
labels as links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from beyondloss import catalogue
from beyondloss.experiment import Chapter
from beyondloss.experiment.digest import sources

PACKAGES = {
    "models": "Networks",
    "trainers": "Training",
    "data": "Tasks and data",
    "experiment": "Experiments and claims",
    "page": "Explorers, cards and figures",
}
# modules that no reader calls
HIDDEN = {"page": ("artists", "png")}
# "lr: step size", "`a`, b: both", "- a point"
POINT = re.compile(r"\s*(`?[a-z_][\w.]*`?(?:, `?[a-z_][\w.]*`?)*): \S|\s*- ")
LABEL = re.compile(
    r"\b(eqs?\.|theorem|lemma|proposition|corollary|definition|section) ([a-z]+-[a-z0-9-]+)\b", re.IGNORECASE
)


def pages() -> dict[str, str]:
    """File name -> Markdown of each page of the reference."""
    library = Path(__file__).parents[1]
    made = {}
    for package, title in PACKAGES.items():
        names = [name for name in _modules(library / package) if name not in HIDDEN.get(package, ())]
        made[f"{package}.md"] = _page(title, f"`beyondloss.{package}`", f"beyondloss.{package}", names)
    for chapter in catalogue.chapters():
        method = library / "methods" / chapter.slug
        names = _modules(method) if method.is_dir() else []
        package = f"beyondloss.methods.{chapter.slug}"
        about = (
            f"`{package}`, the methods of chapter {chapter.number}, {{doc}}`../../notebooks/{chapter.name}`"
        )
        made[f"{chapter.slug}.md"] = _page(f"Methods of chapter {chapter.number}", about, package, names)
    return made


def address(module: str, name: str) -> str:
    """Where a public object stands in the reference, from a chapter; private ones stand in the source alone."""
    parts = module.split(".")
    page = parts[2] if module.startswith("beyondloss.methods.") else parts[1]
    hidden = len(parts) > 2 and parts[2] in HIDDEN.get(page, ())
    private = any(part.startswith("_") for part in name.split("."))
    return "" if hidden or private else f"../book/api/{page}.html#{module}.{name}"


def _modules(package: Path) -> list[str]:
    """Its public modules and those of its own packages, by their names within it."""
    files = sorted(path.relative_to(package).with_suffix("") for path in package.rglob("*.py"))
    return [".".join(path.parts) for path in files if not path.stem.startswith("_")]


def _page(title: str, about: str, package: str, names: list[str]) -> str:
    parts = [f"# {title}", f"{about}."]
    for module in [f"{package}.{name}" for name in names] or [package]:
        parts += [f"## {module.rpartition('.')[2]}", *_used_in(module)]
        parts += [f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :undoc-members:\n```"]
    return "\n\n".join(parts) + "\n"


def _used_in(module: str) -> list[str]:
    """The chapters whose method reaches a module of the shared packages."""
    if module.startswith("beyondloss.methods.") or module.split(".")[1] in ("experiment", "page"):
        return []
    links = [
        f"{{doc}}`{c.number} <../../notebooks/{c.name}>`" for c in catalogue.chapters() if module in _reach(c)
    ]
    return [f"Used in chapter {', '.join(links)}."] if links else []


def _reach(chapter: Chapter) -> set[str]:
    return {name for e in chapter.experiments for name in sources(e.run, e.point)}


# Docstrings -------------------------------------------------------------------------------------------------


def restructured(docstring: Iterable[str], labels: dict[str, str]) -> list[str]:
    """Lines of reStructuredText. `labels`: label -> role that links it ("eq", "prf:ref")."""
    blocks = re.split(r"\n\s*\n", "\n".join(docstring).strip("\n"))
    lines: list[str] = []
    literal = False
    for block in blocks:
        if literal and block.startswith(" "):
            lines += ["", *block.splitlines()]
            continue
        literal = block.rstrip().endswith("::")
        for item in _items(block.splitlines()):
            lines += ["", _text(item, labels)]
    return [*lines[1:], ""]


def _items(lines: list[str]) -> list[str]:
    """A block as one paragraph, or as the points of a list where its lines explain names (`lr: step size`)."""
    points: list[str] = []
    for line in lines:
        starts = POINT.match(line)
        in_list = bool(points) and points[-1].startswith("- ")
        continues = bool(points) and (line.startswith(" ") or not in_list)  # of a point, or of a paragraph
        if starts and not continues:
            points.append(_point(line.strip().removeprefix("- "), names=starts[1]))
        elif points:
            points[-1] += " " + line.strip()
        else:
            points.append(line.strip())
    return points


def _point(text: str, names: str | None) -> str:
    """A point of a list; the names that it explains, if any, as code."""
    return f"- `{names.strip('`')}`: {text.partition(': ')[2]}" if names else f"- {text}"


def _text(text: str, labels: dict[str, str]) -> str:
    """Escaped text with `code`, $mathematics$ and known labels marked up."""
    pieces = re.split(r"(``?[^`]+``?|\$[^$]+\$)", text)
    marked = []
    for piece in pieces:
        if piece.startswith("`"):
            marked.append(f"``{piece.strip('`')}``")
        elif piece.startswith("$") and piece.endswith("$") and len(piece) > 2:
            marked.append(f":math:`{piece[1:-1]}`")
        else:
            marked.append(_linked(piece, labels))
    # a mark must not touch a word: an escaped space keeps them apart and shows nothing
    apart = [f"\\ {piece}\\ " if piece.startswith(("``", ":math:")) else piece for piece in marked]
    return "".join(apart).removeprefix("\\ ")


def _linked(text: str, labels: dict[str, str]) -> str:
    """Escaped text with known labels as links."""
    out, last = "", 0
    for found in LABEL.finditer(text):
        if found[2] in labels:
            out += _escape(text[last : found.start(2)]) + f":{labels[found[2]]}:`{found[2]}`"
            last = found.end(2)
    return out + _escape(text[last:])


def with_numbers(html: str, numbers: Mapping[str, tuple[str, str, str]], way: Callable[[str], str]) -> str:
    """A page of which shown source says "eq. 3.7", as a link, where its docstring says "eq. md-weighted".

    numbers: label -> page, anchor on it, number.
    way: leads from this page to another.
    """

    def numbered(found: re.Match) -> str:
        if found[2] not in numbers:
            return found[0]
        page, anchor, number = numbers[found[2]]
        return f'{found[0].removesuffix(found[2])}<a href="{way(page)}#{anchor}">{number}</a>'

    return LABEL.sub(numbered, html)


def _escape(text: str) -> str:
    """Text in which no character marks anything up, but for the dash of a point."""
    head, text = (text[:2], text[2:]) if text.startswith("- ") else ("", text)
    return head + re.sub(r"([\\*_|<>`\[\]])", r"\\\1", text)
