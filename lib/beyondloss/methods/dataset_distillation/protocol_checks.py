"""Two checks of how sets are judged: views by choice, and references that train longer (chapter 6, section 7)."""

from collections.abc import Sequence
from dataclasses import dataclass

from beyondloss.methods.dataset_distillation import rates
from beyondloss.methods.dataset_distillation.evaluation import KINDS_OF, Judged, Results
from beyondloss.methods.dataset_distillation.students import accuracy


@dataclass(frozen=True)
class ChoicePoint(Judged):
    """One side of claim 6.1: random images have soft labels, sets of other methods hard ones."""

    @property
    def labels(self) -> str:
        return "soft" if self.method == "random" else "hard"


def run_choice(points: Sequence[ChoicePoint]) -> list[dict]:
    """Measure points that differ in the seed alone: accuracies where validation chooses the views, or may not."""
    point = points[0]
    bench = point.bench([p.seed for p in points])
    made = point.distilled(bench, rates.tuned(point.dataset, point.method, point.per_class))
    targets = bench.one_hot(made.labels)
    plain, augmented = (
        Results.joined([bench.results(made.images, targets, point.labels, kind) for kind in KINDS_OF[views]])
        for views in (False, True)
    )
    free = Results.joined([plain, augmented])
    return [
        {
            "by choice": float(free.chosen[seed].mean()),
            "without augmentation": float(plain.chosen[seed].mean()),
            "augmented": float(augmented.chosen[seed].mean()),
            "by views and rate": free.test[seed].mean(-1).tolist(),
        }
        for seed in range(len(points))
    ]


@dataclass(frozen=True)
class ReferencePoint(Judged):
    """What sets are compared with and labelled by; the method is not looked at."""


def run_references(points: Sequence[ReferencePoint]) -> list[dict]:
    """Measure points that differ in the seed alone: accuracy of the whole training part's students, and the teacher."""
    bench = points[0].bench([p.seed for p in points])
    teacher = accuracy(bench.network, bench.teacher.weights, bench.split.test, bench.split.test_labels)
    return [
        {"whole": float(whole), "teacher": float(own)}
        for whole, own in zip(bench.whole, teacher, strict=True)
    ]
