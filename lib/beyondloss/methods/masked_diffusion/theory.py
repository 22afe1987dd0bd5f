"""The theory of chapter 3: posterior, decomposition, signal mass, optimal windows, energy landscape.

Conventions: bits are signs s = 1 - 2x in {-1, +1}; the string has n' = n + 1 positions, the label last; the closed
secret S' is the secret with the label, so the product of the signs over S' is 1. Everything here is exact, in
float64, by enumeration or in closed form.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from beyondloss.methods.masked_diffusion.masking import MaskRate


def signal_density(k: int, t: Float[np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"] | float:
    """(k + 1) t (1 - t)^k: how often exactly one position of S' is masked (chapter 3, eq. md-density)."""
    return (k + 1) * t * (1 - t) ** k


def signal_mass(k: int, rate: MaskRate) -> float:
    """P_S of any law of t, by quadrature (chapter 3, eq. md-signal-mass)."""
    return rate.mean(lambda t: signal_density(k, t))


def window_signal_mass(
    k: int, low: float, high: Float[np.ndarray, "*any"] | float
) -> Float[np.ndarray, "*any"] | float:
    """P_S of U[low, high] in closed form (chapter 3, eq. md-window-mass)."""

    def primitive(t):
        return -((1 - t) ** (k + 1)) * (1 + (k + 1) * t) / (k + 2)

    return (primitive(high) - primitive(low)) / (high - low)


def optimal_rate(k: int) -> float:
    """The mask probability of largest signal mass, 1 / (k + 1) (chapter 3, theorem md-mass)."""
    return 1 / (k + 1)


def optimal_edge(k: int) -> float:
    """The edge t* of the window U[0, t*] of largest signal mass: the root of eq. md-stationarity."""

    def stationarity(t):
        return (k + 1) * (k + 2) * t**2 * (1 - t) ** k + (1 - t) ** (k + 1) * (1 + (k + 1) * t) - 1

    return brentq(stationarity, optimal_rate(k), 1 - 1e-9, xtol=1e-14)


@dataclass(frozen=True)
class Enumeration:
    """All strings and all masks of a small parity problem, and which masks leave a signal.

    `signs[i, j]` is bit j of string i; `masks[m, j]` says that mask m hides position j; `target[i, m, j]` is
    E[s_j | what mask m shows of string i].
    """

    signs: Float[Tensor, "string position"]
    masks: Float[Tensor, "mask position"]
    target: Float[Tensor, "string mask position"]
    signal: Float[Tensor, " mask"]


def enumerate_parity(n: int, k: int) -> Enumeration:
    """Enumerate k-parity on the first k of n bits (chapter 3, theorem md-posterior gives the target)."""
    bits = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * n).reshape(-1, n)
    signs = torch.cat([bits, bits[:, :k].prod(1, keepdim=True)], dim=1)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * (n + 1))
    closed = torch.zeros(n + 1, dtype=torch.float64)
    closed[:k] = closed[n] = 1
    hidden_of_secret = masks @ closed
    signal = (hidden_of_secret == 1).double()
    # the product of the other members of S' is the sign itself, because the product over S' is 1
    target = signs[:, None, :] * (masks * closed * signal[:, None])[None]
    return Enumeration(signs, masks, target, signal)


def network_inputs(case: Enumeration) -> Float[Tensor, "string mask feature"]:
    """One-hot of (0, 1, masked) at each position: what the frozen-attention network sees."""
    shown = (1 - case.masks)[None]
    zero = shown * (case.signs[:, None] > 0)
    one = shown * (case.signs[:, None] < 0)
    masked = case.masks[None].expand_as(zero)
    return torch.stack([zero, one, masked], dim=-1).flatten(-2)


def mask_weights(case: Enumeration, rate: MaskRate) -> Float[Tensor, " mask"]:
    """Probability of each mask: E_{t~q}[t^|M| (1 - t)^(n' - |M|)]."""
    positions = case.masks.shape[1]
    by_size = [rate.mean(lambda t, m=m: t**m * (1 - t) ** (positions - m)) for m in range(positions + 1)]
    return torch.tensor(by_size, dtype=torch.float64)[case.masks.sum(1).long()]


@dataclass(frozen=True)
class Decomposition:
    """Both sides of theorem md-decomposition (chapter 3) for one predictor, as tensors with a gradient."""

    objective: Tensor
    signal: Tensor
    noise: Tensor
    constant: Tensor


def decompose(
    case: Enumeration, prediction: Float[Tensor, "string mask position"], rate: MaskRate
) -> Decomposition:
    """The squared objective and its signal, noise and constant parts (chapter 3, eq. md-parts)."""
    weight = mask_weights(case, rate)[None, :, None] * case.masks[None] / len(case.signs)
    in_signal = case.signal[None, :, None]
    return Decomposition(
        objective=(weight * (prediction - case.signs[:, None]) ** 2).sum(),
        signal=(weight * in_signal * (prediction - case.target) ** 2).sum(),
        noise=(weight * (1 - in_signal) * prediction**2).sum(),
        constant=(weight * (1 - case.target**2)).sum(),
    )


@dataclass(frozen=True)
class Landscape:
    """What the readout sees once the features are fixed: inputs, label target and weights of the two regimes."""

    inputs: Float[Tensor, "input feature"]
    target: Float[Tensor, " input"]
    signal_weight: Float[Tensor, " input"]
    noise_weight: Float[Tensor, " input"]


def label_landscape(n: int, k: int) -> Landscape:
    """All distinct inputs with the label hidden, evenly weighted within the signal and within the noise regime."""
    states = torch.cartesian_prod(*[torch.tensor([0, 1, 2])] * n)  # 0, 1, masked
    signs = (1 - 2 * states).double() * (states < 2)
    target = signs[:, :k].prod(1)  # zero as soon as a secret bit is masked
    signal, noise = (target != 0).double(), (target == 0).double()
    inputs = torch.nn.functional.one_hot(states, 3).flatten(1).double()
    return Landscape(inputs, target, signal / signal.sum(), noise / noise.sum())


def energy(
    landscape: Landscape, features: Float[Tensor, "width feature"], noise_share: float, ridge: float = 1e-10
) -> Tensor:
    """E(W): how much loss the best readout of the features relu(W z) removes (chapter 3, eq. md-energy-removed).

    `noise_share` is P_N / (P_S + P_N). The relative `ridge` stands for the pseudo-inverse; without it the gradient
    at a singular covariance is rounding error.
    """
    hidden = torch.relu(landscape.inputs @ features.T)
    weight = (1 - noise_share) * landscape.signal_weight + noise_share * landscape.noise_weight
    correlation = (1 - noise_share) * hidden.T @ (landscape.signal_weight * landscape.target)
    covariance = hidden.T @ (weight[:, None] * hidden)
    scale = ridge * covariance.diagonal().mean().detach()
    regular = covariance + scale * torch.eye(len(covariance), dtype=covariance.dtype)
    return correlation @ torch.linalg.solve(regular, correlation)


def energy_gradient_norm(
    landscape: Landscape, features: Float[Tensor, "width feature"], noise_share: float
) -> float:
    """|dE/dW|: how strongly the loss still pulls at the features once the readout is the best one."""
    features = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(landscape, features, noise_share), features)
    return float(gradient.norm())
