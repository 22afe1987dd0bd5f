"""Detectors of hallucination behind one interface: `fit(samples, wrong, ...)`, then `score(samples, ...)`.

    detector = TwoStage(budget=0.3).fit(samples, wrong, verifier=drawn)
    risk, asked = detector.score(new_samples, verifier=ask_another_model)

`samples` are the target's answers, a list a question (or ready `Evidence`), `wrong` the labels of a few hundred
questions for calibration, `verifier` the second model's answers or a function that gets them for chosen questions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from beyondloss.experiment import choose
from beyondloss.methods.hallucination import metrics, scores
from beyondloss.methods.hallucination.evidence import Evidence, Samples, Verifier, evidence
from beyondloss.methods.hallucination.kernels import Equality, Kernel

Scores = Float[np.ndarray, " question"]
Asked = Bool[np.ndarray, " question"]

POSITIONS = 21  # of the interval, tried on the calibration questions
NEIGHBOURS = 0.05  # share of the calibration questions over which the value of asking is averaged


class Scored(NamedTuple):
    """A risk for each question, and for which of them the verifier was asked."""

    risk: Scores
    asked: Asked


@dataclass(kw_only=True)
class Detector:
    """What all detectors share. A subclass says what it learns in `learn` and how it judges in `judge`."""

    kernel: Kernel = field(default_factory=Equality)

    def fit(self, samples: Samples | Evidence, wrong, verifier: Verifier | None = None, answers=None):
        """Learn from questions with labels; returns the detector. What the verifier says here is not counted."""
        wrong = metrics.checked_labels(wrong)
        given = self.evidence(samples, verifier, answers)
        if len(wrong) != len(given):
            raise ValueError(f"{len(given)} questions but {len(wrong)} labels")
        if wrong.all() or not wrong.any():
            raise ValueError("calibration needs right and wrong answers: all labels are the same")
        self.learn(given, wrong)
        return self

    def score(self, samples: Samples | Evidence, verifier: Verifier | None = None, answers=None) -> Scored:
        given = self.evidence(samples, verifier, answers)
        given.paid[:] = False
        return Scored(self.judge(given), given.paid.copy())

    def evidence(self, samples: Samples | Evidence, verifier: Verifier | None, answers) -> Evidence:
        return samples if isinstance(samples, Evidence) else evidence(samples, verifier, answers, self.kernel)

    def learn(self, given: Evidence, wrong: Bool[np.ndarray, " question"]) -> None:
        """Most scores need no labels."""

    def judge(self, given: Evidence) -> Scores:
        raise NotImplementedError


@dataclass
class SelfConsistency(Detector):
    """One score of the target's own samples; needs no labels and no verifier."""

    statistic: str = "mean pairwise distance"

    def __post_init__(self):
        choose("statistic", self.statistic, scores.OF_SAMPLES)

    def judge(self, given: Evidence) -> Scores:
        return scores.OF_SAMPLES[self.statistic](given.own)


@dataclass
class SelfCheck(Detector):
    """How little the samples support the judged answer, in the manner of SelfCheckGPT; needs `answers`."""

    def judge(self, given: Evidence) -> Scores:
        if given.answer is None:
            raise ValueError("SelfCheck compares the judged answer with the samples: give `answers`")
        return scores.self_check(given.answer)


@dataclass
class CrossConsistency(Detector):
    """Distance to the verifier's samples, always asked; `mmd` compares the laws, not the answers."""

    mmd: bool = False

    def judge(self, given: Evidence) -> Scores:
        cross, verifier = given.cross(everything(given))
        return scores.squared_mmd(given.own, cross, verifier) if self.mmd else scores.cross_distance(cross)


def everything(given: Evidence) -> Asked:
    return np.ones(len(given), dtype=bool)


@dataclass
class TwoStage(Detector):
    """The paper's rule: believe the self-consistency score outside an interval, ask the verifier inside it.

    The interval holds a share `budget` of the calibration questions; where it lies is chosen by AUROC on them (chapter
    10, eq. ha-interval). The composite score keeps the order "below, inside by cross distance, above". `start` fixes
    the share of questions below the interval instead.
    """

    budget: float = 0.3
    start: float | None = None
    seed: int = 0
    low: float = field(init=False, default=float("nan"))
    high: float = field(init=False, default=float("nan"))

    def __post_init__(self):
        if not 0 <= self.budget <= 1:
            raise ValueError(f"the budget is a share of the questions, got {self.budget}")

    def learn(self, given: Evidence, wrong: Bool[np.ndarray, " question"]) -> None:
        own, cross = self.own(given), scores.cross_distance(given.cross(everything(given))[0])
        sides = metrics.masses(wrong)
        starts = [self.start] if self.start is not None else np.linspace(0, 1 - self.budget, POSITIONS)
        tried = [interval(own, start, self.budget) for start in starts]
        found = [metrics.auroc(composite(own, cross, inside(own, *ends), ends[0]), *sides) for ends in tried]
        self.low, self.high = tried[int(np.argmax(found))]

    def own(self, given: Evidence) -> Scores:
        return lots(scores.mean_pairwise_distance(given.own), self.seed)

    def judge(self, given: Evidence) -> Scores:
        own = self.own(given)
        asked = inside(own, self.low, self.high)
        cross = np.zeros(len(own))
        if asked.any():
            cross[asked] = scores.cross_distance(given.cross(asked)[0])
        return composite(own, cross, asked, self.low)


