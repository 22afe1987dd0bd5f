"""Made tables for the claims of chapter 10: areas in worlds, in class models, and of real models."""

from recipes import Recipe, noise

from beyondloss.methods.hallucination.experiments import SMALL, TARGETS
from beyondloss.methods.hallucination.generator import BUDGETS
from beyondloss.methods.hallucination.worlds import POOL

OWN = ("mean pairwise distance", "self oracle")
ALWAYS = ("cross oracle", "cross distance", "MMD")
RULES = ("interval", "value", "random")
DIFFERENT, ITSELF = "different", "itself"


def worlds(area):
    """One row a detector and pair in a point; `area(detector, budget, kind)` says its AUROC.

    kind: "" for a target alone, or whether the verifier is a different model or the target itself.
    """

    def metrics(point):
        rows = [(target, "", name, 0.0, area(name, 0.0, "")) for target in POOL for name in OWN]
        for target in POOL:
            for verifier in POOL:
                kind = ITSELF if target == verifier else DIFFERENT
                found = [(name, 1.0) for name in ALWAYS] + [(n, b) for n in RULES for b in point.budgets]
                rows += [(target, verifier, n, b, area(n, b, kind)) for n, b in found]
        columns = dict(
            zip(("target", "verifier", "detector", "budget", "auroc"), zip(*rows, strict=True), strict=True)
        )
        made = {name: list(column) for name, column in columns.items()}
        made["auroc"] = [value + noise((point.seed, i), 0.001) for i, value in enumerate(made["auroc"])]
        return made | {name: [0.0] * len(rows) for name in ("auarc", "error", "asked", "wrong")}

    return metrics


def areas(known, itself=0.9, base=0.7):
    """AUROC by (detector, budget), or by detector alone; of pairs with itself always `itself`."""

    def area(name, budget, kind):
        return itself if kind == ITSELF else known.get((name, budget), known.get(name, base))

    return worlds(area)


def two_rules(better, worse, budgets, by):
    """At these budgets one rule is ahead of another, which has 0.7; at all others, and beside itself, it is behind.

    All other detectors are better still.
    """

    def area(detector, budget, kind):
        if detector not in (better, worse):
            return 0.9
        ahead = by if kind == DIFFERENT and budget in budgets else -3 * by
        return 0.7 + (ahead if detector == better else 0.0)

    return worlds(area)


def rule(better, worse, budgets):
    return Recipe(two_rules(better, worse, budgets, 0.03), two_rules(better, worse, budgets, -0.03))


SEVERAL = (0.1, 0.2, 0.3, 0.5, 0.7)
ROOM = Recipe(areas({"self oracle": 0.705}), areas({"self oracle": 0.75}), (areas({"self oracle": 0.72}),))


def of_pair(different, itself):
    """The graph network with another model's samples and with the target's own."""
    return worlds(lambda name, budget, kind: {DIFFERENT: different, ITSELF: itself}.get(kind, 0.7))


# The class model --------------------------------------------------------------------------------------------------


def classes(**areas_of):
    """Metrics of a point of the class model: numbers, or functions of the point."""

    def metrics(point):
        return {
            name: (value(point) if callable(value) else value) + noise((point, name), 1e-3)
            for name, value in areas_of.items()
        }

    return metrics


def curves(**levels):
    """Curves over the budget: name -> function of the budget."""

    def metrics(point):
        return {
            name: [level(b) + noise((point, name, b), 1e-3) for b in BUDGETS]
            for name, level in levels.items()
        }

    return metrics


def in_one_setting(value, otherwise):
    """A value in one setting of each world alone."""
    return lambda point: value if point.confident == 0.3 else otherwise


def frontier(by):
    return curves(
        exact_interval=lambda budget: 0.8 + (by if budget in (0.2, 0.3, 0.4, 0.5) else -by),
        exact_random=lambda budget: 0.8,
    )


# Real models ------------------------------------------------------------------------------------------------------


