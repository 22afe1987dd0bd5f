"""Self-checks of chapter 6: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.dataset_distillation import scores, theory
from beyondloss.methods.exercises import verdict


def check_score(answer: Callable[[float, float, float], float], trials: int = 50) -> None:
    """Compare `answer(hlr, ior, weight)` with the label-robust score."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        hlr, ior, weight = generator.uniform(0, 1), generator.uniform(-0.5, 0.5), generator.uniform()
        expected = scores.label_robust_score(hlr, ior, weight)
        if (got := verdict(answer, hlr, ior, weight)) is None:
            return
        if not np.isclose(got, expected, atol=1e-9):
            print(
                f"not yet: at HLR {hlr:.3f}, IOR {ior:.3f}, weight {weight:.3f} {got:.4f} is not {expected:.4f}"
            )
            return
    print(f"right on {trials} random sets")


def check_recovery(answer: Callable[[np.ndarray, np.ndarray], np.ndarray], trials: int = 10) -> None:
    """Check that `answer(inputs, log_probabilities)` finds a linear teacher [class, p] up to a constant a column."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        classes, p = generator.integers(2, 6), generator.integers(3, 9)
        teacher, inputs = generator.normal(size=(classes, p)), generator.normal(size=(p + 2, p))
        if (got := verdict(answer, inputs, theory.soft_labels(teacher, inputs))) is None:
            return
        wanted = theory.centred(teacher.T).T
        if np.shape(got) != wanted.shape or not np.allclose(
            theory.centred(np.transpose(got)).T, wanted, atol=1e-6
        ):
            print(f"not yet: a teacher of {classes} classes and {p} inputs is not found")
            return
    print(f"right on {trials} random teachers")
