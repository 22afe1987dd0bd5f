"""K-FAC curvature of a language model, matrix by matrix, and the rise of loss that it predicts for an update.

A matrix has inputs x_t and, where a row's summed loss is that of answers drawn from the model, gradients d_t in its
outputs. Its two factors are E[x x^T] and E[d d^T] over positions (Martens and Grosse 2015). With T positions and a
answer tokens a row, the loss of a token rises under an update D by T / (2 a) tr(E[d d^T] D E[x x^T] D^T) (chapter 8,
eq. sl-kfac).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.data import Answered
from beyondloss.methods.safety_lora.theory import interference, participation_ratio
from beyondloss.methods.safety_lora.weights import is_matrix


@dataclass(frozen=True, eq=False)
class Factors:
    """Second moments of a matrix's inputs and of the gradients in its outputs; positions an answer token."""

    inputs: Float[Tensor, "n n"]
    outputs: Float[Tensor, "m m"]
    positions: float


@dataclass(eq=False)
class Seen:
    """What went through a matrix."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def curvature(network: nn.Module, rows: Answered, seed: int = 0) -> dict[str, Factors]:
    """Factors of every matrix between activations, on `rows` with answers drawn from the model itself."""
    generator = torch.Generator().manual_seed(seed)
    count = rows.tokens.shape[1]
    with watched(network) as seen:
        logits = network(input_ids=rows.tokens, use_cache=False).logits[:, :-1]
        spoken = rows.answer[:, 1:]
        drawn = torch.multinomial(logits[spoken].softmax(-1).detach(), 1, generator=generator)
        losses = -logits[spoken].log_softmax(-1).gather(1, drawn)
        losses.sum().backward()
    network.zero_grad()
    answers = float(rows.answer.sum()) / len(rows)
    found = {}
    for name, through in seen.items():
        x, d = (torch.cat(part).flatten(0, 1).double() for part in (through.inputs, through.outputs))
        found[name] = Factors(x.T @ x / len(x), d.T @ d / len(d), count / answers)
    return found


@contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, Seen]]:
    """Keep the inputs of every matrix, and the gradients in its outputs, of what is computed inside."""
    seen: dict[str, Seen] = {}
    hooks = []
    for name, module in network.named_modules():
        label = f"{name}.weight"
        if isinstance(module, nn.Linear) and is_matrix(label, 2):
            through = seen[label] = Seen()

            def forward(module, inputs, output, through=through):
                through.inputs.append(inputs[0].detach())
                output.register_hook(lambda gradient: through.outputs.append(gradient.detach()))

            hooks.append(module.register_forward_hook(forward))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def predicted_rise(factors: Mapping[str, Factors], updates: Mapping[str, Tensor]) -> float:
    """Rise of the loss an answer token, in nats, to second order, matrices taken as independent."""
    total = 0.0
    for name, update in updates.items():
        known = factors[name]
        cost = interference(update.double().numpy(), known.inputs.numpy(), known.outputs.numpy())
        total += known.positions * cost
    return total


def directions(factors: Mapping[str, Factors]) -> dict[str, float]:
    """Name -> how many directions the inputs of a matrix have, counted by energy."""
    return {name: participation_ratio(known.inputs.numpy()) for name, known in factors.items()}
