"""The explorer: shapes and functions over a grid, what the page gets, what the kernel answers."""

import base64
import io
import json
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

matplotlib.use("agg")

import pandas as pd

from beyondloss.page.explorer import (
    Cells,
    Explorer,
    Histogram,
    Marker,
    Panel,
    Points,
    Readout,
    Series,
    Shade,
    Slider,
    skeleton,
)

X = np.linspace(0, 1, 5)
K = Slider("k", "secret size k", [2, 3, 4], start=3)
T = Slider("t", "window end", [0.1, 0.2, 0.3, 0.4], start=0.2, step=0.01, format=".2f")


def density(k):
    return (k + 1) * X * (1 - X) ** k


def make(title="Signal mass", **changes):
    curves = {
        "series": [Series("density", X, density)],
        "shades": [Shade("window", 0, lambda t: t)],
        "markers": [Marker("best", lambda k: 1 / (k + 1))],
        "readouts": [Readout("mass", lambda k, t: k * t, ".2f")],
    }
    panel = Panel("Density", "t", "density", **curves | changes)
    return Explorer(title, [K, T], [panel], description="A density over t.")


def drawn(figure, values=None):
    """The data of an explorer by the name of its owner."""
    return dict(
        zip([datum.owner.split("'")[1] for datum in figure._grid.data], figure.at(values), strict=True)
    )


def carried(figure):
    """What the explorer carries for the site."""
    return figure._repr_mimebundle_()[1]["beyondloss"]


def on_the_site(figure):
    """The HTML that the site makes of it, after the notebook was written and read."""
    data, metadata = figure._repr_mimebundle_()
    return skeleton.on_the_site(json.loads(json.dumps(metadata["beyondloss"])), data["image/png"])


def embedded(figure):
    """The JSON that the static page gets."""
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', on_the_site(figure), re.DOTALL)[1]
    )


def table(figure):
    """What the explorer offers as its data."""
    given = carried(figure)["table"]
    return pd.DataFrame(given["rows"], columns=given["columns"])


# Sliders -----------------------------------------------------------------------------------------------------------


def test_a_slider_starts_in_the_middle_and_knows_its_grid():
    slider = Slider("k", "k", np.arange(1, 6))
    assert slider.start == 3 and slider.values == (1, 2, 3, 4, 5)
    assert slider.settle(4.4) == 4 and slider.settle(99) == 5


def test_a_slider_with_a_step_stands_between_its_ends():
    assert T.settle(0.234) == 0.234 and T.settle(-1) == 0.1
    assert Slider("n", "n", [1, 5, 9], step=1).settle(6.0) == 6  # whole numbers stay whole


def test_binary_dust_is_brushed_off():
    assert Slider("t", "t", np.linspace(0, 0.9, 10)).values[3] == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "has no values"),
        ({"values": [1, 2], "start": 3}, "starts at 3"),
        ({"values": ["a", "b"], "step": 1}, "not numbers"),
    ],
)
def test_an_impossible_slider_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Slider("k", "k", **arguments)


def test_a_slider_of_words_takes_no_other_word():
    slider = Slider("w", "window", ["low", "high"])
    with pytest.raises(ValueError, match="no value 'middle': choose one of low, high"):
        slider.settle("middle")


# Values over the grid ----------------------------------------------------------------------------------------------


def test_a_function_is_computed_over_the_sliders_that_it_names():
    figure = make()
    assert drawn(figure)["best"] == 0.25
    assert drawn(figure, {"k": 4})["best"] == 0.2
    assert drawn(figure, {"k": 4, "t": 0.4})["mass"] == "1.60"
    over = {datum.owner: [slider.name for slider in datum.over] for datum in figure._grid.data}
    assert over["readout 'mass'"] == ["k", "t"] and over["series 'density'"] == ["k"]


def test_arguments_with_a_default_are_no_sliders():
    assert drawn(make(markers=[Marker("m", lambda k, scale=2: k * scale)]))["m"] == 6


@pytest.mark.parametrize(
    ("y", "over"),
    [
        (np.arange(60.0).reshape(3, 4, 5), None),
        (np.arange(60.0).reshape(4, 3, 5).transpose(1, 0, 2), ("k", "t")),
    ],
)
def test_an_array_has_one_leading_axis_a_slider(y, over):
    figure = make(series=[Series("s", X, y, over=over)])
    for i, k in enumerate(K.values):
        for j, t in enumerate(T.values):
            assert drawn(figure, {"k": k, "t": t})["s"] == y[i, j].tolist()


