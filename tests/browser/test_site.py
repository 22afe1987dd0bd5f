"""Every page as a reader's browser sees it, with every other origin blocked."""

import nbformat
import pytest
import yaml

from beyondloss.page.build import chapter_notebooks, checkout

TOC = yaml.safe_load((checkout() / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [entry["file"] for part in TOC["parts"] for entry in part["chapters"]]
CHAPTERS = [f"notebooks/{path.stem}" for path in chapter_notebooks()]


@pytest.fixture(scope="module", params=PAGES)
def seen(request, visit):
    """Each page of the book, opened once."""
    with visit(f"{request.param}.html") as page:
        yield page


@pytest.fixture(scope="module", params=CHAPTERS)
def chapter(request, visit):
    """Each chapter, opened once."""
    with visit(f"{request.param}.html") as page:
        yield page


def test_a_page_opens_without_a_complaint_and_asks_nobody_else(seen):
    assert seen.complaints == []
    assert seen.page.title()
    assert seen.page.locator("article h1").count() == 1


def test_mathematics_is_rendered(seen):
    formulas = seen.page.locator("article span.math, article div.math")
    rendered = seen.page.locator("article .math mjx-container")
    assert rendered.count() >= formulas.count()
    assert seen.page.locator("mjx-merror").count() == 0
    if rendered.count():  # with the fonts of the site, not what the reader happens to have
        fonts = seen.page.evaluate(
            "[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)"
        )
        assert any("MJX" in font for font in fonts)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_as_wide_as_its_window(seen, width):
    seen.page.set_viewport_size({"width": width, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_front_door_leads_to_the_title_page(visit):
    with visit("index.html") as seen:
        seen.page.wait_for_url("**/book/intro.html")
        assert seen.complaints == []


def test_search_finds_a_chapter(visit):
    with visit("search.html?q=masked") as seen:
        seen.page.wait_for_selector("ul.search li a")
        assert "masked_diffusion" in seen.page.locator("ul.search").inner_html()
        assert seen.complaints == []


def test_the_notebook_can_be_downloaded(chapter):
    page = chapter.page
    link = page.locator("a[href$='.ipynb']").first.get_attribute("href")
    answer = page.request.get(f"{page.url.rsplit('/', 1)[0]}/{link}")
    assert answer.ok
    nb = nbformat.reads(answer.text(), as_version=4)
    assert any(cell.get("outputs") for cell in nb.cells)
    assert nb.metadata.beyondloss.cells


def test_sliders_move_the_curves(chapter):
    explorers = chapter.page.locator(".bl-explorer:visible")
    assert explorers.count(), "a chapter has an explorer"
    for explorer in explorers.all():
        for slider in explorer.locator("input[type=range]").all():
            _move(explorer, slider)
    assert chapter.complaints == []


def _move(explorer, slider):
    """Press an arrow key on the slider and see that what is drawn changes."""
    drawn, value = explorer.locator(".bl-panels").inner_html(), slider.input_value()
    slider.focus()
    slider.press("ArrowLeft" if value == slider.get_attribute("max") else "ArrowRight")
    explorer.page.wait_for_timeout(100)
    assert slider.input_value() != value
    name = slider.get_attribute("name")
    assert explorer.locator(".bl-panels").inner_html() != drawn, f"{name} moves nothing"
