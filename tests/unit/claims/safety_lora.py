"""Made tables for the claims of chapter 8.

Below its own rate an arm refuses little and keeps everything; from there on it refuses, and keeps less the higher the
rate. So a choice by what is kept alone, or by refusal alone, takes another rate than the rule of the chapter.
"""

import math

from recipes import Recipe, noise

from beyondloss.methods.safety_lora.arms import named
from beyondloss.methods.safety_lora.fronts import MERGED, MERGES
from beyondloss.methods.safety_lora.measures import PAPER_ARMS, PENALTIES, TUNING_SEEDS

OWN = {"small world": {"full": 1e-4}, "real": {"full": 1e-5}}  # rates; LoRA's are higher
LORA = {"small world": 5.6e-4, "real": 3e-4}
DROP = 0.03  # of what is kept, an eighth of a decade above the own rate


def steps_above(point):
    """Arm, and how many eighths of a decade the rate lies above the arm's own."""
    arm, _, lr = named(point.tuning)
    place = "real" if hasattr(point, "probes") else "small world"
    own = OWN[place]["full"] if arm.startswith("full") else LORA[place]
    if arm == "LoRA 1, proportional":
        own = 1.8e-3
    if arm == "LoRA 64, proportional":
        own = 1.8e-4
    return arm, round(8 * math.log10(lr / own)) if lr else 0


def world(metric="reasoning", kept=None, base=1.0, drops=None, lags=None, others=1.0, swing=None, **overlaps):
    """`kept`: arm -> `metric` at its own rate. On the seeds that count alone refusal falls by `lags`, and every second
    seed keeps `swing` more, the others as much less.
    """
    kept, drops, lags, swing = kept or {}, drops or {}, lags or {}, swing or {}

    def metrics(point):
        arm, above = steps_above(point)
        counts = point.seed not in TUNING_SEEDS
        small = noise(point, 0.002)
        found = {"arm": arm, "lr": named(point.tuning)[2], "reasoning": others, "benign_right": others}
        if hasattr(point, "probes"):
            found = {"arm": arm, "lr": found["lr"]}
        if arm == "base":
            return found | {metric: base + small, "refusal": 0.0, "merged": None}
        value = kept.get(arm, 0.5)
        value = max(base, value) + 0.01 if above < 0 else value - above * drops.get(arm, DROP)
        value += counts * swing.get(arm, 0.0) * (-1) ** point.seed
        found |= {metric: value + small, "refusal": 0.1 if above < 0 else 1.0 - counts * lags.get(arm, 0.0)}
        found |= {f"{side}_overlap": of.get(arm, 5.0) + small for side, of in overlaps.items()}
        return found | {"merged": None}

    return metrics


def apart(metric, better, worse, base=1.0, others=1.0):
    """Arms `better` keep more than `worse` at their own rates; the near misses refuse less, or seeds disagree."""

    def made(gain, lag=0.0, swing=0.0):
        kept = dict.fromkeys(better, 0.8 + gain) | dict.fromkeys(worse, 0.8)
        lags, swings = dict.fromkeys(better, lag), dict.fromkeys(better, swing)
        return world(metric, kept, base, others=others, lags=lags, swing=swings)

    return Recipe(made(0.1), made(-0.1), (made(0.1, lag=0.2), made(0.01, swing=0.1)))


def tax(at_own):
    """What full fine-tuning loses at its own rate."""
    return world(kept={"full": 1 - at_own} | dict.fromkeys(PAPER_ARMS, 0.97))


def tax_at_lora(drop):
    """What it loses at LoRA's rate, six eighths of a decade above its own: `drop` for each."""
    return world(kept={"full": 0.99} | dict.fromkeys(PAPER_ARMS, 0.97), drops={"full": drop}, base=0.985)


def beside_full(lora, drop, lag=0.0):
    """LoRA and full fine-tuning at LoRA's rate."""
    kept = {"full": 0.9} | dict.fromkeys(PAPER_ARMS, lora)
    return world(kept=kept, drops={"full": drop}, lags=dict.fromkeys(PAPER_ARMS, lag))


def overlaps(row, column):
    """LoRA's overlaps are smaller by so much."""
    kept = {"full": 0.9} | dict.fromkeys(PAPER_ARMS, 0.9)
    of = lambda less: {"full": 2.0} | dict.fromkeys(PAPER_ARMS, 2.0 - less)  # noqa: E731
    return world(kept=kept, row=of(row), column=of(column))


def merging(removed, scaled):
    """What LoRA keeps with its best removal, and with its best scale; the update as it is keeps .7."""
    plain = world("benign_right", {"LoRA 16": 0.7})
    best = {"remove 4 row": removed, "scale 0.75": scaled}

    def metrics(point):
        found = plain(point)
        if found["arm"] not in MERGED:
            return found
        above = steps_above(point)[1]
        values = [best.get(name, 0.6) - (above != 0) * 0.2 + noise(point, 0.002) for name in MERGES]
        many = len(MERGES)
        lists = {"merged": list(MERGES), "merged_reasoning": [1.0] * many, "merged_benign_right": values}
        lists |= {"merged_refusal": [1.0] * many, "merged_over_refusal": [0.0] * many}
        return found | lists | {"merged_reasoning_loss": [0.0] * many}

    return metrics


def room(lost):
    return world("benign_right", {"LoRA 16": 1 - 2 * lost})


REAL_ARMS = ("LoRA 16", "LoRA 1, fixed")
RECIPES = {
    "8.1a": Recipe(tax_at_lora(0.03), tax_at_lora(-0.03), (tax_at_lora(0.006),)),
    "8.1b": Recipe(tax(0.1), tax(-0.1), (tax(0.03),)),
    "8.2a control": Recipe(tax_at_lora(0.03), tax_at_lora(-0.03), (tax_at_lora(0.006),)),
    "8.2b control": Recipe(tax(0.1), tax(-0.1), (tax(0.0),)),
    "8.2a": Recipe(
        beside_full(0.9, 0.03),
        beside_full(0.7, 0.0),
        (beside_full(0.9, 0.03, lag=0.2), beside_full(0.9, 0.0)),
    ),
    "8.2b": apart("reasoning", PAPER_ARMS, ("full",)),
    "8.2c": apart("benign_right", PAPER_ARMS, ("full",)),
    "8.2d": apart("benign_right", ("LoRA 1, proportional",), ("LoRA 64, proportional",)),
    "8.2e control": Recipe(
        *(world("kept", {"full": 1 - lost} | dict.fromkeys(REAL_ARMS, 0.97)) for lost in (0.1, -0.1)),
        (world("kept", {"full": 1.0} | dict.fromkeys(REAL_ARMS, 0.97)),),
    ),
    "8.2e": apart("kept", REAL_ARMS, ("full",)),
    "8.3a": Recipe(overlaps(0.5, 0.3), overlaps(-0.5, -0.3), (overlaps(0.5, -0.3), overlaps(-0.5, 0.3))),
    "8.4a control": Recipe(room(0.1), room(-0.1), (room(0.002),)),
    "8.4a": apart("benign_right", PENALTIES, ("LoRA 16",)),
    "8.4b": Recipe(merging(0.9, 0.8), merging(0.8, 0.9), (merging(0.9, 0.9),)),
}
