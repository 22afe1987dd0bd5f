"""Checkpoints from which training goes on as if it had not stopped."""

import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

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
) -> None:
    """Write everything that the next step depends on; the old file is replaced only by a whole one."""
    state = {
        "run": describe_run(config, model, streams),
        "done": done,
        "model": model.state_dict(),
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
) -> int:
    """Put back what `save_checkpoint` wrote and return the number of steps done."""
    state = read_whole(path, streams.device)
    there, here = state["run"], describe_run(config, model, streams)
    for name in here | there:
        if there.get(name) != here.get(name):
            raise BadCheckpoint(
                f"checkpoint {path} is of another run ({name}: {there.get(name)} there, {here.get(name)} here): "
                "delete it to train from the start, or name another file"
            )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    streams.restore(state["streams"])
    vars(history).update(state["history"])
    return state["done"]


def describe_run(config: TrainConfig, model: Ensemble, streams: Streams) -> dict[str, Any]:
    """What must agree between the run that wrote a checkpoint and the run that resumes it."""
    shapes = {f"shape of {name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return asdict(config) | {"seeds": streams.seeds, "device": streams.device.type} | shapes


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
