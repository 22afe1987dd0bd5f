"""When noise is no longer noise: masks that leave a string of the sample recognisable (chapter 3, section 6)."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import binom, hypergeom

from beyondloss.methods.masked_diffusion.parity import parity_data


def recognisable(n: int, k: int, samples: int, rate: float) -> float:
    """Probability that the shown bits fit no other of `samples` distinct strings (chapter 3, eq. md-recognisable).

    Shown bits are independent and fair, save that the last of a wholly shown S' follows from the others; of the
    2^n - 1 other strings 2^(n - free bits) - 1 look the same.
    """
    inside, outside = np.arange(k + 2), np.arange(n - k + 1)
    weight = binom.pmf(inside, k + 1, 1 - rate)[:, None] * binom.pmf(outside, n - k, 1 - rate)[None]
    free_bits = inside[:, None] + outside[None] - (inside == k + 1)[:, None]
    alone = hypergeom.pmf(0, 2**n - 1, 2 ** (n - free_bits) - 1, samples - 1)
    return float((weight * alone).sum())


def recognised(
    n: int, k: int, samples: int, rate: float, trials: int, seed: int = 0
) -> Float[np.ndarray, " trial"]:
    """The same by simulation: in each trial one masked string of a fresh sample; 1 where no other string fits it."""
    data = parity_data(n, k, samples, 0, range(seed, seed + trials))
    generator = torch.Generator().manual_seed(seed)
    shown = torch.rand(trials, n + 1, generator=generator) >= rate
    same = (data.train == data.train[:, :1]) | ~shown[:, None]
    return (same.all(-1).sum(1) == 1).double().numpy()
