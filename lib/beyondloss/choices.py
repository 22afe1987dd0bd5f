"""What a reader is told who asks for a name that is not there, or gives a text where a list belongs."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class BadInput(ValueError):
    """The request cannot be met as it stands; nothing was started. The command line exits with 2."""


def choose(kind: str, name: Any, valid: Iterable) -> Any:
    """Return `name` if it is one of `valid`; otherwise raise BadInput with the nearest match."""
    valid = list(valid)
    if name in valid:
        return name
    near = get_close_matches(str(name), map(str, valid), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    quoted = any("," in str(one) for one in valid)  # a list of names that have commas would not be read
    raise BadInput(f"unknown {kind} {name!r}{hint} Valid: {', '.join(map(repr if quoted else str, valid))}.")


def refuse_text(value: Any, what: str, wanted: str) -> None:
    """ValueError for a text or a mapping in place of a list: its letters, or keys, would be taken for entries."""
    if isinstance(value, (str, bytes, Mapping)):
        raise ValueError(f"{what} must be {wanted}, not the {type(value).__name__} {value!r:.60}")
