"""What the self-checks of every chapter share: the reader's own function on random inputs, beside the library's."""

from collections.abc import Callable
from typing import Any

import numpy as np

Case = tuple[tuple, Callable[[Any], str | None]]
"""Arguments for the reader's function, and what says how a value is wrong (None where it is right)."""


def check(answer: Callable, draw: Callable[[np.random.Generator], Case], what: str, trials: int = 50) -> None:
    """Try the reader's function on random cases; say what is wrong with the first bad one, or that all are right."""
    if passes(answer, draw, trials):
        print(f"right on {trials} random {what}")


def passes(answer: Callable, draw: Callable[[np.random.Generator], Case], trials: int) -> bool:
    """Whether the reader's function is right on random cases; says what is wrong with the first on which it is not."""
    generator = np.random.default_rng(0)
    for _ in range(trials):
        arguments, fault_of = draw(generator)
        value = call_answer(answer, *arguments)
        if value is None:
            return False
        if fault := fault_of(value):
            print(f"not yet: {fault}")
            return False
    return True


def call_answer(answer: Callable, *arguments: Any) -> Any:
    """The reader's value; None, with a word of why, where there is none yet."""
    try:
        value = answer(*arguments)
    except Exception as error:  # the reader's function may fail in any way
        print(f"not yet: your function raised {type(error).__name__}: {error}")
        return None
    if value is None:
        print("not yet: your function returns nothing")
    return value


def number(expected: float, where: str) -> Callable[[Any], str | None]:
    """What says that a value is not the number `expected`, which belongs to the case `where`."""

    def fault(value: Any) -> str | None:
        if np.isclose(value, expected, rtol=1e-6, atol=1e-9):
            return None
        return f"at {where} you say {value:.6g}, the library {expected:.6g}"

    return fault
