"""Every page as a reader's browser sees it, light and dark, wide and narrow, with every other origin blocked."""

import csv
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe

from beyondloss.site import library

WIDTHS = (1440, 390)
WEIGHT = 3_000_000  # bytes of a page without its pictures, not compressed
READABLE = 2.5  # seconds until the title page can be read
FAST_3G = {"latency": 0.15, "bits": 1.6e6}  # seconds, and bits a second
ROUND_TRIPS = 4  # name, connection, the page, what it asks for
BLOCKING = """() => {
  const page = performance.getEntriesByType("navigation");
  const first = performance.getEntriesByType("resource").filter((file) => file.renderBlockingStatus === "blocking");
  return Object.fromEntries([...page, ...first].map((file) => [file.name, file.encodedBodySize]));
}"""

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
# verdicts whose frame is higher than a line and a half of their text
BROKEN_CHIPS = """() => [...document.querySelectorAll('.bl-chip')]
  .filter(chip => chip.offsetHeight > 1.5 * parseFloat(getComputedStyle(chip).lineHeight))
  .map(chip => chip.textContent)"""
# What a reader would have to scroll sideways: at 1,440 pixels anything, on a phone formulas (code and tables may).
SIDEWAYS = """() => {
  const formulas = "div.math, mjx-container[display=true]";
  const boxes = innerWidth < 600 ? formulas : `pre, table, div.output, .bl-card, ${formulas}`;
  const end = document.querySelector("article")?.getBoundingClientRect().right;
  const sticksOut = (box) => box.scrollWidth > box.clientWidth + 2 || box.getBoundingClientRect().right > end + 2;
  const said = (box) => `${box.tagName} ${box.className}, ${box.scrollWidth} in ${box.clientWidth}: `;
  return [...document.querySelectorAll(`article :is(${boxes})`)].filter((box) => box.clientWidth && sticksOut(box))
    .map((box) => said(box) + box.textContent.trim().slice(0, 60));
}"""
FITTED = (
    "() => !window.MathJax || document.documentElement.dataset.fitted == document.documentElement.clientWidth"
)
# the page has the panels before any script runs, but nothing in them
DRAWN = "e => [...e.querySelectorAll('.bl-panel svg')].every(panel => panel.childElementCount)"
# inner rows and columns of formulas that were broken into lines, which no longer stand as they were written
LOST = r"""() => [...document.querySelectorAll("article div.math")].filter((box) => box.bl_broken).flatMap((box) => {
  const now = MathJax.startup.document.getMathItemsWithin(box)[0].math;
  const inner = box.bl_tex.matchAll(/\\begin\{(cases|array|[pbv]?matrix)\}[^]*?\\end\{\1\}/g);
  return [...inner].map((found) => found[0]).filter((table) => !now.includes(table));
})"""
BROKEN_TABLES = r"""() => [...document.querySelectorAll("article div.math")]
  .filter((box) => box.bl_broken && /\\begin\{(cases|[pbv]?matrix)\}/.test(box.bl_tex)).length"""
