"""A Sphinx extension for what only Sphinx knows: which proof belongs to a theorem, where a term is explained.

- Theorems and equations are numbered within their chapter; shown source names them by these numbers.
- A theorem links its proof and its check, the next cell that asserts something; it stands in the index, so that
  search finds it by name.
- The first use of a term of the field on a page links the glossary.
- `explorer` puts an explorer of a chapter on another page.
- Every page has tags for those who show links to it; the site has a site map.
"""

from __future__ import annotations

import html
import re
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from sphinx_proof.nodes import NODE_TYPES, proof_node, unenumerable_node

from beyondloss.site import extras, figures, library, notebook, theme_patches

THEOREMS = (*NODE_TYPES.values(), unenumerable_node)
LABELS = re.compile(r"\$\$ \(([\w-]+)\)|^:label: ([\w-]+)$", re.MULTILINE)
GLOSSARY = "book/glossary"
ORDINARY = {"window"}  # terms that are ordinary words as well: too common to link
UNLINKED = (
    nodes.reference,
    nodes.literal,
    nodes.title,
    nodes.math,
    nodes.raw,
    nodes.rubric,
    addnodes.pending_xref,
)


# Theorems ---------------------------------------------------------------------------------------------------


class Theorems(SphinxTransform):
    """Link each theorem to its proof and to its check, and put it into the index."""

    default_priority = 800  # before the domains collect what is on the page

    def apply(self, **_: Any) -> None:
        current: nodes.Element | None = None
        links: dict[nodes.Element, dict[str, str]] = {}
        for node in self.document.findall():
            if isinstance(node, THEOREMS):
                current = node
                links[node] = {}
            elif _is_main_section(node):
                current = None  # a theorem has its proof and its check in its own section
            elif current is not None and isinstance(node, proof_node):
                self._place(links[current], "Proof", current, node[0])
            elif current is not None and _asserts(node):
                self._place(links[current], "Check", current, node)
        for theorem, found in links.items():
            self._index(theorem)
            if found:
                theorem += _line_of_links(found)

    def _place(self, found: dict[str, str], name: str, theorem: nodes.Element, target: nodes.Element) -> None:
        if name not in found and theorem["ids"]:
            found[name] = f"{theorem['ids'][0]}-{name.lower()}"
            # a proof has the same anchor as every other one
            target["ids"] = [found[name], *(i for i in target["ids"] if i != "proof")]

    def _index(self, theorem: nodes.Element) -> None:
        kind, title = theorem.get("realtype", ""), theorem.next_node(nodes.title)
        name = title.astext().strip("() ") if title is not None else ""
        if name and theorem["ids"]:
            entry = ("single", f"{name} ({kind})", theorem["ids"][0], "", None)
            theorem.parent.insert(theorem.parent.index(theorem), addnodes.index(entries=[entry]))


def _is_main_section(node: nodes.Node) -> bool:
    """Whether a node is a section right under the page's title, which is a section itself."""
    if not (isinstance(node, nodes.section) and isinstance(node.parent, nodes.section)):
        return False
    return isinstance(node.parent.parent, nodes.document)


def _asserts(node: nodes.Node) -> bool:
    """Whether a node is a cell whose source asserts something."""
    if not (isinstance(node, nodes.container) and "cell" in node.get("classes", [])):
        return False
    source = next(iter(node.findall(nodes.literal_block)), None)
    return source is not None and bool(re.search(r"^\s*assert\b", source.astext(), re.MULTILINE))


def _line_of_links(found: dict[str, str]) -> nodes.paragraph:
    line = nodes.paragraph(classes=["bl-proof-links"])
    for name, target in found.items():
        line += nodes.reference("", name, refid=target, internal=True)
    return line


# Numbers ----------------------------------------------------------------------------------------------------


