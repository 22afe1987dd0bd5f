"""Self-checks of chapter 10: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.exercises import Case, check, number
from beyondloss.methods.hallucination import scores, theory


def check_pairwise(answer: Callable[[np.ndarray], float], trials: int = 50) -> None:
    """Compare `answer(counts)` with the mean pairwise distance of samples that fall into classes `counts` times."""

    def draw(generator: np.random.Generator) -> Case:
        classes = generator.integers(1, 6, size=generator.integers(2, 12))
        counts = np.bincount(classes, minlength=6)
        gram = (classes[:, None] == classes[None]).astype(float)[None]
        return (counts,), number(scores.mean_pairwise_distance(gram)[0], str(counts))

    check(answer, draw, "sets of samples", trials)


def check_value(answer: Callable[[float, float, float, float], float], trials: int = 50) -> None:
    """Compare `answer(eta, sensitivity, specificity, slope)` with what a verifier with two outcomes is worth."""

    def draw(generator: np.random.Generator) -> Case:
        eta, sensitivity, specificity = generator.uniform(0.05, 0.95, size=3)
        slope = float(generator.uniform(0.2, 3))
        exact = theory.Exact(
            own=np.array([[1], [1]]),
            cross=np.array([[1], [0]]),
            partition=np.zeros(2, int),
            right=(1 - eta) * np.array([1 - specificity, specificity]),
            wrong=eta * np.array([sensitivity, 1 - sensitivity]),
        )
        expected = float(theory.ledger(exact, [slope]).value[0, 0])
        arguments = (eta, sensitivity, specificity, slope)
        return arguments, number(expected, ", ".join(map(str, arguments)))

    check(answer, draw, "verifiers", trials)
