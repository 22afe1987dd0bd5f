"""The written procedure by which every method's image learning rate was chosen (chapter 6, section 5).

For digits at 1, 10 and 50 images a class, for Fashion-MNIST at 1 and 10, and for each method: the learning rate, of
six, at which students reach the greatest mean validation accuracy over the tuning seeds, with the kind of labels that
the method was published with, and on augmented views if it was published with them; of rates that tie, the smallest.
Test images are never looked at. Beside it stands what the images reach that the method starts from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from beyondloss.methods.dataset_distillation.evaluation import KINDS_OF, Bench, Judged, Results
from beyondloss.methods.dataset_distillation.settings import METHODS, Entry


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
    reached = [validated(bench, images, made.labels, entry) for images in (made.images, made.stages[0])]
    return [{"image_lr": lr, "validated": float(v), "start": float(s)} for v, s in zip(*reached, strict=True)]


def validated(bench: Bench, images: Tensor, labels: Tensor, entry: Entry) -> Float[Tensor, " seed"]:
    """The greatest validation accuracy under a method's own recipe."""
    targets, kinds = bench.one_hot(labels), KINDS_OF[entry.augmented]
    found = Results.joined([bench.results(images, targets, entry.labels, kind) for kind in kinds])
    return found.validation.mean(-1).amax(-1)
