"""From tables of points to what the figures of chapter 10 draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from beyondloss.experiment.tables import explode, need
from beyondloss.methods.hallucination import generator, theory
from beyondloss.methods.hallucination.models import TUNED
from beyondloss.models.language import SMOLLM2

NAMES = {
    "best": "best policy",
    "interval_both": "interval, both scores",
    "interval": "interval, the paper's rule",
    "random": "by lot, both scores",
}


def curves(table: pd.DataFrame, names: dict[str, str], suffix: str = "") -> pd.DataFrame:
    """Generator's curves over the budget, one row a point, budget and rule; `names` maps metrics to labels."""
    settings = ["confident", "verifier_error", "seed"]
    parts = [
        table[settings].assign(rule=label, budget=table["budget"], value=table[f"{metric}{suffix}"])
        for metric, label in names.items()
    ]
    return explode(pd.concat(parts), [*settings, "rule"], {"budget": float, "value": float})


# Pictures of the theory --------------------------------------------------------------------------------------


def partitions(m: int) -> list[tuple[int, ...]]:
    """Partitions of m, the largest part first."""

    def below(rest: int, largest: int) -> list[tuple[int, ...]]:
        if rest == 0:
            return [()]
        return [
            (part, *tail) for part in range(min(rest, largest), 0, -1) for tail in below(rest - part, part)
        ]

    return below(m, m)


