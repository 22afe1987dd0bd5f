"""Laws of the mask probability t, and what a draw from them does to a batch of tokens (chapter 3, section 1)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from beyondloss.trainers import Streams

SMALLEST_RATE = 1e-3  # keeps the weight 1/t finite


@dataclass(frozen=True)
class MaskRate:
    """A law q of the mask probability t, given by its quantile function on [0, 1].

    `stratified` spreads the draws of a batch evenly over the law, one in each of its equal parts: the same law with
    less variance.
    """

    name: str
    quantile: Callable[[np.ndarray], np.ndarray]
    stratified: bool = False

    @cached_property
    def table(self) -> Tensor:
        """The quantile function on an even grid; drawing interpolates it, on whatever device."""
        grid = self.quantile(np.linspace(0.0, 1.0, 4097))
        return torch.tensor(np.clip(grid, SMALLEST_RATE, 1.0), dtype=torch.float32)

    def sample(self, streams: Streams, batch: int) -> Float[Tensor, "member batch"]:
        """One mask probability a sequence."""
        position = streams.uniform(batch)
        if self.stratified:
            position = (position[:, :1] + torch.arange(batch, device=position.device) / batch) % 1.0
        table = self.table.to(position.device)
        scaled = position * (len(table) - 1)
        left = scaled.long().clamp(max=len(table) - 2)
        return torch.lerp(table[left], table[left + 1], scaled - left)

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """E_{t~q}[function(t)], by Gauss-Legendre quadrature over the quantiles."""
        nodes, weights = np.polynomial.legendre.leggauss(400)
        return float(weights @ function(self.quantile((nodes + 1) / 2)) / 2)


def uniform(low: float = 0.0, high: float = 1.0, stratified: bool = False) -> MaskRate:
    """U[low, high]; the standard objective of masked diffusion is U[0, 1]."""
    if not 0 <= low < high <= 1:
        raise ValueError(f"a window needs 0 <= low < high <= 1, got [{low}, {high}]")
    return MaskRate(f"U[{low:g}, {high:g}]", lambda u: low + (high - low) * u, stratified)


def point_mass(rate: float) -> MaskRate:
    """t = rate always: masked modelling at a fixed rate."""
    if not SMALLEST_RATE <= rate <= 1:
        raise ValueError(f"a mask probability lies in [{SMALLEST_RATE:g}, 1], got {rate}")
    return MaskRate(f"t = {rate:.3g}", lambda u: np.full_like(u, rate))


def beta(a: float, b: float) -> MaskRate:
    """Beta law on (0, 1); for a, b > 1 a bell with mode (a - 1) / (a + b - 2)."""
    if not (0 < a < np.inf and 0 < b < np.inf):
        raise ValueError(f"a beta law needs finite a > 0 and b > 0, got {a}, {b}")
    return MaskRate(f"Beta({a:g}, {b:g})", stats.beta(a, b).ppf)


def cosine() -> MaskRate:
    """t = sin(pi u / 2), u uniform: the cosine schedule (of 1 - u), which masks much more often than it shows."""
    return MaskRate("cosine", lambda u: np.sin(np.pi * u / 2))


def draw_masks(
    rates: Float[Tensor, "member batch"], positions: int, streams: Streams
) -> Bool[Tensor, "member batch position"]:
    """Mask each position independently with its sequence's probability."""
    return streams.uniform(rates.shape[1], positions) < rates[..., None]


def hide(tokens: Int[Tensor, "*any"], masked: Bool[Tensor, "*any"], mask_token: int) -> Int[Tensor, "*any"]:
    return torch.where(masked, mask_token, tokens)


def diffusion_loss(
    losses: Float[Tensor, "member batch position"],
    masked: Bool[Tensor, "member batch position"],
    rates: Float[Tensor, "member batch"],
    weighted: bool,
) -> Float[Tensor, " member"]:
    """Mean loss over masked positions, or with the weight 1/t of the likelihood bound (chapter 3, eq. md-weighted).

    Both have the same expectation where the loss does not depend on t, so a learning rate means the same for both.
    """
    hidden_losses = torch.where(masked, losses, 0.0)
    if weighted:
        return (hidden_losses.mean(-1) / rates).mean(-1)
    return hidden_losses.sum((1, 2)) / masked.sum((1, 2)).clamp(min=1)
