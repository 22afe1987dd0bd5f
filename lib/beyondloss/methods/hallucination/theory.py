"""The theory of chapter 10: mean embeddings and their estimators, the finite class model, the best detectors in it.

A question has K classes of meaning. The target answers with class c with probability p_c, the verifier with q_c;
class 0 is the truth. Everything here is exact, in closed form or by enumeration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, xlogy

from beyondloss.methods.hallucination import metrics

Law = Float[np.ndarray, " class"]


# Mean embeddings and their estimators -----------------------------------------------------------------------


def squared_mmd(p: Law, q: Law, kernel: Float[np.ndarray, "class class"] | None = None) -> float:
    """Squared distance of the mean embeddings of p and q (chapter 10, eq. ha-mmd); equality without a kernel."""
    difference = p - q
    return float(difference @ (difference if kernel is None else kernel @ difference))


def variance_self(p: Law, m: int) -> float:
    """Variance of the mean pairwise distance of m samples (chapter 10, eq. ha-variance-self)."""
    s2, s3 = (p**2).sum(), (p**3).sum()
    return float((4 * (m - 2) * (s3 - s2**2) + 2 * (s2 - s2**2)) / (m * (m - 1)))


def variance_cross(p: Law, q: Law, m: int, n: int) -> float:
    """Variance of the mean cross distance of m and n samples (chapter 10, eq. ha-variance-cross)."""
    b = (p * q).sum()
    shared_target, shared_verifier = (p * q**2).sum() - b**2, (p**2 * q).sum() - b**2
    return float((b - b**2 + (n - 1) * shared_target + (m - 1) * shared_verifier) / (m * n))


def covariance_self_cross(p: Law, q: Law, m: int) -> float:
    """Covariance of the two distances, which share the target's samples (chapter 10, eq. ha-covariance)."""
    return float(2 / m * ((p**2 * q).sum() - (p**2).sum() * (p * q).sum()))


def variance_mmd(p: Law, q: Law, m: int, n: int) -> float:
    """Variance of the unbiased squared MMD (chapter 10, eq. ha-variance-mmd)."""
    alone = variance_self(p, m) + variance_self(q, n) + 4 * variance_cross(p, q, m, n)
    return alone - 4 * covariance_self_cross(p, q, m) - 4 * covariance_self_cross(q, p, n)


