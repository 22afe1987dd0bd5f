"""The theory of chapter 8: what an update of a linear layer costs, how low rank shapes it, and the line to it.

Conventions: a layer is W in R^{m x n} and maps an input x in R^n to W x; W0 are the base weights and D an update. The
loss of a layer is half a square, so second-order terms carry a half. Second moments of inputs are E[x x^T]. Everything
here is exact, in float64, except where a function says that it is a limit.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import erf

Matrix = Float[np.ndarray, "row column"]
KURTOSIS = {"normal": 3.0, "uniform": 9 / 5}  # E[a^4] / E[a^2]^2 of the entries of A


def interference(
    update: Float[np.ndarray, "m n"],
    inputs: Float[np.ndarray, "n n"],
    metric: Float[np.ndarray, "m m"] | None = None,
    residual: Float[np.ndarray, "m n"] | None = None,
) -> float:
    """Rise of the base loss E[(W x - y)^T M (W x - y)] / 2 under an update (chapter 8, eq. sl-interference).

    inputs: E[x x^T]. metric: M, the identity by default. residual: E[(W0 x - y) x^T], zero where W0 minimises the loss.
    With M the expected Hessian of the loss in the layer's output this is the K-FAC form of a deep network's curvature.
    """
    metric = np.eye(len(update)) if metric is None else metric
    curvature = 0.5 * np.trace(metric @ update @ inputs @ update.T)
    slope = 0.0 if residual is None else np.sum(metric @ residual * update)
    return float(curvature + slope)


def participation_ratio(moment: Float[np.ndarray, "n n"]) -> float:
    """(tr S)^2 / tr S^2: how many directions a second moment has, counted by energy; d for an even share of d."""
    return float(np.trace(moment) ** 2 / np.sum(moment**2))


def whitened(moment: Float[np.ndarray, "n n"]) -> tuple[Matrix, Matrix]:
    """Square root S^{1/2} of a second moment and its pseudo-inverse S^{-1/2}, both symmetric."""
    values, vectors = np.linalg.eigh(moment)
    root = np.sqrt(values.clip(min=0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 1e-7 * root.max())
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def best_low_rank(
    wanted: Float[np.ndarray, "m n"], inputs: Float[np.ndarray, "n n"], rank: int
) -> Float[np.ndarray, "m n"]:
    """The update of at most `rank` that is nearest to `wanted` on inputs of this moment (chapter 8, theorem sl-rank).

    `wanted` is the least-squares update. Its whitened form is cut to `rank` singular values and whitened back.
    """
    root, inverse = whitened(inputs)
    left, values, right = np.linalg.svd(wanted @ root, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank] @ inverse


def overshoot_costs(
    wanted: Float[np.ndarray, "m n"], tuned: Float[np.ndarray, "n n"], base: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, " rank"]:
    """What each further rank of the best update adds to the base loss (chapter 8, eq. sl-overshoot).

    tuned, base: second moments of the inputs of the tuning data and of the base task.
    """
    root, inverse = whitened(tuned)
    _, values, right = np.linalg.svd(wanted @ root, full_matrices=False)
    directions = right @ inverse
    return 0.5 * values**2 * np.sum(directions @ base * directions, axis=1)


def noise_edge(m: int, d: int, samples: int, noise: float = 1.0) -> float:
    """Square of the largest singular value that label noise alone gives the whitened update, a limit (eq. sl-edge).

    m outputs, inputs in d directions, `samples` examples, noise of standard deviation `noise` on each output.
    """
    return noise**2 * (math.sqrt(m) + math.sqrt(d)) ** 2 / samples


def row_share(rank: int, n: int, span: int = 1) -> float:
    """Share of the row energy of LoRA's first step that lies where full fine-tuning has all of it (eq. sl-rows).

    The inputs span `span` directions of R^n, the entries of A are Gaussian: (r + span + 1) / (r + n + 1). A ratio of
    two means over A, in which a draw counts by the energy of its step; for the mean share see `mean_row_share`.
    """
    return (rank + span + 1) / (rank + n + 1)


def mean_row_share(rank: int, n: int) -> float:
    """Mean over A of the share of one input in the row energy of LoRA's first step (chapter 8, eq. sl-beta).

    The share has the law Beta(r / 2, (n - 1) / 2); with rank 1 its mean 1 / n is chance.
    """
    return rank / (rank + n - 1)


def row_share_of_one_input(rank: int, n: int, kurtosis: float, spread: float) -> float:
    """The same for one input and entries of A of any even law (chapter 8, eq. sl-kurtosis).

    kurtosis: E[a^4] / E[a^2]^2 of the entries. spread: the sum of x_i^4 of the input, scaled to |x| = 1.
    """
    return (rank + 2 + (kurtosis - 3) * spread) / (rank + n + kurtosis - 2)


def first_step_overlap(full: float, rank: int, n: int) -> float:
    """Row overlap of LoRA's first step, divided by its isotropic value, from that of full fine-tuning (eq. sl-shrink).

    Its distance from 1 shrinks by (r + 1) / (r + n + 1). The column overlap of both is the same. Both are ratios of two
    means over A.
    """
    return 1 + (full - 1) * (rank + 1) / (rank + n + 1)


def mean_first_step_overlap(full: float, rank: int, n: int) -> float:
    """Mean over A of the row overlap of LoRA's first step, for a gradient of rank one (chapter 8, eq. sl-chance).

    Its distance from 1 shrinks by (r - 1) / (r + n - 1). With rank 1 it is chance for a gradient of any rank.
    """
    return 1 + (full - 1) * (rank - 1) / (rank + n - 1)


def first_step_energy(rank: int, n: int, scale: float) -> float:
    """Mean over A of |D|^2 / (eta^2 |G|^2) of LoRA's first step, A Gaussian (chapter 8, eq. sl-length)."""
    return scale**4 * rank * (rank + n + 1)


