"""The explorer in a browser: it draws, moves by keyboard, keeps its names apart, fits a phone and a sheet of paper."""

import numpy as np
import pytest

from beyondloss.page import Explorer, Marker, Panel, Readout, Series, Shade, Slider
from beyondloss.page.explorer import heavy_part

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


@pytest.fixture(scope="module")
def html():
    bodies = [figure._repr_mimebundle_()[0]["text/html"] for figure in (window(), window(), sample())]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"{head}<title>t</title><body style='margin: 16px'>{'<p>Prose.</p>'.join(bodies)}"


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
    body, data = heavy_part(figure._repr_mimebundle_()[0]["text/html"], "heavy.js")
    page = browser.new_page(viewport={"width": 800, "height": 600})
    asked = []

    def answer(route):
        asked.append(route.request.url)
        script = route.request.url.endswith("heavy.js")
        text = data if script else f"<!doctype html><body><div style='height: 4000px'></div>{body}"
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
