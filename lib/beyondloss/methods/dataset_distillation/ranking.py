"""Which set is best, and by which measure? Every method under every recipe (chapter 6, sections 6 and 7)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from beyondloss.methods.dataset_distillation import rates
from beyondloss.methods.dataset_distillation.distillation import Distilled
from beyondloss.methods.dataset_distillation.evaluation import Judged, corners

DRAWN = 64  # largest image, in pixels, of which a point keeps a drawing
LEVELS = 16  # grey levels of it, one hexadecimal digit a pixel


@dataclass(frozen=True)
class RankingPoint(Judged):
    """Distil one set with one method and judge it under all four recipes."""


def run_ranking(points: Sequence[RankingPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: accuracies at the four corners, by learning rate and elsewhere."""
    point = points[0]
    bench = point.bench([p.seed for p in points])
    made = point.distilled(bench, rates.tuned(point.dataset, point.method, point.per_class))
    targets = bench.one_hot(made.labels)
    results = corners(bench, made.images, targets)
    elsewhere = bench.results(made.images, targets, "hard", "none", bench.other)
    metrics = [{} for _ in points]
    for seed, metric in enumerate(metrics):
        for name, result in results.items():
            metric[name] = float(result.chosen[seed].mean())
            metric[f"{name}, rounds"] = result.chosen[seed].tolist()
            metric[f"{name}, optimism"] = float(result.optimism[seed])
        metric["hard by lr"] = results["hard"].test[seed].mean(-1).tolist()
        metric["soft by lr"] = results["soft, augmented"].test[seed, -len(point.lrs) :].mean(-1).tolist()
        metric["two-layer"] = float(elsewhere.chosen[seed].mean())
        metric["whole"] = float(bench.whole[seed])
        metric["pictures"] = pictures(made, seed, points[seed])
    return metrics


def pictures(made: Distilled, member: int, point: RankingPoint) -> list[str]:
    """Seed 0's images at every stage where they are few and small, one string a stage; else nothing."""
    kept = point.seed == 0 and point.per_class == 1 and made.images[0, 0].numel() <= DRAWN
    return [drawn(stage[member]) for stage in made.stages] if kept else []


def drawn(images: Float[Tensor, "image channel height width"], low: float = -1.0, high: float = 2.0) -> str:
    """Pixels between `low` and `high`, one hexadecimal digit each."""
    levels = ((images - low) / (high - low) * (LEVELS - 1)).round().clamp(0, LEVELS - 1)
    return "".join(f"{int(level):x}" for level in torch.flatten(levels))
