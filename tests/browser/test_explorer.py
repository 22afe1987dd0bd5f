"""The explorer in a browser: it draws, moves by keyboard, keeps its names apart, fits a phone and a sheet of paper."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from beyondloss.page import Cells, Explorer, Histogram, Marker, Panel, Points, Readout, Series, Shade, Slider
from beyondloss.page.explorer import skeleton

T = np.linspace(0, 1, 61)
WATCH = """window.shift = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true })"""
OVERLAPS = """() => {
  const names = [...document.querySelectorAll(".bl-name")].map((n) => [n.textContent, n.getBoundingClientRect()]);
  const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  const covered = ([, one], i) => names.slice(i + 1).filter(([, other]) => hit(one, other));
  return names.flatMap((name, i) => covered(name, i).map(([other]) => name[0] + " | " + other));
}"""


def window():
    curves = [Series(name, T, lambda k, rise=rise: rise + (k + 1) * T * (1 - T) ** k) for name, rise in
              [("predicted by theory", 0), ("measured, five seeds", 0.01), ("uniform", 0.02)]]  # fmt: skip
    panel = Panel(
        "Density", "mask probability t", "density", curves,
        shades=[Shade("window", lambda a: a, 0.5)],
        markers=[Marker("best point", lambda k: 1 / (k + 1)), Marker("best window", lambda k: 1.4 / (k + 1)),
                 Marker("peak", lambda k: 1 / (k + 1), lambda k: (k / (k + 1)) ** k)],
        readouts=[Readout("peak", lambda k: (k / (k + 1)) ** k)],
    )  # fmt: skip
    sliders = [Slider("k", "secret size k", range(2, 9)), Slider("a", "from", [0, 0.2, 0.4, 0.6])]
    return Explorer("Signal mass", sliders, [panel], description="Density over t.")


def sample():
    def text(step):
        return "".join(c if i % 4 < step else "□" for i, c in enumerate("a</script>sample of some text"))

    sliders = [Slider("step", "step", range(5), start=1)]
    panels = [Panel.text("Sample", text, along="step"), Panel.heat("Map", np.eye(3), "abc", "xyz")]
    return Explorer("Samples", sliders, panels, description="A sample at each step.")


def others():
    """Every other kind and mark."""
    places, score = np.linspace(0, 1, 12), np.array([0.2, 0.5, 0.51, 0.52, 0.9])
    names = ["random", "matching", "trajectories", "herding", "everything"]
    points = Points(names, lambda k: score * k, score, y_band=(score - 0.1, score + 0.1))
    bins = [Histogram(n, np.arange(5), lambda k, n=n: [k, 1, len(n), 2]) for n in ("short", "longer")]
    gain = Cells("gain", places, places, lambda k: np.outer(places, places) - k / 5, centre=0)
    border = Series("border", places, lambda k: places**k)
    nodes, arrows = ["a", "b", "a long name"], [("a", "b"), ("b", "a"), ("b", "a long name")]
    panels = [
        Panel("Points", "x", "y", points=[points]),
        Panel("Bins", "x", "y", histograms=bins),
        Panel("Map", "x", "y", cells=[gain], series=[border]),
        Panel.graph("Graph", nodes, [0, 1, 1], [0, 0, 1], arrows, weights=lambda k: [k / 4, 0.2, 1]),
        Panel.bars("Bars", names, lambda k: score**k, mark=lambda k: k / 5, mark_name="chance"),
        Panel.pictures("Colours", ["c", "d"], lambda k: np.full((2, 4, 4, 3), 60 * k, dtype=np.uint8), size=4),
        Panel.pictures("Greys", ["0", "1"], lambda k: f"{k}f" * 4, size=2),
    ]  # fmt: skip
    return Explorer("Other kinds", [Slider("k", "power k", [1, 2, 3])], panels, description="One of each.")


def page_of(*bodies):
    """A page of the site with explorers, as the site loads their style and their script."""
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    dark = "html[data-theme=dark] body { background: #14181e; color: #d3dae2 }"
    style = f"<title>t</title><style>{skeleton.STYLE} {dark}</style>"
    text = "<p>Prose.</p>".join(bodies)
    return f"{head}{style}<body style='margin: 16px'><main><h1>T</h1>{text}</main><script>{skeleton.SCRIPT}</script>"


def on_the_site(figure, source=""):
    data, metadata = figure._repr_mimebundle_()
    return skeleton.on_the_site(metadata["beyondloss"], data["image/png"], source)


@pytest.fixture(scope="module")
def html():
    return page_of(*map(on_the_site, (window(), window(), sample())))


@pytest.fixture(params=[390, 1440])
def page(request, browser, html):
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(WATCH)
    page.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("http://book.test/")
    page.wait_for_selector(".bl-explorer:last-of-type svg rect")
    yield page
    assert complaints == []
    context.close()


def curves(page):
    return [path.get_attribute("d") for path in page.locator(".bl-line").all()]


def settle(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_a_key_moves_the_curves_of_its_own_explorer_alone(page):
    before = curves(page)
    slider = page.get_by_role("slider", name="secret size k").first
    slider.press("ArrowRight")
    settle(page)
    moved = [one != other for one, other in zip(before, curves(page), strict=True)]
    assert moved == [True] * 3 + [False] * 3
    assert slider.get_attribute("aria-valuetext") == "6"
    assert page.locator("output").first.text_content() == "6"


def test_the_readout_follows_and_is_said_once_the_slider_rests(page):
    page.get_by_role("slider", name="secret size k").first.press("Home")
    status = page.locator("[role=status]").first
    page.wait_for_function("document.querySelector('[role=status]').textContent !== ''")
    assert status.text_content() == "peak 0.444"
    assert page.locator(".bl-readouts b").first.text_content() == "0.444"


def test_names_never_cover_each_other(page):
    sliders = [page.get_by_role("slider", name=name).first for name in ("secret size k", "from")]
    for k in range(7):
        for a in range(4):
            for slider, value in zip(sliders, (k, a), strict=True):
                slider.fill(str(value))
            settle(page)
            assert page.evaluate(OVERLAPS) == [], (k, a)
    page.evaluate("for (const name of document.querySelectorAll('.bl-name')) name.setAttribute('x', 0)")
    assert page.evaluate(OVERLAPS) != []  # the check itself would notice


def test_nothing_overflows_and_nothing_shifts(page):
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate("window.shift") < 0.001


def test_masks_are_boxes_and_what_a_step_reveals_is_lit(page):
    text = page.locator("pre")
    assert page.locator("pre mark").all_text_contents()[:2] == [
        "a",
        "c",
    ]  # every fourth character is new at step 1
    page.get_by_role("slider", name="step").press("End")
    settle(page)
    assert text.text_content() == "a</script>sample of some text" and page.locator(".bl-mask").count() == 0


def test_a_dark_page_gets_other_colours(page):
    colour = "getComputedStyle(document.querySelector('.bl-line')).stroke"
    light = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(colour) != light


def test_on_paper_stands_the_plain_figure(page):
    assert page.locator(".bl-plain").first.is_hidden()
    page.emulate_media(media="print")
    assert page.locator(".bl-plain").first.is_visible() and page.locator(".bl-view").first.is_hidden()


def test_panels_stand_side_by_side_where_there_is_room(page):
    text, cells = (page.locator(f".bl-{kind}").bounding_box() for kind in ("text", "heat"))
    wide = page.viewport_size["width"] > 800
    assert (abs(text["y"] - cells["y"]) < 1) == wide
    assert all(one["width"] > 300 for one in (text, cells))


def test_heavy_data_come_when_the_explorer_comes_into_view(browser):
    many = np.linspace(0, 1, 4000)
    curve = Series("s", many, lambda k: many**k)
    figure = Explorer(
        "Heavy", [Slider("k", "k", range(1, 9))], [Panel("P", "x", "y", [curve])], "About.", heavy=True
    )
    body, data = (
        on_the_site(figure, "heavy.js"),
        skeleton.state_script(figure._repr_mimebundle_()[1]["beyondloss"]),
    )
    page = browser.new_page(viewport={"width": 800, "height": 600})
    asked = []

    def answer(route):
        asked.append(route.request.url)
        script = route.request.url.endswith("heavy.js")
        text = data if script else page_of(f"<div style='height: 4000px'></div>{body}")
        route.fulfill(body=text, content_type="text/javascript" if script else "text/html")

    page.route("**/*", answer)
    page.goto("http://book.test/", wait_until="load")
    assert asked == ["http://book.test/"] and page.locator(".bl-line").count() == 0
    page.locator(".bl-explorer").scroll_into_view_if_needed()
    page.wait_for_selector(".bl-line")
    assert asked[-1] == "http://book.test/heavy.js"
    page.close()


def test_without_scripts_stands_the_plain_figure(browser, html):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(html)
    assert page.locator(".bl-plain").first.is_visible() and page.locator(".bl-view").first.is_hidden()
    context.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_every_other_kind_draws_moves_and_breaks_no_rule_of_access(browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    body = page_of(on_the_site(others()))
    page.route("**/*", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("http://book.test/")
    page.wait_for_selector(".bl-node")
    marks = ("interval", "dot", "histogram", "cell", "node", "arrow", "bar", "picture")
    assert all(page.locator(f".bl-{mark}").count() for mark in marks)
    panels = page.locator(".bl-panel").all()
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        drawn = [panel.inner_html() for panel in panels]
        page.get_by_role("slider").press("Home" if theme == "dark" else "End")
        settle(page)
        moved = [panel.inner_html() != before for panel, before in zip(panels, drawn, strict=True)]
        assert all(moved)
        assert page.evaluate(OVERLAPS) == []
        assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0 and complaints == []
    page.close()
