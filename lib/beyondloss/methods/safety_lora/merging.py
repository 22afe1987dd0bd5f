"""How an update is added to the weights: scaled, cut in rank, or without what lies in W0's top subspace.

model = safety_lora.merge(base, adapter, remove=16, scale=0.8)
"""

import copy
import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.experiment import BadInput, choose
from beyondloss.methods.safety_lora.overlap import ONE_SIDED
from beyondloss.methods.safety_lora.weights import (
    changed_matrices,
    in_float32,
    is_adapter,
    is_turned,
    left_out,
    parameters_of,
)


def merge(
    base: Any,
    tuned: Any,
    remove: Integral = 0,
    scale: Real = 1.0,
    side: str = "column",
    rank: Integral | None = None,
) -> nn.Module:
    """A new model: base weights plus `scale` times the update, without its part in the top subspace of W0.

    base: a `transformers` model. tuned: its tuned version, a `peft` model over it, or a folder of either.
    remove: how many top singular directions of W0 the update leaves: those it writes to (side "column": D - U_k U_k^T
    D) or reads from ("row": D - D V_k V_k^T). rank: keep so many singular values of each update. Weights that are no
    matrices between activations (norms, embeddings, heads) are scaled along; an adapter that changes such weights is
    refused. Raises BadInput.
    """
    choose("side", side, ONE_SIDED)
    check_numbers(remove, rank, scale)
    if not isinstance(base, nn.Module):
        raise BadInput(f"base is a transformers model that is loaded, not {type(base).__name__}")
    if beside := left_out(tuned):
        raise BadInput(
            f"{beside[0]} is changed by the adapter too, but is no matrix between activations, which alone are "
            "merged: give the model with the adapter in its weights (merge_and_unload)"
        )
    merged = without_adapters(base)
    weights, done = dict(merged.named_parameters()), set()
    with torch.no_grad():
        for matrix in changed_matrices(base, tuned):
            update = matrix.update.matrix()
            update = cut(update, rank) if rank else update
            update = float(scale) * outside(update, matrix.base, remove, side)
            turned = is_turned(merged.get_submodule(matrix.name.removesuffix(".weight")))
            target = weights[matrix.name]
            target.add_((update.T if turned else update).to(target))
            done.add(matrix.name)
        if not is_adapter(tuned):
            add_the_rest(merged, tuned, done, float(scale))
    return merged


def check_numbers(remove: Any, rank: Any, scale: Any) -> None:
    """BadInput for options of `merge` that are no such numbers; numpy's are numbers, texts and flags are not."""
    if not is_whole(remove, 0):
        raise BadInput(f"remove is a number of singular directions, 0 or more, not {remove!r}")
    if rank is not None and not is_whole(rank, 1):
        raise BadInput(f"rank must be at least 1, not {rank!r}")
    if isinstance(scale, bool) or not isinstance(scale, Real) or not math.isfinite(scale):
        raise BadInput(f"scale must be a finite number, not {scale!r}")


def is_whole(number: Any, least: int) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and bool(number >= least)


def without_adapters(base: nn.Module) -> nn.Module:
    """A copy of a model, without what `peft` put into it."""
    copied = copy.deepcopy(base)
    if not hasattr(copied, "peft_config"):
        return copied
    return copied.unload()


def add_the_rest(merged: nn.Module, tuned: nn.Module | str | Path, done: set[str], scale: float) -> None:
    """Scale the change of every weight that is not `done`: of all that is no matrix between activations."""
    after = parameters_of(tuned)
    weights = dict(merged.named_parameters())
    refuse_strangers(merged, weights, after)
    for name in weights.keys() - done:
        wanted, weight = in_float32(name, after[name]), weights[name]
        if wanted.shape != weight.shape:
            raise BadInput(
                f"{name} has shape {tuple(weight.shape)} in base and {tuple(wanted.shape)} in tuned"
            )
        weight.add_((scale * (wanted.to(weight.device) - weight.float())).to(weight))


def refuse_strangers(merged: nn.Module, weights: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """BadInput for a weight that one of the two lacks. A file may hold buffers, and a tied weight under both names."""
    strangers = (weights.keys() - after.keys()) | (after.keys() - merged.state_dict().keys())
    if strangers:
        raise BadInput(
            f"base and tuned differ in their weights, {min(strangers)} for one: are they the same architecture?"
        )
    first_name = {id(weight): name for name, weight in weights.items()}
    for name, weight in merged.named_parameters(remove_duplicate=False):
        first = first_name[id(weight)]
        if name != first and name in after and not torch.equal(after[name], after[first]):
            raise BadInput(f"base ties {name} to {first}, but in tuned the two differ")


def outside(
    update: Float[Tensor, "m n"], base: Float[Tensor, "m n"], k: Integral, side: str
) -> Float[Tensor, "m n"]:
    """The update without its part in the top k singular directions of W0, on one side."""
    if not k:
        return update
    if k > min(base.shape):
        raise BadInput(
            f"remove must be at most {min(base.shape)} for a matrix of shape {tuple(base.shape)}, not {k}"
        )
    left, _, right = torch.linalg.svd(base, full_matrices=False)
    if side == "column":
        top = left[:, :k]
        return update - top @ (top.T @ update)
    top = right[:k].T
    return update - (update @ top) @ top.T


def cut(update: Float[Tensor, "m n"], rank: Integral) -> Float[Tensor, "m n"]:
    """The nearest update of a rank."""
    left, values, right = torch.linalg.svd(update, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]
