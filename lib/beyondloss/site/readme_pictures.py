"""The README's pictures: a chapter of the built site, light and dark. `make pictures` renews them.

python -m beyondloss.site.readme_pictures
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

from beyondloss.site import pdf
from beyondloss.site.build import chapter_notebooks, checkout, site_path

FOLDER = "book/_static"
WIDTH, SHOWN = 1280, 960  # of the window and of the picture, in pixels
COLOURS = 256


def take(site: Path) -> dict[str, bytes]:
    """A PNG for each theme of the first chapter down to its figure, with a palette: a third of the bytes."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    taken = {}
    with sync_playwright() as playwright, pdf.served(site) as address:
        browser = pdf.browser_of(playwright)
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme=theme)
            page.goto(f"{address}notebooks/{chapter_notebooks()[0].stem}.html", wait_until="networkidle")
            page.evaluate("Promise.all([window.MathJax?.startup?.promise, document.fonts.ready])")
            opening = page.locator(".bl-opening").bounding_box()
            page.set_viewport_size({"width": WIDTH, "height": round(opening["y"] + opening["height"] + 24)})
            picture, small = Image.open(io.BytesIO(page.screenshot())), io.BytesIO()
            picture.thumbnail((SHOWN, picture.height))
            picture.convert("RGB").quantize(COLOURS).save(small, "png", optimize=True)
            taken[f"{FOLDER}/page-{theme}.png"] = small.getvalue()
        browser.close()
    return taken


def main() -> None:
    """Write the pictures, and their checksums into data/MANIFEST."""
    here = checkout()
    manifest = here / "data" / "MANIFEST"
    text = manifest.read_text(encoding="utf-8")
    for name, picture in take(site_path("quick")).items():
        (here / name).write_bytes(picture)
        digest = hashlib.sha256(picture).hexdigest()
        text = re.sub(
            rf'(name = "{re.escape(name)}"\n(?:.+\n)*?sha256 = ")[0-9a-f]*', rf"\g<1>{digest}", text
        )
        print(f"{name}: {len(picture):,} bytes")
    manifest.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