def isotropic_overlap(m: int, n: int, side: str, k: int | None = None, weighted: bool = True) -> float:
    """Expected overlap of an update without a preferred direction (chapter 8, theorem sl-isotropic).

    side: "column", "row" or "both". k: size of the top subspace, for the uniform overlap.
    """
    of = {"column": (m,), "row": (n,), "both": (m, n)}[side]
    if weighted:
        return 1 / math.prod(of)
    if k is None:
        raise ValueError("the uniform overlap needs k")
    return math.prod(k / size for size in of)


def isotropic_deviation(weights: Float[np.ndarray, " k"], size: int, rank: int = 1) -> float:
    """Standard deviation of a one-sided overlap of an isotropic update (chapter 8, eq. sl-deviation).

    weights: s_i^2 / |S_k|^2 of the weighted overlap, ones of the uniform. size: m for columns, n for rows. The update
    has `rank` equal singular values; its singular vectors are the first of a uniformly distributed orthogonal basis.
    """
    spread = np.sum(weights**2) - np.sum(weights) ** 2 / size
    return float(np.sqrt(2 * (size - rank) * spread / (rank * size * (size - 1) * (size + 2))))


def stable_rank(matrix: Matrix) -> float:
    """|D|_F^2 / |D|_2^2."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return float(np.sum(values**2) / values[0] ** 2)


def stable_rank_bound(deviation: Matrix, size: float) -> float:
    """Largest stable rank of a rank-one matrix of norm `size` plus `deviation` (eq. sl-stable)."""
    left = size - np.linalg.norm(deviation, 2)
    return 1 + float(np.sum(deviation**2) / left**2) if left > 0 else math.inf


def mean_sign(
    output: Float[np.ndarray, " m"], inputs: Float[np.ndarray, " n"], noise: float
) -> Float[np.ndarray, "m n"]:
    """Mean of sign(g x^T + noise), entry by entry, for Gaussian noise (eq. sl-sign)."""
    product = np.outer(output, inputs)
    return erf(product / (noise * math.sqrt(2)))


def stable_rank_of_sign(
    output: Float[np.ndarray, " m"], inputs: Float[np.ndarray, " n"], noise: float
) -> float:
    """Limit of the stable rank of Adam's first step for a noisy rank-one gradient of a wide layer (theorem sl-adam)."""
    mean = mean_sign(output, inputs, noise)
    return mean.size / float(np.linalg.norm(mean, 2) ** 2)


def kept_on_the_line(scale: float) -> tuple[float, float]:
    """Shares of the safety gain and of the base cost at W0 + scale D (chapter 8, theorem sl-line)."""
    return 1 - (1 - scale) ** 2, scale**2


def cost_of_keeping(gain: float) -> float:
    """Share of the base cost that a point of the line pays for a share `gain` of the safety gain (eq. sl-price)."""
    return (1 - math.sqrt(1 - gain)) ** 2


def pareto_update(
    wanted: Float[np.ndarray, "m n"],
    tuned: Float[np.ndarray, "n n"],
    base: Float[np.ndarray, "n n"],
    weight: float,
) -> Float[np.ndarray, "m n"]:
    """The update of least base cost + weight x safety loss (chapter 8, eq. sl-front): wanted m S (B + m S)^{-1}."""
    return wanted @ (weight * tuned) @ np.linalg.pinv(base + weight * tuned, rcond=1e-10, hermitian=True)


def safety_loss(
    update: Float[np.ndarray, "m n"], wanted: Float[np.ndarray, "m n"], tuned: Float[np.ndarray, "n n"]
) -> float:
    """How far an update is from the least-squares one, on the tuning inputs; above the smallest loss."""
    return interference(update - wanted, tuned)
