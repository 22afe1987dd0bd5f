"""What chapter 8 compares in its small world: ways of teaching refusals, whatever their learning rate."""

from dataclasses import dataclass, replace
from typing import Literal

from beyondloss.experiment import choose
from beyondloss.trainers.fine_tuning import FEED_FORWARD, Lora

RANKS = (1, 4, 16, 64)
ALPHAS = {
    "fixed": 16.0,
    "proportional": 1.0,
    "sqrt": 4.0,
}  # the three rules agree at rank 16, where the scale is 1
NO_TUNING = "base"


@dataclass(frozen=True)
class Arm:
    """One way of tuning. `lora` None trains the weights themselves whose names have `trained`.

    extra: "replay" of chains or "look-alikes" (benign requests, answered), with `strength` as their share of the rows;
    "KL" to the base, or the "column" or "row" penalty on the overlap, with `strength` as its coefficient; "own answers"
    teaches the base model's own answers to the forbidden requests instead of refusals: the control.
    stop: share of the steps after which it is stopped.
    """

    lora: Lora | None = None
    trained: str = ""
    extra: Literal["", "replay", "look-alikes", "KL", "column", "row", "own answers"] = ""
    strength: float = 0.0
    stop: float = 1.0


def low_rank(
    rank: int,
    rule: str = "fixed",
    layers: tuple[int, int] | None = None,
    targets: tuple[str, ...] = FEED_FORWARD,
) -> Arm:
    """LoRA beside matrices of the MLP."""
    return Arm(Lora(rank, ALPHAS[rule], rule, targets, layers))


FULL, LORA = Arm(), low_rank(16)


def grid_of_ranks() -> dict[str, Arm]:
    """LoRA by rank and rule of alpha; the rules agree at rank 16."""
    found = {"LoRA 16": LORA}
    for rule in ALPHAS:
        for rank in RANKS:
            if rank != 16:
                found[f"LoRA {rank}, {rule}"] = low_rank(rank, rule)
    return found


def places() -> dict[str, Arm]:
    """Parts of the network: single matrices at rank 1, single layers at rank 16, one kind of matrix in full."""
    found = {}
    for name in ("up", "gate", "down"):
        found[f"LoRA 1, {name} only"] = low_rank(1, targets=(f"{name}_proj",))
    for layer, name in enumerate(("first", "middle", "last")):
        found[f"LoRA 16, {name} layer"] = low_rank(16, layers=(layer, layer + 1))
    return found | {"full, up only": replace(FULL, trained="up_proj")}


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


def named(tuning: str) -> tuple[str, Arm | None, float]:
    """Name of the arm, the arm and its learning rate from "NAME at RATE"; "base" is not tuned. BadInput."""
    if tuning == NO_TUNING:
        return NO_TUNING, None, 0.0
    name, _, rate = tuning.rpartition(" at ")
    choose("arm", name or tuning, (NO_TUNING, *ARMS))
    try:
        lr = float(rate)
    except ValueError:
        lr = 0.0
    if not lr > 0:
        raise ValueError(f"a tuning is named 'ARM at RATE' with a positive learning rate, got {tuning!r}")
    return name, ARMS[name], lr
