"""What is wrong in Sphinx, its theme and its extensions, and mended here: each patch names its version and can go."""

from __future__ import annotations

from bs4 import BeautifulSoup
from sphinx.pycode.ast import _UnparseVisitor


def read_starred() -> None:
    """Let Sphinx read `Literal[*NAMES]`: up to 7.4 a star in an annotation costs a module its page of source."""
    if not hasattr(_UnparseVisitor, "visit_Starred"):
        _UnparseVisitor.visit_Starred = lambda self, node: f"*{self.visit(node.value)}"


def patch_theme_html(page: str) -> str:
    """A page as Sphinx makes it, without what the theme and the bibliography get wrong.

    Each line can go when a newer version than the named one makes the page right by itself:

    - pydata-sphinx-theme 0.15.4 loads its icons a second time, as scripts of 1.5 MB before anything is shown, and
      preloads two fonts of them that no page of the book uses;
    - sphinx-book-theme 1.1.4: the sidebar is no landmark;
    - pydata-sphinx-theme 0.15.4: what unfolds a part of the contents has no name;
    - sphinxcontrib-bibtex 2.7.0 on docutils 0.21: `doc-biblioentry` is deprecated, and a list's children are no items.
    """
    soup = BeautifulSoup(page, "html.parser")
    for script in soup.select('script[src*="fontawesome"]'):
        script.decompose()
    for font in soup.select(
        'link[rel="preload"][href*="fa-brands"], link[rel="preload"][href*="fa-regular"]'
    ):
        font.decompose()
    for sidebar in soup.select("div.bd-sidebar-primary"):
        sidebar.attrs |= {"role": "complementary", "aria-label": "Book"}
    for toggle in soup.select("summary:has(> span.toctree-toggle)"):
        toggle["aria-label"] = "Unfold"
    for listed in soup.select('[role="doc-biblioentry"], div.citation-list[role="list"]'):
        del listed["role"]
    return str(soup)
