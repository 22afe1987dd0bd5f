"""A penalty on the overlap of an update with the initial weights, to be added to the loss in training.

penalty = safety_lora.OverlapPenalty(model, side="row")   # before training
loss = loss + strength * penalty(model)
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.experiment import BadInput, choose
from beyondloss.methods.safety_lora.overlap import top_factors
from beyondloss.methods.safety_lora.weights import in_float32, is_matrix, lora_layers


class OverlapPenalty:
    """Mean over the trained matrices of overlap (1 = chance) times (|D| / |W0|)^2 (chapter 8, eq. sl-penalty).

    model: before training; its weights are the initial ones. With a `peft` model D is the product of its adapter, else
    what was added to the weight. side: "column" or "row". k: only the top k singular values of W0 count. weighted:
    whether they weigh as their squares. Calling it on the same model gives a scalar with a gradient. Raises BadInput.
    """

    def __init__(
        self,
        model: nn.Module,
        side: str = "row",
        k: int | None = None,
        weighted: bool = True,
    ):
        self.side = choose("side", side, ("column", "row"))
        if not weighted and k is None:
            raise BadInput(
                "the uniform overlap is one by definition without k: give the size of the top subspace"
            )
        self.terms: dict[str, tuple[Tensor, Tensor | None]] = {}
        with torch.no_grad():
            for name, base, _ in trained_matrices(model):
                start = None if lora_layers(model) else base.clone()
                self.terms[name] = self.moment(name, base, k, weighted), start
        if not self.terms:
            raise BadInput("the model trains no matrix between activations: nothing can be penalised")

    def moment(self, name: str, base: Float[Tensor, "m n"], k: int | None, weighted: bool) -> Tensor:
        """What D is weighed with: |D|_K^2 = tr(K D D^T) or tr(D K D^T) is overlap times (|D| / |W0|)^2."""
        if k is not None and not 1 <= k <= min(base.shape):
            raise BadInput(f"k must be between 1 and {min(base.shape)} for {name}, not {k}")
        if k is None:
            kept = base if self.side == "column" else base.T
        else:
            kept = top_factors(base, k, weighted)[self.side == "row"]
        moment = kept @ kept.T
        # tr K = size of the side would make an isotropic D count as its energy; then in units of |W0|^2
        return moment * (len(moment) / moment.trace() / base.square().sum())

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        found = {name: (base, factors) for name, base, factors in trained_matrices(model)}
        if found.keys() != self.terms.keys():
            raise BadInput("the model's trained matrices are not those that the penalty was made for")
        total = torch.zeros((), device=next(model.parameters()).device)
        for name, (moment, start) in self.terms.items():
            base, factors = found[name]
            total = total + self.term(moment, base - start if start is not None else None, factors)
        return total / len(self.terms)

    def term(self, moment: Tensor, dense: Tensor | None, factors: tuple[Tensor, Tensor] | None) -> Tensor:
        if dense is not None:
            return (moment @ dense * dense).sum() if self.side == "column" else (dense @ moment * dense).sum()
        left, right = factors
        if self.side == "column":
            return (left.T @ moment @ left * (right @ right.T)).sum()
        return (left.T @ left * (right @ moment @ right.T)).sum()


def trained_matrices(model: nn.Module) -> Any:
    """Name, base weight and, with LoRA, the two factors (scale times B, A), of every matrix that is trained."""
    layers = lora_layers(model)
    for name, layer in layers.items():
        adapter = layer.active_adapters[0]
        scaled = layer.scaling[adapter] * layer.lora_B[adapter].weight
        yield name, in_float32(name, layer.get_base_layer().weight), (scaled, layer.lora_A[adapter].weight)
    if layers:
        return
    for name, weight in model.named_parameters():
        if weight.requires_grad and is_matrix(name, weight.dim()):
            yield name, weight, None
