"""Networks from which many points start: trained once a setting, kept in memory and on disk."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyondloss.experiment.digest import code_digest
from beyondloss.experiment.paths import journal

if TYPE_CHECKING:
    from torch import Tensor, nn


@lru_cache(maxsize=2)
def kept_weights(slug: str, trained: Callable[[Any], "nn.Module"], config: Any) -> dict[str, "Tensor"]:
    """Weights of `trained(config)`, by name: from memory, from disk, or trained now and kept for the chapter `slug`.

    config: a frozen dataclass that says all that training depends on, beside its code.
    """
    from safetensors.torch import load_file, save_file

    path = place(slug, trained, config)
    if path.is_file():
        return load_file(path)
    weights = trained(config).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")  # another process may train the same
    save_file(weights, part)
    part.replace(path)
    return weights


def place(slug: str, trained: Callable[[Any], "nn.Module"], config: Any) -> Path:
    """Where they lie on disk: under a digest of the code that trains them and of their settings."""
    key = json.dumps([code_digest(trained), asdict(config)], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return journal() / slug / "bases" / f"{name}.safetensors"
