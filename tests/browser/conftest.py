"""The built site, served on this machine, in a headless browser that can reach no other."""

import gzip
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from beyondloss.site.build import built, site_path

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCALE = os.environ.get("SCALE", "quick")
TEXT = (".html", ".css", ".js", ".mjs", ".json", ".svg", ".csv")


@cache
def packed(path: str, _changed: float) -> bytes:
    return gzip.compress(Path(path).read_bytes(), 6, mtime=0)


class Server(SimpleHTTPRequestHandler):
    """Serves text gzipped, as GitHub Pages and any other web server does."""

    def send_head(self):
        path = self.translate_path(self.path)
        if not (path.endswith(TEXT) and os.path.isfile(path)):
            return super().send_head()
        body = packed(path, os.path.getmtime(path))
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return BytesIO(body)

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # a page that is left stops reading
            super().handle()


# One page of each kind is looked at closely.
DEEP_CHAPTER = "notebooks/03_masked_diffusion.html"
DEEP = ("book/intro.html", "book/how_to_run.html", "book/claims.html", "book/api/experiment.html", DEEP_CHAPTER,
        "genindex.html", "search.html", "404.html")  # fmt: skip


def pytest_generate_tests(metafunc):
    """`deep_page`, `other_page`: the pages of the site as it was built. `chapter`: one; `each_chapter`: all of them."""
    folder = site_path(SCALE)
    found = []
    for part in ("book", "notebooks"):
        found += sorted(path.relative_to(folder).as_posix() for path in (folder / part).rglob("*.html"))
    chapters = [name for name in found if name.startswith("notebooks/")]
    given = {
        "deep_page": DEEP,
        "other_page": [name for name in found if name not in DEEP],
        "chapter": [DEEP_CHAPTER],
        "each_chapter": chapters,
    }
    for name, pages in given.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, pages)


@pytest.fixture(scope="session")
def site() -> Path:
    folder = site_path(SCALE)
    if not (folder / "index.html").is_file():
        pytest.fail(f"no site to look at: make it with `beyondloss build --scale {SCALE}`")
    return folder


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """What the pages looked like, to be looked at by a person: kept as an artifact."""
    folder = built() / "screenshots" / SCALE
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, else playwright's own; without either the tests are skipped."""
    with sync_playwright() as playwright:
        system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            chromium = playwright.chromium.launch(executable_path=system, args=FLAGS)
        except Error as error:
            pytest.skip(
                f"no browser: neither a system Chromium nor playwright's own ({str(error).splitlines()[0]})"
            )
        yield chromium
        chromium.close()


class Visit:
    """One page, opened and settled, with all that went wrong on the way in `complaints`."""

    def __init__(self, browser, address: str, page: str, **context):
        self.address = address
        self.complaints: list[str] = []
        self.context = browser.new_context(**context)
        self.context.route(lambda url: not url.startswith((address, "data:", "blob:")), self._refuse)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("response", self._response)
        self.page.goto(address + page, wait_until="load")
        self.page.evaluate("window.MathJax?.startup?.promise")

    def _refuse(self, route):
        self.complaints.append(f"another origin: {route.request.url}")
        route.abort()

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _response(self, response):
        if response.status >= 400 and not response.url.endswith("/favicon.ico"):
            self.complaints.append(f"{response.status}: {response.url}")


@pytest.fixture(scope="session")
def visit(browser, address):
    """Open a page of the site: `with visit("book/intro.html") as seen`."""

    @contextmanager
    def open_page(page: str, **context):
        seen = Visit(browser, address, page, **context)
        yield seen
        seen.context.close()

    return open_page