def lots(values: Scores, seed: int) -> Scores:
    """The same values with ties broken by lot, so that a threshold can meet any share of them."""
    return values + 1e-7 * np.random.default_rng(seed).random(len(values))


def interval(own: Scores, start: float, budget: float) -> tuple[float, float]:
    """Ends of the half-open interval that holds a share `budget` of the scores, above a share `start`."""
    low, high = np.quantile(own, [start, min(start + budget, 1.0)])
    return float(low) if start > 0 else -np.inf, float(high) if start + budget < 1 else np.inf


def inside(own: Scores, low: float, high: float) -> Asked:
    return (own >= low) & (own < high)


def composite(own: Scores, cross: Scores, asked: Asked, low: float) -> Scores:
    """One score whose order is: below the interval, inside it by the cross distance, above it."""
    return np.where(asked, cross, own + np.where(own < low, -10.0, 10.0))


@dataclass
class Cascade(Detector):
    """Two probabilities of being wrong, from the own score and from both, and a rule for whom to ask.

    `route="value"` asks where the answer is expected to raise the AUROC most (chapter 10, eq. ha-ranking); with a
    `slope`, the price of a false alarm in missed wrong answers, where a decision is expected to gain most (chapter 10,
    eq. ha-value). `route="random"` is the control at the same price. With budget 1 the detector is the plain logistic
    regression on both scores.
    """

    budget: float = 1.0
    route: str = "value"
    slope: float | None = None
    seed: int = 0

    def __post_init__(self):
        choose("route", self.route, ("value", "random"))
        if not 0 <= self.budget <= 1:
            raise ValueError(f"the budget is a share of the questions, got {self.budget}")

    def learn(self, given: Evidence, wrong: Bool[np.ndarray, " question"]) -> None:
        own = scores.mean_pairwise_distance(given.own)
        both = np.stack([own, scores.cross_distance(given.cross(everything(given))[0])], 1)
        self.first, self.second = fitted(own[:, None], wrong), fitted(both, wrong)
        first, second = self.first(own[:, None]), self.second(both)
        self.value = (
            self.decision_value(own, second) if self.slope else ranking_value(own, first, second, wrong)
        )
        self.bar = np.quantile(lots(self.value(own), self.seed), 1 - self.budget)

    def decision_value(self, own: Scores, second: Scores) -> Callable[[Scores], Scores]:
        """What asking saves where an alarm pays from a probability of slope / (1 + slope) on."""
        bar = self.slope / (1 + self.slope)
        asked, expected = smooth(own, (second - bar).clip(min=0)), smooth(own, second)
        return lambda new: asked(new) - (expected(new) - bar).clip(min=0)

    def judge(self, given: Evidence) -> Scores:
        own = scores.mean_pairwise_distance(given.own)
        asked = self.sent(own)
        risk = self.first(own[:, None])
        if asked.any():
            cross = scores.cross_distance(given.cross(asked)[0])
            risk[asked] = self.second(np.stack([own[asked], cross], 1))
        return risk

    def sent(self, own: Scores) -> Asked:
        """Which questions are sent on: by value, ties by lot, or all by lot."""
        if self.route == "random" or self.budget in (0, 1):
            return np.random.default_rng(self.seed).random(len(own)) < self.budget
        return lots(self.value(own), self.seed + 1) >= self.bar


def ranking_value(
    own: Scores, first: Scores, second: Scores, wrong: Bool[np.ndarray, " question"]
) -> Callable[[Scores], Scores]:
    """How much one question's move from its first to its second probability adds to the AUROC.

    A question of risk t that is wrong beats the right answers below t, one that is right is beaten by the wrong ones
    above t; `second` says how likely either is (chapter 10, eq. ha-ranking).
    """
    right_first, wrong_first = np.sort(first[~wrong]), np.sort(first[wrong])

    def below(ordered: Float[np.ndarray, " some"], risk: Scores) -> Scores:
        return (np.searchsorted(ordered, risk, "left") + np.searchsorted(ordered, risk, "right")) / (
            2 * len(ordered)
        )

    def won(risk: Scores) -> Scores:
        as_wrong, as_right = below(right_first, risk), 1 - below(wrong_first, risk)
        return second * as_wrong / wrong.sum() + (1 - second) * as_right / (~wrong).sum()

    return smooth(own, len(own) * (won(second) - won(first)))


