"""Effects with their intervals: what a claim's measure returns, and how it is written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from beyondloss.experiment.errors import MissingPoints


@dataclass(frozen=True)
class Effect:
    """An effect that is positive where the claim is right, with its 95% interval.

    interval: how `low` and `high` were found, which says how a p value follows from them. "t": Student's, over as
        many seeds as `seeds` says. "bootstrap": percentiles over resampled questions; its p value takes the part
        below the effect as that of a normal distribution.
    """

    value: float | int
    low: float | int
    high: float | int
    seeds: int
    unit: str = ""
    interval: Literal["t", "bootstrap"] = "t"

    def __format__(self, spec: str) -> str:
        """Value and interval, each number as `spec` says: f"{effect:+.3f}" is "+0.012 [-0.003, +0.027]".

        A single seed has no interval, and none is written.
        """
        if math.isinf(self.low):
            return f"{self.value:{spec}}"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def p_value(self, margin: float | int = 0.0) -> float:
        """Chance of an effect so far above `margin` where there is none: below 0.05 exactly where `low` exceeds it.

        Twice the one-sided p value, at most 1, because the intervals are two-sided. An effect that is not a number,
        or that has no interval, says nothing: 1.
        """
        from scipy.special import ndtr, ndtri, stdtr, stdtrit

        from beyondloss.experiment.tables import UPPER

        if not math.isfinite(self.low):
            return 1.0
        below = self.value - self.low
        if below <= 0:  # all seeds agree to the last digit, or percentiles lie above the effect
            return 0.0 if self.low > margin else 1.0
        if self.interval == "bootstrap":
            one_sided = ndtr((margin - self.value) * ndtri(UPPER) / below)
        else:
            freedom = self.seeds - 1
            one_sided = stdtr(freedom, (margin - self.value) * stdtrit(freedom, UPPER) / below)
        return min(1.0, 2 * float(one_sided))


def weakest(effects: Iterable[Effect], margin: float | int = 0.0) -> Effect:
    """The effect that decides where all of them must lie above `margin`: the one with the largest p value.

    So the criterion holds exactly where it holds for every effect, the direction is right only where it is for every
    effect, and Holm's correction gets the p value of the conjunction. Of several that say nothing the one that is not
    a number comes first, then the least.
    """

    def weakness(effect: Effect) -> tuple[float, bool, float]:
        unknown = math.isnan(effect.value)
        return effect.p_value(margin), unknown, 0.0 if unknown else -effect.value

    return max(effects, key=weakness)


def paired_interval(differences: Iterable[float], unit: str = "") -> Effect:
    """Mean of paired differences, one a seed, with Student's t interval.

    The interval of a single difference is unbounded. A difference that is not a number (a diverged point) is not left
    out: it makes the effect not a number, and the claim does not hold. Raises MissingPoints without a difference.
    """
    import numpy as np

    from beyondloss.experiment.tables import mean_band

    d = np.asarray(list(differences), dtype=float)
    if not d.size:
        raise MissingPoints("no pair of points to compare")
    mean, low, high = (float(x) for x in mean_band(d))
    if d.size == 1:
        low, high = -math.inf, math.inf
    return Effect(mean, low, high, d.size, unit)
