"""Students: many networks trained side by side on distilled sets, and what they reach on real images.

An evaluation needs a student for every set, learning rate and round. They share nothing but the clock, so they are one
batched network (`networks`) with one optimizer step; a view of an image is drawn, and labelled by the teacher, once
for all learning rates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beyondloss.methods.dataset_distillation.augmentation import KINDS, Affine, augmented
from beyondloss.methods.dataset_distillation.networks import ConvNet, Network, Weights
from beyondloss.trainers.streams import Streams

LABELS = ("hard", "soft")


@dataclass(frozen=True)
class Recipe:
    """How a student is trained. Soft labels are the teacher's, given anew for every view."""

    labels: str = "hard"
    augmentation: str = "none"
    steps: int = 400
    batch: int = 32
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 4.0
    affine: Affine = Affine()

    def __post_init__(self):
        if self.labels not in LABELS:
            raise ValueError(f"labels {self.labels!r} are none of {', '.join(LABELS)}")
        if self.augmentation not in KINDS:
            raise ValueError(f"augmentation {self.augmentation!r} is none of {', '.join(map(repr, KINDS))}")


@dataclass(frozen=True)
class Teacher:
    """One trained network a set."""

    network: ConvNet
    weights: Weights

    @torch.no_grad()
    def probabilities(
        self, images: Float[Tensor, "set batch channel height width"], temperature: float = 1.0
    ) -> Float[Tensor, "set batch classes"]:
        return (self.network.logits(self.weights, images) / temperature).softmax(-1)


def train_students(
    network: Network,
    images: Float[Tensor, "set image channel height width"],
    targets: Float[Tensor, "set image classes"],
    recipe: Recipe,
    lrs: Sequence[float],
    rounds: int,
    seeds: Sequence[int],
    teacher: Teacher | None = None,
) -> Weights:
    """Weights of one student a set, learning rate and round, in this order, trained on that set.

    `targets` are probabilities; with a teacher and soft labels they are not looked at. `seeds`, one a set, fix the
    first weights and the views, which the learning rates share.
    """
    starts = [1000 * seed + turn for seed in seeds for turn in range(rounds)]
    streams, device = Streams(starts, images.device), str(images.device)
    weights = spread(network.initial(starts, device), len(lrs), rounds)
    scale = torch.tensor(lrs, device=images.device).view(1, -1, 1).expand(len(seeds), -1, rounds).flatten()
    images, targets = images.repeat_interleave(rounds, 0), targets.repeat_interleave(rounds, 0)
    velocity = tuple(torch.zeros_like(part) for part in weights)
    # not the loop of `trainers`: a student is no module but a slice of grouped weights, each has a learning rate of its
    # own, and a view is drawn and labelled once for all of those rates
    for step in range(recipe.steps):
        views, wanted = batch_of(images, targets, recipe, streams, teacher, rounds)
        cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        weights = [part.requires_grad_() for part in weights]
        logits = network.logits(tuple(weights), spread((views,), len(lrs), rounds)[0])
        losses = soft_cross_entropy(logits, spread((wanted,), len(lrs), rounds)[0], recipe)
        gradients = torch.autograd.grad(losses.sum(), weights)
        weights = sgd_step(weights, gradients, velocity, scale * cosine, recipe)
    return tuple(weights)


def batch_of(
    images: Tensor, targets: Tensor, recipe: Recipe, streams: Streams, teacher: Teacher | None, rounds: int
) -> tuple[Tensor, Tensor]:
    """The next views [set x round, batch, ...] with their targets, relabelled where there is a teacher."""
    if images.shape[1] > recipe.batch:
        chosen = streams.integers(images.shape[1], recipe.batch)
        rows = torch.arange(len(images), device=images.device)[:, None]
        images, targets = images[rows, chosen], targets[rows, chosen]
    views, wanted = augmented(images, targets, recipe.augmentation, recipe.affine, streams)
    if recipe.labels == "soft" and teacher:
        by_set = views.unflatten(0, (-1, rounds)).flatten(1, 2)
        wanted = teacher.probabilities(by_set, recipe.temperature).view(*views.shape[:2], -1)
    return views, wanted


def spread(parts: Weights, lrs: int, rounds: int) -> Weights:
    """From [set x round, ...] to [set x lr x round, ...]."""
    return tuple(
        p.unflatten(0, (-1, 1, rounds)).expand(-1, lrs, -1, *p.shape[1:]).flatten(0, 2) for p in parts
    )


def soft_cross_entropy(logits: Tensor, wanted: Tensor, recipe: Recipe) -> Float[Tensor, " member"]:
    """Mean cross-entropy a member; soft labels at the recipe's temperature, whose square keeps gradients alike."""
    heat = recipe.temperature if recipe.labels == "soft" else 1.0
    return -(heat**2) * (wanted * F.log_softmax(logits / heat, -1)).sum(-1).mean(-1)


@torch.no_grad()
def sgd_step(weights, gradients, velocity, lr: Float[Tensor, " member"], recipe: Recipe) -> list[Tensor]:
    """Momentum and weight decay as in torch's SGD, with a learning rate of its own for every member."""
    stepped = []
    for part, gradient, speed in zip(weights, gradients, velocity, strict=True):
        speed.mul_(recipe.momentum).add_(gradient).add_(part, alpha=recipe.weight_decay)
        stepped.append(part.detach() - lr.view(-1, *[1] * (part.dim() - 1)) * speed)
    return stepped


@torch.no_grad()
def accuracy(
    network: Network,
    weights: Weights,
    images: Float[Tensor, "set image channel height width"],
    labels: Int[Tensor, "set image"],
    chunk: int = 128,
) -> Float[Tensor, " member"]:
    """Share of a set's images that each of its students tells; members in order of sets."""
    each = len(weights[0]) // len(images)
    right = torch.zeros(len(weights[0]), device=images.device)
    for start in range(0, images.shape[1], chunk):
        part = images[:, start : start + chunk].repeat_interleave(each, 0)
        guess = network.logits(weights, part).argmax(-1)
        right += (guess == labels[:, start : start + chunk].repeat_interleave(each, 0)).sum(-1)
    return right / images.shape[1]


def train_teacher(
    network: ConvNet,
    images: Float[Tensor, "set image channel height width"],
    labels: Int[Tensor, "set image"],
    seeds: Sequence[int],
    steps: int,
    affine: Affine,
    lr: float = 0.05,
    batch: int = 64,
) -> Teacher:
    """One network a set, trained on all of its real images with hard labels and affine augmentation."""
    recipe = Recipe(augmentation="affine", steps=steps, batch=batch, affine=affine)
    targets = F.one_hot(labels, network.classes).float()
    own = [10_000 + seed for seed in seeds]
    weights = train_students(network, images, targets, recipe, [lr], 1, own)
    return Teacher(network, tuple(part.detach() for part in weights))
