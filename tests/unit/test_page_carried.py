"""What outputs carry for the site: the numbers of a figure are what was drawn."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

import matplotlib.pyplot as plt
import seaborn as sns

from beyondloss.page import artists, carried, show_figure, theme

pytestmark = pytest.mark.usefixtures("own_plot_settings")


def read(figure):
    return artists.rows(figure)


def test_a_line_has_its_name_and_its_points():
    fig, ax = plt.subplots()
    ax.plot([1, 2], [0.5, 1 / 3], label="window")
    ax.axhline(0.4)  # a mark, no data
    assert read(fig) == [
        {"mark": "line", "series": "window", "x": 1, "y": 0.5},
        {"mark": "line", "series": "window", "x": 2, "y": 1 / 3},
    ]


def test_names_of_seaborn_survive_the_labels_at_the_lines():
    table = pd.DataFrame({"step": [0, 1] * 4, "law": list("aabb") * 2, "y": np.arange(8.0)})
    fig, ax = plt.subplots()
    sns.lineplot(table, x="step", y="y", hue="law", errorbar=("sd", 1), ax=ax)
    theme.label_lines(ax)
    rows = read(fig)
    assert {row["series"] for row in rows if row["mark"] == "line"} == {"a", "b"}
    assert {row["series"] for row in rows if row["mark"] == "band"} == {"a", "b"}
    band = next(row for row in rows if row["mark"] == "band" and row["series"] == "a" and row["x"] == 0)
    deviation = np.std([0, 4], ddof=1)
    assert band["low"] == pytest.approx(2 - deviation) and band["high"] == pytest.approx(2 + deviation)


def test_a_legend_of_the_whole_figure_names_lines_too():
    fig, (left, _) = plt.subplots(1, 2)
    (line,) = left.plot([1, 2], [3, 4])
    fig.legend([line], ["full recipe"])
    assert {row["series"] for row in read(fig)} == {"full recipe"}


def test_categories_have_their_names_and_panels_their_titles():
    fig, (left, right) = plt.subplots(1, 2)
    sns.barplot(x=[3, 1], y=["low", "high"], ax=left)
    left.set_title("bars")
    right.scatter(["p", "q"], [5, 6])
    right.set_title("dots")
    rows = read(fig)
    bars = {row["y"]: row["x"] for row in rows if row["panel"] == "bars" and row["mark"] == "bar"}
    assert bars == {"low": 3, "high": 1}
    assert [(r["x"], r["y"]) for r in rows if r["panel"] == "dots"] == [("p", 5), ("q", 6)]


def test_chosen_ticks_that_say_their_own_numbers_are_no_names():
    fig, ax = plt.subplots()
    ax.plot([1, 1.4, 2, 3], [0, 1, 2, 3])
    ax.set_xticks([1, 2, 3])
    assert [row["x"] for row in read(fig)] == [1, 1.4, 2, 3]


def test_a_bar_that_lies_ends_at_its_right_whatever_its_ticks_are_called():
    fig, (left, right) = plt.subplots(1, 2)
    left.barh([0, 1], [5, 7])
    right.bar([0, 1], [5, 7])
    ends = [(row["x"], row["y"]) for row in read(fig) if row["mark"] == "bar"]
    assert ends == [(5, 0), (7, 1), (0, 5), (1, 7)]


def test_a_heat_map_has_its_labels():
    fig, ax = plt.subplots()
    sns.heatmap(pd.DataFrame([[1, 2], [3, 4]], index=["r", "s"], columns=["c", "d"]), ax=ax)
    cells = {(row["y"], row["x"]): row["value"] for row in read(fig)}
    assert cells == {("r", "c"): 1, ("r", "d"): 2, ("s", "c"): 3, ("s", "d"): 4}


def test_names_of_fixed_ticks_are_read_and_numbers_stay_numbers():
    fig, (left, right) = plt.subplots(1, 2)
    left.plot([0.3, 0.5], [0.1, 0.95], "o")
    left.set_yticks([0, 1], ["few", "many"])
    right.plot([16, 32], [1, 2], "o")
    right.set_xscale("log")
    right.set_xticks([16, 32], [16, 32])
    rows = read(fig)
    assert [row["y"] for row in rows[:2]] == ["few", "many"] and [row["x"] for row in rows[:2]] == [0.3, 0.5]
    assert [row["x"] for row in rows[2:]] == [16, 32]


def test_a_figure_without_data_has_none():
    assert artists.rows(plt.figure()) == []
    assert "table" not in carried.of_figure(plt.figure())["beyondloss"]


def test_a_table_has_the_columns_that_are_filled_and_six_digits():
    rows = [{"k": 1, "y": 1 / 3, "series": ""}, {"k": np.int64(2), "y": np.nan, "x": None, "mark": "line"}]
    assert carried.table(rows) == {
        "columns": ["mark", "k", "y"], "rows": [[None, 1, 0.333333], ["line", 2, None]],
    }  # fmt: skip


def test_what_is_shown_names_the_experiments_of_its_tables_and_prefers_the_data_given():
    pool, noise = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})
    pool.attrs["experiment"], noise.attrs["experiment"] = "pool", "noise"
    plt.plot([1, 2])
    figure = plt.gcf()
    show_figure(pool, noise, pool, data=pd.DataFrame({"arm": ["a"], "loss": [0.5]}))
    told = carried.of_figure(figure)["beyondloss"]
    assert told["experiments"] == ["pool", "noise"]
    assert told["table"] == {"columns": ["arm", "loss"], "rows": [["a", 0.5]]}
    with pytest.raises(ValueError, match="give the table that sweep"):
        show_figure(pd.DataFrame())


def test_in_a_kernel_a_figure_carries_its_numbers_as_metadata():
    """Through IPython's own display formatter, as the kernel calls it."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        carried.record()
        plt.plot([1, 2], [3, 4])
        _, metadata = shell.display_formatter.format(plt.gcf())
    finally:
        InteractiveShell.clear_instance()
    assert metadata["beyondloss"]["table"]["rows"] == [["line", 1, 3], ["line", 2, 4]]