def majorises(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether the partial sums of the first partition are nowhere below those of the second."""
    longest = max(len(first), len(second))
    a, b = (np.cumsum(np.pad(p, (0, longest - len(p)))) for p in (first, second))
    return bool((a >= b).all())


def world_of(confident: float, m: int, classes: int, **settings) -> theory.Exact:
    """The class model seen through m samples, for pictures: world 100, which no claim uses."""
    point = generator.GeneratorPoint(confident=confident, m=m, classes=classes, seed=100, **settings)
    return theory.enumerate_population(generator.population(point), m, m)


def room(samples: Sequence[int], confident: float = 0.3) -> pd.DataFrame:
    """Exact AUROC against the number of samples: scores and oracles."""
    rows = []
    for m in samples:
        exact = world_of(confident, m, classes=4)
        found = {
            "self-consistency": exact.self_distance,
            "best on own samples": exact.self_oracle,
            "cross-consistency": exact.cross_distance,
            "best on both": exact.cross_oracle,
        }
        rows += [{"m": m, "detector": name, "auroc": exact.auroc(risk)} for name, risk in found.items()]
    return pd.DataFrame(rows)


def worth(confident: float, slope: float = 1.0) -> pd.DataFrame:
    """Value of asking one question, and how likely it is wrong, against its self-consistency score."""
    exact = world_of(confident, m=8, classes=4)
    book, order = theory.ledger(exact, [slope]), theory.by_distance(exact)
    _, first = np.unique(exact.partition, return_index=True)
    return pd.DataFrame(
        {
            "distance": distances(exact, order),
            "wrong": exact.self_oracle[first][order],
            "value": book.value[0][order],
            "mass": book.mass[order],
        }
    )


@dataclass(frozen=True)
class Intervals:
    """What the explorer of the interval rule shows, over its sliders.

    distance: self-consistency scores that a question can have.
    right, wrong [share, distance]: how the right and the wrong answers spread over them.
    low, high [share, budget, start]: between which scores questions are sent on.
    false: rates of false alarms, at which the rates of true ones are given: with the interval there
    (`paper`, [share, budget, start, false]), with the best policy of the budget (`best`, [share, budget, false]), and
    with no question sent on (`alone`, [share, false]).
    asked [share, budget]: the share of questions that is sent on.
    paper_auroc [share, budget, start], best_auroc [share, budget]: areas under two of the curves.
    """

    distance: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    low: np.ndarray
    high: np.ndarray
    false: np.ndarray
    paper: np.ndarray
    best: np.ndarray
    alone: np.ndarray
    asked: np.ndarray
    paper_auroc: np.ndarray
    best_auroc: np.ndarray


def intervals(confident: Sequence[float], budgets: Sequence[float], starts: int, m: int = 6) -> Intervals:
    """ROC of the interval rule at every place of the interval, beside the best that the budget allows."""
    false = np.linspace(0, 1, 21)
    budget_grid = (len(confident), len(budgets))
    asked, best_auroc = np.empty((2, *budget_grid))
    low, high, paper_auroc = np.empty((3, *budget_grid, starts))
    best = np.empty((*budget_grid, len(false)))
    paper = np.empty((*budget_grid, starts, len(false)))
    spreads, alone = [], []
    for i, share in enumerate(confident):
        exact = world_of(share, m, classes=4)
        book, order = theory.ledger(exact), theory.by_distance(exact)
        distance = distances(exact, order)
        spreads.append(spread_over_levels(exact, order, distance))
        alone.append(np.interp(false, *theory.best_roc(exact, 0.0, book)))
        for j, budget in enumerate(budgets):
            best_curve = theory.best_roc(exact, budget, book)
            best[i, j], best_auroc[i, j] = np.interp(false, *best_curve), area(best_curve)
            # what each interval sends on; the larger the budget, the fewer places there are to start
            sents = theory.interval_starts(exact, book, budget)
            asked[i, j] = sents[0] @ book.mass
            for k in range(starts):
                begin = min(k, len(sents) - 1)
                sent = sents[begin]
                curve = rates_of_interval(exact, sent, order, begin)
                paper[i, j, k], paper_auroc[i, j, k] = np.interp(false, *curve), area(curve)
                low[i, j, k], high[i, j, k] = shaded(distance, sent[order], begin)
    levels = np.unique(np.round(distance, 9))  # the same for every share of confident errors
    right, wrong = np.stack(spreads, axis=1)
    return Intervals(
        levels, right, wrong, low, high, false, paper, best, np.stack(alone), asked, paper_auroc, best_auroc
    )


def distances(exact: theory.Exact, order: np.ndarray) -> np.ndarray:
    """Self-consistency score of every partition, in an order of the partitions."""
    _, first = np.unique(exact.partition, return_index=True)
    return exact.self_distance[first][order]


def spread_over_levels(exact: theory.Exact, order: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Shares of the right and of the wrong answers at each distinct distance, [2, level]."""
    _, level = np.unique(np.round(distance, 9), return_inverse=True)
    spread = []
    for mass in (exact.right, exact.wrong):
        of_partition = np.bincount(exact.partition, mass)[order]
        spread.append(np.bincount(level, of_partition / of_partition.sum()))
    return np.stack(spread)


def shaded(distance: np.ndarray, sent: np.ndarray, begin: int) -> tuple[float, float]:
    """Ends of the shade over the partitions that are sent on, both in the order of `distance`.

    A little wider than they are, so that an interval of one partition can be seen; at `begin` where none is sent on.
    """
    inside = np.flatnonzero(sent > 0)
    first, last = (inside[0], inside[-1]) if len(inside) else (begin, begin)
    return distance[first] - 0.02, distance[last] + 0.02


def area(roc: tuple[np.ndarray, np.ndarray]) -> float:
    """AUROC of a curve, given as rates of false and of true alarms."""
    false, true = roc
    return float(np.trapezoid(true, false))


def rates_of_interval(
    exact: theory.Exact, sent: np.ndarray, order: np.ndarray, begin: int
) -> tuple[np.ndarray, np.ndarray]:
    """ROC of one interval over the threshold of the cross distance inside it (chapter 10, eq. ha-interval).

    sent: share of each partition that is sent on. A question that is not raises an alarm where its partition lies at
    the end of the interval or above.
    """
    share = sent[exact.partition]
    last = np.flatnonzero(sent[order] > 0)[-1] if sent.any() else begin
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    above = rank[exact.partition] >= last
    levels = np.unique(np.round(exact.cross_distance, 9))
    thresholds = np.append(levels[::-1], np.inf)[:, None]  # the last: no alarm inside the interval
    alarm = share * (exact.cross_distance >= thresholds - 1e-9) + (1 - share) * above
    # from no alarm at all, by way of none inside, to all
    alarm = np.vstack([np.zeros_like(share), alarm[-1], alarm[:-1], np.ones_like(share)])
    return tuple(np.sort(alarm @ mass / mass.sum()) for mass in (exact.right, exact.wrong))


def cheapest(table: pd.DataFrame, prices: Sequence[float], rules: dict[str, str]) -> pd.DataFrame:
    """Errors plus price times calls, each rule at its best budget, against the price of asking one question."""
    rows = []
    for _, point in table.iterrows():
        for metric, label in rules.items():
            errors = np.array(point[f"{metric}_error"], dtype=float)
            for price in prices:
                total = (errors + price * np.array(generator.BUDGETS)).min()
                rows.append(
                    {"confident": point["confident"], "seed": point["seed"], "rule": label, "price": price}
                )
                rows[-1]["cost"] = total
    return pd.DataFrame(rows)


def short(spec: str) -> str:
    """A name for figures: the style of the small model, the bare name of any other."""
    name, _, style = spec.rpartition(" as ")
    model = name.split("@")[0].split("/")[-1]
    return {SMOLLM2: style, TUNED: "tuned twin"}.get(model, model)


def pair_names(rows: pd.DataFrame) -> list[str]:
    return [f"{short(t)} / {short(v)}" for t, v in zip(rows["target"], rows["verifier"], strict=True)]


def confident_errors(table: pd.DataFrame, target: str, verifier: str, count: int = 8) -> pd.DataFrame:
    """The wrong answers that one target gives most consistently, with the verifier's distance to them.

    `target` and `verifier` are parts of the names; compared by equality.
    """
    need(table)
    chosen = table["target"].str.contains(target) & table["verifier"].str.contains(verifier)
    columns = {
        "question": "asked_about",
        "answer": "said",
        "self score": "own_distance",
        "cross score": "cross_distance",
    }
    rows = table[chosen & (table["kernel"] == "equality")].head(1)
    long = rows[[*columns.values(), "is_wrong"]].explode([*columns.values(), "is_wrong"], ignore_index=True)
    wrong = (
        long[long["is_wrong"] == 1].sort_values(["own_distance", "cross_distance"], kind="stable").head(count)
    )
    return wrong.rename(columns={old: new for new, old in columns.items()})[list(columns)].reset_index(
        drop=True
    )
