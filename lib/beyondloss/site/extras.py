"""What the site has besides its pages: the site map, the page for a wrong address, pictures for links to a page."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import urlsplit

CARD = (1200, 630)  # pixels, as those who show links ask for


def not_found(url: str) -> str:
    """A page for a wrong address, at any depth: it needs no other file, and leads back to where the site begins."""
    start = urlsplit(url).path if url else "/"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>No such page: Beyond the Loss</title><meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 16vh auto; padding: 0 1.2rem; }}
a {{ color: #0b5cad; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14181e; color: #d3dae2; }} a {{ color: #7fbdf7; }} }}
h1 {{ font: 600 2rem/1.2 Charter, Cambria, Georgia, serif; }}
</style></head><body><main>
<h1>No such page</h1>
<p>Nothing stands at this address. It may have moved when a chapter was renamed.</p>
<p><a href="{start}index.html">The title page</a> lists all chapters; <a href="{start}search.html">search</a> finds
theorems, terms and functions.</p>
</main></body></html>
"""


def site_map(pages: list[str], url: str) -> str:
    """A site map of pages, given by their addresses from the root."""
    entries = "".join(f"<url><loc>{html.escape(url + page)}</loc></url>\n" for page in sorted(pages))
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    return f"{head}{entries}</urlset>\n"


def link_card(target: Path, title: str, over: str) -> None:
    """The picture that is shown where a page is linked: its title, on the book's ground."""
    import textwrap

    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from beyondloss.page import theme

    target.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"font.family": "serif"}):
        figure = Figure(figsize=(CARD[0] / 100, CARD[1] / 100), dpi=100, facecolor="#14181e")
        figure.add_artist(Rectangle((0, 0), 0.02, 1, color=theme.on_dark(theme.colour("blue"))))
        figure.text(0.08, 0.82, over, fontsize=24, color="#a3adb9")
        lines = "\n".join(textwrap.wrap(title, 26))
        figure.text(0.08, 0.72, lines, fontsize=44, color="#e6ebf0", va="top", linespacing=1.25)
        figure.text(0.08, 0.1, "Beyond the Loss", fontsize=24, color="#a3adb9")
        figure.savefig(target, metadata={"Software": None})
