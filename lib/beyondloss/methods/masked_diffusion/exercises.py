"""Self-checks of chapter 3: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.exercises import Case, check, number, passes
from beyondloss.methods.masked_diffusion import theory


def check_window_mass(answer: Callable[[int, float, float], float], trials: int = 50) -> None:
    """Compare `answer(k, low, high)` with the signal mass of U[low, high]."""

    def draw(generator: np.random.Generator) -> Case:
        k, (low, high) = int(generator.integers(1, 12)), np.sort(generator.uniform(size=2))
        expected = theory.window_signal_mass(k, low, high)
        return (k, low, high), number(expected, f"k = {k}, window [{low:.3f}, {high:.3f}]")

    check(answer, draw, "windows", trials)


def check_stratified(answer: Callable[[float, int], np.ndarray], trials: int = 50) -> None:
    """Check that `answer(shift, batch)` puts one number into each of `batch` equal parts, each uniform on [0, 1)."""

    def draw(generator: np.random.Generator) -> Case:
        shift, batch = float(generator.uniform()), int(generator.integers(1, 33))

        def fault(got: np.ndarray) -> str | None:
            parts = np.floor(np.asarray(got) * batch).astype(int)
            if sorted(parts.tolist()) == list(range(batch)):
                return None
            return f"with shift {shift:.3f} and batch {batch} some part of [0, 1) has no draw or two"

        return (shift, batch), fault

    if not passes(answer, draw, trials):
        return
    firsts = [np.asarray(answer(shift, 8))[0] for shift in (np.arange(1000) + 0.5) / 1000]
    mean, variance = np.mean(firsts), np.var(firsts)
    if abs(mean - 1 / 2) > 0.05 or abs(variance - 1 / 12) > 0.02:
        print(
            f"not yet: over all shifts the first of 8 numbers has mean {mean:.3f} and variance {variance:.3f}; "
            "uniform on [0, 1) it would have 1/2 and 1/12"
        )
        return
    print(f"right on {trials} random batches")
