"""Self-checks of chapter 8: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from beyondloss.methods.exercises import Case, check, number
from beyondloss.methods.safety_lora import theory

Matrix = Float[np.ndarray, "row column"]


def check_best(answer: Callable[[Matrix, Matrix, int], Matrix], trials: int = 50) -> None:
    """Compare `answer(D, S, r)` with the best update of rank r; S may be singular."""

    def draw(generator: np.random.Generator) -> Case:
        m, n = (int(size) for size in generator.integers(3, 8, 2))
        seen = int(generator.integers(2, n + 1))
        basis = np.linalg.qr(generator.standard_normal((n, seen)))[0]
        moment = basis @ np.diag(generator.uniform(0.1, 3, seen)) @ basis.T
        wanted, rank = generator.standard_normal((m, n)), int(generator.integers(1, min(m, seen) + 1))
        expected = theory.best_low_rank(wanted, moment, rank)
        return (wanted, moment, rank), matrix(expected, f"inputs in {seen} of {n} directions, rank {rank}")

    check(answer, draw, "moments of the inputs", trials)


def matrix(expected: Matrix, where: str) -> Callable[[Matrix], str | None]:
    """What says that a value is not the matrix `expected`, which belongs to the case `where`."""

    def fault(value: Matrix) -> str | None:
        given = np.asarray(value, dtype=float)
        if given.shape != expected.shape:
            return f"with {where} your matrix has shape {given.shape}, not {expected.shape}"
        if np.allclose(given, expected, atol=1e-6):
            return None
        return f"with {where} your matrix is {np.abs(given - expected).max():.3g} off in one entry"

    return fault


def check_overlap(answer: Callable[[Matrix, Matrix, Matrix], float], trials: int = 50) -> None:
    """Compare `answer(W0, B, A)` with the row overlap of B A at full k, 1 being chance."""

    def draw(generator: np.random.Generator) -> Case:
        m, n, rank = (int(size) for size in generator.integers((3, 3, 1), (9, 9, 4)))
        base, left, right = (generator.standard_normal(shape) for shape in ((m, n), (m, rank), (rank, n)))
        update = left @ right
        seen = np.sum((update @ base.T) ** 2) / (np.sum(base**2) * np.sum(update**2))
        expected = seen / theory.isotropic_overlap(m, n, "row")
        return (base, left, right), number(expected, f"a matrix of {m} x {n} and rank {rank}")

    check(answer, draw, "updates", trials)


def check_shares(answer: Callable[[int, int], tuple[float, float]], trials: int = 50) -> None:
    """Compare `answer(r, n)` with the mean of the share of one input, and with the ratio of the two means."""

    def draw(generator: np.random.Generator) -> Case:
        rank, n = int(generator.integers(1, 20)), int(generator.integers(2, 100))
        return (rank, n), pair((theory.mean_row_share(rank, n), theory.row_share(rank, n)), rank, n)

    check(answer, draw, "ranks and widths", trials)


def pair(expected: tuple[float, float], rank: int, n: int) -> Callable[[tuple[float, float]], str | None]:
    """What says which of two numbers is wrong, and when they stand the wrong way round."""

    def fault(value: tuple[float, float]) -> str | None:
        mean, ratio = value
        if np.allclose((mean, ratio), expected, rtol=1e-6):
            return None
        if rank > 1 and np.allclose((ratio, mean), expected, rtol=1e-6):
            return "the two stand the wrong way round: first the mean of the ratio"
        said, wanted = (f"{first:.4f} and {second:.4f}" for first, second in (value, expected))
        return f"at r = {rank}, n = {n} you say {said}, the library {wanted}"

    return fault


def check_price(answer: Callable[[float], float], trials: int = 50) -> None:
    """Compare `answer(gain)` with the share of the base cost that a share of the safety gain has on the line."""

    def draw(generator: np.random.Generator) -> Case:
        gain = float(generator.uniform())
        return (gain,), number(theory.cost_of_keeping(gain), f"a gain of {gain:.3f}")

    check(answer, draw, "gains", trials)


def check_removal(answer: Callable[[Matrix, Matrix], Matrix], trials: int = 50) -> None:
    """Check that `answer(update, inputs)` acts on the safety inputs as `update` does and has no other part."""

    def draw(generator: np.random.Generator) -> Case:
        m, n, seen = 4, int(generator.integers(5, 9)), int(generator.integers(1, 4))
        inputs = generator.standard_normal((n, seen)) @ generator.standard_normal((seen, 12))
        update = generator.standard_normal((m, n))
        kept = np.sum((update @ inputs @ np.linalg.pinv(inputs, rcond=1e-10)) ** 2)

        def fault(value: Matrix) -> str | None:
            given = np.asarray(value, dtype=float)
            if given.shape != update.shape:
                return f"your matrix has shape {given.shape}, not {update.shape}"
            if not np.allclose(given @ inputs, update @ inputs, atol=1e-6):
                return f"with inputs in {seen} of {n} directions some safety gain is lost"
            if np.sum(given**2) > (1 + 1e-6) * kept:
                return f"with inputs in {seen} of {n} directions something is left that no safety input sees"
            return None

        return (update, inputs), fault

    check(answer, draw, "updates", trials)


def check_first_length(answer: Callable[[int, int, float], float], trials: int = 50) -> None:
    """Compare `answer(r, n, alpha)` with E|D|^2 / (eta^2 |G|^2) of LoRA's first step at s = alpha / r."""

    def draw(generator: np.random.Generator) -> Case:
        rank, n = int(generator.integers(1, 20)), int(generator.integers(2, 100))
        alpha = float(generator.uniform(1, 20))
        expected = theory.first_step_energy(rank, n, alpha / rank)
        return (rank, n, alpha), number(expected, f"r = {rank}, n = {n}, alpha = {alpha:.2f}")

    check(answer, draw, "ranks, widths and alphas", trials)
