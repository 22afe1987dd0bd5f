"""What the self-checks of every chapter share."""

from collections.abc import Callable
from typing import Any


def verdict(answer: Callable, *arguments: Any) -> Any:
    """The reader's value; None, with a word of why, where there is none yet."""
    try:
        value = answer(*arguments)
    except Exception as error:  # the reader's function may fail in any way
        print(f"not yet: your function raised {type(error).__name__}: {error}")
        return None
    if value is None:
        print("not yet: your function returns nothing")
    return value