def questions(detector, gain, low, high, worst=None):
    """What a detector adds in each pair; `worst`: (gain, low, high) of one pair of different models.

    All other detectors, pairs of a model with itself, and comparisons by embedding show the reverse.
    """

    def metrics(point):
        asked = point.target != point.verifier and point.kernel != "embedding"
        found = {}
        for name in ("value 1", "interval 0.5", "random 0.5", "interval 1"):
            one = (gain, low, high)
            if worst and point.target in WORST and point.seed == 0:
                one = worst
            if name != detector or not asked:
                one = (-one[0], -one[2], -one[1])
            found[name] = one
        gains, lows, highs = (list(column) for column in zip(*found.values(), strict=True))
        columns = {"detector": list(found), "gain": gains, "gain_low": lows, "gain_high": highs}
        others = ("budget", "auroc", "low", "high", "auarc", "asked")
        return columns | {name: [0.5] * len(found) for name in others}

    return metrics


WORST = (TARGETS[1], SMALL)  # a target of quick and one of full scale


def real(detector):
    return Recipe(
        questions(detector, 0.05, 0.02, 0.08),
        questions(detector, -0.05, -0.08, -0.02),
        (
            questions(detector, 0.05, -0.01, 0.11),
            questions(detector, 0.05, 0.02, 0.08, worst=(0.01, -0.03, 0.05)),
        ),
    )


def asking_always(rule):
    """A rule at a budget of one beside no asking; other rules, and other budgets of this one, do the reverse."""
    others = {("interval", 1.0), ("value", 1.0)} - {(rule, 1.0)}

    def of(by):
        known = {"mean pairwise distance": 0.7, (rule, 1.0): 0.7 + by, (rule, 0.5): 0.7 - by}
        return areas(known | dict.fromkeys(others, 0.7 - by), itself=0.7 - by)

    return Recipe(of(0.05), of(-0.05))


RECIPES = {
    "10.3a control": asking_always("interval"),
    "10.3b control": asking_always("value"),
    "10.3g control": Recipe(
        curves(planned_error=lambda budget: 0.16 - 0.05 * budget),
        curves(planned_error=lambda budget: 0.16 + 0.05 * budget),
    ),
    "10.3h control": real("value 1"),
    "10.1a": Recipe(
        classes(self=0.8, self_oracle=0.805),
        classes(self=0.8, self_oracle=0.85),
        (classes(self=0.8, self_oracle=in_one_setting(0.85, 0.8)),),  # the largest gap over settings counts
    ),
    "10.1b": ROOM,
    "10.2a": Recipe(
        classes(self_oracle=0.8, cross_oracle=0.85),
        classes(self_oracle=0.85, cross_oracle=0.8),
        (classes(self_oracle=0.8, cross_oracle=0.81),),
    ),
    "10.2b": Recipe(
        areas({"cross oracle": 0.8, "self oracle": 0.75}, itself=0.5),
        areas({"cross oracle": 0.7, "self oracle": 0.75}),
        (areas({"cross oracle": 0.76, "self oracle": 0.75}),),
    ),
    "10.2c": Recipe(of_pair(0.8, 0.75), of_pair(0.75, 0.8)),
    "10.2d": real("value 1"),
    "10.3a": Recipe(
        areas({("interval", 0.5): 0.75, ("interval", 1.0): 0.75}),
        areas({("interval", 0.5): 0.7, ("interval", 1.0): 0.75}),
    ),
    "10.3b": Recipe(
        areas({("interval", 0.5): 0.75, ("value", 1.0): 0.75}),
        areas({("interval", 0.5): 0.7, ("value", 1.0): 0.75}),
    ),
    "10.3c": rule("interval", "random", (0.3,)),
    "10.3d": Recipe(frontier(0.02), frontier(-0.02)),
    "10.3e": rule("value", "interval", SEVERAL),
    "10.3f": rule("value", "random", SEVERAL),
    "10.3g": Recipe(
        curves(planned_error=lambda budget: 0.16 - 0.01 * budget),
        curves(planned_error=lambda budget: 0.16 - 0.05 * budget),
        (curves(planned_error=lambda budget: 0.16 - 0.02 * budget),),
    ),
    "10.3h": real("interval 0.5"),
    "10.4b": Recipe(
        areas({"cross distance": 0.75, "MMD": 0.7}, itself=0.9), areas({"cross distance": 0.7, "MMD": 0.75})
    ),
}
