"""Real or generated texts that stand for many: chosen at random, by their states, or by their joint gradient."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beyondloss.choices import choose
from beyondloss.data.coresets import check_size, herding, k_center
from beyondloss.methods.synthetic_text.gradients import Head, Kind, Target

WAYS = ("random", "herding", "k-center", "gradient")


def chosen(
    way: str,
    hidden: Float[Tensor, "text width"],
    size: int,
    head: Head,
    target: Target,
    seed: int = 0,
    kind: Kind = "cosine",
) -> list[int]:
    """`size` of the texts of one label. ValueError for an unknown way, or fewer texts than that."""
    check_size(hidden, size)
    if choose("way of choosing", way, WAYS) == "random":
        return np.random.default_rng([12, seed, target.label]).permutation(len(hidden))[:size].tolist()
    if way == "gradient":
        return by_gradient(hidden, size, head, target, kind)
    return {"herding": herding, "k-center": k_center}[way](hidden, size).tolist()


def by_gradient(
    hidden: Float[Tensor, "text width"], size: int, head: Head, target: Target, kind: Kind = "cosine"
) -> list[int]:
    """Greedily the text that brings the joint gradient of those chosen nearest to the target, none twice."""
    taken: list[int] = []
    for _ in range(size):
        left = [i for i in range(len(hidden)) if i not in taken]
        far = [float(target.distance(hidden[[*taken, i]], head, kind)) for i in left]
        taken.append(left[int(np.argmin(far))])
    return taken


@torch.no_grad()
def spread_of_gradients(hidden: Float[Tensor, "text width"], head: Head, label: int) -> float:
    """Mean of |g_i - g|^2 over texts of a label, over |g|^2: what `theory.subset_error` starts from."""
    residual = head.residuals(hidden, label)
    sizes = (residual.square().sum(1) * hidden.square().sum(1)).mean()
    mean = (residual.T @ hidden / len(hidden)).square().sum()
    return float((sizes - mean) / mean)
