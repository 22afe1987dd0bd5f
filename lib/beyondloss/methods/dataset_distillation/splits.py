"""Real images of several seeds side by side: what every seed trains, validates and tests on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beyondloss.data.images import ImageSet


@dataclass(frozen=True)
class Split:
    """Training, validation and test images of several seeds; the training part in order of class."""

    train: Float[Tensor, "seed image channel height width"]
    labels: Int[Tensor, "seed image"]
    validation: Float[Tensor, "seed validation_image channel height width"]
    validation_labels: Int[Tensor, "seed validation_image"]
    test: Float[Tensor, "seed test_image channel height width"]
    test_labels: Int[Tensor, "seed test_image"]
    classes: int

    @property
    def by_class(self) -> Float[Tensor, "seed classes image channel height width"]:
        """The training images of each class."""
        return self.train.unflatten(1, (self.classes, -1))


def split(
    images: ImageSet, seeds: Sequence[int], validation: int, device: str = "cpu", most: int | None = None
) -> Split:
    """Per seed a new balanced split: `validation` images a class, as many of every class (at most `most`) to train on.

    A set without a test part of its own keeps a third of the images, class by class, for testing.
    """
    parts = [one_split(images, seed, validation, most) for seed in seeds]
    tensors = [torch.stack(tensors).to(device) for tensors in zip(*parts, strict=True)]
    return Split(*tensors, classes=images.classes)


def with_test_part(images: ImageSet) -> ImageSet:
    """The set itself, or with a third of each class put aside for testing, always the same."""
    if images.test is not None:
        return images
    train, labels, _, _, test, test_labels = one_split(
        replace(images, mean=0 * images.mean, deviation=0 * images.mean + 1), 0, 0, None
    )
    return replace(images, train=train, train_labels=labels, test=test, test_labels=test_labels)


def one_split(images: ImageSet, seed: int, validation: int, most: int | None) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    members = [torch.where(images.train_labels == c)[0] for c in range(images.classes)]
    members = [own[torch.randperm(len(own), generator=generator)] for own in members]
    smallest = min(map(len, members))
    held_out = 0 if images.test is not None else smallest // 3
    size = smallest - held_out - validation
    if size < 1:
        raise ValueError(f"{validation} validation images a class leave none to train on of {smallest}")

    def part(low: int, high: int | None) -> tuple[Tensor, Tensor]:
        rows = torch.cat([own[low:high] for own in members])
        return images.standardised(images.train[rows]), images.train_labels[rows]

    # classes differ in size: every class gives as many as the smallest can, so that seeds and classes stack
    if images.test is None:
        last = part(size + validation, smallest)
    else:
        last = images.standardised(images.test), images.test_labels
    return *part(0, min(size, most or size)), *part(size, size + validation), *last
