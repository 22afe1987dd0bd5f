"""Made tables for the claims of chapter 7.

On the tuning seeds every arm has its best setting elsewhere than on the seeds that count, where another is better
still: a measure that chooses on what it judges takes that one.
"""

from recipes import Recipe, noise

from beyondloss.methods.synthetic_text.arms import ZERO_SHOT
from beyondloss.methods.synthetic_text.measures import (
    ALL,
    CHOSEN,
    FROM_EXAMPLES,
    GENERATED,
    GRADMM,
    RANDOM,
    STARTS,
    TUNING_SEEDS,
)

MIDDLE = 4  # of the nine settings, which the tuning seeds choose; the last shows most members


def world(best=None, swing=None, attacks=None, texts=None):
    """`best`: arm -> accuracy at the setting that the tuning seeds choose. `swing`: what every second seed has more of
    it, the others less. `attacks`: arm -> area at the most telling setting. `texts`: arm -> properties of its texts.
    """
    best, swing, attacks, texts = best or {}, swing or {}, attacks or {}, texts or {}

    def metrics(point):
        names = ["as it stands", "calibrated"] if point.arm == ZERO_SHOT else point.learning.settings
        chosen, small = min(MIDDLE, len(names) - 1), noise(point, 0.002)
        counts = point.seed not in TUNING_SEEDS
        value = best.get(point.arm, 0.5) + counts * swing.get(point.arm, 0.0) * (-1) ** point.seed
        # the first setting is 0.3 better where it must not be looked at
        accuracy = [value - 0.2 + 0.5 * counts * (place == 0) for place in range(len(names))]
        accuracy[chosen] = value + small
        area = [0.5 + 0.2 * counts * (place == 0) for place in range(len(names))]
        area[-1] = attacks.get(point.arm, 0.5) + small + 0.3 * (not counts and point.arm in ALL)
        found = {"setting": names, "accuracy": accuracy, "attack": area}
        found |= {"loss": [1.0] * len(names), "real_loss": [1.0] * len(names)}
        own = texts.get(point.arm, {})
        far = own.get("far", 0.5) + small
        return found | {
            "distance_of_tested": [0.5 * far, 1.5 * far],
            "surprise": own.get("surprise", 5.0) + small,
        }

    return metrics


def each(arms, value):
    return dict.fromkeys(arms, value)


def apart(rivals):
    """GRADMM is ahead of the rivals. In near misses seeds disagree, or one rival is ahead."""

    def made(gain, swing=0.0, last=0.0):
        best = (
            each([arm for rival in rivals for arm in rival], 0.7) | each(GRADMM, 0.7 + gain) | each(ALL, 0.8)
        )
        best |= each(rivals[-1], 0.7 + last)
        return world(best | each([ZERO_SHOT], 0.6), each(GRADMM, swing))

    near = [made(0.01, swing=0.1), *([made(0.05, last=0.2)] if len(rivals) > 1 else [])]
    return Recipe(made(0.1), made(-0.1), tuple(near))


def teach(gain):
    return world(each(ALL, 0.6 + gain) | each([ZERO_SHOT], 0.6))


def near_all(lost):
    return world(each(ALL, 0.8) | each(GRADMM, 0.8 - lost))


def matched(left):
    """Of its start's distance GRADMM leaves this share."""
    return world(texts={STARTS["GRADMM"]: {"far": 0.4}} | each(GRADMM, {"far": 0.4 * left}))


def likely(surprise):
    return world(texts={RANDOM[0]: {"surprise": 5.0}} | each(GRADMM, {"surprise": surprise}))


def attacked(all_, ours):
    return world(attacks=each(ALL, all_) | each(GRADMM, ours))


RECIPES = {
    "7.1a": Recipe(matched(0.5), matched(1.5), (matched(0.8),)),
    "7.1b": Recipe(likely(5.4), likely(6.4), (likely(5.8),)),
    "7.2b control": Recipe(teach(0.1), teach(-0.1), (teach(0.015),)),
    "7.2b": Recipe(near_all(0.01), near_all(0.2), (near_all(0.08),)),
    "7.3a control": Recipe(teach(0.1), teach(-0.1), (teach(0.015),)),
    "7.3a": apart((GENERATED, FROM_EXAMPLES)),
    "7.3b": apart((GENERATED, FROM_EXAMPLES)),
    "7.3c": apart((RANDOM,)),
    "7.3d": apart((RANDOM,)),
    "7.3e": apart((CHOSEN,)),
    "7.4a control": Recipe(attacked(0.7, 0.5), attacked(0.4, 0.5), (attacked(0.51, 0.5),)),
    "7.4a": Recipe(attacked(0.7, 0.52), attacked(0.6, 0.7), (attacked(0.7, 0.65),)),
}
