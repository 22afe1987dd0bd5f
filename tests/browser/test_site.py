"""Every page as a reader's browser sees it, light and dark, wide and narrow, with every other origin blocked."""

import csv
import re
from html.parser import HTMLParser
from statistics import median
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

WIDTHS = (1440, 390)
WEIGHT = 3_000_000  # bytes of a page without its pictures, not compressed
READABLE = 2.5  # seconds to the largest contentful paint
FAST_3G = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8, "offline": False}

LOADED = """() => {
  const files = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const inside = [...document.querySelectorAll("img[src^='data:']")].reduce((sum, image) => sum + image.src.length, 0);
  return files.filter((file) => !/\\.(png|jpe?g|svg)$/.test(new URL(file.name).pathname))
    .reduce((sum, file) => sum + (file.decodedBodySize || 0), -inside);
}"""
UNTYPESET = """() => [...document.querySelectorAll("article :is(span, div).math")]
  .filter((formula) => !formula.querySelector("mjx-container")).map((formula) => formula.textContent.slice(0, 60))"""
HIDE_MORE_OF_THE_SAME = """() => {
  const kept = { "div.highlight": 4, "mjx-container": 4, "dl.py > dt": 12, "table.indextable li": 20 };
  for (const [kind, number] of Object.entries(kept)) {
    for (const more of [...document.querySelectorAll(kind)].slice(number)) {
      more.style.display = "none";
      more.dataset.hid = 1;
    }
  }
}"""
SHOW_AGAIN = """() => document.querySelectorAll("[data-hid]").forEach((more) => {
  more.style.display = "";
  delete more.dataset.hid;
})"""
WIDER = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_is_sound(page_name, theme, visit, screenshots):
    """No complaint, mathematics set, no wider than its window, accessible, light; a picture of it is kept."""
    problems = []
    with visit(page_name, color_scheme=theme, viewport={"width": WIDTHS[0], "height": 900}) as seen:
        page = seen.page
        assert page.title() and page.locator("h1").count() >= 1
        problems += [f"not typeset: {formula}" for formula in page.evaluate(UNTYPESET)]
        problems += [f"error in mathematics: {n}" for n in page.locator("mjx-merror").all_text_contents()]
        if (weight := page.evaluate(LOADED)) > WEIGHT:
            problems.append(f"{weight:,} bytes")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(
                400
            )  # the theme makes what now scrolls reachable by keyboard a moment later
            if (excess := page.evaluate(WIDER)) > 0:
                problems.append(f"{excess} pixels wider than {width}")
            problems += [f"{width}: {violation}" for violation in violations(page, theme, width)]
            name = page_name.removesuffix(".html").replace("/", "-")
            page.screenshot(path=screenshots / f"{name}-{theme}-{width}.png")
        problems += seen.complaints
    assert not problems, "\n".join(problems)


def violations(page, theme: str, width: int) -> list[str]:
    """What axe finds, one line a rule, with the first element.

    Structure does not depend on the theme, nor colour on the width; code and formulas have the same colours everywhere,
    so that the first few of each kind are judged.
    """
    found = []
    if theme == "light":
        found += axe(page, rules={"color-contrast": {"enabled": False}})
    if width == WIDTHS[0]:
        page.evaluate(HIDE_MORE_OF_THE_SAME)
        found += axe(page, runOnly=["color-contrast"])
        page.evaluate(SHOW_AGAIN)
    return [f"{v['id']} ({len(v['nodes'])}): {v['nodes'][0]['html'][:160]}" for v in found]


def axe(page, **options) -> list[dict]:
    # without `preload` it would ask for the style sheets again
    return (
        Axe()
        .run(page, options={"resultTypes": ["violations"], "preload": False, **options})
        .response["violations"]
    )


def test_the_front_door_leads_to_the_title_page(browser, address):
    page = browser.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_url("**/book/intro.html")
    page.close()


