"""What chapter 7 compares: sets of texts of one size, by where they come from. An arm with a setting is tried at each.

Every arm then learns alike (`learning`), at its own learning rate and number of steps.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from beyondloss.choices import choose
from beyondloss.methods.synthetic_text.matching import PUBLISHED, Matching
from beyondloss.methods.synthetic_text.privacy import Privacy

Source = Literal["nothing", "random tokens", "generated", "real", "matched"]
TEMPERATURES, RHOS = (0.7, 1.0), (1e-4, 1e-3, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Arm:
    """Where texts come from.

    temperature: of generated ones, which begin GRADMM, too. from_examples: real examples stand in the request.
    pool: so many texts a text of the set are generated, of which the joint gradient chooses. choice: of real ones;
    "all" takes every one. matching: of GRADMM. privacy: of the gradient that is matched.
    """

    source: Source
    temperature: float = 1.0
    from_examples: bool = False
    pool: int = 1
    choice: Literal["", "random", "herding", "k-center", "gradient", "all"] = ""
    matching: Matching = field(default_factory=Matching)
    privacy: Privacy | None = None


def generated(name: str, **options) -> dict[str, Arm]:
    return {f"{name}, temperature {t:g}": Arm("generated", temperature=t, **options) for t in TEMPERATURES}


def matched(name: str, rhos: tuple[float, ...] = RHOS, **options) -> dict[str, Arm]:
    return {f"{name}, rho {rho:g}": Arm("matched", matching=Matching(rho=rho, **options)) for rho in rhos}


ZERO_SHOT = "zero-shot"
POOL = 20  # generated texts a chosen one: about what GRADMM's steps cost

ARMS = {
    ZERO_SHOT: Arm("nothing"),
    "random tokens": Arm("random tokens"),
    **generated("generated"),
    **generated("generated from examples", from_examples=True),
    **generated("generated, chosen", pool=POOL),
    **{
        f"real, {choice}": Arm("real", choice=choice)
        for choice in ("random", "herding", "k-center", "gradient", "all")
    },
    **matched("GRADMM"),
    **matched("GRADMM by squares", distance="squared"),
    **matched("GRADMM without perplexity", words="nearest"),
    "embeddings": Arm("matched", matching=Matching(words="none")),
    **matched("GRADMM from noise", start="random", tries=100),
    "GRADMM as published": Arm("matched", matching=PUBLISHED),
    "GRADMM with privacy": Arm("matched", privacy=Privacy(epsilon=8.0)),
}


def arm(name: str, seed: int) -> Arm:
    """The arm of a name, its random numbers those of a seed. BadInput for none."""
    found = ARMS[choose("arm", name, ARMS)]
    return replace(found, matching=replace(found.matching, seed=seed))
