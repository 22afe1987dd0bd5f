"""From tables of points to what the figures of chapter 6 draw, and the leaderboard."""

import numpy as np
import pandas as pd
import torch

from beyondloss.experiment import Effect, MissingPoints, paired_interval
from beyondloss.experiment.tables import need
from beyondloss.methods.dataset_distillation import labels, measures, scores, theory
from beyondloss.methods.dataset_distillation.evaluation import KINDS_OF
from beyondloss.methods.dataset_distillation.ranking import drawn
from beyondloss.methods.dataset_distillation.settings import CORNERS, MATCHED, METHODS, OPTIMISED

SHOWN = tuple(method for method in METHODS if method not in ("random again", "noise"))
ENTRIES = {method: METHODS[method].corner for method in SHOWN} | {"random, soft labels": "soft, augmented"}


def method_of(entry: str) -> str:
    """The images of a leaderboard's entry: those of the method, or random ones with a teacher's labels."""
    return "random" if entry.startswith("random") else entry


def scoreboard(table: pd.DataFrame, per_class: int | None = None, weight: float = 0.5) -> pd.DataFrame:
    """One row an entry, each under the recipe of its publication: accuracy, HLR, IOR, LRS and ARS with intervals."""
    rows = measures.at_size(table, per_class)
    board = [board_row(rows, entry, corner, weight) for entry, corner in ENTRIES.items() if has(rows, entry)]
    return pd.DataFrame(board).sort_values("LRS", ascending=False, ignore_index=True)


def has(rows: pd.DataFrame, entry: str) -> bool:
    method = method_of(entry)
    return {method, measures.reference(method)} <= set(rows["method"])


def board_row(rows: pd.DataFrame, entry: str, corner: str, weight: float) -> dict:
    method, kind = method_of(entry), corner.split(",")[0]
    measured = {
        "accuracy": measures.accuracy_of(rows, method, corner),
        "HLR": measures.recovery(rows, method),
        "IOR": measures.improvement(rows, method, corner),
        "LRS": measures.label_robust(rows, method, corner, weight),
        "ARS": measures.augmentation_robust(rows, method, kind, weight),
    }
    row = {"set": entry, "recipe": corner}
    for name, values in measured.items():
        effect = paired_interval(values)
        row |= {name: effect.value, f"{name}, low": effect.low, f"{name}, high": effect.high}
    return row | {"seeds": len(measured["LRS"])}


