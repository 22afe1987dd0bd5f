"""The settings of a point of chapter 7: one set of texts, and what is learned from it."""

from dataclasses import dataclass
from typing import Literal

from beyondloss.choices import choose
from beyondloss.methods.synthetic_text.arms import ARMS, ZERO_SHOT
from beyondloss.methods.synthetic_text.learning import Learning, Tuned
from beyondloss.methods.synthetic_text.reviews import PUBLISHED
from beyondloss.methods.synthetic_text.world import WORLD
from beyondloss.models.language import SMOLLM2

PHI = "microsoft/phi-1_5@675aa382d814580b22651a30acb1a585d7c25963"
TUNING_SEEDS = (100, 101, 102)
LLAMA = "meta-llama/Llama-3.2-1B@4e20de362430cd3b72f300e6b0f18e50e7166e08"


@dataclass(frozen=True)
class TextPoint:
    """One arm of `arms` with one draw of real examples.

    model: spec of `models.language.load`. data: "reviews", or a data set of the paper; both are "small world" there.
    per_label: size of the set. real: real examples of each label, which are matched, chosen from, and attacked.
    tested: others of each label. another: spec of a model that learns from the texts, too.
    """

    arm: str = ZERO_SHOT
    model: str = SMOLLM2
    data: str = "reviews"
    per_label: int = 8
    real: int = 50
    shots: int = 4  # of them in a request, of the arms that show any
    tested: int = 200
    tuned: Tuned = "head"
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    steps: tuple[int, ...] = (10, 30, 100)
    outer: int = 4  # rounds of GRADMM, and inner steps of each at the learning rate `step`; but as published
    inner: int = 6
    step: float = 0.008
    base_steps: int = 500  # of the small world's models
    longest: int = 24  # tokens of a text
    nearest: int = 200
    another: str = ""
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self):
        choose("arm", self.arm, ARMS)
        choose("data set", self.data, (WORLD, "reviews", *PUBLISHED))
        if (self.data == WORLD) != (self.model == WORLD):
            raise ValueError(
                f"the texts of the small world are for its own models: {self.data}, {self.model}"
            )
        if (
            min(self.per_label, self.real, self.tested, self.outer, self.inner, self.longest, self.nearest)
            < 1
        ):
            raise ValueError("per_label, real, tested, outer, inner, longest and nearest must be at least 1")
        if self.per_label > self.real:
            raise ValueError(f"{self.per_label} texts a label cannot be chosen from {self.real} real ones")
        self.learning  # noqa: B018 for its errors

    @property
    def part(self) -> Literal["tests", "choices"]:
        """Which texts are tested on: those of a tuning seed choose hyper-parameters."""
        return "choices" if self.seed in TUNING_SEEDS else "tests"

    @property
    def learning(self) -> Learning:
        return Learning(self.tuned, self.rates, self.steps)
