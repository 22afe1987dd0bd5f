"""The whole book on paper: all pages in one document, printed by Chromium, with a table of contents and page numbers.

Printed twice: where a heading stands is known only once it has been printed.
"""

from __future__ import annotations

import html
import io
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Error, sync_playwright
from pypdf import PdfReader

from beyondloss.experiment.errors import BadInput

SHEET = "print.html"
LEFT_OUT = ("book/api/", "book/library", "book/changelog")  # of use on a screen only
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FOOT = (
    '<div style="width:100%;font:9px serif;color:#555;padding:0 16mm;display:flex;justify-content:space-between">'
    '<span>Beyond the Loss</span><span class="pageNumber"></span></div>'
)
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; }
html { font-size: 10.5pt; } body { display: block; background: white; }
.bl-sheet { break-before: page; } .bl-sheet .headerlink, .bl-sheet .copybtn, .bl-actions, .bl-cite { display: none; }
.bl-contents { list-style: none; padding: 0; } .bl-contents li { display: flex; gap: .6em; margin: .2em 0; }
.bl-contents li::before { content: ""; order: 1; flex: 1; border-bottom: 1px dotted #999; margin-bottom: .3em; }
.bl-contents a { order: 0; color: inherit; text-decoration: none; } .bl-contents span { order: 2; }
.bl-contents .bl-inner { padding-left: 1.5em; font-size: .93em; }
.bl-cover { min-height: 90vh; display: flex; flex-direction: column; justify-content: center; }
.bl-cover h1 { font: 600 34pt/1.15 Charter, "Liberation Serif", Georgia, serif; }
"""


def print_book(site: Path, say: Callable[[str], None] = print) -> Path:
    """Print the site at `site` into `beyond-the-loss.pdf` beside it; return its path.

    Raises BadInput where there is no site, or no browser that prints.
    """
    if not (site / "index.html").is_file():
        raise BadInput("no site to print yet: make it with `beyondloss build`")
    pages = [name for name in pages_in_order(site) if not name.startswith(LEFT_OUT)]
    target = site.with_name(f"{site.name}-beyond-the-loss.pdf")
    made: dict[str, str] = {}
    with sync_playwright() as playwright, served(site, made) as address:
        browser = browser_of(playwright)
        numbers: dict[str, int] = {}
        for _ in range(2):
            made[SHEET] = one_sheet(site, pages, numbers)
            page = browser.new_page()
            page.emulate_media(media="print", color_scheme="light")
            page.goto(address + SHEET, wait_until="networkidle")
            page.evaluate("window.MathJax?.startup?.promise")
            page.pdf(path=target, display_header_footer=True, header_template="<span></span>", footer_template=FOOT,
                     prefer_css_page_size=True, outline=True, tagged=True)  # fmt: skip
            page.close()
            numbers = page_numbers(target)
        browser.close()
    say(f"{len(pages)} pages of the site on {max(numbers.values(), default=0)} or more of paper")
    return target


def pages_in_order(site: Path) -> list[str]:
    """Names of the pages as the navigation has them, the title page first."""
    start = BeautifulSoup((site / "book" / "intro.html").read_text(encoding="utf-8"), "html.parser")
    links = [a["href"] for a in start.select("nav.bd-docs-nav a[href]")]
    names = [
        "book/intro",
        *(_resolved("book/intro", link).removesuffix(".html") for link in links if link != "#"),
    ]
    return [name for name in dict.fromkeys(names) if (site / f"{name}.html").is_file()]


def one_sheet(site: Path, pages: list[str], numbers: dict[str, int]) -> str:
    """One document of all `pages` after a cover and a table of contents; `numbers`: anchor -> page of paper."""
    head = BeautifulSoup((site / f"{pages[0]}.html").read_text(encoding="utf-8"), "html.parser").head
    for tag in head.select("[src], link[href]"):
        key = "src" if tag.has_attr("src") else "href"
        tag[key] = _resolved(pages[0], tag[key])
    for tag in head.select("script[src]"):
        if "mathjax" not in tag["src"]:
            tag.decompose()
    articles = [_article(site, name, set(pages)) for name in pages]
    entries = [entry for article in articles for entry in _entries(article, numbers)]
    about = "An executable research book on data, inductive bias and reliability of deep networks"
    cover = f"<section class='bl-cover'><h1>Beyond the Loss</h1><p>{about}</p></section>"
    contents = f"<section class='bl-sheet'><h1>Contents</h1><ol class='bl-contents'>{''.join(entries)}</ol></section>"
    body = cover + contents + "".join(f"<section class='bl-sheet bd-content'>{a}</section>" for a in articles)
    return f'<!doctype html><html lang="en" data-theme="light">{head}<style>{STYLE}</style><body>{body}</body></html>'


def page_numbers(pdf: Path) -> dict[str, int]:
    """Anchor -> number of the page on which it stands, of the anchors that something links to."""
    reader = PdfReader(pdf)
    found = reader.named_destinations.items()
    return {name.lstrip("/"): reader.get_destination_page_number(to) + 1 for name, to in found}


def _article(site: Path, name: str, pages: set[str]) -> Tag:
    """The article of a page, its anchors made unique and its links made to lead within the document."""
    soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = soup.select_one("article")
    for script in article.select("script, .bl-view"):
        script.decompose()
    for details in article.select("details:not(.bl-cite), .toggle"):
        details["open"] = ""
    for tag in article.select("[id]"):
        tag["id"] = _anchor(name, tag["id"])
    for tag in article.select("img[src]"):
        tag["src"] = _resolved(name, tag["src"])
    for tag in article.select("a[href]"):
        path, _, fragment = _resolved(name, tag["href"]).partition("#")
        if (page := path.removesuffix(".html")) in pages:
            tag["href"] = "#" + _anchor(page, fragment)
    article["id"] = _anchor(name, "")
    return article


def _entries(article: Tag, numbers: dict[str, int]) -> Iterator[str]:
    """Lines of the table of contents: the page, and the sections of a chapter."""
    for heading in article.select("h1, h2" if article["id"].startswith("notebooks") else "h1"):
        text = re.sub(r"#$", "", heading.get_text()).strip()
        # its own anchor: that of its section may stand at the foot of the page before
        anchor = heading["id"] = f"{article['id']}--{re.sub(r'[^a-z0-9]+', '-', text.lower())}-heading"
        inner = ' class="bl-inner"' if heading.name == "h2" else ""
        number = numbers.get(anchor, "")
        yield f'<li{inner}><a href="#{anchor}">{html.escape(text)}</a><span>{number}</span></li>'


def _anchor(page: str, fragment: str) -> str:
    return re.sub(r"[^\w-]", "-", f"{page}--{fragment}" if fragment else page)


def _resolved(page: str, link: str) -> str:
    """A relative link of `page` as seen from the root of the site; any other as it is."""
    if re.match(r"[a-z]+:|//", link):
        return link
    path, hash_, fragment = link.partition("#")
    parts = page.split("/")[:-1]
    for part in path.split("/") if path else [page.split("/")[-1] + ".html"]:
        parts = parts[:-1] if part == ".." else parts if part in ("", ".") else [*parts, part]
    return "/".join(parts) + hash_ + fragment


@contextmanager
def served(site: Path, made: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of the site on this machine, with the pages in `made` (name -> text) beside its own."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            text = (made or {}).get(self.path.lstrip("/"))
            if text is None:
                return super().send_head()
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return io.BytesIO(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def browser_of(playwright: Any) -> Any:
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next(filter(None, map(shutil.which, names)), None)
    try:
        return playwright.chromium.launch(executable_path=system, args=FLAGS)
    except Error as error:
        raise BadInput(f"no browser to print with ({str(error).splitlines()[0]}): install chromium") from None