OPEN = """() => document.querySelectorAll("article details:not([open])").forEach((folded) => {
  folded.open = true;
  folded.dataset.opened = 1;
})"""
CLOSE = """() => document.querySelectorAll("[data-opened]").forEach((folded) => {
  folded.open = false;
  delete folded.dataset.opened;
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_of_each_kind_is_sound(deep_page, theme, visit, screenshots):
    """No complaint, mathematics set, nothing wider than its place, accessible, light; a picture of it is kept."""
    with visit(deep_page, color_scheme=theme, viewport={"width": WIDTHS[0], "height": 900}) as seen:
        problems = []
        for width in WIDTHS:
            problems += soundness(seen, width)
            # the theme makes what now scrolls reachable by keyboard a moment later
            seen.page.wait_for_timeout(400)
            problems += [f"{width}: {violation}" for violation in violations(seen.page, theme, width)]
            name = deep_page.removesuffix(".html").replace("/", "-")
            seen.page.screenshot(path=screenshots / f"{name}-{theme}-{width}.png")
        problems += seen.complaints
    assert not problems, "\n".join(problems)


def test_any_other_page_is_sound(other_page, visit):
    with visit(other_page, viewport={"width": WIDTHS[0], "height": 900}) as seen:
        problems = []
        for width in WIDTHS:
            problems += soundness(seen, width)
        for explorer in explorers(seen):
            explorer.scroll_into_view_if_needed()
            seen.page.wait_for_function(DRAWN, arg=explorer.element_handle())
        problems += seen.complaints
    assert not problems, "\n".join(problems)


def soundness(seen, width: int) -> list[str]:
    """What is wrong with a page at a width, one line each."""
    page = seen.page
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function(FITTED)
    page.evaluate(OPEN)
    problems = [f"not typeset: {formula}" for formula in page.evaluate(UNTYPESET)]
    problems += [f"error in mathematics: {n}" for n in page.locator("mjx-merror").all_text_contents()]
    problems += [f"rows torn apart: {table}" for table in page.evaluate(LOST)]
    problems += [f"{width}: {box}" for box in page.evaluate(SIDEWAYS)]
    problems += [f"{width}: in two lines: {verdict}" for verdict in page.evaluate(BROKEN_CHIPS)]
    if (excess := page.evaluate(WIDER)) > 0:
        problems.append(f"{excess} pixels wider than {width}")
    page.evaluate(CLOSE)
    if (weight := page.evaluate(LOADED)) > WEIGHT:
        problems.append(f"{weight:,} bytes")
    if not (page.title() and page.locator("h1").count()):
        problems.append("no title")
    return problems


@pytest.mark.parametrize("width", [320, 345, 360])
def test_formulas_that_are_broken_on_a_small_phone_keep_their_tables(width, visit):
    """Two chapters have tables in formulas that fit no phone; a resize in the middle of it changes nothing."""
    tables = 0
    for chapter in ("notebooks/02_simplicity_bias.html", "notebooks/03_masked_diffusion.html"):
        with visit(chapter, viewport={"width": WIDTHS[0], "height": 900}) as seen:
            for size in (700, width):
                seen.page.set_viewport_size({"width": size, "height": 900})
            seen.page.wait_for_function(FITTED)
            assert seen.page.locator("mjx-merror").all_text_contents() == []
            assert seen.page.evaluate(LOST) == []
            tables += seen.page.evaluate(BROKEN_TABLES)
    assert tables


def test_what_sticks_out_is_noticed(chapter, visit):
    with visit(chapter, viewport={"width": WIDTHS[0], "height": 900}) as seen:
        seen.page.wait_for_function(FITTED)
        assert seen.page.evaluate(SIDEWAYS) == []
        wide = "b => { b.textContent = 'x'.repeat(200); b.style.whiteSpace = 'pre'; }"
        seen.page.locator("article pre").first.evaluate(wide)
        assert len(seen.page.evaluate(SIDEWAYS)) >= 1


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


def test_the_title_page_is_readable_soon(visit):
    """What has to arrive before anything is shown, over a fast 3G line: counted, so that no busy machine decides."""
    with visit("book/intro.html", viewport={"width": 390, "height": 844}) as seen:
        needed = seen.page.evaluate(BLOCKING)
        assert len(needed) >= 2 and seen.complaints == []
    seconds = ROUND_TRIPS * FAST_3G["latency"] + sum(needed.values()) * 8 / FAST_3G["bits"]
    assert seconds <= READABLE, needed


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


NUMBER = re.compile(r'class="(?:caption-number|eqno)">\(?(?:[A-Z][a-z]+ )?(\d+)\.(\d+)')


def test_theorems_and_equations_are_numbered_within_their_chapter(each_chapter, site):
    numbers = NUMBER.findall((site / each_chapter).read_text(encoding="utf-8"))
    chapter = int(re.search(r"/(\d+)_", each_chapter)[1])
    assert len(numbers) > 10 and {int(number) for number, _ in numbers} == {chapter}
    assert [position for _, position in numbers].count(
        "1"
    ) >= 2  # of the equations, and of each kind of theorem


def test_shown_source_names_equations_by_number(site):
    pages = [path.read_text(encoding="utf-8") for path in sorted((site / "notebooks").glob("*.html"))]
    named = [found[0] for page in pages for found in library.LABEL.finditer(page)]
    assert [name for name in named if not name.startswith("section")] == []
    assert re.search(r'eq\. <a href="#equation-[\w-]+">\d+\.\d+</a>', "".join(pages))


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


def test_the_notebook_can_be_downloaded(each_chapter, site):
    text = (site / "_sources" / each_chapter.replace(".html", ".ipynb")).read_text(encoding="utf-8")
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


def test_every_figure_has_its_number_its_data_and_its_command(each_chapter, visit, site):
    with visit(each_chapter, java_script_enabled=False) as seen:
        captions = seen.page.locator(".bl-figure").all()
        drawn = seen.page.locator("div.cell_output img:not(.bl-plain), .bl-explorer").all()
        assert len(captions) == len(drawn) > 0
        for figure, caption in zip(drawn, captions, strict=True):
            number = re.match(r"Figure (\d+\.\d+)", caption.text_content())[1]
            assert f"beyondloss figure {number}" in caption.text_content()
            links = caption.locator("a").all()
            # a figure of points that a smaller scale does not have is empty; an explorer never is
            explorer = "bl-explorer" in (figure.get_attribute("class") or "")
            assert len(links) == 1 or (site.name != "quick" and not explorer), (
                f"figure {number} offers no data"
            )
            for link in links:
                path = (site / each_chapter).parent / link.get_attribute("href")
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
            explorer.page.wait_for_function(DRAWN, arg=explorer.element_handle())
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
