"""What the reader is told when something cannot go on: one line that names it and the way out."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class BadInput(ValueError):
    """The request cannot be met as it stands; nothing was started. The command line exits with 2."""


class DamagedFile(BadInput):
    """A results file is truncated or was edited by hand."""


class NotEnough(BadInput):
    """This machine has fewer GPUs, less memory or less disk than the work is predicted to need."""


class MissingPoints(LookupError):
    """A claim's measure found too few points in its table to say anything."""


class Failed(RuntimeError):
    """Some of the work failed; what was finished is kept. The command line exits with 1."""


class SweepFailed(Failed):
    """Some points could not be measured; the others are stored.

    `failures` maps each failed point to its traceback.
    """

    def __init__(self, message: str, failures: dict | None = None):
        super().__init__(message)
        self.failures = failures or {}


def choose(kind: str, name: Any, valid: Iterable) -> Any:
    """Return `name` if it is one of `valid`; otherwise raise BadInput with the nearest match."""
    valid = list(valid)
    if name in valid:
        return name
    near = get_close_matches(str(name), map(str, valid), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise BadInput(f"unknown {kind} {name!r}{hint} Valid: {', '.join(map(str, valid))}.")
