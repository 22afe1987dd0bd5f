"""How to make tables for a chapter's claims, without measuring anything.

A recipe makes the metrics of one point; the points themselves are those of the experiment's own presets, so a measure
that asks for a point that no preset has, or for another metric, is found out.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Made = Callable[[Any], dict]  # a point -> its metrics
Conditions = dict[str, Any]  # a field -> its value, or a function of the value


@dataclass(frozen=True)
class Recipe:
    """Tables of one claim.

    holds: the claim is right. mirror: its effect is reversed, so it did not hold. near: it may point the right way, but
    misses the criterion (too small, seeds that disagree, right for one of several sets only). control: the recipe of
    its precondition, for a claim that has one; both make metrics of the same points where their experiment is the same.
    """

    holds: Made
    mirror: Made
    near: tuple[Made, ...] = ()
    control: "Recipe | None" = None


def noise(point: Any, size: float = 1.0) -> float:
    """A small number that belongs to a point."""
    digest = hashlib.blake2b(repr(point).encode(), digest_size=4).digest()
    return size * (int.from_bytes(digest) / 2**31 - 1)


def meets(point: Any, conditions: Conditions) -> bool:
    """Whether a point has these values."""
    values = {name: getattr(point, name) for name in conditions}
    return all(w(values[n]) if callable(w) else values[n] == w for n, w in conditions.items())


def ahead(metric: str, by: float, better: Conditions, worse: Conditions, base: float = 3.0) -> Recipe:
    """The points `better` differ from `worse` by `by`: its sign says which way is better.

    All other points are better still, so a measure that takes one of them for `worse` does not hold, and one that takes
    one for `better` holds in the mirror. In the near miss the seeds disagree.
    """

    def made(effect: Callable[[int], float]) -> Made:
        def metrics(point: Any) -> dict:
            other = 0.0 if meets(point, worse) else 2 * by
            change = effect(point.seed) * by if meets(point, better) else other
            return {metric: base + change + noise(point, 0.01 * by)}

        return metrics

    return Recipe(
        made(lambda seed: 1.0), made(lambda seed: -1.0), (made(lambda seed: -0.5 if seed % 2 else 1.0),)
    )
