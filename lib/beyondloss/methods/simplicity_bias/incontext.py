"""Linear self-attention trained by gradient descent, by SAM, and on other data (chapter 2, sections 6 to 8).

A point trains from small random heads on the population gradient or on a pool of prompts. Training distributions are
weights of the types of query (population) or numbers of copies of examples (pool), at an equal number of steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from beyondloss.methods.simplicity_bias.attention import Heads, Prompts, draw_prompts, small_heads
from beyondloss.methods.simplicity_bias.late_examples import late_set
from beyondloss.methods.simplicity_bias.theory import InContext, population_gradient, population_loss

Gradient = Callable[[Float[np.ndarray, "seed row column"], int], Float[np.ndarray, "seed row column"]]
"""dL/dM of each seed at its M, in a given step."""

DATA = {  # share of the types of query, from the one learned last (below 0: first), and how often they are seen
    "as drawn": (0.0, 1),
    "late x2": (0.5, 2),
    "late x4": (0.5, 4),
    "early x2": (-0.5, 2),
    "late, reweighted x2": (0.5, 2),
    "late by proxy x2": (0.0, 1),
    "random x2": (0.0, 1),
}
POOL_ONLY = (
    "late by proxy x2",
    "random x2",
    "late, reweighted x2",
)  # on the population they are others' equals


@dataclass(frozen=True)
class InContextPoint:
    """Train heads on in-context regression. `prompts = 0` takes the population gradient, `batch = 0` the whole pool."""

    data: Literal[*DATA] = "as drawn"
    rho: float = 0.0
    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    context: int = 32
    noise: float = 0.0
    prompts: int = 0
    batch: int = 0
    heads: int = 8
    start: float = 0.4
    lr: float = 0.25
    steps: int = 4000
    budget: int = 1000  # steps, or gradients, after which losses are compared
    proxy_steps: int = 250
    share: float = 0.5  # of the pool, that is called late by the proxy pass or chosen at random
    kept: int = 20  # evenly spaced steps at which curves are kept
    seed: int = 0

    def __post_init__(self):
        if self.data in POOL_ONLY and not self.prompts:
            raise ValueError(f"data {self.data!r} needs a pool of prompts")
        for name in ("steps", "budget", "heads", "proxy_steps", "kept"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.rho, self.prompts, self.batch) < 0 or not 0 < self.share < 1:
            raise ValueError("rho, prompts and batch must not be negative, and share must lie in (0, 1)")

    @property
    def task(self) -> InContext:
        return InContext(self.spectrum, self.context, self.noise)


def run_incontext(points: Sequence[InContextPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: when each direction is learned, and the population loss."""
    point, seeds = points[0], [p.seed for p in points]
    gradient = pool_gradient(point, seeds) if point.prompts else typed_gradient(point)
    heads = small_heads(len(point.spectrum), point.heads, point.start, seeds)
    curves = train(heads, gradient, point.lr, point.rho, point.steps)
    return [describe(point, curves[:, member]) for member in range(len(points))]


def train(
    heads: Heads, gradient: Gradient, lr: float, rho: float, steps: int
) -> Float[np.ndarray, "step seed row column"]:
    """M before each step and after the last, by gradient descent or, where rho > 0, SAM (chapter 2, eq. sb-sam)."""
    matrices = [heads.matrix]
    # not the loop of `trainers`: gradients are those of the theory, in closed form and in float64, so that what the
    # theorems say of a step can be compared with it
    for step in range(steps):
        there = heads
        if rho:
            ascent = heads.gradient(gradient(heads.matrix, step))
            there = heads.moved(ascent, rho / np.maximum(ascent.norm, 1e-12))
        heads = heads.moved(there.gradient(gradient(there.matrix, step)), -lr)
        matrices.append(heads.matrix)
    return np.stack(matrices)


def type_weights(data: str, directions: int) -> Float[np.ndarray, " direction"]:
    """Relative frequency of each type of query, mean 1; types are in the order in which they are learned."""
    share, times = DATA[data]
    many, copies = round(abs(share) * directions), np.ones(directions)
    if many:
        copies[slice(-many, None) if share > 0 else slice(None, many)] = times
    return copies / copies.mean()


def typed_gradient(point: InContextPoint) -> Gradient:
    """The population gradient under the weights of the point's types."""
    task = point.task
    query = task.eigenvalues * type_weights(point.data, len(point.spectrum))
    return lambda matrix, step: population_gradient(task, matrix, query)


