"""Noise that hides single examples, and an attack that looks for them.

A gradient is averaged over examples whose gradients are clipped first; then Gaussian noise is added once. Whatever is
made from it alone is as private, and whatever looks at the examples again is not (chapter 7, section on privacy).
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from beyondloss.methods.synthetic_text import theory
from beyondloss.methods.synthetic_text.gradients import Target


@dataclass(frozen=True)
class Privacy:
    """How much a single example may show: (epsilon, delta), for examples that are added or removed, or replaced.

    clip: largest norm of one example's gradient. It must not be chosen by looking at the examples.
    With "replace" the example may change its label, and so two labels' gradients: each gets half of both.
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 1.0
    neighbours: Literal["add or remove", "replace"] = "add or remove"

    def __post_init__(self):
        if not (self.epsilon > 0 and 0 < self.delta < 1 and self.clip > 0):
            raise ValueError(
                f"epsilon and clip must be positive and delta lie in (0, 1): {self.epsilon}, {self.clip}, {self.delta}"
            )

    def deviation(self, n: int) -> float:
        """Standard deviation of the noise on every entry of a mean over n examples."""
        share = 0.5 if self.neighbours == "replace" else 1.0
        sensitive = theory.sensitivity(self.clip, n, self.neighbours)
        return theory.needed_deviation(sensitive, share * self.epsilon, share * self.delta)


def hidden(target: Target, n: int, privacy: Privacy, seed: int) -> Target:
    """The target with noise, on the mean of `n` clipped gradients. Noise of a known seed hides nothing: keep it."""
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + target.label)
    noise = torch.randn(target.weights.shape, generator=generator).to(target.weights)
    return replace(target, weights=target.weights + privacy.deviation(n) * noise)


def attack(
    before: Float[Tensor, " example"],
    after: Float[Tensor, " example"],
    members: Float[Tensor, " example"] | Tensor,
) -> float:
    """Area under the curve of telling members by how much their loss fell in training: 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(members.cpu().numpy(), (before - after).detach().cpu().numpy()))
