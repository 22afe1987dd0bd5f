"""How an update is added to the weights: scaled, cut in rank, or without what lies in W0's top subspace.

model = safety_lora.merge(base, adapter, remove=16, scale=0.8)
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.experiment import BadInput, choose
from beyondloss.methods.safety_lora.weights import changed_matrices, is_matrix, lora_layers

SIDES = ("column", "row")


def merge(
    base: Any,
    tuned: Any,
    remove: int = 0,
    scale: float = 1.0,
    side: str = "column",
    rank: int | None = None,
) -> nn.Module:
    """A new model: base weights plus `scale` times the update, without its part in the top subspace of W0.

    base: a `transformers` model. tuned: its tuned version, a `peft` model over it, or a folder of either.
    remove: how many top singular directions of W0 the update leaves: those it writes to (side "column": D - U_k U_k^T
    D) or reads from ("row": D - D V_k V_k^T). rank: keep so many singular values of each update. Weights that are no
    matrices between activations (norms, embeddings, heads) are scaled along. Raises BadInput.
    """
    choose("side", side, SIDES)
    if isinstance(remove, bool) or not isinstance(remove, int) or remove < 0:
        raise BadInput(f"remove is a number of singular directions, 0 or more, not {remove!r}")
    if rank is not None and (not isinstance(rank, int) or rank < 1):
        raise BadInput(f"rank must be at least 1, not {rank!r}")
    if not torch.tensor(float(scale)).isfinite():
        raise BadInput(f"scale must be a finite number, not {scale!r}")
    if not isinstance(base, nn.Module):
        raise BadInput(f"base is a transformers model that is loaded, not {type(base).__name__}")
    merged = without_adapters(base)
    weights = dict(merged.named_parameters())
    with torch.no_grad():
        if isinstance(tuned, nn.Module) and not lora_layers(tuned):
            add_the_rest(weights, tuned, scale)
        for matrix in changed_matrices(base, tuned):
            update = matrix.update.matrix()
            update = cut(update, rank) if rank else update
            update = scale * outside(update, matrix.base, remove, side)
            target = weights[matrix.name]
            turned = target.shape != update.shape or is_turned(merged, matrix.name)
            target.add_((update.T if turned else update).to(target))
    return merged


def without_adapters(base: nn.Module) -> nn.Module:
    """A copy of a model, without what `peft` put into it."""
    copied = copy.deepcopy(base)
    if not hasattr(copied, "peft_config"):
        return copied
    return copied.unload()


def is_turned(model: nn.Module, name: str) -> bool:
    """Whether a layer stores its matrix transposed (GPT-2's do)."""
    return type(model.get_submodule(name.removesuffix(".weight"))).__name__ == "Conv1D"


def add_the_rest(weights: dict[str, Tensor], tuned: nn.Module, scale: float) -> None:
    """Scale the change of all that is no matrix between activations."""
    after = dict(tuned.named_parameters())
    if after.keys() != weights.keys():
        stranger = min(after.keys() ^ weights.keys())
        raise BadInput(
            f"base and tuned differ in their weights, {stranger} for one: are they the same architecture?"
        )
    for name, weight in weights.items():
        if not is_matrix(name, weight.dim()):
            if after[name].shape != weight.shape:
                raise BadInput(
                    f"{name} has shape {tuple(weight.shape)} in base and {tuple(after[name].shape)} in tuned"
                )
            weight.add_(scale * (after[name].to(weight) - weight))


def outside(
    update: Float[Tensor, "m n"], base: Float[Tensor, "m n"], k: int, side: str
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


def cut(update: Float[Tensor, "m n"], rank: int) -> Float[Tensor, "m n"]:
    """The nearest update of a rank."""
    left, values, right = torch.linalg.svd(update, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]
