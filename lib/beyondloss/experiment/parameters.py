"""Values of a point's fields: checked against their type hints before any work starts."""

import math
from numbers import Integral
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from beyondloss.experiment.errors import BadInput, choose

SEXAGESIMAL = 60  # the least number that YAML 1.1 makes of digits with a colon between them


class Axis(tuple):
    """Values of a field that is varied: `Axis(2, 3, 4)`; the grid is the product of all axes."""

    def __new__(cls, *values: Any) -> "Axis":
        return super().__new__(cls, values)

    def __getnewargs__(self) -> tuple:
        return tuple(self)


def axis(name: str, value: Any, hint: Any) -> list:
    """Values that the field `name` takes. A list is an axis too, unless the field itself holds a tuple."""
    tuples = any(get_origin(h) is tuple for h in (hint, *get_args(hint)))
    varied = isinstance(value, Axis) or (isinstance(value, list) and not tuples)
    try:
        values = [fitted(v, hint) for v in (value if varied else [value])]
    except (TypeError, BadInput) as error:
        raise BadInput(f"parameter {name!r}: {error}") from None
    if not values:
        raise BadInput(f"parameter {name!r}: an axis needs at least one value")
    return values


def fitted(value: Any, hint: Any) -> Any:
    """`value` as type `hint` (an int becomes a float, a list a tuple); TypeError, or BadInput for a Literal."""
    value = value.tolist() if hasattr(value, "tolist") else value  # a number of numpy
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return choose("value", value, inner)
    if origin in (Union, UnionType):
        return _fitted_to_one(value, hint)
    if origin is tuple and isinstance(value, (tuple, list)):
        hints = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(hints) == len(value):
            return tuple(fitted(v, h) for v, h in zip(value, hints, strict=True))
    elif hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif type(value) is hint and hint is not float:
        return value
    raise TypeError(f"must be {getattr(hint, '__name__', hint) if not inner else hint}, not {value!r}")


def _fitted_to_one(value: Any, hint: Any) -> Any:
    # 3 stays an int where int | float is asked for
    for one in sorted(get_args(hint), key=lambda h: h is float):
        try:
            return fitted(value, one)
        except (TypeError, BadInput):
            continue
    raise TypeError(f"must be {hint}, not {value!r}")


def parse_seeds(seeds: Any) -> Axis:
    """Axis of seeds from a number of them, a range "0:5", "0,3,4", or a list. BadInput.

    Numbers from SEXAGESIMAL on are refused: YAML 1.1, which papermill's `-y` speaks, reads an unquoted 1:3 as 63.
    """
    if isinstance(seeds, Integral) and not isinstance(seeds, bool) and seeds >= SEXAGESIMAL:
        raise BadInput(
            f"{seeds} seeds are asked for: write seeds '0:{seeds}' if so many are meant, and quote a range"
        )
    try:
        numbered = isinstance(seeds, (Integral, str)) and not isinstance(seeds, bool)
        values = _listed(str(seeds)) if numbered else [fitted(seed, int) for seed in seeds]
    except (TypeError, ValueError):
        raise BadInput(f"seeds {seeds!r} are neither a number of seeds, a range '0:5' nor a list") from None
    if not values or min(values) < 0:
        raise BadInput(f"seeds {seeds!r} name no seed, or a negative one")
    return Axis(*values)


def _listed(seeds: str) -> list[int]:
    first, colon, last = seeds.partition(":")
    if colon:
        return list(range(int(first), int(last)))
    return [int(seed) for seed in first.split(",")] if "," in first else list(range(int(first)))
