"""The plot theme: colours that everybody tells apart, labels that do not cover each other."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

matplotlib.use("agg")

import matplotlib.pyplot as plt
import seaborn

from beyondloss.page import theme

LIGHT_PAGE, DARK_PAGE = "#ffffff", "#14181e"
# Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("own_plot_settings")


def linear(code):
    rgb = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(float(linear(code) @ [0.2126, 0.7152, 0.0722]) + 0.05 for code in (one, other))
    return high / low


def lab(code, vision):
    xyz_of_rgb = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(xyz_of_rgb) @ np.clip(np.array(vision) @ linear(code), 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", theme.PALETTE)
def test_every_colour_stands_out_on_both_pages(name):
    assert contrast(theme.PALETTE[name], LIGHT_PAGE) >= 3
    assert contrast(theme.on_dark(theme.PALETTE[name]), DARK_PAGE) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_differ_for_every_kind_of_sight(vision):
    for one, other in combinations(theme.COLOURS, 2):
        assert np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision])) >= 12, (one, other)


def test_text_is_readable_on_both_pages():
    for ink in (theme.INK, theme.FAINT, *map(theme.for_text, theme.COLOURS)):
        assert contrast(ink, LIGHT_PAGE) >= 4.5
        assert contrast(theme.on_dark(ink), DARK_PAGE) >= 4.5


def test_dark_inversion_turns_black_and_white_round_and_keeps_a_hue():
    assert theme.on_dark("#000000") == "#ffffff"
    assert theme.on_dark("#ffffff") == "#000000"
    red, green, blue = (int(theme.on_dark("#d9590b")[i : i + 2], 16) for i in (1, 3, 5))
    assert red > green > blue


def test_colours_go_by_name_or_code():
    assert theme.colour("blue") == theme.PALETTE["blue"]
    assert theme.colour("#AABBCC") == "#aabbcc"
    with pytest.raises(ValueError, match="unknown colour 'blu'.*vermillion"):
        theme.colour("blu")


def test_theme_draws_on_no_ground():
    theme.use_theme()
    figure, ax = plt.subplots()
    assert figure.get_facecolor()[3] == 0 and ax.get_facecolor()[3] == 0
    assert figure.dpi <= 110 and matplotlib.rcParams["savefig.dpi"] <= 110


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.floats(0.1, 5))
def test_spread_keeps_the_order_and_the_gap(positions, gap):
    placed = theme.spread(positions, gap)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()


def test_spread_moves_nothing_without_need_and_shares_the_move():
    assert theme.spread([0.0, 5.0], 1.0).tolist() == [0.0, 5.0]
    assert theme.spread([2.0, 2.0], 1.0).tolist() == [1.5, 2.5]
    assert theme.spread([], 1.0).tolist() == []


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
def test_spread_keeps_inside_while_there_is_room(positions):
    placed = theme.spread(positions, 0.2, 0.0, 1.0)
    assert placed.min() >= -1e-9 and placed.max() <= 1 + 1e-9


def labels(ax):
    ax.figure.canvas.draw()
    return {text.get_text(): text.get_window_extent() for text in ax.texts}


def test_lines_are_labelled_at_their_ends_without_overlap():
    theme.use_theme()
    _, ax = plt.subplots()
    for i, name in enumerate(["alpha", "beta", "gamma"]):
        ax.plot([0, 1, 2], [0, 1, 1 + i / 1000], label=name)
    ax.plot([0, 2], [0, 0.2])  # without a name
    ax.legend()
    theme.label_lines(ax)
    boxes = labels(ax)
    assert set(boxes) == {"alpha", "beta", "gamma"} and ax.get_legend() is None
    assert all(not one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    assert [text.get_color() for text in ax.texts] == [theme.for_text(c) for c in theme.COLOURS[:3]]


def test_labels_of_seaborn_come_from_its_legend():
    import pandas as pd

    theme.use_theme()
    table = pd.DataFrame({"step": [0, 1] * 2, "y": [0.0, 1.0, 0.0, 0.5], "kind": ["a", "a", "b", "b"]})
    theme.label_lines(seaborn.lineplot(table, x="step", y="y", hue="kind"))
    assert [text.get_text() for text in plt.gca().texts] == ["a", "b"]


def test_lines_over_names_and_legends_of_error_bars_are_no_trouble():
    _, ax = plt.subplots()
    ax.plot(["few", "many"], [0, 1], color="#0b62b8")
    ax.errorbar(["few", "many"], [0, 1], yerr=0.1, label="_measured")
    ax.legend(handles=[ax.errorbar(["few"], [0], yerr=0.1, label="measured")])
    theme.label_lines(ax)
    assert labels(ax).keys() <= {"measured"}


def test_a_line_that_ends_in_gaps_is_labelled_at_its_last_point():
    _, ax = plt.subplots()
    ax.plot([0, 1, 2], [0, 0.5, np.nan], label="short")
    ax.plot([0, 1, 2], [np.nan] * 3, label="nothing")
    theme.label_lines(ax)
    assert list(labels(ax)) == ["short"]


def test_points_are_labelled_without_overlap_and_share_a_label_in_one_place():
    theme.use_theme()
    _, ax = plt.subplots()
    ax.plot(x := [1, 1.02, 1.02, 3], y := [1, 1.01, 1.01, 1], "o")
    theme.label_points(ax, x, y, ["alpha", "beta", "gamma", "delta"])
    boxes = labels(ax)
    assert set(boxes) == {"alpha", "beta · gamma", "delta"}
    assert all(not one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    assert (
        ax.texts[-1].xyann == (6, 0) or boxes["delta"].y0 < boxes["beta · gamma"].y0
    )  # nothing near: not moved


def test_a_label_that_has_no_room_goes_to_the_left_or_is_tied_to_its_point():
    theme.use_theme()
    _, ax = plt.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 10))
    ax.plot(x := [5, 5.8, 2], y := [5, 5, 8], "o")  # the second point stands where the first one's name would
    theme.label_points(ax, x, y, ["alpha, quite long", "beta", "gamma"])
    sides = {text.get_text(): text.get_ha() for text in ax.texts}
    assert sides == {"alpha, quite long": "right", "beta": "left", "gamma": "left"}
    _, ax = plt.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 10))
    ax.plot(x := [4, 5, 5.8], y := [5, 5, 5], "o")  # and a third one where it would go to the left
    theme.label_points(ax, x, y, ["first", "alpha, quite long", "beta"])
    moved = [(text.xy, text.xyann) for text in ax.texts if text.get_text() and text.xyann[1]]
    ties = [(tie.xy, tie.xyann) for tie in ax.texts if tie.arrow_patch is not None]
    assert len(moved) == 2 and ties == moved


TITLE = "A title that is long enough to reach over the whole of the figure and its labels"


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_title_covers_no_label_of_lines_that_end_at_the_top(count, covered_texts):
    theme.use_theme()
    _, ax = plt.subplots(figsize=(6.4, 3.2))
    for i in range(count):
        ax.plot([0, 1, 2], [0, 0.5, 1 - i / 1000], label=f"line {i}")
    ax.set_ylim(0, 1)
    ax.set_title(TITLE)
    theme.label_lines(ax)
    assert covered_texts(ax.figure) == []


def test_a_title_covers_no_label_of_points_at_the_top(covered_texts):
    theme.use_theme()
    _, ax = plt.subplots(figsize=(6.4, 3.2))
    x, y = [1, 1.01, 1.02, 1.03, 3], [1, 0.99, 0.995, 1, 0]
    ax.plot(x, y, "o")
    ax.set_title(TITLE)
    theme.label_points(ax, x, y, ["alpha", "beta", "gamma", "delta", "epsilon"])
    assert covered_texts(ax.figure) == []
    ax.texts[0].xyann = ax.texts[1].xyann = (0, 0)
    assert covered_texts(ax.figure) != []  # the check itself would notice


def test_logarithmic_axes_carry_plain_numbers():
    _, ax = plt.subplots()
    ax.plot([30, 4000], [0.07, 0.4])
    theme.log_axes(ax)
    ax.figure.canvas.draw()
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert {"50", "100", "200", "500", "1000", "2000"} <= set(shown) and not any(
        "mathdefault" in s for s in shown
    )