def smooth(own: Scores, values: Scores) -> Callable[[Scores], Scores]:
    """Mean of `values` over the questions with the nearest own scores, as a function of the own score."""
    count = max(1, round(NEIGHBOURS * len(own)))

    def mean(new: Float[np.ndarray, " new"]) -> Float[np.ndarray, " new"]:
        levels, index = np.unique(new, return_inverse=True)
        distance = np.abs(levels[:, None] - own)
        near = distance <= np.sort(distance, axis=1)[:, count - 1 : count]
        return ((near * values).sum(1) / near.sum(1))[index]

    return mean


def fitted(features: Float[np.ndarray, "question feature"], wrong: Bool[np.ndarray, " question"]):
    """Probability of being wrong by logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=10.0)).fit(features, wrong)
    return lambda asked: model.predict_proba(asked)[:, 1]


@dataclass
class GraphOracle(Detector):
    """A two-layer graph network on the raw Gram matrices, trained with labels: what a learned score gets out of them.

    With `cross` it sees both models' samples as one graph. It stands for the supervised bound of the paper; the exact
    bound is `theory.Exact.self_oracle`.
    """

    cross: bool = False
    width: int = 16
    steps: int = 150
    seed: int = 0

    def learn(self, given: Evidence, wrong: Bool[np.ndarray, " question"]) -> None:
        graphs, labels = self.graphs(given), torch.tensor(wrong, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = GraphNetwork(self.width)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.02, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        # not the loop of `trainers`: a detector is fitted as one of scikit-learn's is, inside of `learn` and on all
        # questions at once, where batches, seeds side by side and checkpoints would be of no use
        for _ in range(self.steps):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(self.network(*graphs), labels)
            loss.backward()
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def judge(self, given: Evidence) -> Scores:
        return self.network(*self.graphs(given)).double().numpy()

    def graphs(self, given: Evidence) -> tuple[Tensor, Tensor]:
        """Adjacency matrices, and for each node which model said it."""
        whole = given.own
        if self.cross:
            cross, verifier = given.cross(everything(given))
            whole = np.block([[given.own, cross], [cross.transpose(0, 2, 1), verifier]])
        by_verifier = np.arange(whole.shape[1]) >= given.own.shape[1]
        return torch.tensor(whole, dtype=torch.float32), torch.tensor(by_verifier, dtype=torch.float32)


class GraphNetwork(nn.Module):
    """Two graph convolutions with one weight a kind of edge, pooled over the nodes of each model."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.Linear(5, width), nn.Linear(3 * width, width)
        self.readout = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(
        self, graphs: Float[Tensor, "question node node"], verifier: Float[Tensor, " node"]
    ) -> Float[Tensor, " question"]:
        sides = torch.stack([1 - verifier, verifier])
        weights = sides / sides.sum(1, keepdim=True).clamp(min=1)  # mean over the nodes of either model
        degrees = torch.einsum("qij,sj->qis", graphs, weights)
        inputs = torch.cat([degrees, degrees**2, verifier.expand(len(graphs), -1)[..., None]], -1)
        hidden = torch.relu(self.first(inputs))
        heard = [torch.einsum("qij,j,qjw->qiw", graphs, weight, hidden) for weight in weights]
        hidden = torch.relu(self.second(torch.cat([hidden, *heard], -1)))
        pooled = [torch.einsum("i,qiw->qw", weight, hidden) for weight in weights]
        return self.readout(torch.cat(pooled, -1)).squeeze(-1)


def catalogue(budgets: tuple[float, ...] = (), seed: int = 0) -> dict[str, Detector]:
    """Every detector of the chapter by name, the two-stage ones at each of the budgets."""
    found: dict[str, Detector] = {name: SelfConsistency(statistic=name) for name in scores.OF_SAMPLES}
    found |= {
        "self-check": SelfCheck(),
        "cross distance": CrossConsistency(),
        "MMD": CrossConsistency(mmd=True),
    }
    found |= {"self oracle": GraphOracle(seed=seed), "cross oracle": GraphOracle(cross=True, seed=seed)}
    for budget in budgets:
        found[f"interval {budget:g}"] = TwoStage(budget=budget)
        found[f"value {budget:g}"] = Cascade(budget=budget)
        found[f"random {budget:g}"] = Cascade(budget=budget, route="random", seed=seed)
    return found
