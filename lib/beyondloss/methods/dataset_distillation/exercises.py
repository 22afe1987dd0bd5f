"""Self-checks of chapter 6: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.dataset_distillation import scores, theory
from beyondloss.methods.exercises import Case, check, number


def check_score(answer: Callable[[float, float, float], float], trials: int = 50) -> None:
    """Compare `answer(hlr, ior, weight)` with the label-robust score."""

    def draw(generator: np.random.Generator) -> Case:
        hlr, ior, weight = generator.uniform(0, 1), generator.uniform(-0.5, 0.5), generator.uniform()
        expected = scores.label_robust_score(hlr, ior, weight)
        return (hlr, ior, weight), number(expected, f"HLR {hlr:.3f}, IOR {ior:.3f}, weight {weight:.3f}")

    check(answer, draw, "sets", trials)


def check_recovery(answer: Callable[[np.ndarray, np.ndarray], np.ndarray], trials: int = 10) -> None:
    """Check that `answer(inputs, log_probabilities)` finds a linear teacher [class, p] up to a constant a column."""

    def draw(generator: np.random.Generator) -> Case:
        classes, p = generator.integers(2, 6), generator.integers(3, 9)
        teacher, inputs = generator.normal(size=(classes, p)), generator.normal(size=(p + 2, p))
        wanted = theory.centred(teacher.T).T

        def fault(got: np.ndarray) -> str | None:
            if np.shape(got) == wanted.shape and np.allclose(
                theory.centred(np.transpose(got)).T, wanted, atol=1e-6
            ):
                return None
            return f"a teacher of {classes} classes and {p} inputs is not found"

        return (inputs, theory.soft_labels(teacher, inputs)), fault

    check(answer, draw, "teachers", trials)
