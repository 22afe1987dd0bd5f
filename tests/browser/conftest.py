"""The built site, served on this machine, in a headless browser that can reach no other."""

import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from beyondloss.page.build import site_path

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site() -> Path:
    scale = os.environ.get("SCALE", "quick")
    folder = site_path(scale)
    if not (folder / "index.html").is_file():
        pytest.fail(f"no site to look at: make it with `beyondloss build --scale {scale}`")
    return folder


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site)))
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
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("response", self._response)
        self.page.goto(address + page, wait_until="networkidle")
        self.page.evaluate("window.MathJax?.startup?.promise")

    def _route(self, route):
        if route.request.url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.complaints.append(f"another origin: {route.request.url}")
            route.abort()

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _response(self, response):
        if response.status >= 400:
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
