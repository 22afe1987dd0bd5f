"""The linear model of chapter 8: LoRA's first step, and what ranks beyond the task cost the base task.

Base and tuning inputs are spread evenly over the same `d` directions of R^n. The tuning targets are those of an update
of rank `signal_rank`, with noise on every output. The best update of each rank is found by theorem sl-rank, and its
cost is measured as a loss on base inputs, not by the formula that it is compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beyondloss.experiment import choose
from beyondloss.methods.safety_lora import theory

ENERGIES = ("per direction", "in all")


@dataclass(frozen=True)
class LinearPoint:
    """One draw of the linear model.

    energy: whether an input has energy 1 in each direction, or in all of them together.
    fixed_size: give every direction beyond the signal this size, as steps of a fixed number and length would; 0 takes
        the size that fits the noise best.
    """

    d: int = 24
    n: int = 96
    m: int = 96
    samples: int = 400
    noise: float = 0.3
    signal_rank: int = 2
    ranks: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12)
    energy: str = "per direction"
    fixed_size: float = 0.0
    seed: int = 0

    def __post_init__(self):
        choose("energy", self.energy, ENERGIES)
        if not self.signal_rank < max(self.ranks) <= min(self.d, self.m):
            raise ValueError(f"ranks must go beyond {self.signal_rank} and not beyond {min(self.d, self.m)}")
        if self.d > min(self.n, self.samples):
            raise ValueError(f"d must be at most {min(self.n, self.samples)}, got {self.d}")


def run_linear(points: Sequence[LinearPoint]) -> list[dict]:
    """Measure points one after the other: for every rank the rise of the base loss, beside the formulas."""
    return [measured(point) for point in points]


def measured(point: LinearPoint) -> dict:
    generator = np.random.default_rng(point.seed)
    basis = np.linalg.qr(generator.standard_normal((point.n, point.d)))[0]
    scale = 1.0 if point.energy == "per direction" else point.d**-0.5
    inputs = basis @ white(point.d, point.samples, generator) * scale
    base = basis @ white(point.d, point.samples, generator) * point.d**-0.5  # energy 1 in all
    signal = low_rank(point, generator) / scale  # of the same effect on the outputs, whatever the energy
    targets = signal @ inputs + point.noise * generator.standard_normal((point.m, point.samples))

    tuned, moment = inputs @ inputs.T / point.samples, base @ base.T / point.samples
    # inputs span d of n directions; what rounding leaves in the others must not be inverted
    wanted = targets @ np.linalg.pinv(inputs, rcond=1e-10)
    costs = theory.overshoot_costs(wanted, tuned, moment)
    rises = [rise(update(wanted, tuned, rank, point), base) for rank in point.ranks]
    return {
        "rank": list(point.ranks),
        "rise": rises,
        "formula": [float(costs[:rank].sum()) for rank in point.ranks],
        "a_rank": (rises[-1] - rises[point.ranks.index(point.signal_rank)])
        / (max(point.ranks) - point.signal_rank),
        "edge": theory.noise_edge(point.m, point.d, point.samples, point.noise) / (2 * scale**2 * point.d),
    }


def white(d: int, samples: int, generator: np.random.Generator) -> Float[np.ndarray, "d sample"]:
    """Inputs whose second moment is the identity, exactly."""
    drawn = generator.standard_normal((d, samples))
    return theory.whitened(drawn @ drawn.T / samples)[1] @ drawn


def low_rank(point: LinearPoint, generator: np.random.Generator) -> Float[np.ndarray, "m n"]:
    """The update that the task needs: `signal_rank` directions of size 3, well above the noise."""
    left = np.linalg.qr(generator.standard_normal((point.m, point.signal_rank)))[0]
    right = np.linalg.qr(generator.standard_normal((point.n, point.signal_rank)))[0]
    return 3.0 * left @ right.T


def update(
    wanted: Float[np.ndarray, "m n"], tuned: Float[np.ndarray, "n n"], rank: int, point: LinearPoint
) -> Float[np.ndarray, "m n"]:
    """The best update of `rank`; with `fixed_size` its directions beyond the signal are brought to that size."""
    best = theory.best_low_rank(wanted, tuned, rank)
    if not point.fixed_size or rank <= point.signal_rank:
        return best
    needed = theory.best_low_rank(wanted, tuned, point.signal_rank)
    left, _, right = np.linalg.svd(best - needed, full_matrices=False)
    beyond = rank - point.signal_rank
    return needed + point.fixed_size * left[:, :beyond] @ right[:beyond]


def rise(update: Float[np.ndarray, "m n"], base: Float[np.ndarray, "n sample"]) -> float:
    """Mean over base inputs of |D x|^2 / 2: the loss of W0 + D above that of W0, where W0 is perfect."""
    return float(0.5 * np.mean(np.sum((update @ base) ** 2, axis=0)))


def first_step(
    gradient: Float[np.ndarray, "m n"], rank: int, generator: np.random.Generator, law: str = "normal"
) -> Float[np.ndarray, "m n"]:
    """LoRA's update after a step of gradient descent from B = 0, up to a factor: G A^T A (chapter 8, eq. sl-first)."""
    choose("law", law, theory.KURTOSIS)
    shape = (rank, gradient.shape[1])
    a = generator.standard_normal(shape) if law == "normal" else generator.uniform(-1, 1, shape)
    return gradient @ a.T @ a


def shares(
    gradient: Float[np.ndarray, "m n"],
    span: Float[np.ndarray, "n direction"],
    rank: int,
    draws: int,
    seed: int = 0,
    law: str = "normal",
) -> float:
    """Energy of LoRA's first step in the directions `span` over its whole energy, both added up over draws of A."""
    generator = np.random.default_rng(seed)
    inside = whole = 0.0
    for _ in range(draws):
        step = first_step(gradient, rank, generator, law)
        inside += np.sum((step @ span) ** 2)
        whole += np.sum(step**2)
    return float(inside / whole)
