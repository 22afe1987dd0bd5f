"""A penalty on the overlap of an update with the initial weights, to be added to the loss in training.

penalty = safety_lora.OverlapPenalty(model, side="row")   # before training
loss = loss + strength * penalty(model)
"""

from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.experiment import BadInput, choose
from beyondloss.methods.safety_lora.overlap import ONE_SIDED, check_k, top_factors
from beyondloss.methods.safety_lora.weights import Update, in_float32, lora_layers, matrices_of, of_layer


class OverlapPenalty:
    """Mean over the trained matrices of overlap (1 = chance) times (|D| / |W0|)^2 (chapter 8, eq. sl-penalty).

    model: before training; its weights are the initial ones. With a `peft` model D is the sum of its active adapters'
    products, else what was added to the weight. side: "column" or "row". k: only the top k singular values of W0
    count. weighted: whether they weigh as their squares. Calling it on the same model gives a scalar with a gradient.
    Embeddings and heads are left out. Raises BadInput.
    """

    def __init__(
        self,
        model: nn.Module,
        side: str = "row",
        k: Integral | None = None,
        weighted: bool = True,
    ):
        self.side = choose("side", side, ONE_SIDED)
        if not weighted and k is None:
            raise BadInput(
                "the uniform overlap is one by definition without k: give the size of the top subspace"
            )
        self.terms: dict[str, tuple[Tensor, Tensor | None]] = {}
        for name, (weight, update) in trained_matrices(model).items():
            base = in_float32(name, weight)
            start = base.clone() if update is None else None
            self.terms[name] = self.moment(name, base, k, weighted), start
        if not self.terms:
            raise BadInput("the model trains no matrix between activations: nothing can be penalised")

    def moment(self, name: str, base: Float[Tensor, "m n"], k: Integral | None, weighted: bool) -> Tensor:
        """What D is weighed with: |D|_K^2 = tr(K D D^T) or tr(D K D^T) is overlap times (|D| / |W0|)^2."""
        check_k(k, base, name)
        if k is None:
            kept = base if self.side == "column" else base.T
        else:
            kept = top_factors(base, k, weighted)[self.side == "row"]
        moment = kept @ kept.T
        # tr K = size of the side would make an isotropic D count as its energy; then in units of |W0|^2
        return moment * (len(moment) / moment.trace() / base.square().sum())

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        found = trained_matrices(model)
        made_for = {name: start is None for name, (_, start) in self.terms.items()}
        if {name: update is not None for name, (_, update) in found.items()} != made_for:
            raise BadInput("the model's trained matrices are not those that the penalty was made for")
        total = torch.zeros((), device=next(model.parameters()).device)
        for name, (moment, start) in self.terms.items():
            weight, update = found[name]
            total = total + self.term(moment, update or Update(dense=weight.float() - start))
        return total / len(self.terms)

    def term(self, moment: Tensor, update: Update) -> Tensor:
        if update.dense is not None:
            dense = update.dense
            return (moment @ dense * dense).sum() if self.side == "column" else (dense @ moment * dense).sum()
        left, right = update.left, update.right
        if self.side == "column":
            return (left.T @ moment @ left * (right @ right.T)).sum()
        return (left.T @ left * (right @ moment @ right.T)).sum()


def trained_matrices(model: nn.Module) -> dict[str, tuple[Tensor, Update | None]]:
    """Name -> weight and, with LoRA, its update, of every matrix that is trained."""
    # without gradients, a weight that is stored transposed would look as if it were not trained
    with torch.enable_grad():
        weights = matrices_of(model)
        if layers := lora_layers(model):
            return {name: (weights[name], of_layer(name, layer)) for name, layer in layers.items()}
        return {name: (weight, None) for name, weight in weights.items() if weight.requires_grad}