def tail_bound(m: int, t: float) -> float:
    """Hoeffding's bound on P(|score - mean| > t) of a U-statistic of pairs (chapter 10, eq. ha-hoeffding)."""
    return float(min(1.0, 2 * np.exp(-2 * (m // 2) * t**2)))


# What the samples can show ----------------------------------------------------------------------------------


@lru_cache
def count_vectors(m: int, classes: int) -> Int[np.ndarray, "outcome class"]:
    """Every way in which m samples fall into the classes."""
    draws = np.array(list(combinations_with_replacement(range(classes), m)))
    return (draws[:, :, None] == np.arange(classes)).sum(1)


def multinomial(
    laws: Float[np.ndarray, "kind class"], counts: Int[np.ndarray, "outcome class"]
) -> Float[np.ndarray, "kind outcome"]:
    """Probability of each count vector under each law."""
    orders = gammaln(counts.sum(1) + 1) - gammaln(counts + 1).sum(1)
    return np.exp(orders + xlogy(counts[None], laws[:, None]).sum(-1))


@dataclass(frozen=True)
class Outcomes:
    """What a detector that knows no class by name can tell apart: count vectors up to a relabelling of the classes.

    `own` and `cross` are one representative each of the target's and the verifier's counts; `index` says which outcome
    a pair of count vectors belongs to, `partition` which partition of m the target's own samples make.
    """

    own: Int[np.ndarray, "outcome class"]
    cross: Int[np.ndarray, "outcome class"]
    index: Int[np.ndarray, "own_vector cross_vector"]
    partition: Int[np.ndarray, " outcome"]


@lru_cache
def outcomes(m: int, n: int, classes: int) -> Outcomes:
    """The orbits of pairs of count vectors under relabelling (chapter 10, theorem ha-oracle)."""
    own, cross = count_vectors(m, classes), count_vectors(n, classes)
    columns = np.sort(own[:, None] * (n + 1) + cross[None], axis=-1)  # one number a class, sorted: the orbit
    codes = columns @ ((m + 1) * (n + 1)) ** np.arange(classes, dtype=np.int64)
    _, first, index = np.unique(codes, return_index=True, return_inverse=True)
    members = columns.reshape(-1, classes)[first]
    parts = np.sort(members // (n + 1), axis=1)
    _, partition = np.unique(parts, axis=0, return_inverse=True)
    return Outcomes(members // (n + 1), members % (n + 1), index.reshape(codes.shape), partition.reshape(-1))


@dataclass(frozen=True)
class Population:
    """Kinds of questions: how frequent each is, whether the answer is wrong, and both laws of answers."""

    weight: Float[np.ndarray, " kind"]
    wrong: Float[np.ndarray, " kind"]
    target: Float[np.ndarray, "kind class"]
    verifier: Float[np.ndarray, "kind class"]


@dataclass(frozen=True)
class Exact:
    """A population seen through m samples of the target and n of the verifier: the mass of every outcome."""

    own: Int[np.ndarray, "outcome class"]
    cross: Int[np.ndarray, "outcome class"]
    partition: Int[np.ndarray, " outcome"]
    right: Float[np.ndarray, " outcome"]
    wrong: Float[np.ndarray, " outcome"]

    @property
    def self_distance(self) -> Float[np.ndarray, " outcome"]:
        """Mean pairwise distance of the target's samples (chapter 10, eq. ha-mpd)."""
        m = self.own[0].sum()
        return 1 - (self.own * (self.own - 1)).sum(1) / (m * (m - 1))

    @property
    def cross_distance(self) -> Float[np.ndarray, " outcome"]:
        """Mean distance of the target's samples to the verifier's (chapter 10, eq. ha-cross)."""
        return 1 - (self.own * self.cross).sum(1) / (self.own[0].sum() * self.cross[0].sum())

    @property
    def self_oracle(self) -> Float[np.ndarray, " outcome"]:
        """P(wrong | the target's samples), one value a partition (chapter 10, theorem ha-oracle)."""
        right, wrong = (np.bincount(self.partition, mass) for mass in (self.right, self.wrong))
        return (wrong / (right + wrong))[self.partition]

    @property
    def cross_oracle(self) -> Float[np.ndarray, " outcome"]:
        """P(wrong | both models' samples) (chapter 10, theorem ha-oracle)."""
        return self.wrong / (self.right + self.wrong)

    def auroc(self, risk: Float[np.ndarray, " outcome"]) -> float:
        return metrics.auroc(risk, self.right, self.wrong)


def enumerate_population(population: Population, m: int, n: int) -> Exact:
    """Exact mass of every outcome of a population (chapter 10, theorem ha-oracle)."""
    classes = population.target.shape[1]
    found = outcomes(m, n, classes)
    own = multinomial(population.target, count_vectors(m, classes))
    cross = multinomial(population.verifier, count_vectors(n, classes))

    def mass(share: Float[np.ndarray, " kind"]) -> Float[np.ndarray, " outcome"]:
        joint = (own * (population.weight * share)[:, None]).T @ cross
        return np.bincount(found.index.ravel(), joint.ravel(), len(found.partition))

    return Exact(found.own, found.cross, found.partition, mass(1 - population.wrong), mass(population.wrong))


# When a second model helps ----------------------------------------------------------------------------------


def sharp_auroc(confident: float, shared: float, verifier: float) -> dict[str, float]:
    """AUROC of three scores where models either know or do not, in the limit of many samples (theorem ha-sharp).

    confident: share of the wrong answers that the target gives every time. shared: share of those that the verifier
    gives as well. verifier: how often the verifier agrees where the target is right.
    """
    return {
        "self": 1 - confident / 2,
        "cross": (1 + verifier - confident * shared) / 2,
        "both": 1 - confident / 2 + confident * max(0.0, verifier - shared) / 2,
    }


# The best use of a budget -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ledger:
    """What alarms by likelihood catch at each slope, partition by partition: mass that is right and mass that is wrong,
    where the verifier was asked and where it was not. An alarm on a right answer costs `slope` missed wrong ones."""

    slope: Float[np.ndarray, " slope"]
    mass: Float[np.ndarray, " partition"]
    right_asked: Float[np.ndarray, "slope partition"]
    wrong_asked: Float[np.ndarray, "slope partition"]
    right_unasked: Float[np.ndarray, "slope partition"]
    wrong_unasked: Float[np.ndarray, "slope partition"]

    @property
    def value(self) -> Float[np.ndarray, "slope partition"]:
        """What asking one question of a partition saves, in missed wrong answers (chapter 10, eq. ha-value)."""
        asked = self.wrong_asked - self.slope[:, None] * self.right_asked
        unasked = self.wrong_unasked - self.slope[:, None] * self.right_unasked
        return (asked - unasked) / self.mass

    def rates(
        self, sent: Float[np.ndarray, "slope partition"]
    ) -> tuple[Float[np.ndarray, " slope"], Float[np.ndarray, " slope"]]:
        """Masses of false and of true alarms where a share `sent` of each partition is sent to the verifier."""
        false = sent * self.right_asked + (1 - sent) * self.right_unasked
        true = sent * self.wrong_asked + (1 - sent) * self.wrong_unasked
        return false.sum(-1), true.sum(-1)


def ledger(exact: Exact, slopes: Sequence[float] | np.ndarray | None = None) -> Ledger:
    """Alarms by likelihood at each slope; at all slopes where a decision can change, by default."""
    slopes = critical_slopes(exact) if slopes is None else np.asarray(slopes, dtype=float)
    count = exact.partition.max() + 1
    by_partition = lambda mass: np.bincount(exact.partition, mass, count)  # noqa: E731
    right, wrong = by_partition(exact.right), by_partition(exact.wrong)
    asked = [exact.wrong > slope * exact.right for slope in slopes]
    unasked = wrong > slopes[:, None] * right
    return Ledger(
        slopes,
        right + wrong,
        np.array([by_partition(exact.right * alarm) for alarm in asked]),
        np.array([by_partition(exact.wrong * alarm) for alarm in asked]),
        right * unasked,
        wrong * unasked,
    )


def critical_slopes(exact: Exact, most: int = 120) -> Float[np.ndarray, " slope"]:
    """Slopes at which a policy may change: likelihood ratios of the partitions, and of the outcomes at even mass."""
    own = np.bincount(exact.partition, exact.wrong) / np.bincount(exact.partition, exact.right)
    ratio = exact.wrong / exact.right
    order = np.argsort(ratio)
    share = np.cumsum((exact.right + exact.wrong)[order])
    at = np.searchsorted(share, np.linspace(0, share[-1], most)).clip(max=len(ratio) - 1)
    slopes = np.unique(np.concatenate([own, ratio[order][at]]))
    return np.concatenate([slopes * (1 - 1e-9), slopes * (1 + 1e-9)])


def filled(
    order: Int[np.ndarray, "*any partition"], mass: Float[np.ndarray, " partition"], budget: float
) -> Float[np.ndarray, "*any partition"]:
    """Share of each partition that is sent on, when the budget is spent in the order given."""
    sizes = mass[order]
    before = np.cumsum(sizes, axis=-1) - sizes
    sent = np.empty(order.shape)
    np.put_along_axis(sent, order, ((budget - before) / sizes).clip(0, 1), axis=-1)
    return sent


def best_sent(book: Ledger, budget: float) -> Float[np.ndarray, "slope partition"]:
    """At each slope, send on the questions worth most until the budget is spent (chapter 10, theorem ha-budget)."""
    value = book.value
    return np.where(value > 0, filled(np.argsort(-value, axis=1, kind="stable"), book.mass, budget), 0.0)


def best_roc(exact: Exact, budget: float, book: Ledger | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The best ROC that a budget allows, from (0, 0) to (1, 1) (chapter 10, theorem ha-budget)."""
    book = book or ledger(exact)
    return envelope(exact, *book.rates(best_sent(book, budget)))


def random_roc(exact: Exact, budget: float, book: Ledger | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The same alarms where the questions that are sent on are drawn by lot."""
    book = book or ledger(exact)
    return envelope(exact, *book.rates(np.full(book.right_asked.shape, budget)))


def interval_starts(exact: Exact, book: Ledger, budget: float) -> Float[np.ndarray, "start partition"]:
    """What intervals of the self-consistency score send on, one for each partition at which they may start."""
    order = by_distance(exact)
    rolled = np.stack([np.roll(order, -start) for start in range(len(order))])
    sent = filled(rolled, book.mass, budget)
    return sent[[wraps_nowhere(sent[start][order], start) for start in range(len(order))]]


def wraps_nowhere(sent: Float[np.ndarray, " partition"], start: int) -> bool:
    return not sent[:start].any()


def by_distance(exact: Exact) -> Int[np.ndarray, " partition"]:
    """Partitions in the order of their mean pairwise distance."""
    _, first = np.unique(exact.partition, return_index=True)
    return np.argsort(exact.self_distance[first], kind="stable")


def interval_roc(
    exact: Exact, budget: float, book: Ledger | None = None, both: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The best ROC of interval rules, over where the interval lies (chapter 10, eq. ha-interval).

    The paper's rule alarms above the interval, and inside it where the cross distance is at least a threshold. With
    `both`, alarms are by likelihood everywhere, and only what is sent on is an interval.
    """
    book = book or ledger(exact)
    starts = interval_starts(exact, book, budget)
    if both:
        rates = [book.rates(np.broadcast_to(sent, book.right_asked.shape)) for sent in starts]
        return envelope(exact, *(np.concatenate(side) for side in zip(*rates, strict=True)))
    order, level = by_distance(exact), np.unique(np.round(exact.cross_distance, 9), return_inverse=True)[1]
    sides = []
    for mass in (exact.right, exact.wrong):
        at_least = np.zeros((exact.partition.max() + 1, level.max() + 2))
        np.add.at(at_least, (exact.partition, level), mass)
        at_least = at_least[:, ::-1].cumsum(1)  # mass of a partition whose cross distance reaches each level
        whole = at_least[:, -1:]
        rates = []
        for start, sent in enumerate(starts):
            above = np.zeros(len(order), dtype=bool)
            last = np.flatnonzero(sent[order])[-1] if sent.any() else start
            above[order[last:]] = True  # of the last partition, what is not sent on lies above
            rates.append((sent[:, None] * at_least + ((1 - sent) * above)[:, None] * whole).sum(0))
        sides.append(np.concatenate(rates))
    return envelope(exact, *sides)


def envelope(exact: Exact, false: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least concave curve over masses of alarms, as rates: what lots between policies of one budget reach."""
    x = np.concatenate([[0.0, 1.0], np.ravel(false) / exact.right.sum()])
    y = np.concatenate([[0.0, 1.0], np.ravel(true) / exact.wrong.sum()])
    kept: list[tuple[float, float]] = []
    for point in sorted(set(zip(x.tolist(), y.tolist(), strict=True))):
        while len(kept) > 1 and below_line(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return tuple(np.array(kept).T)


def below_line(a: tuple, b: tuple, c: tuple) -> bool:
    """Whether b lies on or below the line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) >= (b[1] - a[1]) * (c[0] - a[0])


def error_of(exact: Exact, roc: tuple[np.ndarray, np.ndarray], slope: float = 1.0) -> float:
    """Least share of missed wrong answers plus `slope` times false alarms on a ROC."""
    false, true = roc
    return float(((1 - true) * exact.wrong.sum() + slope * false * exact.right.sum()).min())
