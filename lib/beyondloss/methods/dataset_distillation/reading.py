"""The tables of chapter 6 in words: what a reader sees under a figure, each value with its interval over seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from beyondloss.experiment import paired_interval
from beyondloss.experiment.tables import column, need
from beyondloss.methods.dataset_distillation import measures, tables
from beyondloss.methods.dataset_distillation.settings import CORNERS, METHODS


def in_words(effect: pd.Series, signed: bool = False) -> str:
    """Mean over seeds with its interval; with its sign where it is a difference."""
    return f"{paired_interval(effect):{'+' if signed else ''}.3f}"


def accuracy(rows: pd.DataFrame, method: str, corner: str) -> pd.Series:
    """One value a seed. MissingPoints where the set was not measured."""
    return column(measures.by_method(rows, corner), method)


def images(size: int) -> str:
    return f"{size} {'image' if size == 1 else 'images'} a class"


def students(table: pd.DataFrame, counts: Sequence[int]) -> pd.DataFrame:
    """Mean accuracy of the linear students, by the number of labelled images and by what these were."""
    rows = table[table["images"].isin(counts)] if len(table) else table
    need(rows)
    shown = rows["inputs"] + ", " + rows["labels"] + " labels"
    mean = rows.groupby(["images", shown])["accuracy"].mean().unstack()
    return as_rows(mean.map("{:.3f}".format), "labelled images")


def as_rows(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table whose index, called `name`, has become its first column."""
    return table.rename_axis(index=name, columns=None).reset_index()


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """The learning rate that tuning chose for each method, and the validation accuracy from the start to the end."""
    chosen = tables.tuned(table).query("chosen")
    lines = []
    for method, rows in chosen.groupby("method", sort=False):
        line = {("", "method"): method}
        for row in rows.itertuples():
            line[images(row.per_class), "rate"] = f"{row.image_lr:g}"
            line[images(row.per_class), "accuracy"] = f"{row.start:.3f} → {row.validated:.3f}"
        lines.append(line)
    found = pd.DataFrame(lines)
    return found.set_axis(pd.MultiIndex.from_tuples(found.columns), axis=1)


def same_sets_joined(text: pd.DataFrame) -> pd.DataFrame:
    """Sets that differ in the name alone on one row: with one image a class herding and k-center are the same set."""
    others = [name for name in text if name != "set"]
    joined = text.groupby(others, sort=False)["set"].agg(", ".join)
    return joined.reset_index()[list(text)]


def corners(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of every set in every corner, with one image a class."""
    rows = measures.at_size(table)
    lines = []
    for method in METHODS:
        if method in set(rows["method"]) - {"random again"}:
            found = {corner: in_words(accuracy(rows, method, corner)) for corner in CORNERS}
            lines.append({"set": method} | found)
    return same_sets_joined(pd.DataFrame(lines))


def scoreboard(table: pd.DataFrame, per_class: int | None = None) -> pd.DataFrame:
    """The board of `tables.scoreboard`, sets that are the same on one row."""
    return same_sets_joined(tables.as_text(tables.scoreboard(table, per_class)))


def by_size(points: list[pd.DataFrame]) -> pd.DataFrame:
    """Random images against the best set of every corner, by images a class."""
    heads = {
        "best - random, same recipe": "best set less random, same recipe",
        "random, soft, augmented - best": "random, full recipe, less best set",
    }
    return tables.by_size_text(points).rename(columns=heads)


def own_recipe(points: list[pd.DataFrame], method: str) -> pd.DataFrame:
    """A set under the recipe of its publication, and random images under that recipe, by images a class."""
    if all(table.empty for table in points):
        need(*points)
    corner, lines = METHODS[method].corner, []
    for size, rows in tables.in_sizes(points):
        if method not in set(rows["method"]):  # a scale may have it at some sizes only
            continue
        own, random = (accuracy(rows, name, corner) for name in (method, "random"))
        line = {"images a class": size, f"{method}, {corner}": in_words(own)}
        lines.append(line | {"random": in_words(random), "difference": in_words(own - random, signed=True)})
    return pd.DataFrame(lines)


def orders(table: pd.DataFrame) -> pd.DataFrame:
    """What recipe and images add, by which of the two is counted first."""
    return tables.orders(table).rename(columns={"first": "counted first"})


def steps(points: list[pd.DataFrame], per_class: int) -> pd.DataFrame:
    """Accuracy by the number of training steps."""
    heads = {"hard": "hard labels", "soft, augmented": "soft labels, augmented"}
    return tables.more_steps(points, per_class).rename(columns=heads)


def leads_by_steps(points: list[pd.DataFrame], per_class: int) -> pd.DataFrame:
    """What the full recipe adds to random images, and how far k-center with hard labels is ahead, by steps."""
    rows = pd.concat([table[table["per_class"] == per_class] for table in points if len(table)])
    several = rows[rows.groupby("method")["steps"].transform("nunique") > 1]
    lines = []
    for count, own in several.groupby("steps"):
        random, full = (accuracy(own, "random", corner) for corner in (CORNERS[0], CORNERS[-1]))
        picked = accuracy(own, "k-center", CORNERS[0])
        gain, lead = (in_words(change, signed=True) for change in (full - random, picked - full))
        line = {"steps": count, "random: full recipe less hard labels": gain}
        lines.append(line | {"k-center, hard labels, less random, full recipe": lead})
    return pd.DataFrame(lines)


def with_interval(row: pd.Series) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """How much of the variance of each measure the sets explain."""
    found = tables.shares(table)
    return found[["measure"]].assign(**{"share that the sets explain": found.apply(with_interval, axis=1)})


def predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each measure with the accuracy of another network, over all sets and without one."""
    found = tables.predictions(table)
    found["said"] = found.apply(with_interval, axis=1)
    wide = found.pivot(index="measure", columns="sets", values="said").loc[found["measure"].unique()]
    return as_rows(wide.rename(columns={"all": "all sets"}), "measure")


def optimism(table: pd.DataFrame) -> pd.DataFrame:
    """What choosing the recipe on the test images adds."""
    found = tables.optimism(table)
    said = [f"{row.value:+.4f} [{row.low:+.4f}, {row.high:+.4f}]" for row in found.itertuples()]
    return found[["recipe"]].assign(**{"added to the accuracy": said})


def second_draw(points: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How far two random draws lie apart on average, with one image a class, by data set and corner."""
    lines = []
    for name, table in points.items():
        rows = measures.at_size(table)
        line = {"data": name}
        for corner in CORNERS:
            one, other = (accuracy(rows, name, corner) for name in ("random", "random again"))
            line[corner] = f"{np.abs(one - other).mean():.3f}"
        lines.append(line)
    return pd.DataFrame(lines)


def references(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of what sets are compared with, by the steps of the whole data."""
    heads = {"steps": "steps of the whole training part", "whole": "whole training part"}
    return tables.references(table).rename(columns=heads)
