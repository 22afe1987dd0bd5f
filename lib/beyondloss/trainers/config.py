"""How a network is trained, whatever it is trained for."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from beyondloss.models import Ensemble
from beyondloss.trainers.optimizers import SAM, Joined, block_matrices

CHOICES = {
    "optimizer": ("adamw", "sgd", "muon"),
    "schedule": ("constant", "cosine", "cosine to zero", "linear"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training loop. Raises ValueError naming a setting that cannot be."""

    steps: int
    lr: float  # of the first step after the warm-up
    lr_factors: tuple[
        tuple[str, float], ...
    ] = ()  # (pattern, factor): the first in a weight's name scales its lr
    optimizer: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    momentum: float = 0.9  # of sgd
    rho: float = 0.0  # how far sharpness-aware minimisation climbs; 0 is the optimizer as it is
    weight_decay: float = 0.0  # of matrices, tables of embeddings included; norms and biases are left alone
    schedule: str = "constant"
    warmup: int = 0  # steps
    clip: float = 1.0  # largest norm of a member's gradient; 0 leaves gradients as they are
    accumulate: int = 1  # batches drawn and averaged a step
    evaluate_every: int = 0  # steps; 0 evaluates after the last one only
    checkpoint_every: int = 0  # steps; 0 writes none
    compile: bool = False
    precision: str = "float32"

    def __post_init__(self):
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, got {getattr(self, name)!r}")
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")
        for name in ("steps", "lr", "accumulate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("rho", "weight_decay", "warmup", "clip", "evaluate_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for pattern, factor in self.lr_factors:
            if not 0 <= factor < math.inf:
                raise ValueError(
                    f"the factor of lr_factors for {pattern!r} must not be negative or infinite, got {factor}"
                )


def make_optimizer(model: Ensemble, config: TrainConfig) -> torch.optim.Optimizer:
    """The configured optimizer of all trainable weights; weight decay falls on matrices alone."""
    optimizer = {"adamw": adamw, "sgd": sgd, "muon": muon}[config.optimizer](model, config)
    if not config.rho:
        return optimizer
    return SAM(optimizer, config.rho, [trainable(network) for network in model.networks])


def trainable(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def sgd(model: Ensemble, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups(model, config), lr=config.lr, momentum=config.momentum, fused=True)


def adamw(model: Ensemble, config: TrainConfig, but: Iterable[nn.Parameter] = ()) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups(model, config, but), lr=config.lr, betas=config.betas, fused=True)


def muon(model: Ensemble, config: TrainConfig) -> torch.optim.Optimizer:
    """Muon for the matrices of blocks, AdamW for the rest: embeddings, head, norms and biases.

    Muon's steps are scaled to the size of AdamW's, so that one learning rate and one weight decay serve both.
    """
    matrices = [matrix for network in model.networks for matrix in block_matrices(network)]
    others = set(model.parameters()) - set(matrices)
    settings = {"lr": config.lr, "weight_decay": config.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
    return Joined(
        torch.optim.Muon(groups(model, config, but=others), **settings), adamw(model, config, but=matrices)
    )


def groups(model: Ensemble, config: TrainConfig, but: Iterable[nn.Parameter] = ()) -> list[dict]:
    """The trainable weights `but` some, by factor of the learning rate: matrices, which decay, apart from the others.

    Raises ValueError for a pattern of `lr_factors` that is in no name of a trainable weight.
    """
    left_out = set(but)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for pattern, _ in config.lr_factors:
        if not any(re.search(pattern, name) for name, _ in named):
            raise ValueError(f"lr_factors: no trainable weight has {pattern!r} in its name")
    found = []
    for factor in dict.fromkeys([1.0, *(factor for _, factor in config.lr_factors)]):
        weights = [p for name, p in named if p not in left_out and factor_of(name, config) == factor]
        matrices, others = [p for p in weights if p.dim() >= 2], [p for p in weights if p.dim() < 2]
        found.append({"params": matrices, "weight_decay": config.weight_decay, "factor": factor})
        found.append({"params": others, "weight_decay": 0.0, "factor": factor})
    return found


def factor_of(name: str, config: TrainConfig) -> float:
    """What scales the learning rate of a weight: the factor of the first pattern that its name contains, else 1."""
    return next((factor for pattern, factor in config.lr_factors if re.search(pattern, name)), 1.0)


def lr_at(step: int, config: TrainConfig) -> float:
    """Learning rate of a step: linear warm-up, then the schedule: to a tenth (cosine) or towards zero (the others)."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    factors = {
        "constant": 1.0,
        "cosine": 0.1 + 0.45 * (1 + math.cos(math.pi * progress)),
        "cosine to zero": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1.0 - progress,
    }
    return config.lr * factors[config.schedule]
