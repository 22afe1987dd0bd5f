"""The theory of chapter 7: what a last-layer gradient sees, which texts ADMM keeps, and how far matching carries.

Conventions: a head has weights W in R^{word x width} and maps a hidden state h to logits W h; p is their softmax and y
the label's word. Gradients of a batch are those of the mean loss. Everything here is exact, in float64.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_ndtr, ndtr

Rows = Float[np.ndarray, "example feature"]

# What the gradient of the last layer sees -------------------------------------------------------------------


def residuals(
    logits: Float[np.ndarray, "example word"], labels: Int[np.ndarray, " example"]
) -> Float[np.ndarray, "example word"]:
    """p - e_y of every example: what its loss changes by, a unit of logit."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True) - np.eye(logits.shape[1])[labels]


def head_gradient(
    hidden: Float[np.ndarray, "example width"], residual: Float[np.ndarray, "example word"]
) -> Float[np.ndarray, "word width"]:
    """Gradient of the mean cross-entropy in the head's weights (chapter 7, eq. st-gradient).

    That in its bias is the mean of `residual`.
    """
    return residual.T @ hidden / len(hidden)


def gradient_product(
    hidden: Float[np.ndarray, "one width"],
    residual: Float[np.ndarray, "one word"],
    others: Float[np.ndarray, "other width"],
    other_residual: Float[np.ndarray, "other word"],
) -> float:
    """Inner product of two batches' head gradients, neither of which is written out (chapter 7, eq. st-product)."""
    pairs = (residual @ other_residual.T) * (hidden @ others.T)
    return float(pairs.mean())


def weighted_state(
    hidden: Float[np.ndarray, "example width"], right: Float[np.ndarray, " example"]
) -> Float[np.ndarray, " width"]:
    """Mean hidden state, each weighted by what its label lacks in probability (chapter 7, eq. st-two).

    right: probability of the label. With two words and one label this vector is all that a head's gradient holds.
    """
    return (1 - right) @ hidden / len(hidden)


def mean_cosine_distance(spread: float, n: int, m: int) -> float:
    """Cosine distance between means of n and of m states of one class, as a ratio of means (eq. st-anisotropy).

    spread: E|h - mean|^2 / |mean|^2 of a state.
    """
    return 1 - 1 / math.sqrt((1 + spread / n) * (1 + spread / m))


def class_cosine_distance(gap: float) -> float:
    """Cosine distance between means of equal length whose difference has `gap` times it (eq. st-classes)."""
    return gap**2 / 2


# Which texts the alternating updates keep -------------------------------------------------------------------


def nearest(
    points: Float[np.ndarray, "position width"], tokens: Float[np.ndarray, "token width"]
) -> Int[np.ndarray, " position"]:
    """The nearest token of every point, by one matrix product (chapter 7, eq. st-nearest)."""
    return (points @ tokens.T - 0.5 * np.sum(tokens**2, axis=1)).argmax(1)


def least_rho(
    place: Int[np.ndarray, ""] | int,
    tokens: Float[np.ndarray, "token width"],
    slope: Float[np.ndarray, " width"],
) -> float:
    """The rho from which on a token is a fixed point of the three updates (chapter 7, theorem st-fixed).

    slope: gradient of the matching loss in the embedding, at the token. Zero where no other token improves.
    """
    away = np.delete(tokens[place] - tokens, place, axis=0)
    return float(max(0.0, np.max(2 * away @ slope / np.sum(away**2, axis=1))))


def quadratic_step(
    hessian: Float[np.ndarray, "n n"],
    minimiser: Float[np.ndarray, " n"],
    z: Float[np.ndarray, " n"],
    multiplier: Float[np.ndarray, " n"],
    rho: float,
) -> Float[np.ndarray, " n"]:
    """The exact x-update for the loss (x - a)^T H (x - a) / 2 (chapter 7, eq. st-updates)."""
    return np.linalg.solve(hessian + rho * np.eye(len(z)), hessian @ minimiser + rho * z - multiplier)


# What matched gradients are worth ---------------------------------------------------------------------------


def loss_bound(
    start: float, error: float, mu: float, lr: float, steps: Int[np.ndarray, " step"] | int
) -> Float[np.ndarray, " step"] | float:
    """Bound on L - L* after steps with gradients wrong by at most `error` (chapter 7, theorem st-neighbourhood).

    start: L - L* before. mu: constant of Polyak and Lojasiewicz. lr: at most 1 / smoothness.
    """
    kept = (1 - lr * mu) ** steps
    return kept * start + (1 - kept) * error**2 / (2 * mu)


def drift(error: float, smooth: float, other_smooth: float, radius: float) -> float:
    """Largest error of a gradient within `radius` of where it was matched to `error` (chapter 7, eq. st-drift)."""
    return error + (smooth + other_smooth) * radius


def cosine_rate(cosine: float, mu: float, smooth: float) -> float:
    """Factor of L - L* in the best step along a gradient of this cosine (chapter 7, theorem st-cosine)."""
    return 1 - cosine**2 * mu / smooth


def best_step(cosine: float, slope: float, size: float, smooth: float) -> float:
    """The step that theorem st-cosine takes: cosine |grad L| / (smooth |g|)."""
    return cosine * slope / (smooth * size)


def subset_error(variance: float, size: int, population: int) -> float:
    """Mean squared error of a random subset's mean gradient (chapter 7, eq. st-subset).

    variance: mean of |g_i - g|^2 over the population, of which `size` are drawn without replacement.
    """
    return variance / size * (population - size) / (population - 1)


def largest_useful_error(variance: float, size: int, target: int) -> float:
    """Matching error below which `size` texts are surely nearer than as many real ones at random (eq. st-when).

    `target` real examples, drawn from many, were matched.
    """
    return math.sqrt(variance) * (1 / math.sqrt(size) - 1 / math.sqrt(target))


# Privacy ----------------------------------------------------------------------------------------------------


def sensitivity(clip: float, n: int, neighbours: Literal["add or remove", "replace"]) -> float:
    """Largest change of the sum of gradients, clipped to `clip`, over a public n (chapter 7, eq. st-sensitivity)."""
    return {"add or remove": 1, "replace": 2}[neighbours] * clip / n


def classic_deviation(sensitive: float, epsilon: float, delta: float) -> float:
    """Noise of the classic Gaussian mechanism; proved for epsilon < 1 only (chapter 7, eq. st-classic)."""
    return sensitive * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def gaussian_delta(sensitive: float, deviation: float, epsilon: float) -> float:
    """The least delta for which Gaussian noise is (epsilon, delta)-private (chapter 7, theorem st-gaussian)."""
    half, shift = sensitive / (2 * deviation), epsilon * deviation / sensitive
    return float(ndtr(half - shift) - math.exp(min(700.0, epsilon + log_ndtr(-half - shift))))


def needed_deviation(sensitive: float, epsilon: float, delta: float) -> float:
    """The least noise that is (epsilon, delta)-private, for any epsilon: `gaussian_delta` solved for the deviation."""
    from scipy.optimize import brentq

    def excess(log_deviation: float) -> float:
        return gaussian_delta(1.0, math.exp(log_deviation), epsilon) - delta

    return sensitive * math.exp(brentq(excess, -20.0, 20.0))


def advantage_bound(epsilon: float, delta: float) -> float:
    """Most by which hits can exceed false alarms in telling members (chapter 7, eq. st-advantage)."""
    return (math.expm1(epsilon) + 2 * delta) / (math.exp(epsilon) + 1)
