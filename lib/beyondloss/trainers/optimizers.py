"""Optimizers that torch has no class for: sharpness-aware minimisation, and Muon beside AdamW."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

TINY = 1e-12  # stands for the norm of a gradient that is zero, so that nothing is divided by it


class Joined(torch.optim.Optimizer):
    """Optimizers of disjoint weights, driven as one. Groups and state stay with the parts."""

    def __init__(self, *parts: torch.optim.Optimizer):
        # torch's own constructor would copy the groups, which a part replaces when it loads; what else it prepares
        # (hooks, defaults that schedules look at) `__setstate__` prepares, too
        self.__setstate__({"parts": parts, "defaults": dict(parts[0].defaults)})

    def __getstate__(self) -> dict:
        """What a copy or a pickle keeps; hooks go, as with torch's own optimizers."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    @property
    def param_groups(self) -> list[dict]:
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[nn.Parameter, dict]:
        return {weight: state for part in self.parts for weight, state in part.state.items()}

    def add_param_group(self, param_group: dict) -> None:
        """Add weights to the only part; ValueError where there are several, of which one must be named."""
        if len(self.parts) > 1:
            raise ValueError("several optimizers are joined here: add the group to one of `parts`")
        self.parts[0].add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step of every part, with the gradients that `closure` computes if it is given; returns its losses."""
        losses = closure() if closure else None
        self.step_parts()
        return losses

    def step_parts(self) -> None:
        """One step of every part, with the gradients that are there."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


class SAM(Joined):
    """Sharpness-aware minimisation around any optimizer (chapter 2, eq. sb-sam).

    A step climbs by `rho` along the normalised gradient g, takes the gradient there, goes back, and hands it to
    `base`, as if it were that of the loss: grad L(theta + rho g / |g|). It costs two gradients. With `rho = 0` it is
    `base`, bit for bit. `members` lists the weights of networks that train side by side, each of which has a norm of
    its own, as it would alone; without it all weights are one network's.
    What counts batches in a forward pass, such as the running statistics of BatchNorm, sees each batch twice.
    """

    def __init__(
        self, base: torch.optim.Optimizer, rho: float, members: Iterable[Iterable[nn.Parameter]] = ()
    ):
        if rho < 0:
            raise ValueError(f"rho must not be negative, got {rho}")
        super().__init__(base)
        self.rho = rho
        weights = [p for group in base.param_groups for p in group["params"]]
        self.members = checked_members(members, weights) or [weights]

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        """One step. `closure` clears and computes the gradients; it is called twice and must see the same batch.

        Returns the losses before the step. Weights that have no gradient neither climb nor count in the norm.
        """
        if closure is None:
            raise ValueError("SAM takes two gradients a step: give `step` a closure that computes them")
        losses = closure()
        climbing = [[p for p in member if p.grad is not None] for member in self.members]
        before = [[p.detach().clone() for p in member] for member in climbing]
        with torch.no_grad():
            for member in climbing:
                climb(member, self.rho)
        closure()
        with torch.no_grad():
            for member, values in zip(climbing, before, strict=True):
                for parameter, value in zip(member, values, strict=True):
                    parameter.copy_(value)
        self.step_parts()
        return losses

    def add_param_group(self, param_group: dict) -> None:
        """Add weights to the network that is trained; ValueError where several are, of which one must be named."""
        if len(self.members) > 1:
            raise ValueError(
                "several networks are trained side by side: make a new SAM with all their weights"
            )
        super().add_param_group(param_group)
        self.members[0] = [p for group in self.param_groups for p in group["params"]]


def checked_members(
    members: Iterable[Iterable[nn.Parameter]], weights: list[nn.Parameter]
) -> list[list[nn.Parameter]]:
    """The members as lists; ValueError where they are not networks made of exactly the weights of the optimizer.

    `members=network.parameters()` would be read as one network a weight, made of its rows: nothing would climb.
    """
    listed = [list(member) for member in members]
    given = [id(weight) for member in listed for weight in member]
    if listed and sorted(given) != sorted(map(id, weights)):
        raise ValueError(
            "members must be lists of weights that together are those of the base optimizer, each once: "
            "[network.parameters() for network in networks], or leave them out for one network"
        )
    return listed


def climb(parameters: list[nn.Parameter], rho: float) -> None:
    """Move by `rho` along the gradient of one network, its norm taken over all its weights.

    Norm and step are computed in single precision at least: in half precision a norm above 65504 is infinite, and the
    floor under a gradient of zero is no number.
    """
    gradients = [p.grad.to(torch.promote_types(p.grad.dtype, torch.float32)) for p in parameters]
    norm = nn.utils.get_total_norm(gradients).clamp(min=TINY)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.add_((gradient * (rho / norm)).to(parameter.dtype))


def block_matrices(network: nn.Module) -> list[nn.Parameter]:
    """Trainable weights of the linear layers inside the blocks of a network, which Muon is made for.

    A block is an entry of a `ModuleList` or `Sequential` that is itself made of modules. Embeddings, weights tied to
    one, norms and biases are left out, and so is a head that stands outside such a list (inside one it looks like any
    other layer: take it out of the list). Raises ValueError if there is no such weight.
    """
    embeddings = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    stacks = [module for module in network.modules() if isinstance(module, (nn.ModuleList, nn.Sequential))]
    blocks = [block for stack in stacks for block in stack if any(True for _ in block.children())]
    layers = [m for block in blocks for m in block.modules() if isinstance(m, nn.Linear)]
    matrices = list(dict.fromkeys(layer.weight for layer in layers if layer.weight.requires_grad))
    matrices = [weight for weight in matrices if id(weight) not in embeddings]
    if not matrices:
        raise ValueError(
            f"{type(network).__name__} has no trainable linear layer in a block: train it with adamw"
        )
    return matrices
