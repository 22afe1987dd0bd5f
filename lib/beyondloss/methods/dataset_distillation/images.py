"""The real images of chapter 6: digits that need no network, and sets of the hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from beyondloss.data.hub import load_dataset
from beyondloss.data.idx import read_idx
from beyondloss.data.text import revision_of


@dataclass(frozen=True)
class ImageSet:
    """Images as they come, their labels, and the mean and deviation of each channel of the training part."""

    train: Num[Tensor, "image channel height width"]
    train_labels: Int[Tensor, " image"]
    test: Num[Tensor, "test_image channel height width"] | None
    test_labels: Int[Tensor, " test_image"] | None
    mean: Float[Tensor, "channel 1 1"]
    deviation: Float[Tensor, "channel 1 1"]
    classes: int
    mirror: bool  # whether a mirrored image keeps its class
    origin: str
    licence: str

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
    images = torch.tensor(found.images, dtype=torch.float32)[:, None]
    labels = torch.tensor(found.target, dtype=torch.long)
    return ImageSet(
        images,
        labels,
        None,
        None,
        *channel_statistics(images),
        classes=10,
        mirror=False,
        origin="UCI optical recognition of handwritten digits, test part, as in scikit-learn",
        licence="CC BY 4.0",
    )


@dataclass(frozen=True)
class HubImages:
    """Where an image set lies on the hub, how its columns are called, and to which size its images are brought.

    revision: the commit of the hub's repository; None for a local folder of the same layout.
    """

    name: str
    revision: str | None
    image: str
    label: str
    test: str
    size: int
    mirror: bool = True
    licence: str = "see hub page"


HUB = {
    "fashion-mnist": HubImages(
        name="zalando-datasets/fashion_mnist",
        revision="531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        image="image",
        label="label",
        test="test",
        size=28,
        licence="MIT",
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
# where Debian's package dataset-fashion-mnist puts the same images
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DATASETS = ("digits", *HUB)


@cache
def load(dataset: str) -> ImageSet:
    """An image set by name. ValueError for an unknown name, HubError where the hub cannot be reached."""
    if dataset == "digits":
        return digits()
    if dataset not in HUB:
        raise ValueError(f"dataset {dataset!r} is none of {', '.join(DATASETS)}")
    if dataset == "fashion-mnist" and FASHION_FOLDER.is_dir():
        return from_idx(FASHION_FOLDER)
    return from_hub(HUB[dataset])


def from_idx(folder: Path) -> ImageSet:
    """Fashion-MNIST, or a set of the same file names, from a folder of IDX files. ValueError for a damaged file."""

    def part(name: str) -> tuple[Tensor, Tensor]:
        images, labels = (
            read_idx(folder / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
        )
        return torch.tensor(images)[:, None], torch.tensor(labels, dtype=torch.long)

    train, labels = part("train")
    test, test_labels = part("t10k")
    return ImageSet(
        train,
        labels,
        test,
        test_labels,
        *channel_statistics(train),
        classes=int(labels.max()) + 1,
        mirror=True,
        origin="Debian package dataset-fashion-mnist",
        licence="MIT",
    )


def from_hub(place: HubImages) -> ImageSet:
    """Training and test images of a hub data set, or of a local folder of the same layout, in memory."""
    found = load_dataset(place.name, revision=place.revision)
    train, labels = pixels(found["train"], place)
    test, test_labels = pixels(found[place.test], place)
    return ImageSet(
        train,
        labels,
        test,
        test_labels,
        *channel_statistics(train),
        classes=int(labels.max()) + 1,
        mirror=place.mirror,
        origin=f"{place.name}@{revision_of(found['train'], place.revision)}",
        licence=place.licence,
    )


def pixels(rows, place: HubImages) -> tuple[Tensor, Tensor]:
    """All images of a split, brought to one size, as [image, channel, height, width] in 0 to 255, and their labels."""
    first = np.asarray(rows[0][place.image])
    mode, size = "L" if first.ndim == 2 else "RGB", (place.size, place.size)
    arrays = [np.asarray(row[place.image].convert(mode).resize(size)) for row in rows]
    stacked = torch.from_numpy(np.stack(arrays))
    images = stacked[:, None] if stacked.dim() == 3 else stacked.permute(0, 3, 1, 2)
    return images.contiguous(), torch.tensor(rows[place.label], dtype=torch.long)


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