def leaderboard(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Title -> board as text, for every data set and number of images of the experiments that rank sets."""
    boards = {}
    for table in tables.values():
        if "two-layer" not in table or "random again" not in set(
            table["method"]
        ):  # another kind of experiment
            continue
        for (dataset, size), rows in table.groupby(["dataset", "per_class"]):
            try:
                boards[f"{dataset}, {size} {'image' if size == 1 else 'images'} a class"] = as_text(
                    scoreboard(rows)
                )
            except MissingPoints:
                continue
    return boards


def as_text(board: pd.DataFrame) -> pd.DataFrame:
    text = board[["set", "recipe"]].copy()
    for name in ("accuracy", "HLR", "IOR", "LRS", "ARS"):
        effects = board[[name, f"{name}, low", f"{name}, high", "seeds"]].itertuples(index=False)
        text[name] = [f"{Effect(*effect):.3f}" for effect in effects]
    return text


def corners_long(table: pd.DataFrame) -> pd.DataFrame:
    """One row a point and corner, for figures."""
    long = table.melt(["method", "per_class", "seed"], CORNERS, "recipe", "accuracy")
    return long.astype({"accuracy": float})


def mean_corners(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy, rows a method, columns a corner by a short name."""
    mean = table.groupby("method", sort=False)[list(CORNERS)].mean()
    return mean.rename(columns=lambda corner: corner.replace(", augmented", "+aug"))


def by_size(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Random images against the best set of every number of images a class and corner; one row a size and corner.

    `images`: the best set less random images in the same corner; `recipe`: random images in the richest corner less
    the best set in this one, as claims 6.1a, b, e and f have it.
    """
    lines = []
    for size, rows in in_sizes(tables):
        full = measures.accuracy_of(rows, "random", CORNERS[-1])
        for corner in CORNERS:
            random, best = measures.accuracy_of(rows, "random", corner), measures.best_of(rows, corner)
            reached = measures.accuracy_of(rows, best, corner)
            line = {"images a class": size, "recipe": corner, "best set": best, "accuracy": reached.mean()}
            lines.append(
                line | {"random": random.mean(), "images": reached - random, "against": full - reached}
            )
    return pd.DataFrame(lines)


def in_sizes(tables: list[pd.DataFrame]) -> list[tuple[int, pd.DataFrame]]:
    """The points of each number of images a class, in order of it."""
    return sorted(
        (int(size), rows) for table in tables if len(table) for size, rows in table.groupby("per_class")
    )


def by_size_text(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """`by_size` with intervals over seeds, for reading. Raises MissingPoints where all tables are empty."""
    if all(table.empty for table in tables):
        need(*tables)
    found = by_size(tables)
    text = found[["images a class", "recipe"]].copy()
    text["best set"] = found["best set"] + found["accuracy"].map(" {:.3f}".format)
    text["random images"] = found["random"].map("{:.3f}".format)
    text["best - random, same recipe"] = [signed(values) for values in found["images"]]
    text["random, soft, augmented - best"] = [signed(values) for values in found["against"]]
    return text


def signed(values: pd.Series) -> str:
    return f"{paired_interval(values):+.3f}"


def by_size_long(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Accuracy of random images and of the best set, one row a seed, for figures."""
    lines = []
    for size, rows in in_sizes(tables):
        for corner in CORNERS:
            for name, method in (("best set", measures.best_of(rows, corner)), ("random images", "random")):
                at = {"images a class": size, "recipe": corner, "images": name}
                lines += [at | {"accuracy": value} for value in measures.accuracy_of(rows, method, corner)]
    return pd.DataFrame(lines)


def choices(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each side of claim 6.1m with its interval: as it must augment, must not, or as validation has it."""
    need(table)
    views = ["without augmentation", "augmented", "by choice"]
    lines = []
    for method, rows in table.groupby("method", sort=False):
        measured = {name: f"{paired_interval(rows[name]):.3f}" for name in views}
        lines.append({"set": method, "labels": "soft" if method == "random" else "hard"} | measured)
    return pd.DataFrame(lines)


def by_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy by views and student rate, a column a side; test images, for reading only."""
    need(table)
    kinds = [kind for views in KINDS_OF.values() for kind in views]
    rates = pd.MultiIndex.from_product([kinds, table["lrs"].iloc[0]], names=["views", "student rate"])
    means = {
        m: np.mean(rows["by views and rate"].tolist(), axis=0)
        for m, rows in table.groupby("method", sort=False)
    }
    return pd.DataFrame(means, index=rates).round(3)


def references(table: pd.DataFrame) -> pd.DataFrame:
    """What sets are compared with, by its steps: the whole training part, and the teacher, with intervals."""
    need(table)
    lines = []
    for steps, rows in table.groupby("steps"):
        whole, teacher = (f"{paired_interval(rows[name]):.3f}" for name in ("whole", "teacher"))
        lines.append({"steps": steps, "whole": whole, "teacher": teacher})
    return pd.DataFrame(lines)


def waterfall(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """What each step adds to the accuracy of random images with hard labels (chapter 6, eq. dd-waterfall)."""
    rows = measures.at_size(table)
    random = {corner: measures.accuracy_of(rows, "random", corner) for corner in CORNERS}
    steps = {
        "random images, hard labels": random["hard"],
        "+ soft labels": random["soft"] - random["hard"],
        "+ augmentation": random["soft, augmented"] - random["soft"],
        f"+ images of {method}": measures.improvement(rows, method, "soft, augmented"),
    }
    return pd.DataFrame([{"step": name, **interval(values)} for name, values in steps.items()])


def interval(values: pd.Series) -> dict[str, float]:
    effect: Effect = paired_interval(values)
    return {"value": effect.value, "low": effect.low, "high": effect.high}


def more_steps(tables: list[pd.DataFrame], per_class: int) -> pd.DataFrame:
    """Accuracy by the number of steps, for the sets that were trained with more than one."""
    rows = pd.concat([table[table["per_class"] == per_class] for table in tables if len(table)])
    several = rows.groupby("method")["steps"].transform("nunique") > 1
    lines = []
    for (steps, method), own in rows[several].groupby(["steps", "method"], sort=False):
        whole = own.set_index("seed")["whole"]
        found = {
            corner: f"{paired_interval(own.set_index('seed')[corner]):.3f}"
            for corner in (CORNERS[0], CORNERS[-1])
        }
        lines.append({"steps": steps, "set": method, **found, "whole data": f"{whole.mean():.3f}"})
    return pd.DataFrame(lines)


def gain_by_lr(table: pd.DataFrame) -> pd.DataFrame:
    """IOR with hard labels where set and random images share one learning rate that somebody picked."""
    rows = measures.at_size(table)
    random = rows[rows["method"] == "random"].set_index("seed")["hard by lr"]
    parts = []
    for _, row in rows[rows["method"].isin(MATCHED)].iterrows():
        gains = np.subtract(row["hard by lr"], random[row["seed"]])
        parts += [
            {"method": row["method"], "lr": lr, "IOR": g} for lr, g in zip(row["lrs"], gains, strict=True)
        ]
    return pd.DataFrame(parts)


def optimism(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over methods of what choosing recipes on the test images adds, by corner, with an interval over seeds."""
    rows = measures.at_size(table)
    return pd.DataFrame(
        [{"recipe": c, **interval(rows.groupby("seed")[f"{c}, optimism"].mean())} for c in CORNERS]
    ).round(4)


MEASURES = ("accuracy", "LRS", "ARS")


def ranking_grid(
    tables: list[pd.DataFrame], sizes: list[int], weights: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names, and values with intervals over measures, weights, images a class and entries, for the explorer."""
    names = list(ENTRIES)
    shape = (len(MEASURES), len(weights), len(sizes), len(names))
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    for table in tables:
        for k, size in enumerate(sizes):
            if table.empty or size not in set(table["per_class"]):
                continue
            for j, weight in enumerate(weights):
                board = scoreboard(table, size, float(weight)).set_index("set")
                for i, measure in enumerate(MEASURES):
                    for array, column in (
                        (value, measure),
                        (low, f"{measure}, low"),
                        (high, f"{measure}, high"),
                    ):
                        array[i, j, k] = board[column].reindex(names)
    return names, value, low, high


def neutral_grid(tables: list[pd.DataFrame], sizes: list[int], weights: np.ndarray) -> np.ndarray:
    """What random images get, over measures, weights and images a class: the line that a set must pass."""
    line = np.full((len(MEASURES), len(weights), len(sizes)), np.nan)
    for k, size in enumerate(sizes):
        table = next((t for t in tables if not t.empty and size in set(t["per_class"])), None)
        if table is not None:
            rows = measures.at_size(table, size)
            line[0, :, k] = measures.accuracy_of(rows, "random", "hard").mean()
            recovery = measures.recovery(rows, "random").to_numpy()[:, None]
            line[1, :, k] = scores.neutral_lrs(recovery, weights).mean(0)
            line[2, :, k] = scores.NEUTRAL
    return line


def orders(table: pd.DataFrame) -> pd.DataFrame:
    """What the recipe and the images of the matching methods add, by which of the two comes first."""
    lines = []
    for first, (recipe, images) in measures.gains(table).items():
        line = {"first": first, "recipe adds": signed(recipe), "images add": signed(images)}
        lines.append(line | {"difference": signed(recipe - images)})
    return pd.DataFrame(lines)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the variance over sets and recipes that the sets explain, by measure, with an interval over seeds.

    The last two are what plain arithmetic on accuracies gives: no random subset enters them.
    """
    rows = measures.at_size(table)
    methods = measures.present(measures.by_method(rows, measures.BARE), measures.COMPARED)
    level = {corner: measures.by_method(rows, corner)[methods].mean(axis=1) for corner in CORNERS}

    def centred_and_hard(rows: pd.DataFrame, method: str, corner: str) -> pd.Series:
        above = measures.accuracy_of(rows, method, corner) - level[corner]
        return (above + measures.accuracy_of(rows, method, measures.BARE)) / 2

    measured = {
        "accuracy": measures.image_shares(rows, measures.accuracy_of, CORNERS),
        "LRS": measures.image_shares(rows, measures.label_robust, CORNERS),
        "ARS": measures.image_shares(rows, measures.augmentation_robust, ("hard", "soft")),
        "accuracy averaged over augmentation": measures.image_shares(
            rows, measures.averaged, ("hard", "soft")
        ),
        "accuracy above recipe mean, plus hard accuracy": measures.image_shares(
            rows, centred_and_hard, CORNERS
        ),
    }
    return pd.DataFrame([{"measure": name, **interval(values)} for name, values in measured.items()]).round(3)


def predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation over sets with the accuracy of the two-layer network, by measure, with and without one set."""
    rows = measures.at_size(table)
    everything = measures.present(measures.by_method(rows, "two-layer"), measures.COMPARED)
    sets = {"all": everything, "without decoupled": [m for m in everything if m != "decoupled"]}
    compared = {
        "LRS": measures.own_scores,
        "accuracy, own recipe": measures.own_accuracy,
        "accuracy, hard labels": measures.bare_accuracy,
    }
    lines = [
        {"sets": group, "measure": name, **interval(measures.predictions(rows, measure, methods))}
        for group, methods in sets.items()
        for name, measure in compared.items()
    ]
    return pd.DataFrame(lines).round(3)


def templates(counts: list[int], kinds: list[str], seed: int = 0) -> tuple[list[list[str]], np.ndarray]:
    """Class templates of linear students of noise images, as pictures, and their accuracy: over kinds and counts."""
    pictures, accuracy = [], np.zeros((len(kinds), len(counts)))
    for i, kind in enumerate(kinds):
        pictures.append([])
        for j, count in enumerate(counts):
            student, right = labels.student_of(labels.LabelsPoint("noise", kind, count, seed=seed))
            rows = theory.centred(student.T).T[:, :-1].reshape(-1, 1, 8, 8)
            pictures[i].append(drawn(torch.tensor(rows / np.abs(rows).max()), -0.6, 0.6))
            accuracy[i, j] = right
    return pictures, accuracy


def stages(table: pd.DataFrame, methods: tuple[str, ...] = OPTIMISED) -> tuple[list[str], list[list[str]]]:
    """Methods and the pictures of seed 0 at every stage, as digits of the explorer."""
    rows = measures.at_size(table)
    kept = {row["method"]: row["pictures"] for _, row in rows.iterrows() if row["pictures"]}
    chosen = [method for method in methods if method in kept]
    count = min((len(kept[method]) for method in chosen), default=0)
    return chosen, [evenly(kept[method], count) for method in chosen]


def evenly(pictures: list[str], count: int) -> list[str]:
    """So many of the pictures, from the first to the last: methods kept different numbers, a slider has one."""
    last = len(pictures) - 1
    return [pictures[round(i * last / max(1, count - 1))] for i in range(count)]


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """Mean validation accuracy of every learning rate of every method, and of the images it starts from.

    `chosen` marks the best rate of a method at a number of images a class, the smallest of those that tie.
    """
    need(table)
    groups = table.groupby(["method", "per_class", "image_lr"], as_index=False, sort=False)
    mean = groups[["validated", "start"]].mean()
    tried = mean.groupby(["method", "per_class"])["image_lr"].transform("size")
    mean = mean[tried == table["place"].nunique()]  # a grid that was not measured to its end chooses nothing
    # of rates that tie the first, smallest one: equal is what differs by less than one validation image
    equal = mean["validated"].round(6)
    best = equal.groupby([mean["method"], mean["per_class"]]).idxmax()
    return mean.assign(chosen=mean.index.isin(best))
