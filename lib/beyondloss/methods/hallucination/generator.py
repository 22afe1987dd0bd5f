"""Questions from a finite class model, where the best detector is known exactly (chapter 10, section 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beyondloss.methods.hallucination import metrics, theory
from beyondloss.methods.hallucination.detectors import Cascade, GraphOracle, TwoStage
from beyondloss.methods.hallucination.evidence import Evidence, class_evidence

BUDGETS = tuple(round(0.1 * i, 1) for i in range(11))
RULES = {
    "interval": lambda budget: TwoStage(budget=budget),
    "value": lambda budget: Cascade(budget=budget),
    "random": lambda budget: Cascade(budget=budget, route="random"),
    "planned": lambda budget: Cascade(budget=budget, slope=1.0),
}
FRONTIERS = {
    "best": theory.best_roc,
    "interval": theory.interval_roc,
    "interval_both": lambda exact, budget, book: theory.interval_roc(exact, budget, book, both=True),
    "random": theory.random_roc,
}
TILES = 2  # copies of each outcome, each with a lot of its own where a rule draws lots

TRUTH, MISTAKE, OTHER = 0, 1, 2  # classes: the right one, the target's wrong one, another wrong one
KNOWN_PEAKS, UNSURE_PEAKS, VERIFIER_PEAKS = (0.95, 0.85, 0.7), (0.5, 0.4, 0.3), (0.95, 0.8, 0.6)


@dataclass(frozen=True)
class GeneratorPoint:
    """One world of the class model, seen through m samples of either model.

    confident: share of the wrong answers that the target gives confidently. shared: how often the verifier gives the
    same wrong answer there. verifier_error: how often it is wrong otherwise. The seed draws the rest of the world.
    """

    confident: float = 0.3
    shared: float = 0.3
    verifier_error: float = 0.2
    m: int = 10
    classes: int = 5
    calibration: int = 400
    seed: int = 0

    def __post_init__(self):
        for name in ("confident", "shared", "verifier_error"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, got {getattr(self, name)}")
        if self.m < 2 or self.classes < 3:
            raise ValueError("the class model needs m of at least 2 and at least 3 classes")


def law(classes: int, mode: int, peak: float, second: int | None = None) -> Float[np.ndarray, " class"]:
    """`peak` on the mode; half of the rest on `second`, if there is one, and what is left evenly on the others."""
    heavy = {mode: peak} | ({} if second is None else {second: (1 - peak) / 2})
    rest = (1 - sum(heavy.values())) / (classes - len(heavy))
    return np.array([heavy.get(c, rest) for c in range(classes)])


def population(point: GeneratorPoint) -> theory.Population:
    """The kinds of questions of a world and their frequencies (chapter 10, section 9)."""
    generator = np.random.default_rng([7, point.seed])
    wrong, doubtful = generator.uniform(0.3, 0.5), generator.uniform(0.05, 0.25)
    peaks = {peaks: generator.dirichlet([4.0] * 3) for peaks in (KNOWN_PEAKS, UNSURE_PEAKS, VERIFIER_PEAKS)}
    answers = [  # share of the questions, label, mode, second choice, peaks
        ((1 - wrong) * (1 - doubtful), 0.0, TRUTH, None, KNOWN_PEAKS),
        ((1 - wrong) * doubtful, 0.0, TRUTH, MISTAKE, UNSURE_PEAKS),
        (wrong * point.confident, 1.0, MISTAKE, None, KNOWN_PEAKS),
        (wrong * (1 - point.confident), 1.0, MISTAKE, TRUTH, UNSURE_PEAKS),
    ]
    kinds = []
    for share, label, mode, second, heights in answers:
        misled = label == 1.0 and heights is KNOWN_PEAKS
        shared = point.shared if misled else 0.0
        checks = {
            TRUTH: (1 - shared) * (1 - point.verifier_error),
            OTHER: (1 - shared) * point.verifier_error,
            MISTAKE: shared,
        }
        for peak, often in zip(heights, peaks[heights], strict=True):
            for verifier_mode, chance in checks.items():
                for verifier_peak, how_often in zip(VERIFIER_PEAKS, peaks[VERIFIER_PEAKS], strict=True):
                    target = law(point.classes, mode, peak, second)
                    verifier = law(point.classes, verifier_mode, verifier_peak)
                    kinds.append((share * often * chance * how_often, label, target, verifier))
    return theory.Population(*(np.array(column) for column in zip(*kinds, strict=True)))


def run_generator(points: Sequence[GeneratorPoint]) -> list[dict]:
    """Exact AUROC of scores and oracles, and of fitted two-stage rules, one world a point."""
    return [measured(point) for point in points]


def measured(point: GeneratorPoint) -> dict:
    exact = theory.enumerate_population(population(point), point.m, point.m)
    given = classes_of(exact)
    right, wrong = (np.tile(side, TILES) / TILES for side in (exact.right, exact.wrong))
    seen, labels = drawn(exact, point.calibration, point.seed)
    calibration = given.of(seen)
    everything = given.of(np.tile(np.arange(len(given)), TILES))
    found = {
        "self": exact.auroc(exact.self_distance),
        "self_oracle": exact.auroc(exact.self_oracle),
        "cross": exact.auroc(exact.cross_distance),
        "cross_oracle": exact.auroc(exact.cross_oracle),
        "wrong_share": float(exact.wrong.sum()),
        "budget": list(BUDGETS),
    }
    for name, detector in {"gcn_self": GraphOracle(), "gcn_cross": GraphOracle(cross=True)}.items():
        found[name] = exact.auroc(detector.fit(calibration, labels).score(given).risk)
    for rule, make in RULES.items():
        results = [make(budget).fit(calibration, labels).score(everything) for budget in BUDGETS]
        found[rule] = [metrics.auroc(r.risk, right, wrong) for r in results]
        found[f"{rule}_error"] = [metrics.least_error(r.risk, right, wrong) for r in results]
        found[f"{rule}_asked"] = [float((r.asked * (right + wrong)).sum()) for r in results]
    book = theory.ledger(exact)
    for name, roc in FRONTIERS.items():
        rocs = [roc(exact, budget, book) for budget in BUDGETS]
        found[f"exact_{name}"] = [float(np.trapezoid(true, false)) for false, true in rocs]
        found[f"exact_{name}_error"] = [theory.error_of(exact, pair) for pair in rocs]
    return found


def classes_of(exact: theory.Exact) -> Evidence:
    """Every outcome as samples of a question: classes repeated as often as they were counted."""
    repeated = lambda counts: np.array([np.repeat(np.arange(counts.shape[1]), row) for row in counts])  # noqa: E731
    return class_evidence(repeated(exact.own), repeated(exact.cross))


def drawn(exact: theory.Exact, questions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of some questions and their labels, at random."""
    generator = np.random.default_rng([11, seed])
    both = np.concatenate([exact.right, exact.wrong])
    index = generator.choice(len(both), size=questions, p=both / both.sum())
    return index % len(exact.right), index >= len(exact.right)
