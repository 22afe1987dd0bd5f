"""The one training loop of the book."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.models import Ensemble
from beyondloss.models.modes import in_mode
from beyondloss.trainers.checkpoint import load_checkpoint, save_checkpoint
from beyondloss.trainers.config import TrainConfig, lr_at, make_optimizer
from beyondloss.trainers.history import History
from beyondloss.trainers.streams import Streams

Objective = Callable[[Ensemble, Streams], Tensor]
"""Draws a batch from the streams and returns one loss a member, of shape `(member,)`."""

LOOK_EVERY = 100  # steps between looks at the losses: each makes the program wait for the GPU


def train(
    model: Ensemble,
    objective: Objective,
    config: TrainConfig,
    streams: Streams,
    evaluate: Callable[[Ensemble], dict[str, list]] | None = None,
    until: Callable[[dict], bool] | None = None,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> History:
    """Train every member of `model` on `objective`; a checkpoint found is resumed.

    `evaluate` returns metrics, each a list of one value a member. `until` sees such a row of one member at a time
    and says whether that member has finished. A member whose loss is not finite has diverged. Both are held still
    from then on, the others go on, and training ends when none is left, so a member fares as it would alone. At the
    end every part of the model is in the mode, of training or evaluation, in which it was found.
    Raises BadCheckpoint where the file is damaged or of another run. `about` says, in plain values, what of the
    objective must agree for a run to be the same.
    """
    if len(streams.seeds) != model.members:
        raise ValueError(f"{len(streams.seeds)} streams for {model.members} networks")
    optimizer, history, start = make_optimizer(model, config), History.of_members(model.members), 0
    autocast = torch.autocast(streams.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    losses: list[Tensor] = []
    if config.compile:
        model.compile()

    def gradient() -> Float[Tensor, " member"]:
        optimizer.zero_grad()
        streams.batch = (done - 1) * config.accumulate
        current = backward(objective, model, streams, config.accumulate, autocast)
        clip_each_member(model, config.clip)
        return current

    with in_mode(model, training=True), streams.seeded_dropout():
        if checkpoint and checkpoint.exists():
            start = load_checkpoint(checkpoint, config, model, optimizer, streams, history, about)
        hold_still(model, history)
        for done in range(start + 1, config.steps + 1):
            set_lr(optimizer, lr_at(done - 1, config))
            losses.append(optimizer.step(streams.repeated(gradient) if config.rho else gradient))

            last = done == config.steps
            measuring = evaluate and (last or due(done, config.evaluate_every))
            saving = checkpoint and due(done, config.checkpoint_every)
            if not (last or measuring or saving or due(done, LOOK_EVERY)):
                continue
            history.note_divergence(losses, done)
            losses.clear()
            if measuring and not history.over:
                history.rows.append({"step": done} | measure(model, evaluate, autocast))
                history.note_finished(until)
            hold_still(model, history)
            if history.over:
                break
            if saving:
                save_checkpoint(checkpoint, config, model, optimizer, streams, history, done, about)
    release(optimizer)
    return history


def due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def backward(
    objective: Objective, model: Ensemble, streams: Streams, batches: int, autocast: torch.autocast
) -> Float[Tensor, " member"]:
    """Add up the gradients of the mean loss over some batches, and return that loss.

    Members share no weight, so one backward pass through the sum of their losses serves them all, and what is not
    finite in one reaches no other.
    """
    total = torch.zeros(model.members, device=streams.device)
    for _ in range(batches):
        with autocast:
            losses = objective(model, streams)
        if losses.shape != total.shape:
            wanted, got = list(total.shape), list(losses.shape)
            raise ValueError(f"an objective returns one loss a member: wanted shape {wanted}, got {got}")
        (losses / batches).sum().backward()
        total += losses.detach() / batches
        streams.batch += 1
    return total


def clip_each_member(model: Ensemble, clip: float) -> None:
    """Scale each member's gradient to a norm of at most `clip`, as it would be alone; 0 leaves it as it is."""
    if clip:
        for network in model.networks:
            nn.utils.clip_grad_norm_(network.parameters(), clip)


@torch.no_grad()
def measure(model: Ensemble, evaluate: Callable, autocast: torch.autocast) -> dict[str, list]:
    """Evaluate in the precision of the training, without dropout."""
    model.eval()
    with autocast:
        metrics = evaluate(model)
    model.train()
    for name, values in metrics.items():
        if len(values) != model.members:
            raise ValueError(f"metric {name} has {len(values)} values for {model.members} networks")
    return metrics


def hold_still(model: Ensemble, history: History) -> None:
    """Take the members that have ended out of the backward pass; the optimizer passes over what has no gradient."""
    for member, network in enumerate(model.networks):
        if history.ended_at(member) is not None:
            network.requires_grad_(False)


def release(optimizer: torch.optim.Optimizer) -> None:
    """Let go of the gradients and of whatever was held still."""
    optimizer.zero_grad()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the learning rate of this step, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
