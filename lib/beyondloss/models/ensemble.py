"""Several networks of one shape, run side by side."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Num, Shaped
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


class Ensemble(nn.Module):
    """Networks of one shape as one module, whose inputs and outputs have a first axis `member`.

    Objectives and the training loop are then written once for one seed and for many. On a CPU the networks run in
    turn, and each does exactly what it would do alone. On a GPU, which small networks leave idle between kernels,
    they run in one batched call; `batched` overrides this choice. Networks with buffers always run in turn by
    default, because a batched call would lose what it writes to them.
    """

    def __init__(self, networks: Sequence[nn.Module], batched: bool | None = None):
        """`batched`: True or False to run them so whatever the device, None to choose. ValueError for no networks."""
        super().__init__()
        if not networks:
            raise ValueError("an ensemble needs at least one network")
        self.networks = nn.ModuleList(networks)
        self.batched = batched

    @property
    def members(self) -> int:
        """How many networks there are."""
        return len(self.networks)

    @property
    def single(self) -> nn.Module:
        """The network of an ensemble of one. ValueError for an ensemble of several."""
        if self.members > 1:
            raise ValueError(f"the ensemble has {self.members} networks, not one")
        return self.networks[0]

    def forward(
        self, inputs: Shaped[Tensor, "member batch *any"], **options: Any
    ) -> Num[Tensor, "member batch *out"]:
        """Give each network its own batch; `options` go to all of them. ValueError for another number of batches."""
        if len(inputs) != self.members:
            raise ValueError(f"inputs for {len(inputs)} networks, but the ensemble has {self.members}")
        if self.members == 1:
            return self.networks[0](inputs[0], **options).unsqueeze(0)
        return self.at_once(inputs, options) if self.runs_batched(inputs) else self.in_turn(inputs, options)

    def runs_batched(self, inputs: Tensor) -> bool:
        """Whether `inputs` go through all networks in one call."""
        if self.batched is None:
            return inputs.is_cuda and next(self.buffers(), None) is None
        return self.batched

    def in_turn(self, inputs: Tensor, options: dict) -> Tensor:
        """One network after the other, each with its own part of `inputs`."""
        return torch.stack([network(x, **options) for network, x in zip(self.networks, inputs, strict=True)])

    def at_once(self, inputs: Tensor, options: dict) -> Tensor:
        """All networks in one call: the first one's code, mapped over the stacked weights of all."""
        named = [dict(network.named_parameters()) for network in self.networks]
        stacked = {name: torch.stack([parameters[name] for parameters in named]) for name in named[0]}
        call = lambda parameters, x: functional_call(self.networks[0], parameters, (x,), options)  # noqa: E731
        # of torch's kernels for attention only this one can be batched over members; the others fail backward on a GPU
        with sdpa_kernel(SDPBackend.MATH):
            return torch.vmap(call, randomness="different")(stacked, inputs)
