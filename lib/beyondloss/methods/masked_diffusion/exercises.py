"""Self-checks of chapter 3: each takes the reader's own function and compares it with the library on random inputs."""

from collections.abc import Callable

import numpy as np

from beyondloss.methods.exercises import verdict
from beyondloss.methods.masked_diffusion import theory


def check_window_mass(answer: Callable[[int, float, float], float], trials: int = 50) -> None:
    """Compare `answer(k, low, high)` with the signal mass of U[low, high]."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        k, (low, high) = int(generator.integers(1, 12)), np.sort(generator.uniform(size=2))
        expected = theory.window_signal_mass(k, low, high)
        if (got := verdict(answer, k, low, high)) is None:
            return
        if not np.isclose(got, expected, rtol=1e-6, atol=1e-9):
            print(
                f"not yet: at k = {k}, window [{low:.3f}, {high:.3f}] you say {got:.6g}, the library {expected:.6g}"
            )
            return
    print(f"right on {trials} random windows")


def check_stratified(answer: Callable[[float, int], np.ndarray], trials: int = 50) -> None:
    """Check that `answer(shift, batch)` puts one number into each of `batch` equal parts of [0, 1)."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        shift, batch = float(generator.uniform()), int(generator.integers(1, 33))
        if (got := verdict(answer, shift, batch)) is None:
            return
        if sorted(np.floor(np.asarray(got) * batch).astype(int).tolist()) != list(range(batch)):
            print(f"not yet: with shift {shift:.3f} and batch {batch} some part of [0, 1) has no draw or two")
            return
    print(f"right on {trials} random batches")