def number_within_chapters(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number theorems and equations within their chapter, 10.3, and on other pages within the page.

    Sphinx counts through the whole book, and by sections only in a book whose contents are numbered from 1 on; ours has
    the numbers of its chapters.
    """
    # page -> kind (theorem, equation, …) -> anchor -> number, a tuple with a part for each level
    for page, kinds in env.toc_fignumbers.items():
        chapter = re.match(r"notebooks/(\d+)_", page)
        before = (int(chapter[1]),) if chapter else ()
        for numbers in kinds.values():
            in_order = sorted(numbers, key=numbers.__getitem__)
            for position, anchor in enumerate(in_order, 1):
                numbers[anchor] = (*before, position)
    return []


# Glossary ---------------------------------------------------------------------------------------------------


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link the first use of each term of the field in running text to the glossary."""
    if not docname.startswith("notebooks/") or GLOSSARY not in app.env.found_docs:
        return
    glossary = app.builder.get_relative_uri(docname, GLOSSARY)
    # the longest first: "random subset" before "subset"
    unlinked = dict(sorted(_terms(app).items(), key=lambda item: -len(item[0])))
    # a list, because linking changes the tree that is walked; at most one link a text, which is then in three parts
    for text in list(filter(_is_prose, doctree.findall(nodes.Text))):
        for term, anchor in unlinked.items():
            if found := re.search(rf"(?<![\w-]){re.escape(term)}(?![\w-])", text.astext(), re.IGNORECASE):
                _link(text, found, f"{glossary}#{anchor}")
                del unlinked[term]
                break


def _link(text: nodes.Text, found: re.Match, address: str) -> None:
    """Make a link of what was found in a text of the page."""
    link = nodes.reference("", found[0], refuri=address, internal=True, classes=["bl-term"])
    parts = [nodes.Text(found.string[: found.start()]), link, nodes.Text(found.string[found.end() :])]
    text.parent.replace(text, [part for part in parts if part.astext()])


def _terms(app: Sphinx) -> dict[str, str]:
    """Term of the field -> its anchor; the words of the book, such as point and scale, are too common to link."""
    field = next(app.env.get_doctree(GLOSSARY).findall(addnodes.glossary), None)
    if field is None:
        return {}
    known = {}
    for (kind, name), (_page, anchor) in app.env.get_domain("std").objects.items():
        if kind == "term":
            known[name] = anchor
    terms = [term.astext() for term in field.findall(nodes.term)]
    return {term: known[term] for term in terms if term in known and term not in ORDINARY}


def _is_prose(text: nodes.Text) -> bool:
    """Whether a text stands in a paragraph, outside of what is a link, a name or a heading already."""
    above, inside = text.parent, False
    while above is not None:
        if isinstance(above, UNLINKED):
            return False
        inside = inside or isinstance(above, nodes.paragraph)
        above = above.parent
    return inside


# Explorers of chapters on other pages -----------------------------------------------------------------------


class ExplorerDirective(SphinxDirective):
    """`{explorer} notebooks/03_masked_diffusion` with the explorer's title as content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / f"{self.arguments[0]}.ipynb"
        self.env.note_dependency(str(path))
        title = "\n".join(self.content).strip()
        cells = notebook.read(path).cells if path.is_file() else []
        for output in (output for cell in cells for output in cell.get("outputs", [])):
            told = figures.carried_by(output)
            if told.get("kind") == "explorer" and told["title"] == title:
                return [nodes.raw("", output.data["text/html"], format="html")]
        raise self.error(f"no explorer {title!r} in {self.arguments[0]}")


# Docstrings -------------------------------------------------------------------------------------------------


def read_labels(app: Sphinx) -> None:
    """Collect the labels of the book, and which sources its chapters show, before any docstring is read."""
    app.beyondloss_labels = {}  # label -> role that links it
    app.beyondloss_shown = {}  # "module.name" -> the first place in a chapter where its source is shown
    for path in sorted(Path(app.srcdir, "notebooks").glob("*.ipynb")):
        for cell in notebook.read(path).cells:
            if cell.cell_type == "markdown":
                app.beyondloss_labels |= _labels(cell.source)
            for output in cell.get("outputs", []):
                for place in figures.carried_by(output).get("shown", []):
                    anchor = f"{place['module']}.{place['name']}"
                    app.beyondloss_shown.setdefault(anchor, f"{path.stem}.html#source-{place['name']}")


def _labels(markdown: str) -> dict[str, str]:
    """Labels of equations and theorems, each with the role that links it."""
    found = {}
    for equation, theorem in LABELS.findall(markdown):
        found[equation or theorem] = "eq" if equation else "prf:ref"
    return found


def read_docstring(app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Make a docstring reStructuredText, in place as Sphinx asks for it, and link the chapter that shows the source."""
    if lines:
        lines[:] = library.restructured(lines, app.beyondloss_labels)
    if place := app.beyondloss_shown.get(name):
        lines += [f"`Shown in chapter {int(place[:2])} <../../notebooks/{place}>`__", ""]


def read_signature(*given: Any) -> tuple[str | None, str | None]:
    """A default that a dataclass makes anew, `<factory>`, is no Python: Sphinx would show the signature unread."""
    *_, signature, returns = given
    return signature and signature.replace("<factory>", "..."), returns


def skip_member(_app: Sphinx, what: str, name: str, obj: Any, skip: bool, _options: Any) -> bool | None:
    """Constants and fields stand in no list of their own: a field is in its class's signature."""
    listed = callable(obj) or isinstance(obj, property | cached_property | classmethod | staticmethod)
    if what in ("module", "class") and not listed:
        return True
    return skip or None  # None: as Sphinx would have it


# Source that a page shows: its docstrings name equations and theorems by their labels ---------------------------


def numbers_of_labels(env: BuildEnvironment) -> dict[str, tuple[str, str, str]]:
    """Label of an equation or a theorem -> page, anchor on it, and number: ("notebooks/03_…", "md-mass", "3.4")."""
    found = {}
    for label, (page, _) in env.get_domain("math").equations.items():
        found[label] = (page, "displaymath", f"equation-{label}")
    for label, theorem in getattr(env, "proof_list", {}).items():
        found[label] = (theorem["docname"], theorem["countertype"], label)
    known = {}
    for label, (page, kind, anchor) in found.items():
        if number := env.toc_fignumbers.get(page, {}).get(kind, {}).get(anchor):
            known[label] = (page, anchor, ".".join(map(str, number)))
    return known


# Pages ------------------------------------------------------------------------------------------------------


def tag_page(app: Sphinx, pagename: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    """Description, and what those who show a link to the page ask for."""
    title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title", ""))) or "Beyond the Loss"
    about = _description(doctree) if doctree is not None else ""
    url = app.config.html_baseurl
    tags = {
        "og:type": "article" if pagename.startswith("notebooks/") else "website",
        "og:title": title,
        "og:site_name": "Beyond the Loss",
        "og:description": about,
    }
    if url:  # whoever shows a link asks for whole addresses
        card = Path(app.srcdir) / "extra" / "cards" / f"{Path(pagename).name}.png"
        image = f"cards/{card.name if card.is_file() else 'book.png'}"
        tags |= {"og:url": f"{url}{pagename}.html", "og:image": url + image, "og:image:alt": title}
    tags |= {"description": about, "twitter:card": "summary_large_image"}
    lines = []
    for name, content in tags.items():
        key = "property" if name.startswith("og:") else "name"  # Open Graph has an attribute of its own
        if content:
            lines.append(f'<meta {key}="{name}" content="{html.escape(content)}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


def _description(doctree: nodes.document) -> str:
    """The first paragraph of a page in plain words, cut after a word."""
    paragraph = next((p for p in doctree.findall(nodes.paragraph) if len(p.astext()) > 60), None)
    if paragraph is None:
        return ""
    words = [n.astext() for n in paragraph.findall(nodes.Text) if not isinstance(n.parent, nodes.math)]
    text = re.sub(r"\s+", " ", "".join(words)).removeprefix("The claim in one sentence. ")
    return text if len(text) <= 200 else text[:200].rpartition(" ")[0] + " …"


def finish_site(app: Sphinx, error: Exception | None) -> None:
    """Once every page is written: patch and list them."""
    if error or app.builder.format != "html":
        return
    out, numbers = Path(app.outdir), numbers_of_labels(app.env)
    for path in out.rglob("*.html"):
        name = path.relative_to(out).with_suffix("").as_posix()
        page = path.read_text(encoding="utf-8")
        page = library.with_numbers(page, numbers, partial(app.builder.get_relative_uri, name))
        path.write_text(theme_patches.patch_theme_html(page), encoding="utf-8")
    if url := app.config.html_baseurl:
        pages = [f"{name}.html" for name in app.env.found_docs]
        (out / "sitemap.xml").write_text(extras.site_map(pages, url), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    theme_patches.read_starred()
    app.add_transform(Theorems)
    app.add_directive("explorer", ExplorerDirective)
    app.connect("builder-inited", read_labels)
    app.connect("env-get-updated", number_within_chapters, priority=900)  # once Sphinx has counted
    app.connect("doctree-resolved", link_terms)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("html-page-context", tag_page, priority=900)
    app.connect("build-finished", finish_site)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
