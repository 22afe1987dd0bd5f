"""Made tables for the claims of chapter 3."""

from recipes import Recipe, ahead, noise

from beyondloss.methods.masked_diffusion.window import ARMS

# The landscape -----------------------------------------------------------------------------------------------------

MIDDLE = {5: 160, 6: 520}  # n -> the middle width of the presets between signal inputs and all inputs
SIGNAL = {5: 108, 6: 324}


def pull(decades, error=1e-12):
    """The pull on the features grows by so many decades from no noise to half noise, at the middle width alone."""

    def metrics(point):
        grows = decades if point.width == MIDDLE[point.n] else -decades
        exponent = 2 * grows * point.noise_share - 9 + noise(point, 0.05)
        return {
            "identity_error": error,
            "gradient_error": error,
            "signal_inputs": SIGNAL[point.n],
            "inputs": 3**point.n,
            "pull": 10**exponent,
        }

    return metrics


# Grokking ---------------------------------------------------------------------------------------------------------

NEVER = None


def grokking(label, diffusion):
    """(memorised at, generalised at, final accuracy) of label and windowed diffusion without weight decay.

    With weight decay the two change places, and other objectives learn at once.
    """
    at_once = (10, 20, 1.0)

    def metrics(point):
        pair = (label, diffusion) if point.weight_decay == 0 else (diffusion, label)
        of = {"label": pair[0], "diffusion, window": pair[1]}
        memorised, generalised, final = of.get(point.objective, at_once)
        late = 1 + noise(point, 0.01)
        return {
            "memorised_at": memorised and memorised * late,
            "generalised_at": generalised and generalised * late,
            "final_held_out": final + noise(point, 0.001),
        }

    return metrics


def leaves_chance(at):
    """Label training memorises at 100 steps and solves at 1600; held-out accuracy reaches 0.6 at the step `at`.

    With weight decay, and with other objectives, it does the reverse.
    """

    def metrics(point):
        ours = point.objective == "label" and point.weight_decay == 0
        first = at if ours else 10_000 // at
        steps = [first * (0.5 + noise(point, 0.01)), first * (1 + noise(point, 0.01)), 10_000]
        return {
            "memorised_at": 100,
            "generalised_at": 1600,
            "step": steps,
            "held_out_accuracy": [0.5, 0.6, 1.0],
        }

    return metrics


def never_solved(point):
    return leaves_chance(1600)(point) | {"generalised_at": NEVER}


# Laws of the mask rate --------------------------------------------------------------------------------------------


def speed(slow, fast, slow_steps, fast_steps):
    """Steps of two laws, each at its own best learning rate; elsewhere either takes ten times as long or never learns.

    All other laws learn at once.
    """
    best = {slow: 0.8, fast: 0.2}
    steps = {slow: slow_steps, fast: fast_steps}

    def metrics(point):
        if point.arm not in best:
            return {"steps_to_90": 10.0 + noise(point)}
        if point.lr != best[point.arm]:
            return {"steps_to_90": None if point.arm == fast else 10.0 * steps[point.arm]}
        return {"steps_to_90": steps[point.arm] * (1 + noise(point, 0.02))}

    return metrics


def faster(slow, fast):
    return Recipe(speed(slow, fast, 1000, 250), speed(slow, fast, 250, 1000), (speed(slow, fast, 1000, 800),))


def order(place):
    """Speeds of the laws at the smallest learning rate follow `place` of their signal mass; at others the reverse."""

    def metrics(point):
        number = ARMS.index(point.arm)
        where = place(number) if point.lr == 0.2 else -place(number)
        return {"signal_mass": 0.1 + number / 100, "steps_to_90": 2000 - 100 * where + noise(point)}

    return metrics


# Language models --------------------------------------------------------------------------------------------------

UNIFORM, INNER = {"arm": "[0, 1]"}, {"arm": "[0.45, 0.55]"}
LOWER, HIGHER = ("[0.15, 0.25]", "[0.1, 0.2]"), ("[0.75, 0.85]", "[0.8, 0.9]")  # at quick and at full scale


def bound(inner, lower, higher):
    """The bound of the window in the middle and of those on either side; all others are in between."""

    def metrics(point):
        found = {"[0.45, 0.55]": inner} | dict.fromkeys(LOWER, lower) | dict.fromkeys(HIGHER, higher)
        return {"bound": found.get(point.arm, 2.5) + noise(point, 0.002)}

    return metrics


def at_better_rate(made):
    """The same where each law has its better learning rate elsewhere: at the other one it is far behind."""

    def metrics(point):
        better = (3e-3, 6e-4) if point.arm == "[0, 1]" else (6e-3, 1e-3)
        return {"bound": made(point)["bound"] + (0 if point.lr in better else 5)}

    return metrics


LASTS = ahead("bound", -0.1, INNER, UNIFORM)
RECIPES = {
    "3.1a": Recipe(pull(5), pull(-5), (pull(2), pull(5, error=1e-6))),
    "3.2a control": Recipe(leaves_chance(800), leaves_chance(50), (leaves_chance(400), never_solved)),
    "3.2a": Recipe(
        grokking((100, 1600, 1.0), (200, 400, 1.0)),
        grokking((100, 400, 1.0), (200, 1600, 1.0)),
        (grokking((100, 400, 1.0), (200, NEVER, 0.5)),),  # a run that never does counts as the budget
    ),
    "3.2b": Recipe(
        grokking((100, 1600, 1.0), (200, 400, 1.0)),
        grokking((200, 400, 1.0), (100, 1600, 1.0)),
        (grokking((800, 1600, 1.0), (200, 400, 1.0)),),  # later, but not longer after it has memorised
    ),
    "3.2c": Recipe(
        grokking((100, NEVER, 0.5), (200, NEVER, 0.6)),
        grokking((100, NEVER, 0.6), (200, NEVER, 0.5)),
        (grokking((100, NEVER, 0.5), (200, NEVER, 0.51)),),
    ),
    "3.3a": faster("uniform", "window"),
    "3.3b": faster("uniform, 1/t", "window, 1/t"),
    "3.3c": Recipe(
        order(lambda number: number), order(lambda number: -number), (order(lambda number: number % 6),)
    ),
    "3.3d": ahead("bound", -0.1, INNER, UNIFORM),
    "3.3e": Recipe(
        bound(2.0, 2.1, 2.2),
        bound(2.2, 2.1, 2.0),
        (bound(2.1, 2.0, 2.2), bound(2.1, 2.2, 2.0)),  # better than the window on one side only
    ),
    "3.3f": Recipe(*map(at_better_rate, (LASTS.holds, LASTS.mirror)), tuple(map(at_better_rate, LASTS.near))),
    "3.4a": ahead("nelbo", -0.1, {"window": (0.45, 0.55)}, {"window": (0.0, 1.0)}),
}
