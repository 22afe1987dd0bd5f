"""What chapter 8 compares in its small world: ways of teaching refusals, each with the middle of its rates."""

from dataclasses import dataclass, replace
from typing import Literal

from beyondloss.trainers.fine_tuning import FEED_FORWARD, Lora

RANKS = (1, 4, 16, 64)
ALPHAS = {
    "fixed": 16.0,
    "proportional": 1.0,
    "sqrt": 4.0,
}  # the three rules agree at rank 16, where the scale is 1
RULES = ("fixed", "proportional", "sqrt")


@dataclass(frozen=True)
class Arm:
    """One way of tuning. `lr` is the middle of its grid; `lora` None trains the weights whose names have `trained`.

    extra: "replay" of chains, "look-alikes" (benign requests, answered), both with `strength` as their share of the
    rows; "KL" to the base, or the "column" or "row" penalty on the overlap, with `strength` as its coefficient; "own
    answers" teaches the base model's own answers to the forbidden requests instead of refusals: the control.
    stop: share of the steps after which it is stopped.
    """

    lr: float
    lora: Lora | None = None
    trained: str = ""
    extra: Literal["", "replay", "look-alikes", "KL", "column", "row", "own answers"] = ""
    strength: float = 0.0
    stop: float = 1.0


def low_rank(
    rank: int, rule: str, lr: float, layers: tuple[int, int] | None = None, targets=FEED_FORWARD
) -> Arm:
    """LoRA beside the matrices of the MLP."""
    return Arm(lr, Lora(rank, ALPHAS[rule], rule, targets, layers))


FULL = Arm(lr=3.2e-4)
LORA = low_rank(16, "fixed", lr=1e-3)
MIDDLES = {  # of the learning rates of LoRA on the whole MLP
    ("fixed", 1): 3.2e-4,
    ("fixed", 4): 1e-3,
    ("fixed", 64): 1e-3,
    ("proportional", 1): 3.2e-3,
    ("proportional", 4): 1e-3,
    ("proportional", 64): 3.2e-4,
    ("sqrt", 1): 1e-3,
    ("sqrt", 4): 1e-3,
    ("sqrt", 64): 1e-3,
}


def grid_of_ranks() -> dict[str, Arm]:
    """LoRA by rank and rule of alpha; the rules agree at rank 16."""
    found = {"LoRA 16": LORA}
    for (rule, rank), lr in MIDDLES.items():
        found[f"LoRA {rank}, {rule}"] = low_rank(rank, rule, lr)
    return found


def places() -> dict[str, Arm]:
    """Parts of the network: single matrices at rank 1, single layers at rank 16, one matrix in full."""
    found = {
        f"LoRA 1, {name} only": low_rank(1, "fixed", lr=1e-3, targets=(f"{name}_proj",))
        for name in ("up", "gate", "down")
    }
    for layer, name in enumerate(("first", "middle", "last")):
        found[f"LoRA 16, {name} layer"] = low_rank(16, "fixed", lr=3.2e-3, layers=(layer, layer + 1))
    return found | {"full, up only": replace(FULL, trained="up_proj", lr=1e-3)}


def with_extras() -> dict[str, Arm]:
    """Both ways with more data or another loss, at two strengths each, and the controls."""
    found = {}
    for name, arm in {"full": FULL, "LoRA 16": LORA}.items():
        for extra, strengths in {"replay": (0.25, 0.5), "look-alikes": (0.25, 0.5), "KL": (0.3, 3.0)}.items():
            for strength in strengths:
                found[f"{name}, {extra} {strength:g}"] = replace(arm, extra=extra, strength=strength)
        found[f"{name}, own answers"] = replace(arm, extra="own answers")
    for side in ("column", "row"):
        for strength in (1.0, 10.0):
            found[f"LoRA 16, {side} penalty {strength:g}"] = replace(LORA, extra=side, strength=strength)
    return found | {"full, stopped early": replace(FULL, stop=0.25)}


ARMS = {"full": FULL} | grid_of_ranks() | places() | with_extras()
