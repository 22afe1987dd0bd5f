"""One set of images under all recipes: what its students reach (chapter 6, section 6)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beyondloss.data.images import DATASETS, ImageSet, load_images
from beyondloss.methods.dataset_distillation.augmentation import Affine
from beyondloss.methods.dataset_distillation.distillation import Distilled, Task, distil
from beyondloss.methods.dataset_distillation.networks import ConvNet, Network, TwoLayer
from beyondloss.methods.dataset_distillation.settings import METHODS, corner, setting
from beyondloss.methods.dataset_distillation.splits import Split, split
from beyondloss.methods.dataset_distillation.students import (
    Recipe,
    Teacher,
    accuracy,
    train_students,
    train_teacher,
)

KINDS_OF = {False: ("none",), True: ("affine", "affine, cutmix")}


@dataclass(frozen=True)
class Protocol:
    """How sets are judged: the students, their budget, which is the same for every recipe, and what is searched."""

    dataset: str = "digits"
    width: int = 16
    depth: int = 2
    steps: int = 400
    batch: int = 32
    rounds: int = 2
    lrs: tuple[float, ...] = (0.03, 0.1)
    teacher_steps: int = 400
    validation: int = 30  # images a class, on which learning rate and augmentation are chosen
    most: int = 0  # training images a class, 0 for all
    temperature: float = 4.0
    device: str = "cpu"  # or cuda; auto takes a GPU where there is one

    def __post_init__(self):
        for name in ("width", "depth", "steps", "batch", "rounds", "teacher_steps", "validation"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not self.lrs or min(self.lrs) <= 0:
            raise ValueError(f"lrs must be learning rates above 0, one or more, not {self.lrs}")

    @property
    def torch_device(self) -> str:
        """The device itself."""
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device


@dataclass(frozen=True)
class Judged(Protocol):
    """One set that is to be distilled and judged: what the points of this chapter's experiments have in common."""

    dataset: Literal[*DATASETS] = "digits"
    method: Literal[*METHODS] = "random"
    per_class: int = 1
    iterations: int = 0  # of distillation; 0 for the method's own number
    real_batch: int = 32
    seed: int = 0

    def bench(self, seeds: Sequence[int]) -> "Bench":
        """Where sets of these seeds are judged; points of one process that differ in the set alone share it."""
        settings = {field.name: getattr(self, field.name) for field in fields(Protocol)}
        return Bench.of(Protocol(**settings), tuple(seeds))

    def distilled(self, bench: "Bench", lr: float) -> Distilled:
        """The method's sets, with an image learning rate."""
        settings = setting(self.method, lr, self.iterations, self.real_batch)
        task = Task(
            bench.split, bench.network, bench.teacher, self.per_class, bench.seeds, settings, bench.affine
        )
        return distil(METHODS[self.method].method, task)


@dataclass(frozen=True)
class Bench:
    """Real images, teacher and networks of some seeds, and what the whole training part gives."""

    split: Split
    teacher: Teacher | None
    network: ConvNet
    other: TwoLayer
    affine: Affine
    protocol: Protocol
    seeds: tuple[int, ...]

    @classmethod
    @cache
    def of(cls, protocol: Protocol, seeds: tuple[int, ...]) -> "Bench":
        """The same bench for every method that is judged in this process."""
        return cls.made(load_images(protocol.dataset), protocol, seeds)

    @classmethod
    def made(cls, images: ImageSet, protocol: Protocol, seeds: tuple[int, ...]) -> "Bench":
        """Split the images, and train a teacher on each seed's training part."""
        parts = split(images, seeds, protocol.validation, protocol.torch_device, protocol.most or None)
        channels, size = parts.train.shape[2], parts.train.shape[3]
        network = ConvNet(channels, size, parts.classes, protocol.width, protocol.depth)
        affine = Affine(mirror=images.mirror)
        teacher = train_teacher(network, parts.train, parts.labels, seeds, protocol.teacher_steps, affine)
        other = TwoLayer(channels * size**2, parts.classes)
        return cls(parts, teacher, network, other, affine, protocol, seeds)

    def recipe(self, labels: str, kind: str) -> Recipe:
        p = self.protocol
        return Recipe(labels, kind, p.steps, p.batch, temperature=p.temperature, affine=self.affine)

    def one_hot(self, labels: Tensor) -> Float[Tensor, "seed image classes"]:
        return F.one_hot(labels, self.split.classes).float()

    def results(
        self, images: Tensor, targets: Tensor, labels: str, kind: str, network: Network | None = None
    ) -> "Results":
        """Validation and test accuracy of students trained on `images` with one kind of labels and views."""
        network, p = network or self.network, self.protocol
        weights = train_students(
            network, images, targets, self.recipe(labels, kind), p.lrs, p.rounds, self.seeds, self.teacher
        )
        shape = (len(self.seeds), len(p.lrs), p.rounds)
        validation = accuracy(network, weights, self.split.validation, self.split.validation_labels)
        test = accuracy(network, weights, self.split.test, self.split.test_labels)
        return Results(validation.view(shape), test.view(shape))

    @cached_property
    def whole(self) -> Float[Tensor, " seed"]:
        """Accuracy of students of the whole training part with hard labels and no augmentation: HLR's reference."""
        return self.results(self.split.train, self.one_hot(self.split.labels), "hard", "none").chosen.mean(-1)


@dataclass(frozen=True)
class Results:
    """Accuracies over what was searched and over rounds."""

    validation: Float[Tensor, "seed searched round"]
    test: Float[Tensor, "seed searched round"]

    @classmethod
    def joined(cls, several: Sequence["Results"]) -> "Results":
        return cls(*(torch.cat([getattr(r, name) for r in several], 1) for name in ("validation", "test")))

    @property
    def chosen(self) -> Float[Tensor, "seed round"]:
        """Test accuracy where validation accuracy is greatest, seed by seed."""
        best = self.validation.mean(-1).argmax(-1)
        return self.test[torch.arange(len(best)), best]

    @property
    def optimism(self) -> Float[Tensor, " seed"]:
        """What choosing on the test images themselves would add."""
        return self.test.mean(-1).amax(-1) - self.chosen.mean(-1)


def corners(
    bench: Bench, images: Tensor, targets: Tensor, stored: Tensor | None = None
) -> dict[str, Results]:
    """Hard and soft labels, with and without augmentation; of augmentations and learning rates the validated best.

    Soft labels are the teacher's on every view, unless `stored` ones are given.
    """
    given = {"hard": (bench, targets), "soft": (bench, targets)}
    if stored is not None:
        given["soft"] = (
            replace(bench, teacher=None, protocol=replace(bench.protocol, temperature=1.0)),
            stored,
        )
    return {
        corner(labels, augmented): Results.joined(
            [judge.results(images, wanted, labels, kind) for kind in kinds]
        )
        for labels, (judge, wanted) in given.items()
        for augmented, kinds in KINDS_OF.items()
    }