def test_the_title_page_is_readable_soon(browser, address):
    """Largest contentful paint over a simulated fast 3G, median of three."""

    def paint() -> float:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", FAST_3G)
        page.goto(address + "book/intro.html", wait_until="load")
        seen = page.evaluate("""() => new Promise((done) => new PerformanceObserver((list) =>
          done(list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true }))""")
        context.close()
        return seen / 1000

    times = [paint() for _ in range(3)]
    assert median(times) <= READABLE, times


# Links -----------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Anchors of a page, and what it links to or loads."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = {"", "top"}
        self.targets: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.targets |= {given[key] for key in ("href", "src") if given.get(key)}


def test_every_link_and_anchor_of_the_site_resolves(site):
    pages = {
        path: Links(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    lost = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not to.is_file() or (to in pages and unquote(parts.fragment) not in pages[to].anchors):
                lost.append(f"{path.relative_to(site)} -> {target}")
    assert lost == []


@pytest.mark.parametrize("theorem", ["md-posterior"])
def test_a_theorem_leads_to_its_proof_and_its_check(visit, theorem):
    with visit("notebooks/03_masked_diffusion.html") as seen:
        links = seen.page.locator(f"#{theorem} .bl-proof-links a")
        assert links.all_text_contents() == ["Proof", "Check"]
        proof, check = (seen.page.locator(link.get_attribute("href")) for link in links.all())
        assert proof.text_content().strip().startswith("Proof.")
        assert "assert " in check.text_content()


# Finding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "where"),
    [
        ("Posterior", "notebooks/03_masked_diffusion.html#md-posterior"),  # a theorem
        ("cross-entropy", "book/glossary.html#term-cross-entropy"),  # a term
        (
            "paired_interval",
            "book/api/experiment.html#beyondloss.experiment.effects.paired_interval",
        ),  # a function
    ],
)
def test_search_finds(word, where, visit):
    with visit(f"search.html?q={word}") as seen:
        seen.page.wait_for_selector(f"ul.search li a[href*='{where.partition('#')[0]}']")
        found = [link.get_attribute("href") for link in seen.page.locator("ul.search li a").all()]
        assert any(link.split("?")[0].endswith(where.partition("#")[0]) for link in found)
        assert any(link.endswith(f"#{where.partition('#')[2]}") for link in found), found
        assert seen.complaints == []


def test_a_link_shows_what_it_leads_to(chapter, visit):
    with visit(chapter, viewport={"width": 1440, "height": 900}) as seen:
        page, preview = seen.page, seen.page.locator("#bl-preview")
        links = page.locator("article a.reference.internal[href^='#equation-']")
        if not links.count():
            pytest.skip("no reference to an equation")
        links.first.scroll_into_view_if_needed()
        links.first.hover()
        preview.wait_for(state="visible")
        assert preview.locator("mjx-container").count() and not preview.locator("[id]").count()
        page.keyboard.press("Escape")
        assert preview.is_hidden()
        term = page.locator("article a.bl-term").first
        term.scroll_into_view_if_needed()
        term.hover()
        preview.wait_for(state="visible")
        assert term.text_content().lower() in preview.text_content().lower()
        assert seen.complaints == []


# Taking away -----------------------------------------------------------------------------------------------


def test_the_notebook_can_be_downloaded(chapter, site):
    text = (site / "_sources" / chapter.replace(".html", ".ipynb")).read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=4)
    assert any(cell.get("outputs") for cell in nb.cells)
    assert nb.metadata.beyondloss.cells


def test_a_chapter_opens_with_verdict_cost_figure_and_what_can_be_taken_away(chapter, visit):
    with visit(chapter, permissions=["clipboard-read", "clipboard-write"]) as seen:
        opening = seen.page.locator(".bl-opening")
        assert opening.locator(".bl-chip").count() and "Cost" in opening.text_content()
        assert (
            opening.locator("figure img").evaluate("image => image.decode().then(() => image.naturalWidth)")
            > 300
        )
        assert {"Notebook", "Data of the figures"} <= set(
            opening.locator(".bl-actions a").all_text_contents()
        )
        opening.locator(".bl-cite summary").click()
        opening.locator(".bl-cite button").click()
        assert seen.page.evaluate("navigator.clipboard.readText()").count("@") >= 2


