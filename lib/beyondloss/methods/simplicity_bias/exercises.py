"""Self-checks of chapter 2: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.exercises import Case, check, number
from beyondloss.methods.simplicity_bias import late_examples, theory


def check_speed(answer: Callable[[float, float, float, float], float], trials: int = 50) -> None:
    """Compare `answer(s, eigenvalue, gamma, weight)` with the growth of an aligned head."""

    def draw(generator: np.random.Generator) -> Case:
        task = theory.InContext((float(generator.uniform(0.1, 1)),), int(generator.integers(1, 64)))
        s, weight = generator.uniform(0.05, 1.5), generator.uniform(0.5, 4)
        lam, gamma = task.eigenvalues[0], task.second_moment[0]
        expected = theory.speed(task, np.array([s]), weight)[0]
        return (s, lam, gamma, weight), number(expected, f"s = {s:.3f}, eigenvalue {lam:.3f}")

    check(answer, draw, "heads", trials)


def check_late_set(answer: Callable[[np.ndarray, float], np.ndarray], trials: int = 50) -> None:
    """Compare `answer(losses, share)`, losses [checkpoint, example], with the library's late set."""

    def draw(generator: np.random.Generator) -> Case:
        losses = generator.exponential(size=(int(generator.integers(1, 5)), int(generator.integers(4, 60))))
        share = float(generator.uniform(0.1, 0.9))
        expected = late_examples.late_set(losses, share).tolist()

        def fault(got: np.ndarray) -> str | None:
            if sorted(np.asarray(got).tolist()) == expected:
                return None
            return f"of {losses.shape[1]} examples, share {share:.2f}, another set is late"

        return (losses, share), fault

    check(answer, draw, "tables of losses", trials)