@dataclass(frozen=True)
class Pool:
    """What the network sees of the prompts of every seed, and the weight of each example."""

    beta: Float[np.ndarray, "seed prompt direction"]
    query: Float[np.ndarray, "seed prompt direction"]
    label: Float[np.ndarray, "seed prompt"]
    weight: Float[np.ndarray, "seed prompt"]

    def residual(self, matrix: Float[np.ndarray, "seed row column"]) -> Float[np.ndarray, "seed prompt"]:
        return ((self.beta @ matrix) * self.query).sum(-1) - self.label

    def gradient(self, matrix: Float[np.ndarray, "seed row column"]) -> Float[np.ndarray, "seed row column"]:
        """dL/dM of the weighted mean of half the squared residuals."""
        pulled = (self.weight * self.residual(matrix) / self.label.shape[1])[..., None] * self.beta
        return np.swapaxes(pulled, 1, 2) @ self.query

    def rows(self, index: Int[np.ndarray, "seed row"]) -> "Pool":
        one = np.arange(len(index))[:, None]
        return Pool(
            self.beta[one, index], self.query[one, index], self.label[one, index], self.weight[one, index]
        )


def pool_gradient(point: InContextPoint, seeds: Sequence[int]) -> Gradient:
    """The gradient on a pool, whole or in batches; the batch of a step is the same for both gradients of SAM."""
    drawn = [
        draw_prompts(point.task, point.prompts, np.random.default_rng([1, seed]), True, point.noise)
        for seed in seeds
    ]
    copies = np.stack([copies_of(point, prompts, seed) for prompts, seed in zip(drawn, seeds, strict=True)])
    ones = np.ones_like(copies)
    reweighted, whole = "reweighted" in point.data, not point.batch
    pool = as_pool(drawn, copies if reweighted or whole else ones)
    if whole:
        return lambda matrix, step: pool.gradient(matrix)
    ends = np.cumsum(ones if reweighted else copies, axis=1) / point.prompts

    def gradient(matrix, step):
        draws = [np.random.default_rng([2, seed, step]).random(point.batch) for seed in seeds]
        index = np.stack([np.searchsorted(e, u) for e, u in zip(ends, draws, strict=True)])
        return pool.rows(np.minimum(index, point.prompts - 1)).gradient(matrix)

    return gradient


def as_pool(drawn: Sequence[Prompts], weight: Float[np.ndarray, "seed prompt"]) -> Pool:
    beta, query, label = (np.stack([getattr(p, name) for p in drawn]) for name in ("beta", "query", "label"))
    return Pool(beta, query, label, weight)


def copies_of(point: InContextPoint, prompts: Prompts, seed: int) -> Float[np.ndarray, " prompt"]:
    """How often each example is seen, relative to the mean."""
    if point.data == "random x2":
        chosen = np.random.default_rng([3, seed]).permutation(point.prompts)[
            : round(point.share * point.prompts)
        ]
    elif point.data == "late by proxy x2":
        chosen = late_set(proxy_losses(point, prompts, seed)[None], point.share)
    else:
        return normalised(type_weights(point.data, len(point.spectrum))[prompts.kind])
    copies = np.ones(point.prompts)
    copies[chosen] = 2
    return normalised(copies)


def normalised(copies: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " prompt"]:
    return copies / copies.mean()


def proxy_losses(point: InContextPoint, prompts: Prompts, seed: int) -> Float[np.ndarray, " prompt"]:
    """Squared residual over squared label after a short pass from the same heads, in batches where training has them.

    Every example is drawn evenly, whatever the point's data.
    """
    pool = as_pool([prompts], np.ones((1, point.prompts)))

    def gradient(matrix, step):
        if not point.batch:
            return pool.gradient(matrix)
        index = np.random.default_rng([4, seed, step]).integers(point.prompts, size=(1, point.batch))
        return pool.rows(index).gradient(matrix)

    heads = small_heads(len(point.spectrum), point.heads, point.start, [seed])
    last = train(heads, gradient, point.lr, 0.0, point.proxy_steps)[-1]
    return (pool.residual(last)[0] / pool.label[0]) ** 2


def describe(point: InContextPoint, matrices: Float[np.ndarray, "step row column"]) -> dict:
    """Metrics of one seed. A SAM step takes two gradients, so at an equal number of gradients it is half as far."""
    task = point.task
    shares = np.diagonal(matrices, axis1=-2, axis2=-1) / task.optimum
    losses = population_loss(task, matrices)
    finite = np.isfinite(losses)
    learned = [int(passed.argmax()) if passed.any() else None for passed in (shares > 0.5).T]
    first, last = learned[0], learned[-1]
    kept = np.linspace(0, point.steps, point.kept + 1).round().astype(int)
    at = lambda step: float(losses[min(step, point.steps)])  # noqa: E731
    return {
        "learned_at": learned,
        "log_ratio": float(np.log(last / first)) if first and last else None,
        "loss_at_steps": at(point.budget),
        "loss_at_gradients": at(point.budget // 2 if point.rho else point.budget),
        "best_loss": float(losses[finite].min()),
        "final_loss": at(point.steps),
        "step": kept.tolist(),
        "loss": losses[kept].round(5).tolist(),
        "shares": shares[kept].round(3).T.tolist(),
        "diverged_at": None if finite.all() else int((~finite).argmax()),
    }
