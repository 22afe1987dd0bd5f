"""Checkpoints from which training goes on as if it had not stopped."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beyondloss.models import Ensemble
from beyondloss.trainers.config import TrainConfig
from beyondloss.trainers.history import History
from beyondloss.trainers.streams import Streams


class BadCheckpoint(ValueError):
    """A checkpoint that training cannot go on from; says which, why, and the way out."""


def save_checkpoint(
    path: Path,
    config: TrainConfig,
    model: Ensemble,
    optimizer: torch.optim.Optimizer,
    streams: Streams,
    history: History,
    done: int,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that the next step depends on; the old file is replaced only by a whole one.

    Weights that are not trained, such as those under a low-rank adapter, are not among it.
    """
    frozen = frozen_weights(model, optimizer)
    state = {
        "run": describe_run(config, model, streams, frozen, about),
        "done": done,
        "model": {name: tensor for name, tensor in model.state_dict().items() if name not in frozen},
        "optimizer": optimizer.state_dict(),
        "streams": streams.state(),
        "history": asdict(history),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load_checkpoint(
    path: Path,
    config: TrainConfig,
    model: Ensemble,
    optimizer: torch.optim.Optimizer,
    streams: Streams,
    history: History,
    about: Mapping[str, Any] | None = None,
) -> int:
    """Put back what `save_checkpoint` wrote and return the number of steps done."""
    state = read_whole(path, streams.device)
    frozen = frozen_weights(model, optimizer)
    there, here = state["run"], describe_run(config, model, streams, frozen, about)
    for name in here | there:
        if there.get(name) != here.get(name):
            raise BadCheckpoint(
                f"checkpoint {path} is of another run ({name}: {there.get(name)} there, {here.get(name)} here): "
                "delete it to train from the start, or name another file"
            )
    model.load_state_dict(state["model"], strict=not frozen)
    optimizer.load_state_dict(state["optimizer"])
    streams.restore(state["streams"])
    vars(history).update(state["history"])
    return state["done"]


def describe_run(
    config: TrainConfig,
    model: Ensemble,
    streams: Streams,
    frozen: Mapping[str, Tensor],
    about: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What must agree between the run that wrote a checkpoint and the run that resumes it."""
    shapes = {f"shape of {name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    described = asdict(config) | {"seeds": streams.seeds, "device": streams.device.type} | shapes
    if frozen:
        described["frozen weights"] = digest_of(frozen, most=64)
    return described | dict(about or {})


def frozen_weights(model: Ensemble, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The weights that the optimizer does not have; those of a member that has ended it still has."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = model.named_parameters(remove_duplicate=False)  # a tied weight has two names in a state dict
    return {name: parameter.detach() for name, parameter in named if id(parameter) not in trained}


def digest_of(tensors: Mapping[str, Tensor], most: int | None = None) -> str:
    """A few letters that stand for names and values; with `most`, for so many values or few more of each tensor."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().flatten()
        values = values[:: max(1, len(values) // most)] if most else values
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(values.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def read_whole(path: Path, device: torch.device) -> dict:
    """Load a checkpoint whose every part has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if not damaged:
            return torch.load(path, weights_only=True, map_location=device)
    except zipfile.BadZipFile:
        pass
    raise BadCheckpoint(f"checkpoint {path} is damaged: delete it to train from the start")
