"""Real language models that are taught refusals, in full or by LoRA.

At quick scale SmolLM2-135M-Instruct and a fictitious rule (`rulebook`), at full scale distilled reasoning models and
the paper's data (`published`). Predicted, not measured, on one H200: a point of the 1.5B model takes an hour, of the
7B model three, most of it the benchmarks; full fine-tuning of 7B in float32 would need 120 GB, so its weights are in
bfloat16.
"""

from collections.abc import Sequence

import torch
from torch import nn

from beyondloss.data import completions
from beyondloss.methods.safety_lora import published, rulebook
from beyondloss.methods.safety_lora.arms import Arm, named
from beyondloss.methods.safety_lora.overlap import ONE_SIDED, overlap
from beyondloss.methods.safety_lora.settings import RealPoint
from beyondloss.models.language import Loaded, load
from beyondloss.trainers import TrainConfig
from beyondloss.trainers.fine_tuning import AnswerLosses, fine_tune, with_lora

TAUGHT = {"rulebook": rulebook.taught, "published": published.taught}
EVALUATED = {"rulebook": rulebook.evaluated, "published": published.evaluated}


def run_real(points: Sequence[RealPoint]) -> list[dict]:
    """Measure points one after the other."""
    return [measured(point) for point in points]


def measured(point: RealPoint) -> dict:
    name, arm, lr = named(point.tuning)
    found = {"arm": name, "lr": lr, "diverged_at": None}
    loaded = loaded_for(point)
    network = loaded.model
    if arm is not None:
        network, found["diverged_at"] = tune(point, arm, lr, loaded)
        if found["diverged_at"] is None:
            found |= described(point, arm, network)
        network = network.merge_and_unload() if arm.lora else network
    return found | EVALUATED[point.data](point, Loaded(network.eval(), loaded.tokenizer))


def loaded_for(point: RealPoint) -> Loaded:
    return load(point.model, getattr(torch, point.precision), point.device)


def tune(point: RealPoint, arm: Arm, lr: float, loaded: Loaded) -> tuple[nn.Module, int | None]:
    """The tuned model, and the step at which its loss ceased to be finite, or None."""
    data = completions(TAUGHT[point.data](point, loaded), loaded.tokenizer, point.context).to(point.device)
    network = loaded.model.requires_grad_(True)
    network = with_lora(network, arm.lora, seed=point.seed) if arm.lora else network
    config = TrainConfig(
        steps=point.steps,
        lr=lr,
        betas=(0.9, 0.999),
        weight_decay=point.weight_decay,
        schedule="cosine to zero",
        precision="bfloat16" if point.device.startswith("cuda") else "float32",
    )
    at_once = point.at_once if point.at_once < point.batch else None
    history = fine_tune(AnswerLosses(network), data, config, point.batch, point.seed, at_once=at_once)
    return network, history.diverged_at[0]


@torch.no_grad()
def described(point: RealPoint, arm: Arm, network: nn.Module) -> dict:
    """Mean overlaps of the MLP's matrices with the initial weights, and the size of the update."""
    base = network if arm.lora else loaded_for(point).model
    frame = overlap(base, network).frame
    mlp = frame[frame["matrix"].str.contains(".mlp.", regex=False)]
    found = {f"{side}_overlap": float(mlp[side].mean()) for side in ONE_SIDED}
    return found | {name: float(mlp[name].mean()) for name in ("relative_norm", "stable_rank")}
