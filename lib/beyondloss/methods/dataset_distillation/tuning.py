"""The written procedure by which every method's image learning rate was chosen (chapter 6, section 5).

For each method and for 1 and 10 images a class: the learning rate of its grid at which students reach the greatest
mean validation accuracy over the tuning seeds, trained under the labels and augmentation that the method was published
with. Test images are never looked at. Where a size was not tuned, the choice of the next smaller one is used: that is
so for every method with 50 images a class, and for MTT and the decoupled method with 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beyondloss.methods.dataset_distillation.evaluation import KINDS_OF, Judged, Results
from beyondloss.methods.dataset_distillation.settings import METHODS


@dataclass(frozen=True)
class TuningPoint(Judged):
    """Distil one set with one learning rate of the images; validate it under the method's own recipe."""

    place: int = 0  # of the learning rate in the method's grid

    def __post_init__(self):
        super().__post_init__()
        if not METHODS[self.method].grid:
            raise ValueError(f"method {self.method!r} has no learning rate to tune")


def run_tuning(points: Sequence[TuningPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: the greatest validation accuracy under the method's own recipe."""
    point = points[0]
    entry, bench = METHODS[point.method], point.bench([p.seed for p in points])
    made = point.distilled(bench, lr := entry.grid[point.place])
    targets = bench.one_hot(made.labels)
    kinds = KINDS_OF[entry.augmented]
    found = Results.joined([bench.results(made.images, targets, entry.labels, kind) for kind in kinds])
    return [{"image_lr": lr, "validated": float(v)} for v in found.validation.mean(-1).amax(-1)]
