"""A reader's own way of merging, tried on one model of the small world beside smaller steps along the same update."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn

from beyondloss.experiment import BadInput
from beyondloss.methods.safety_lora.arms import named
from beyondloss.methods.safety_lora.fronts import FrontPoint, evaluated, setting, tune
from beyondloss.methods.safety_lora.merging import merge
from beyondloss.methods.safety_lora.weights import changed_matrices

SCALES = (0.25, 0.5, 0.75, 1.0)
METRICS = ("refusal", "over_refusal", "reasoning", "benign_right")


def tried(
    merging: Callable[[Tensor, Tensor], Tensor], arm: str, lr: float, point: FrontPoint
) -> pd.DataFrame:
    """One row a way of merging the update of one tuning: "yours" and the scales of the line, with what each keeps.

    merging: from a base matrix [m, n] and its update to the new matrix. point: its seed and sizes; the base is trained
    where it isn't kept. Raises BadInput for an answer that is no finite matrix of the shape.
    """
    point = replace(point, tuning=f"{arm} at {lr:.1e}")
    here = setting(point)
    with warnings.catch_warnings():  # peft asks a model of transformers by a name that is going to change
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
        tuned, _ = tune(point, named(point.tuning)[1], lr, here)
    models = {"yours": merged_by(merging, here.base, tuned)}
    models |= {f"scale {scale:g}": merge(here.base, tuned, scale=scale) for scale in SCALES}
    rows = []
    for name, model in models.items():
        found = evaluated(model, here)
        rows.append({"merged": name} | {metric: found[metric] for metric in METRICS})
    table = pd.DataFrame(rows)
    return table.assign(kept=(table["reasoning"] + table["benign_right"]) / 2)


@torch.no_grad()
def merged_by(merging: Callable[[Tensor, Tensor], Tensor], base: nn.Module, tuned: nn.Module) -> nn.Module:
    """A copy of the base in which every tuned matrix is what `merging` makes of it and its update."""
    merged = merge(base, tuned, scale=0.0)
    weights = dict(merged.named_parameters())
    for matrix in changed_matrices(base, tuned):
        start = matrix.base.clone()  # so that a function may write into what it gets
        new = merging(start, matrix.update.matrix().clone())
        if not isinstance(new, Tensor) or new.shape != matrix.base.shape:
            raise BadInput(f"{matrix.name}: return a matrix of shape {tuple(matrix.base.shape)}")
        if not torch.isfinite(new).all():
            raise BadInput(f"{matrix.name}: your matrix has entries that are not finite")
        weights[matrix.name].copy_(new)
    return merged
