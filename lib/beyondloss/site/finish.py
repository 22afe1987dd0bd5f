"""What stands around the pages of the site: site map, feed, the page for a wrong address, the card of a link."""

from __future__ import annotations

import html
import os
import re
import subprocess
from datetime import UTC, datetime
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


def feed(changelog: Path, target: Path, url: str) -> None:
    """The changelog as an Atom feed, one entry a version; one that is not released yet has the date of the text."""
    text = changelog.read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    written = _date_of(changelog)
    entries = [
        (name, f"{d}T00:00:00+00:00" if re.match(r"\d{4}-", d) else written, body)
        for name, d, body in versions
    ]
    link = f"{url}book/changelog.html"
    made = "".join(
        f"<entry><title>Version {name}</title><id>urn:beyond-the-loss:{name}</id><updated>{date}</updated>"
        f'<link href="{link}"/><content type="html">{html.escape(_list_of(body))}</content></entry>\n'
        for name, date, body in entries
    )
    target.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">'
        "<title>Beyond the Loss</title>"
        f"<id>urn:beyond-the-loss</id><author><name>The authors of Beyond the Loss</name></author>"
        f'<updated>{max((date for _, date, _ in entries), default=written)}</updated><link href="{link}"/>\n'
        f"{made}</feed>\n",
        encoding="utf-8",
    )


def _list_of(body: str) -> str:
    points = re.findall(r"^- (.+)$", body, re.MULTILINE)
    return f"<ul>{''.join(f'<li>{html.escape(point)}</li>' for point in points)}</ul>"


def _date_of(path: Path) -> str:
    """When a text was last committed, else last written."""
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return datetime.fromtimestamp(int(epoch), UTC).isoformat()
    log = ["git", "log", "-1", "--format=%cI", "--", path.name]
    done = subprocess.run(log, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout.strip():
        return datetime.fromisoformat(done.stdout.strip()).astimezone(UTC).isoformat()
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).isoformat()


def card(target: Path, title: str, over: str) -> None:
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


def mended(page: str) -> str:
    """A page as the theme makes it, without what the theme and the bibliography get wrong.

    Icons come as a script of 1.5 MB before anything is shown, although the style sheet draws them, too; the sidebar is
    no landmark, what unfolds a part of the contents has no name, and roles of the bibliography do not fit.
    """
    page = re.sub(r'\s*<script src="[^"]*fontawesome[^"]*\.js[^"]*"></script>', "", page)
    page = re.sub(r'<link rel="preload" as="font"[^>]*fa-(?:brands|regular)[^>]*>\n?', "", page)
    page = page.replace(' role="doc-biblioentry"', "").replace(
        '<div role="list" class="citation-list">', "<div>"
    )
    sidebar = 'class="bd-sidebar-primary bd-sidebar'
    page = page.replace(f"<div {sidebar}", f'<div role="complementary" aria-label="Book" {sidebar}')
    toggle = '<span class="toctree-toggle"'
    return page.replace(f"<summary>{toggle}", f'<summary aria-label="Unfold">{toggle}')
