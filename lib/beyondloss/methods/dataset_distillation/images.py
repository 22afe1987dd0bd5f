"""The real images of chapter 6: digits that need no network, and sets of the hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from beyondloss.data.hub import HubError, load_dataset, revision_of
from beyondloss.data.idx import read_idx
from beyondloss.experiment import choose


class Labelled(NamedTuple):
    """Images of one part of a set and the class of each."""

    images: Num[Tensor, "image channel height width"]
    labels: Int[Tensor, " image"]

    @classmethod
    def of(cls, images: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> "Labelled":
        """Both as tensors; ValueError where their shapes do not fit."""
        images, labels = torch.as_tensor(images), torch.as_tensor(labels).long()
        if images.dim() != 4 or images.shape[2] != images.shape[3]:
            raise ValueError(f"images must be [image, channel, size, size], not {list(images.shape)}")
        if list(labels.shape) != [len(images)]:
            raise ValueError(f"{len(images)} images have labels {list(labels.shape)}, one each is asked for")
        return cls(images, labels)


@dataclass(frozen=True)
class ImageSet:
    """Images as they come, their labels, and the mean and deviation of each channel of the training part.

    test: None for a set without a test part, of which `split` and `with_test_part` put a third aside; its mean and
        deviation are those of all images.
    mirror: whether a mirrored image keeps its class.
    """

    train: Num[Tensor, "image channel height width"]
    train_labels: Int[Tensor, " image"]
    test: Num[Tensor, "test_image channel height width"] | None
    test_labels: Int[Tensor, " test_image"] | None
    mean: Float[Tensor, "channel 1 1"]
    deviation: Float[Tensor, "channel 1 1"]
    classes: int
    mirror: bool
    origin: str
    licence: str

    @classmethod
    def of(
        cls,
        train: tuple,
        test: tuple | None = None,
        *,
        mirror: bool = False,
        origin: str = "own",
        licence: str = "unknown",
    ) -> "ImageSet":
        """A set from images [image, channel, height, width] and classes from 0 on, tensors or arrays, of each part.

        It has so many classes as the training labels name, and the statistics of that part. Without a test part a third
        of the images is put aside for one. ValueError for images or classes that students cannot take.
        """
        train, test = (part and Labelled.of(*part) for part in (train, test))
        if not (counts := torch.bincount(train.labels)).all():
            raise ValueError(f"class {int(counts.argmin())} of 0 to {len(counts) - 1} has no training images")
        statistics = channel_statistics(train.images)
        return cls(*train, *(test or (None, None)), *statistics, len(counts), mirror, origin, licence)

    def standardised(self, images: Tensor) -> Float[Tensor, "image channel height width"]:
        """Images with mean 0 and deviation 1 a channel over the training part."""
        return (images.float() - self.mean) / self.deviation


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


@cache
def digits() -> ImageSet:
    """1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn; no test part of their own."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return ImageSet.of(
        (found.images[:, None].astype(np.float32), found.target),
        origin="UCI optical recognition of handwritten digits, test part, as in scikit-learn",
        licence="CC BY 4.0",
    )


@dataclass(frozen=True)
class HubImages:
    """Where an image set lies on the hub, how its columns are called, and to which size and mode images are brought.

    revision: the commit of the hub's repository; None for a local folder of the same layout.
    mode: RGB, to which the grey images among coloured ones are brought, or L for grey.
    idx: a folder that may hold the same images as IDX files, which are then read instead; None if there is none.
    """

    name: str
    revision: str | None
    image: str
    label: str
    test: str
    size: int
    mode: str = "RGB"
    mirror: bool = True
    licence: str = "see hub page"
    idx: Path | None = None


HUB = {
    "fashion-mnist": HubImages(
        name="zalando-datasets/fashion_mnist",
        revision="531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        image="image",
        label="label",
        test="test",
        size=28,
        mode="L",
        licence="MIT",
        idx=Path("/usr/share/datasets/fashion-mnist"),  # of Debian's package dataset-fashion-mnist
    ),
    "cifar-10": HubImages(
        name="uoft-cs/cifar10",
        revision="0b2714987fa478483af9968de7c934580d0bb9a2",
        image="img",
        label="label",
        test="test",
        size=32,
    ),
    "cifar-100": HubImages(
        name="uoft-cs/cifar100",
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        image="img",
        label="fine_label",
        test="test",
        size=32,
    ),
    "tiny-imagenet": HubImages(
        name="zh-plus/tiny-imagenet",
        revision="5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
        image="image",
        label="label",
        test="valid",
        size=64,
    ),
    "imagenet-1k": HubImages(
        name="ILSVRC/imagenet-1k",
        revision="49e2ee26f3810fb5a7536bbf732a7b07389a47b5",
        image="image",
        label="label",
        test="validation",
        size=64,
    ),
}
DATASETS = ("digits", *HUB)


@cache
def load(dataset: str) -> ImageSet:
    """An image set by name. BadInput for an unknown name, HubError where the hub cannot be reached."""
    if choose("data set", dataset, DATASETS) == "digits":
        return digits()
    place = HUB[dataset]
    if place.idx is None:
        return from_hub(place)
    if place.idx.is_dir():
        return from_idx(place)
    try:
        return from_hub(place)
    except HubError as error:
        raise HubError(f"{error}; or put its IDX files into {place.idx}, as Debian's package does") from error


def from_idx(place: HubImages) -> ImageSet:
    """Training and test images from the IDX files of `place`, in memory. ValueError for a damaged file."""

    def part(name: str) -> Labelled:
        images, labels = (
            read_idx(place.idx / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
        )
        return Labelled(torch.tensor(images)[:, None], torch.tensor(labels).long())

    return ImageSet.of(
        part("train"),
        part("t10k"),
        mirror=place.mirror,
        origin=f"IDX files of {place.name}",
        licence=place.licence,
    )


def from_hub(place: HubImages) -> ImageSet:
    """Training and test images of a hub data set, or of a local folder of the same layout, in memory."""
    found = load_dataset(place.name, revision=place.revision)
    return ImageSet.of(
        pixels(found["train"], place),
        pixels(found[place.test], place),
        mirror=place.mirror,
        origin=f"{place.name}@{revision_of(found['train'], place.revision)}",
        licence=place.licence,
    )


def pixels(rows, place: HubImages) -> Labelled:
    """All images of a split, brought to one size, as [image, channel, height, width] in 0 to 255, and their labels."""
    size = (place.size, place.size)
    arrays = [np.asarray(row[place.image].convert(place.mode).resize(size)) for row in rows]
    stacked = torch.from_numpy(np.stack(arrays))
    images = stacked[:, None] if stacked.dim() == 3 else stacked.permute(0, 3, 1, 2)
    return Labelled(images.contiguous(), torch.tensor(rows[place.label], dtype=torch.long))


def channel_statistics(
    images: Num[Tensor, "image channel height width"], most: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, as [channel, 1, 1], over at most so many images."""
    some = images[:: max(1, len(images) // most)].float()
    deviation, mean = torch.std_mean(some, (0, 2, 3))
    return mean[:, None, None], deviation[:, None, None]


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