def test_an_array_over_some_sliders_follows_their_order():
    y = np.arange(60.0).reshape(4, 3, 5)
    assert (
        drawn(make(series=[Series("s", X, y, over=("t", "k"))]), {"k": 4, "t": 0.1})["s"] == y[0, 2].tolist()
    )


def test_a_constant_stays():
    figure = make(series=[Series("s", X, X)], readouts=[Readout("n", 7, "g")])
    assert drawn(figure, {"k": 2})["n"] == "7"


def test_what_is_not_finite_is_a_gap():
    figure = make(series=[Series("s", X, [0, np.nan, np.inf, 1, 2])], readouts=[Readout("n", np.nan)])
    assert drawn(figure)["s"] == [0, None, None, 1, 2]
    assert drawn(figure)["n"] == "–"


def test_axes_stand_still_over_the_whole_grid():
    panel = make().state["panels"][0]
    assert panel["xRange"] == [0, 1]
    assert panel["yRange"][0] == 0 and panel["yRange"][1] > max(density(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series": [Series("s", X, np.zeros((3, 5)))]}, r"series 's' has shape \(3, 5\).*k: 3, t: 4"),
        ({"series": [Series("s", X, np.zeros((2, 5)), over=("k",))]}, r"leading axes \(k: 3\)"),
        ({"series": [Series("s", X, [1, 2, 3])]}, "series 's': x, y differ in length"),
        ({"series": [Series("s", X, X, band=(X, X[:2]))]}, "differ in length"),
        ({"series": [Series("s", X, X, colour="bleu")]}, "unknown colour 'bleu'"),
        ({"markers": [Marker("m", lambda q: q)]}, "marker 'm' depends on 'q'; the sliders are k, t"),
        ({"shades": [Shade("w", [1, 2, 3], 4, over=("z",))]}, "shade 'w' depends on 'z'"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_two_sliders_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        Explorer("twice", [K, K], [], description="")


def test_too_much_data_is_refused_with_its_size_and_its_cause():
    x = np.linspace(0, 1, 4000)
    with pytest.raises(ValueError, match=r"'Big' holds \d{3} KB of data, more than 150 KB.*series 'wave'"):
        make("Big", series=[Series("wave", x, lambda k, t: np.sin(x * k + t))])


# The static page ---------------------------------------------------------------------------------------------------


def test_two_runs_give_the_same_output():
    (one, site), (other, again) = make()._repr_mimebundle_(), make()._repr_mimebundle_()
    one.pop("application/vnd.jupyter.widget-view+json"), other.pop("application/vnd.jupyter.widget-view+json")
    assert one == other and site == again and set(one) == {"text/plain", "image/png"}


def test_the_page_asks_nobody_for_anything():
    page = on_the_site(make()) + skeleton.SCRIPT + skeleton.STYLE
    assert set(re.findall(r"https?://[^\s\"'\\]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=\"(?!data:)", page)


def test_the_anchor_comes_from_the_title():
    assert make("Signal mass: k & t").id == "explorer-signal-mass-k-t"
    assert 'id="explorer-signal-mass"' in on_the_site(make())


def test_text_cannot_leave_its_place():
    evil = "</script><script>alert(1)</script><!-- \" ' &"
    figure = Explorer(evil, [K], [Panel.text(evil, evil, along="k")], description=evil)
    page = on_the_site(figure)
    assert page.count("<script") == 1 and page.count("</script>") == 1 and "<!--" not in page
    assert embedded(figure)["state"]["data"][0]["cells"] == [evil]


def test_the_page_holds_a_small_state_and_no_script():
    content = embedded(make())
    assert set(content) == {"values", "state"} and content["values"] == {"k": 3, "t": 0.2}
    assert len(json.dumps(content["state"])) < 3000
    assert "function" not in on_the_site(make())


def test_sliders_snap_on_the_page_and_move_freely_in_the_kernel():
    figure = make()
    page = on_the_site(figure)
    assert 'name="t" min="0" max="3" step="1" value="1"' in page
    assert 'name="t" min="0.1" max="0.4" step="0.01" value="0.2"' in figure.skeleton
    assert 'name="k" min="0" max="2" step="1" value="1"' in figure.skeleton


def test_everything_has_a_name_for_those_who_do_not_see_it():
    page = on_the_site(make())
    assert 'aria-label="secret size k" aria-valuetext="3"' in page
    assert '<svg role="img" aria-label="Density: density against t"' in page
    assert 'alt="A density over t."' in page and 'role="status"' in page


def test_the_picture_is_small_and_has_no_ground():
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(make()._repr_mimebundle_()[0]["image/png"]))).convert(
        "RGBA"
    )
    assert picture.getpixel((0, 0))[3] == 0 and picture.width <= 1000


def test_the_line_of_text_has_no_address():
    assert repr(make()) == "Explorer: Signal mass (secret size k: 2 to 4; window end: 0.10 to 0.40)"


# The kernel --------------------------------------------------------------------------------------------------------


def test_the_kernel_answers_off_the_grid():
    figure = make()
    figure.values = {"k": 4, "t": 0.3}
    assert figure.frame == {}  # the grid knows
    figure.values = {"t": 0.25}
    assert figure.frame["values"] == {"k": 3, "t": 0.25} and figure.frame["texts"]["t"] == "0.25"
    assert figure.frame["data"] == figure.at({"t": 0.25}) and drawn(figure, {"t": 0.25})["mass"] == "0.75"


def test_arrays_answer_off_the_grid_with_their_nearest_point():
    figure = make(readouts=[Readout("n", [1, 2, 3, 4], "g", over=("t",))])
    assert drawn(figure, {"t": 0.28})["n"] == "3"


def test_values_stay_where_sliders_can_stand():
    figure = make()
    figure.values = {"k": 100, "t": 9}
    assert figure.values == {"k": 4, "t": 0.4}
    with pytest.raises(ValueError, match="no slider 'z'; the sliders are k, t"):
        figure.values = {"z": 1}


def test_an_error_of_the_author_reaches_the_reader():
    def fragile(t):
        if t not in T.values:
            raise ZeroDivisionError("not here")
        return t

    figure = make(markers=[Marker("m", fragile)])
    figure.values = {"t": 0.25}
    assert figure.frame["error"] == "ZeroDivisionError: not here"


# The plain figure --------------------------------------------------------------------------------------------------


def test_the_plain_figure_draws_the_setting():
    figure = make().figure({"k": 4, "t": 0.25})
    (ax,) = figure.axes
    assert figure.get_suptitle() == "secret size k = 4, window end = 0.25"
    assert np.allclose(ax.lines[0].get_ydata(), density(4), atol=1e-3)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["window", "best"]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["mass 1.00", "density"]


def test_a_heat_panel_puts_every_number_at_its_row_and_column():
    values = lambda k: np.array([[1, 2, 3], [4, 5, 6]]) + 10 * k  # noqa: E731
    heat = Explorer(
        "One", [K], [Panel.heat("h", values, ["a", "b"], ["x", "y", "z"], digits=0)], description=""
    )
    (ax,) = heat.figure({"k": 4}).axes
    rows, columns = ([t.get_text() for t in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis))
    found = {}
    for text in filter(Text.get_text, ax.texts):
        column, row = map(int, text.get_position())
        found[rows[row], columns[column]] = int(text.get_text())
    drawn_there = ax.images[0].get_array()
    assert found == {
        ("a", "x"): 41,
        ("a", "y"): 42,
        ("a", "z"): 43,
        ("b", "x"): 44,
        ("b", "y"): 45,
        ("b", "z"): 46,
    }
    assert drawn_there[rows.index("b"), columns.index("x")] == 44
    offered = table(heat).query("k == 4").set_index(["y", "x"])["value"]
    assert offered.to_dict() == found


def every_kind():
    """A panel of each kind, and a plot of each mark."""
    score, centre = np.array([0.2, 0.21, 0.9]), {"centre": 0, "x": [0, 1, 2], "y": [0, 1]}
    colours = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    return {
        "plot": Panel(
            "p", x_log=True, y_log=True, series=[Series("s", X + 1, X + 1, band=(X + 1, X + 2), dots=True)],
            markers=[Marker("m", 1.5, 1.5)], shades=[Shade("w", 1, 1.5)], readouts=[Readout("r", lambda k: k)],
        ),
        "points": Panel("q", points=[Points(["a", "b", "c"], lambda k: score * k, score, y_band=(score, score + 1))]),
        "histogram": Panel("i", histograms=[Histogram("counts", [0, 1, 2], lambda k: [k, 1])]),
        "cells": Panel("c", cells=[Cells("map", values=lambda k: np.full((2, 3), k - 3), **centre)],
                       series=[Series("over it", [0, 2], [0, 1])]),
        "text": Panel.text("t", lambda k: "□" * k, along="k"),
        "heat": Panel.heat("h", np.arange(18.0).reshape(3, 2, 3), ["a", "b"], [1, 2, 3], over=("k",), digits=0),
        "bars": Panel.bars("b", ["a", "b"], lambda k: [k, 1], mark=lambda k: k / 2, mark_name="half"),
        "pictures": Panel.pictures("g", ["x", "y"], "0f" * 4, size=2),
        "coloured pictures": Panel.pictures("d", ["x", "y"], colours, size=4),
        "graph": Panel.graph("n", ["a", "b"], [0, 1], [0, 0], [("a", "b"), ("b", "a")], weights=lambda k: [k / 4, 0]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", every_kind())
def test_every_kind_has_a_plain_figure_whose_texts_do_not_cover_each_other(kind, covered_texts):
    assert covered_texts(Explorer("One", [K], [every_kind()[kind]], description="").figure()) == []


@pytest.mark.parametrize("kind", every_kind())
def test_every_kind_offers_its_data_at_every_setting(kind):
    panel = every_kind()[kind]
    data = table(Explorer("One", [K], [panel], description=""))
    assert len(data) and set(data["panel"]) == {panel.title}
    moving = any(datum.over for datum in Explorer("One", [K], [panel], description="")._grid.data)
    assert moving == ("k" in data) and (not moving or set(data["k"].dropna()) == {2, 3, 4})


def test_the_data_of_an_explorer_are_what_it_draws():
    kinds = every_kind()
    data = table(Explorer("All", [K], list(kinds.values()), description="")).set_index("panel")
    heat = data.loc["h"]
    assert len(heat) == 18 and heat.query("k == 3 and y == 'b' and x == '2'")["value"].item() == 10
    assert data.loc["b"].query("k == 4 and series == 'a'")["x"].item() == 4
    assert data.loc["b"].query("k == 4 and series == 'half'")["x"].item() == 2
    assert data.loc["g"]["value"].tolist() == ["0f0f", "0f0f"]
    assert set(data.loc["n"].query("mark == 'arrow' and k == 2")["series"]) == {"a → b", "b → a"}
    assert data.loc["p"].query("mark == 'readout' and k == 2")["value"].item() == "2.000"
    assert data.loc["i"].query("k == 3")["y"].tolist() == [3, 1]
    assert data.loc["q"].query("k == 2 and series == 'c'")["x"].item() == 1.8


def test_every_kind_and_every_mark_has_its_script():
    state = Explorer("All", [K], list(every_kind().values()), description="").state
    for panel in state["panels"]:
        assert f"PAINTERS.{panel['kind']} = " in skeleton.SCRIPT
        for mark in panel.get("marks", []):
            assert mark["mark"] == "marker" or f"MARKS.{mark['mark']} = " in skeleton.SCRIPT


def test_what_an_explorer_draws_from_is_named():
    measured = pd.DataFrame({"x": [1]})
    measured.attrs["experiment"] = "window"
    figure = Explorer("One", [K], [every_kind()["text"]], description="", tables=[measured])
    assert carried(figure)["experiments"] == ["window"]
    with pytest.raises(ValueError, match="give the table that sweep"):
        Explorer("One", [K], [every_kind()["text"]], description="", tables=[pd.DataFrame()])


@pytest.mark.parametrize(
    ("make_panel", "message"),
    [
        (lambda: Panel("p", points=[Points(["a"], [1, 2], [1, 2])]), "points '': x, y have 2 values, not 1"),
        (lambda: Panel("p", histograms=[Histogram("h", [0, 1], [1, 2])]), "counts have 2 values, not 1"),
        (lambda: Panel("p", cells=[Cells("c", [0, 1], [0, 1], np.ones((2, 3)))]), "no 2 by 2 cells"),
        (lambda: Panel("p", cells=[Cells("c", [0, 1, 3], [0, 1], np.ones((2, 3)))]), "equal distances"),
        (lambda: Panel.graph("g", ["a"], [0], [0], [("a", "z")]), "an arrow at 'z'; the nodes are a"),
        (lambda: Panel.bars("b", ["a"], [1, 2]), "values have 2 values, not 1"),
    ],
)  # fmt: skip
def test_marks_that_do_not_fit_are_named(make_panel, message):
    with pytest.raises(ValueError, match=message):
        Explorer("One", [K], [make_panel()], description="")


def test_a_text_panel_lights_up_along_a_slider_that_exists():
    with pytest.raises(ValueError, match="depends on 'step'"):
        Explorer("t", [K], [Panel.text("t", "x", along="step")], description="")


# Rankings and pictures ---------------------------------------------------------------------------------------------


def ranking(**options):
    values = [[1.0, 3.0], [2.0, 1.0], [0.5, 0.7]]  # over k
    panel = Panel.bars(
        "Ranking", ["a", "b"], values, band=(np.subtract(values, 0.1), np.add(values, 0.1)), **options
    )
    return Explorer("Bars", [K], [panel], description="Two bars.")


def test_bars_keep_a_value_an_interval_and_a_name_each_and_lit_ones_are_told_apart():
    figure = ranking(mark=[0.1, 0.2, 0.3], mark_name="neutral", lit=["b"])
    (panel,) = figure.state["panels"]
    assert panel["names"] == ["a", "b"] and panel["lit"] == [False, True]
    assert figure.at({"k": 2})[panel["values"]] == [1, 3] and figure.at({"k": 4})[panel["mark"]] == 0.3
    assert panel["range"][0] < 0.5 and panel["range"][1] > 3
    heights = [patch.get_width() for patch in figure.figure({"k": 2}).axes[0].patches]
    assert heights == sorted(heights)  # drawn from below: the longest on top


def test_a_drawn_ranking_says_each_value_and_what_the_line_is():
    axes = ranking(mark=[0.1, 0.2, 0.3], mark_name="neutral", x_label="score").figure({"k": 2}).axes[0]
    assert axes.get_xlabel() == "score (dotted: neutral)"
    names = [label.get_text() for label in axes.get_yticklabels()]
    said = {names[round(text.xy[1])]: text.get_text() for text in axes.texts if text.get_text()}
    assert said == {"a": "1.000", "b": "3.000"}


def test_pictures_have_as_many_digits_as_pixels():
    pixels = ["0f" * 2 + "8" * 4] * 3
    figure = Explorer(
        "Two", [K], [Panel.pictures("Two", ["x", "y"], pixels, size=2)], description="Two pictures."
    )
    assert figure.at()[figure.state["panels"][0]["pixels"]] == "0f0f8888"
    assert len(figure.figure().axes[0].images) == 2
    with pytest.raises(ValueError, match="8 pixels"):
        Explorer(
            "Two", [K], [Panel.pictures("Two", ["x", "y"], ["0f"] * 3, size=2)], description="Two pictures."
        )


# over k, each picture of one colour
COLOURED = np.arange(6, dtype=np.uint8).reshape(3, 2, 1, 1, 1) * np.full((4, 4, 3), 40, dtype=np.uint8)


def pictures(pixels, size=4):
    return Explorer(
        "Two", [K], [Panel.pictures("Two", ["x", "y"], pixels, size=size)], description="Two pictures."
    )


def test_a_function_may_give_pictures_in_colour():
    figure, of_array = pictures(lambda k: COLOURED[k - 2]), pictures(COLOURED)
    (panel,) = figure.state["panels"]
    assert panel["colour"] and panel == of_array.state["panels"][0]
    assert [figure.at({"k": k}) for k in (2, 3, 4)] == [of_array.at({"k": k}) for k in (2, 3, 4)]
    shown = figure.figure({"k": 3}).axes[0].images[1].get_array()
    assert shown.shape == (4, 4, 3)
    assert abs(shown.mean() - COLOURED[1, 1].mean()) < 5  # WebP keeps no pixel exactly


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            lambda k: COLOURED[k - 2] / 255,
            r"float64 of shape \(2, 4, 4, 3\); give text, a digit a pixel, or bytes",
        ),
        (COLOURED / 255, "float64"),
        (lambda k: COLOURED[0, ..., 0], r"uint8 of shape \(2, 4, 4\)"),
        (COLOURED[:, :, :3, :3], r"or bytes \(uint8\) of shape \(pictures, 4, 4, 3\)"),
        (lambda k: COLOURED[0] if k == 2 else "0" * 32, "text at one setting and bytes at another"),
        (COLOURED[:, :1], "2 pictures, so 2 of them"),
    ],
)
def test_pictures_of_another_form_are_refused_by_name(pixels, message):
    with pytest.raises(ValueError, match=message) as refused:
        pictures(pixels)
    assert "pictures 'Two'" in str(refused.value)
