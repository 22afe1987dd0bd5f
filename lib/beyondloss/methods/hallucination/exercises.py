"""Self-checks of chapter 10: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.exercises import verdict
from beyondloss.methods.hallucination import scores, theory


def check_pairwise(answer: Callable[[np.ndarray], float], trials: int = 50) -> None:
    """Compare `answer(counts)` with the mean pairwise distance of samples that fall into classes `counts` times."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        classes = generator.integers(1, 6, size=generator.integers(2, 12))
        counts = np.bincount(classes, minlength=6)
        gram = (classes[:, None] == classes[None]).astype(float)[None]
        if not agrees(answer, scores.mean_pairwise_distance(gram)[0], counts):
            return
    print(f"right on {trials} random sets of samples")


def check_value(answer: Callable[[float, float, float, float], float], trials: int = 50) -> None:
    """Compare `answer(eta, sensitivity, specificity, slope)` with what a verifier with two outcomes is worth."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        eta, sensitivity, specificity = generator.uniform(0.05, 0.95, size=3)
        slope = float(generator.uniform(0.2, 3))
        wrong = eta * np.array([sensitivity, 1 - sensitivity])
        right = (1 - eta) * np.array([1 - specificity, specificity])
        exact = theory.Exact(
            own=np.array([[1], [1]]),
            cross=np.array([[1], [0]]),
            partition=np.zeros(2, int),
            right=right,
            wrong=wrong,
        )
        expected = float(theory.ledger(exact, [slope]).value[0, 0])
        if not agrees(answer, expected, eta, sensitivity, specificity, slope):
            return
    print(f"right on {trials} random verifiers")


def agrees(answer: Callable, expected: float, *arguments) -> bool:
    """Whether the reader's value is the library's; says what is wrong where it is not."""
    if (value := verdict(answer, *arguments)) is None:
        return False
    if not np.isclose(value, expected, rtol=1e-6, atol=1e-9):
        print(f"not yet: at {', '.join(map(str, arguments))} you say {value:.6g}, the library {expected:.6g}")
        return False
    return True
