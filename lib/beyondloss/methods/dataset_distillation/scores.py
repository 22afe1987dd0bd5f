"""The scores of DD-Ranking from their definition, on fractions; and what follows from it (chapter 6, section 4)."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float

Number = float | Float[np.ndarray, "*#any"] | pd.Series

SPAN = math.e - 1 / math.e


def hard_label_recovery(whole: Number, hard: Number) -> Number:
    """HLR: what hard labels lose on the set against the whole training part; smaller is better (eq. dd-hlr)."""
    return whole - hard


def improvement_over_random(accuracy: Number, random: Number) -> Number:
    """IOR: what the set gains over as many random images under the same recipe (eq. dd-ior)."""
    return accuracy - random


def normalised(exponent: Number) -> Number:
    """(e^x - e^-1) / (e - e^-1): from [-1, 1] onto [0, 1] (eq. dd-normalised)."""
    return (np.exp(exponent) - 1 / math.e) / SPAN


def label_robust_score(hlr: Number, ior: Number, weight: Number = 0.5) -> Number:
    """LRS: IOR against HLR with `weight` on IOR (eq. dd-lrs)."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(with_it: Number, without: Number, weight: float = 0.5) -> Number:
    """ARS: the gains over random images with augmentation and without, `weight` on the first (eq. dd-ars)."""
    return normalised(weight * with_it + (1 - weight) * without)


NEUTRAL = float(normalised(0.0))  # of a set that is worth as much as random images, and as the whole data


def neutral_lrs(hlr: Number, weight: Number = 0.5) -> Number:
    """LRS of a random subset, whose IOR is 0 (proposition dd-neutral)."""
    return label_robust_score(hlr, 0.0, weight)


def attainable_lrs(whole: float, random: float, weight: float = 0.5) -> float:
    """LRS of a set that is as good as the whole data under either kind of label (proposition dd-neutral)."""
    return float(label_robust_score(0.0, whole - random, weight))


def swap_weight(first: tuple[float, float], second: tuple[float, float]) -> float | None:
    """The weight at which two sets (HLR, IOR) exchange their order; None where one is ahead at every weight."""
    worse = first[0] - second[0]  # in HLR
    better = first[1] - second[1]  # in IOR
    if worse * better <= 0:
        return None
    return worse / (worse + better)


def slope_in_weight(hlr: Number, ior: Number, weight: Number = 0.5) -> Number:
    """d LRS / d weight: how much of the score is the weight's (eq. dd-weight)."""
    return np.exp(weight * ior - (1 - weight) * hlr) / SPAN * (ior + hlr)


def jensen_bias(exponent: float, variance: float) -> float:
    """How much the mean of noisy scores exceeds the score of the mean, to second order (eq. dd-jensen)."""
    return variance / 2 * math.exp(exponent) / SPAN
