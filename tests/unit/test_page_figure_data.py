"""The numbers of a figure: what CSV says is what was drawn."""

import csv

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

import matplotlib.pyplot as plt
import seaborn as sns

from beyondloss.page import theme
from beyondloss.page.figure_data import csv_of


@pytest.fixture(autouse=True)
def own_settings():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def read(figure):
    return list(csv.DictReader(csv_of(figure).splitlines()))


def test_a_line_has_its_name_and_its_points():
    fig, ax = plt.subplots()
    ax.plot([1, 2], [0.5, 1 / 3], label="window")
    ax.axhline(0.4)  # a mark, no data
    assert read(fig) == [
        {"mark": "line", "series": "window", "x": "1", "y": "0.5"},
        {"mark": "line", "series": "window", "x": "2", "y": "0.333333"},
    ]


def test_names_of_seaborn_survive_the_labels_at_the_lines():
    table = pd.DataFrame({"step": [0, 1] * 4, "law": list("aabb") * 2, "y": np.arange(8.0)})
    fig, ax = plt.subplots()
    sns.lineplot(table, x="step", y="y", hue="law", errorbar=("sd", 1), ax=ax)
    theme.label_lines(ax)
    rows = read(fig)
    assert {row["series"] for row in rows if row["mark"] == "line"} == {"a", "b"}
    assert {row["series"] for row in rows if row["mark"] == "band"} == {"a", "b"}
    band = next(row for row in rows if row["mark"] == "band" and row["series"] == "a" and row["x"] == "0")
    deviation = np.std([0, 4], ddof=1)
    assert float(band["low"]) == pytest.approx(2 - deviation) and float(band["high"]) == pytest.approx(
        2 + deviation
    )


def test_categories_have_their_names_and_panels_their_titles():
    fig, (left, right) = plt.subplots(1, 2)
    sns.barplot(x=[3, 1], y=["low", "high"], ax=left)
    left.set_title("bars")
    right.scatter(["p", "q"], [5, 6])
    right.set_title("dots")
    rows = read(fig)
    bars = {row["y"]: float(row["x"]) for row in rows if row["panel"] == "bars" and row["mark"] == "bar"}
    assert bars == {"low": 3, "high": 1}
    assert [(r["x"], r["y"]) for r in rows if r["panel"] == "dots"] == [("p", "5"), ("q", "6")]


def test_a_heat_map_has_its_labels():
    fig, ax = plt.subplots()
    sns.heatmap(pd.DataFrame([[1, 2], [3, 4]], index=["r", "s"], columns=["c", "d"]), ax=ax)
    cells = {(row["y"], row["x"]): row["low"] for row in read(fig)}
    assert cells == {("r", "c"): "1", ("r", "d"): "2", ("s", "c"): "3", ("s", "d"): "4"}


def test_a_figure_without_data_has_none():
    assert csv_of(plt.figure()) is None