def test_every_figure_has_its_number_its_data_and_its_command(chapter, visit, site):
    with visit(chapter) as seen:
        captions = seen.page.locator(".bl-figure")
        drawn = seen.page.locator("div.cell_output img:not(.bl-plain), .bl-explorer")
        assert captions.count() == drawn.count() > 0
        for caption in captions.all():
            number = re.match(r"Figure (\d+\.\d+)", caption.text_content())[1]
            assert f"beyondloss figure {number}" in caption.text_content()
            for link in caption.locator("a").all():
                path = (site / chapter).parent / link.get_attribute("href")
                rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
                assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_a_dark_page_is_printed_light(chapter, visit):
    with visit(chapter, color_scheme="dark") as seen:
        theme = "document.documentElement.dataset.theme"
        assert seen.page.evaluate(theme) == "dark"
        seen.page.emulate_media(media="print")
        seen.page.wait_for_function(f"{theme} === 'light'")
        assert (
            seen.page.locator(".bl-actions").is_hidden() and seen.page.locator(".bl-plain").first.is_visible()
        )
        seen.page.emulate_media(media="screen")
        seen.page.wait_for_function(f"{theme} === 'dark'")


# Explorers -------------------------------------------------------------------------------------------------


def explorers(seen):
    return seen.page.locator("div[id^='explorer-']").all()


def test_explorers_are_reached_and_moved_by_keyboard_alone(chapter, visit):
    with visit(chapter) as seen:
        assert explorers(seen), "a chapter has an explorer"
        for explorer in explorers(seen):
            explorer.scroll_into_view_if_needed()
            explorer.evaluate("explorer => { explorer.tabIndex = -1; explorer.focus(); }")
            explorer.page.wait_for_function(
                "e => e.querySelector('.bl-panel :is(svg, pre, img, canvas)')", arg=explorer.element_handle()
            )
            for slider in explorer.locator("input[type=range]").all():
                seen.page.keyboard.press("Tab")
                assert slider.evaluate("slider => slider === document.activeElement")
                _move(explorer, slider)
        assert seen.complaints == []


def _move(explorer, slider):
    """Press an arrow key on the slider that has the focus, and see that what is drawn changes."""
    drawn, value = explorer.locator(".bl-panels").inner_html(), slider.input_value()
    explorer.page.keyboard.press("ArrowLeft" if value == slider.get_attribute("max") else "ArrowRight")
    explorer.page.wait_for_timeout(100)
    assert slider.input_value() != value
    name = slider.get_attribute("name")
    assert explorer.locator(".bl-panels").inner_html() != drawn, f"{name} moves nothing"


def test_a_setting_can_be_linked(chapter, visit):
    with visit(chapter) as seen:
        explorer = explorers(seen)[0]
        explorer.scroll_into_view_if_needed()
        slider = explorer.locator("input[type=range]").first
        slider.press("End" if slider.input_value() != slider.get_attribute("max") else "Home")
        seen.page.wait_for_function("location.search !== ''")  # written after the page shows the value
        name, value = slider.get_attribute("name"), slider.get_attribute("aria-valuetext")
        shared = seen.page.url
    assert f"{name}=" in shared
    with visit(shared.split("/", 3)[3]) as seen:
        slider = explorers(seen)[0].locator("input[type=range]").first
        seen.page.wait_for_function(
            "([s, v]) => s.getAttribute('aria-valuetext') === v", arg=[slider.element_handle(), value]
        )
        seen.page.wait_for_function(
            "e => Math.abs(e.getBoundingClientRect().top) < innerHeight",
            arg=explorers(seen)[0].element_handle(),
        )
