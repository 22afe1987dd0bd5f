"""What the claims of chapter 6 measure: from tables of points to effects, and what figures share with them."""

from itertools import combinations

import numpy as np
import pandas as pd

from beyondloss.experiment import Effect, MissingPoints, paired_interval, weakest
from beyondloss.experiment.tables import column, need, select
from beyondloss.methods.dataset_distillation import scores
from beyondloss.methods.dataset_distillation.settings import CORNERS, MATCHED, METHODS

BARE, FULL_RECIPE = "hard", "soft, augmented"
COMPARED = ("random again", "herding", "k-center", "DC", "DSA", "DM", "MTT", "decoupled")
PICKED = ("herding", "k-center", *MATCHED)  # sets that somebody took trouble to choose or to make
SMALL = 0.02  # how far from neutral a score of random images may be


def at_size(table: pd.DataFrame, per_class: int | None = None) -> pd.DataFrame:
    """The points with one number of images a class, the smallest unless one is named; MissingPoints without."""
    need(table)
    return select(table, per_class=table["per_class"].min() if per_class is None else per_class)


def by_method(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric as rows of seeds and columns of methods. MissingPoints where seeds or the random set lack."""
    wide = rows.pivot(index="seed", columns="method", values=metric)
    if column(wide, "random").isna().any():
        raise MissingPoints("the random subset, which everything is compared with, is missing")
    return wide


def present(wide: pd.DataFrame, methods: tuple[str, ...]) -> list[str]:
    found = [method for method in methods if method in wide]
    if len(found) < 2:
        raise MissingPoints(f"fewer than two of {', '.join(methods)}")
    if wide[found].isna().any(axis=None):
        raise MissingPoints(f"some seeds of {', '.join(found)}")
    return found


def best_of(rows: pd.DataFrame, corner: str) -> str:
    """The picked or made set of the greatest mean accuracy in a corner: on test images, so with its luck."""
    accuracy = by_method(rows, corner)
    return str(accuracy[present(accuracy, PICKED)].mean().idxmax())


def rounds(rows: pd.DataFrame, turn: int) -> pd.DataFrame:
    """The same table with the accuracies of one round instead of their mean."""
    return rows.assign(**{c: rows[f"{c}, rounds"].str[turn] for c in CORNERS})


# The scores of sets in tables -------------------------------------------------------------------------------


def reference(method: str) -> str:
    """What a set is compared with: the random subset, and this one with another."""
    return "random again" if method == "random" else "random"


def recovery(rows: pd.DataFrame, method: str) -> pd.Series:
    """HLR, one value a seed."""
    whole, hard = by_method(rows, "whole"), by_method(rows, BARE)
    return scores.hard_label_recovery(whole["random"], hard[method])


def improvement(rows: pd.DataFrame, method: str, corner: str) -> pd.Series:
    """IOR under one recipe, one value a seed."""
    accuracy = by_method(rows, corner)
    return scores.improvement_over_random(accuracy[method], accuracy[reference(method)])


def label_robust(
    rows: pd.DataFrame, method: str, corner: str | None = None, weight: float = 0.5
) -> pd.Series:
    """LRS with the method's own recipe or another one, one value a seed."""
    ior = improvement(rows, method, corner or METHODS[method].corner)
    return scores.label_robust_score(recovery(rows, method), ior, weight)


def augmentation_robust(
    rows: pd.DataFrame, method: str, labels: str | None = None, weight: float = 0.5
) -> pd.Series:
    """ARS with the method's own labels or others, one value a seed."""
    labels = labels or METHODS[method].labels
    gains = [improvement(rows, method, corner) for corner in (f"{labels}, augmented", labels)]
    return scores.augmentation_robust_score(*gains, weight)


# Measures of the claims -------------------------------------------------------------------------------------


def random_against_best(corner: str, per_class: int | None = None):
    """Random images with soft labels and augmentation against the best picked or made set in a corner."""

    def measure(table: pd.DataFrame) -> Effect:
        rows = at_size(table, per_class)
        best = accuracy_of(rows, best_of(rows, corner), corner)
        return paired_interval(by_method(rows, FULL_RECIPE)["random"] - best, unit="accuracy")

    return measure


def picked_against_random(corner: str, per_class: int | None = None):
    """What the best picked or made set adds to random images in one corner."""

    def measure(table: pd.DataFrame) -> Effect:
        rows = at_size(table, per_class)
        best = accuracy_of(rows, best_of(rows, corner), corner)
        return paired_interval(best - by_method(rows, corner)["random"], unit="accuracy")

    return measure


def random_against_best_choice(table: pd.DataFrame) -> Effect:
    """The same where validation chooses views and one of four rates for both sides, each set's own best mean taken."""
    accuracy = by_method(at_size(table), "by choice")
    made = accuracy[present(accuracy, MATCHED)]
    return paired_interval(accuracy["random"] - made[made.mean().idxmax()], unit="accuracy")


def gains(table: pd.DataFrame) -> dict[str, tuple[pd.Series, pd.Series]]:
    """What the recipe and what the images of the matching methods add, one value a seed, by what comes first."""
    rows = at_size(table)
    bare, full = by_method(rows, BARE), by_method(rows, FULL_RECIPE)
    made = present(full, MATCHED)
    recipe = full["random"] - bare["random"], (full[made] - bare[made]).mean(axis=1, skipna=False)
    images = (part[made].mean(axis=1, skipna=False) - part["random"] for part in (full, bare))
    found = dict(zip(("recipe", "images"), zip(recipe, images, strict=True), strict=True))
    return found | {"average": tuple(sum(parts) / 2 for parts in zip(*found.values(), strict=True))}


def recipe_against_images(first: str):
    """What labels and augmentation add less what images add, with one of them first or averaged (`gains`)."""

    def measure(table: pd.DataFrame) -> Effect:
        recipe, images = gains(table)[first]
        return paired_interval(recipe - images, unit="accuracy")

    return measure


def noise_labels(table: pd.DataFrame) -> Effect:
    """Soft against hard labels on as many noise images as the teacher has inputs."""
    rows = select(table, inputs="noise", images=65)
    if rows.loc[rows["labels"] == "soft", "error"].max() > 1e-6:
        return Effect(-1.0, -np.inf, np.inf, rows["seed"].nunique(), "accuracy")
    accuracy = rows.pivot(index="seed", columns="labels", values="accuracy")
    return paired_interval(accuracy["soft"] - accuracy["hard"], unit="accuracy")


def share_of_images(values: np.ndarray) -> float:
    """Share of the variance of values [set, recipe] that the sets' own means explain."""
    total = np.sum((values - values.mean()) ** 2)
    return float(values.shape[1] * np.sum((values.mean(1) - values.mean()) ** 2) / total) if total else np.nan


def image_shares(rows: pd.DataFrame, measure, over: tuple[str, ...]) -> pd.Series:
    """`share_of_images` of a measure (rows, method, recipe) -> one value a seed."""
    hard = by_method(rows, BARE)
    sets = []
    for method in present(hard, COMPARED):
        recipes = [measure(rows, method, recipe) for recipe in over]
        sets.append(np.stack(recipes))
    of_seeds = np.moveaxis(np.stack(sets), -1, 0)  # [seed, set, recipe]
    return pd.Series([share_of_images(values) for values in of_seeds], index=hard.index)


def accuracy_of(rows: pd.DataFrame, method: str, corner: str) -> pd.Series:
    return by_method(rows, corner)[method]


def averaged(rows: pd.DataFrame, method: str, labels: str) -> pd.Series:
    """Accuracy with one kind of labels, averaged over augmentation."""
    return sum(accuracy_of(rows, method, corner) for corner in (labels, f"{labels}, augmented")) / 2


def lrs_tells_images(table: pd.DataFrame) -> Effect:
    rows = at_size(table)
    gain = image_shares(rows, label_robust, CORNERS) - image_shares(rows, accuracy_of, CORNERS)
    return paired_interval(gain, unit="share of variance")


def ars_tells_images(table: pd.DataFrame) -> Effect:
    rows = at_size(table)
    ars = image_shares(rows, augmentation_robust, ("hard", "soft"))
    return paired_interval(ars - image_shares(rows, accuracy_of, CORNERS), unit="share of variance")


def rank_correlations(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Spearman's correlation over methods, one value a seed."""
    return first.rank(axis=1).corrwith(second.rank(axis=1), axis=1)


def own_accuracy(rows: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    return pd.DataFrame({m: accuracy_of(rows, m, METHODS[m].corner) for m in methods})


def own_scores(rows: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    return pd.DataFrame({m: label_robust(rows, m) for m in methods})


def bare_accuracy(rows: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """Accuracy with hard labels and no augmentation, which is one recipe for all."""
    return by_method(rows, BARE)[methods]


def predictions(rows: pd.DataFrame, measure, methods: list[str]) -> pd.Series:
    """Rank correlation over sets of a measure (rows, methods) with another architecture's accuracy, a value a seed."""
    return rank_correlations(measure(rows, methods), by_method(rows, "two-layer")[methods])


def lrs_predicts_better_than(other):
    """Rank correlation with another architecture's accuracy: that of LRS less that of another measure."""

    def measure(table: pd.DataFrame) -> Effect:
        rows = at_size(table)
        methods = present(by_method(rows, "two-layer"), COMPARED)
        by_score, by_other = (predictions(rows, m, methods) for m in (own_scores, other))
        return paired_interval(by_score - by_other, unit="rank correlation")

    return measure


def ars_tells_images_beyond_averaging(table: pd.DataFrame) -> Effect:
    """ARS against the accuracies that it contains, averaged over augmentation."""
    rows = at_size(table)
    ars = image_shares(rows, augmentation_robust, ("hard", "soft"))
    return paired_interval(ars - image_shares(rows, averaged, ("hard", "soft")), unit="share of variance")


def random_is_neutral(table: pd.DataFrame) -> Effect:
    """How far within SMALL of its neutral value ARS of a second random subset stays, the farther of both labels."""
    rows = at_size(table)
    away = [augmentation_robust(rows, "random again", labels) - scores.NEUTRAL for labels in ("hard", "soft")]
    effects = [paired_interval(SMALL - sign * a) for a in away for sign in (1, -1)]
    return weakest(effects)


def order_reverses(table: pd.DataFrame) -> Effect:
    """Accuracy puts random images with soft labels before DM with hard labels, LRS after: the lesser lead."""
    rows = at_size(table)
    accuracy = accuracy_of(rows, "random", FULL_RECIPE) - accuracy_of(rows, "DM", BARE)
    score = label_robust(rows, "DM", BARE) - label_robust(rows, "random", FULL_RECIPE)
    return weakest(paired_interval(lead) for lead in (accuracy, score))


def discordance(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Share of pairs of columns that two tables order differently, row by row; ties are no difference."""
    pairs = list(combinations(first.columns, 2))
    signs = [np.sign(t[a] - t[b]) * np.sign(u[a] - u[b]) for t, u in [(first, second)] for a, b in pairs]
    return sum((sign < 0).astype(float) for sign in signs) / len(pairs)


def order_changes(table: pd.DataFrame) -> Effect:
    """Discordance of accuracy and LRS, each of another round, less that of accuracy in one round and the other."""
    rows = at_size(table)
    methods = present(by_method(rows, BARE), COMPARED)
    one, other = rounds(rows, 0), rounds(rows, 1)
    accuracy = [own_accuracy(r, methods) for r in (one, other)]
    lrs = [own_scores(r, methods) for r in (one, other)]
    crossed = (discordance(accuracy[0], lrs[1]) + discordance(accuracy[1], lrs[0])) / 2
    return paired_interval(crossed - discordance(*accuracy), unit="share of pairs")
