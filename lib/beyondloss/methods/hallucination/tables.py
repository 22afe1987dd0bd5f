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
            "distance": exact.self_distance[first][order],
            "wrong": exact.self_oracle[first][order],
            "value": book.value[0][order],
            "mass": book.mass[order],
        }
    )


@dataclass(frozen=True)
class Intervals:
    """What the explorer shows, over (share of confident errors, budget, start of the interval)."""

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
    rows = [[] for _ in range(11)]
    for share in confident:
        exact = world_of(share, m, classes=4)
        book, order = theory.ledger(exact), theory.by_distance(exact)
        _, first = np.unique(exact.partition, return_index=True)
        distance = exact.self_distance[first][order]
        sides = [np.bincount(exact.partition, mass)[order] for mass in (exact.right, exact.wrong)]
        alone = theory.best_roc(exact, 0.0, book)
        for budget in budgets:
            sents = theory.interval_starts(exact, book, budget)
            best = theory.best_roc(exact, budget, book)
            for start in range(starts):
                begin = min(start, len(sents) - 1)
                sent = sents[begin]
                paper = rates_of_interval(exact, sent, order, begin)
                inside = np.flatnonzero(sent[order] > 0)
                ends = distance[[inside[0], inside[-1]]] if len(inside) else distance[[begin, begin]]
                found = (
                    sides[0] / sides[0].sum(), sides[1] / sides[1].sum(), ends[0] - 0.02, ends[1] + 0.02,
                    np.interp(false, *paper), np.interp(false, *best), np.interp(false, *alone), sent @ book.mass,
                    np.trapezoid(paper[1], paper[0]), np.trapezoid(best[1], best[0]),
                )  # fmt: skip
                for row, value in zip(rows, found, strict=False):
                    row.append(value)
    shape = (len(confident), len(budgets), starts)
    shaped = [np.array(row).reshape(*shape, *np.shape(row[0])) for row in rows[:10]]
    right, wrong, low, high, paper, best, alone, asked, paper_auroc, best_auroc = shaped
    distance, level = np.unique(np.round(distance, 9), return_inverse=True)
    merged = [np.stack([np.bincount(level, row) for row in side[:, 0, 0]]) for side in (right, wrong)]
    return Intervals(
        distance, *merged, low, high, false,
        paper, best[:, :, 0], alone[:, 0, 0], asked[:, :, 0], paper_auroc, best_auroc[:, :, 0],
    )  # fmt: skip


def rates_of_interval(
    exact: theory.Exact, sent: np.ndarray, order: np.ndarray, begin: int
) -> tuple[np.ndarray, np.ndarray]:
    """ROC of one interval over the threshold of the cross distance inside it (chapter 10, eq. ha-interval)."""
    share = sent[exact.partition]
    last = np.flatnonzero(sent[order] > 0)[-1] if sent.any() else begin
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    above = rank[exact.partition] >= last
    levels = np.append(np.unique(np.round(exact.cross_distance, 9))[::-1], np.inf)[:, None]
    alarm = share * (exact.cross_distance >= levels - 1e-9) + (1 - share) * above
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
