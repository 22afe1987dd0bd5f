"""Sets of labelled images: digits that come with scikit-learn, IDX files of Debian's package, and sets of the hub.

Every set is one kind of object, an `ImageSet`, and stays in memory as it comes: bytes where a file holds bytes, a
quarter of what floats would take. `standardised` gives the floats that a network is fed with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from beyondloss.choices import choose
from beyondloss.data.hub import HubError, load_dataset, revision_of
from beyondloss.data.idx import read_idx


class Labelled(NamedTuple):
    """Images of one part of a set and the class of each."""

    images: Num[Tensor, "image channel height width"]
    labels: Int[Tensor, " image"]

    @classmethod
    def of(cls, images: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> "Labelled":
        """Both as tensors; ValueError where shapes do not fit, pixels are not finite, or labels are no integers."""
        images, labels = torch.as_tensor(images), torch.as_tensor(labels)
        if images.dtype in (torch.uint16, torch.uint32, torch.uint64):
            images = images.long()  # of these torch can hardly do more than hold them
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ValueError(f"labels must be integers, the number of each image's class, not {labels.dtype}")
        labels = labels.long()
        if images.dim() != 4 or images.shape[2] != images.shape[3]:
            raise ValueError(f"images must be [image, channel, size, size], not {list(images.shape)}")
        if not len(images):
            raise ValueError(
                "a part of an image set has no images; in place of a test part that is not there: None"
            )
        if list(labels.shape) != [len(images)]:
            raise ValueError(f"{len(images)} images have labels {list(labels.shape)}, one each is asked for")
        if images.is_floating_point() and not images.isfinite().all():
            raise ValueError("some images have pixels that are not finite")
        return cls(images, labels)


@dataclass(frozen=True)
class ImageSet:
    """Images as they come, their labels, and the mean and deviation of each channel of the training part.

    train, test: in the units of the file, 0 to 255 except for digits (0 to 16). test is None for a set without a test
        part; its mean and deviation are those of all images.
    train_labels, test_labels: a class is its place in `names`.
    names: what the classes are called, in the words of the set's makers.
    mirror: whether a mirrored image keeps its class.
    origin: where the set comes from, to the commit where it is of the hub.
    """

    train: Num[Tensor, "image channel height width"]
    train_labels: Int[Tensor, " image"]
    test: Num[Tensor, "test_image channel height width"] | None
    test_labels: Int[Tensor, " test_image"] | None
    mean: Float[Tensor, "channel 1 1"]
    deviation: Float[Tensor, "channel 1 1"]
    names: tuple[str, ...]
    mirror: bool
    origin: str
    licence: str

    @classmethod
    def of(
        cls,
        train: tuple,
        test: tuple | None = None,
        *,
        names: Sequence[str] | None = None,
        mirror: bool = False,
        origin: str = "own",
        licence: str = "unknown",
    ) -> "ImageSet":
        """A set from images [image, channel, height, width] and classes from 0 on, tensors or arrays, of each part.

        It has so many classes as the training labels name, called by their numbers unless `names` are given, and the
        statistics of that part. ValueError for images or classes that a network cannot be trained on.
        """
        train, test = (part and Labelled.of(*part) for part in (train, test))
        if (lowest := int(train.labels.min())) < 0:
            raise ValueError(f"training labels must be classes from 0 on, got {lowest}")
        if not (counts := torch.bincount(train.labels)).all():
            raise ValueError(f"class {int(counts.argmin())} of 0 to {len(counts) - 1} has no training images")
        names = tuple(names or map(str, range(len(counts))))
        if len(names) != len(counts):
            raise ValueError(
                f"{len(names)} names of classes, but the training labels name {len(counts)} classes"
            )
        if test and test.images.shape[1:] != train.images.shape[1:]:
            raise ValueError(
                f"test images are {list(test.images.shape[1:])}, training images {list(train.images.shape[1:])}"
            )
        if test and test.images.is_floating_point() != train.images.is_floating_point():
            raise ValueError(
                f"training images are {train.images.dtype}, test images {test.images.dtype}: both must be integers, or "
                "both floats, in the same units"
            )
        if test and not set(test.labels.tolist()) <= set(range(len(counts))):
            raise ValueError(
                f"test labels from {int(test.labels.min())} to {int(test.labels.max())} name classes beyond the "
                f"{len(counts)} of the training part"
            )
        statistics = channel_statistics(train.images)
        if not (statistics[1] > 0).all():
            flat = (statistics[1].flatten() <= 0).nonzero().flatten().tolist()
            raise ValueError(f"channel {flat[0]} has one value in all training images: leave it out")
        return cls(*train, *(test or (None, None)), *statistics, names, mirror, origin, licence)

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.names)

    def standardised(self, images: Tensor) -> Float[Tensor, "image channel height width"]:
        """Images with mean 0 and deviation 1 a channel over the training part."""
        return (images.float() - self.mean) / self.deviation


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
    image, label, test: the columns of images and of labels, and the split that is the test part.
    mode: RGB, to which the grey images among coloured ones are brought, or L for grey.
    names: of the classes, where the hub's files do not say them.
    idx: a folder that may hold the same images as IDX files, which are then read instead; None if there is none.
    """

    name: str
    revision: str | None
    size: int
    image: str = "image"
    label: str = "label"
    test: str = "test"
    mode: str = "RGB"
    mirror: bool = True
    licence: str = "see hub page"
    names: tuple[str, ...] | None = None
    idx: Path | None = None


CLOTHES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
HUB = {
    "fashion-mnist": HubImages(
        "zalando-datasets/fashion_mnist",
        "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        size=28,
        mode="L",
        licence="MIT",
        names=CLOTHES,
        idx=Path("/usr/share/datasets/fashion-mnist"),  # of Debian's package dataset-fashion-mnist
    ),
    "cifar-10": HubImages(
        "uoft-cs/cifar10", "0b2714987fa478483af9968de7c934580d0bb9a2", size=32, image="img"
    ),
    "cifar-100": HubImages(
        "uoft-cs/cifar100",
        "aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        size=32,
        image="img",
        label="fine_label",
    ),
    "tiny-imagenet": HubImages(
        "zh-plus/tiny-imagenet", "5a77092c28e51558c5586e9c5eb71a7e17a5e43f", size=64, test="valid"
    ),
    "imagenet-1k": HubImages(
        "ILSVRC/imagenet-1k", "49e2ee26f3810fb5a7536bbf732a7b07389a47b5", size=64, test="validation"
    ),
}
DATASETS = ("digits", *HUB)


@cache
def load_images(dataset: str, folder: str | None = None) -> ImageSet:
    """An image set by name, one of `DATASETS`; loaded once, and then shared by all who ask for it.

    Digits always work. Fashion-MNIST is read from Debian's package `dataset-fashion-mnist` where that is installed.
    The others come from the hub, or from a `folder` into which `hf download` has put them.
    Raises BadInput for an unknown name, HubError with the way out where the hub cannot be reached, ValueError for a
    damaged file.
    """
    if choose("data set", dataset, DATASETS) == "digits":
        return digits()
    place = HUB[dataset]
    if folder is not None:
        return from_hub(replace(place, name=folder, revision=None))
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
        """Images and labels of the training part or of the one that the format calls t10k."""
        images, labels = (
            read_idx(place.idx / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
        )
        return Labelled(torch.tensor(images)[:, None], torch.tensor(labels).long())

    return ImageSet.of(
        part("train"),
        part("t10k"),
        names=place.names,
        mirror=place.mirror,
        origin=f"IDX files of {place.name}",
        licence=place.licence,
    )


def from_hub(place: HubImages) -> ImageSet:
    """Training and test images of a hub data set, or of a local folder of the same layout, in memory."""
    found = load_dataset(place.name, revision=place.revision)
    revision = revision_of(found["train"], place.revision)
    return ImageSet.of(
        pixels(found["train"], place),
        pixels(found[place.test], place),
        names=place.names or getattr(found["train"].features[place.label], "names", None),
        mirror=place.mirror,
        origin=f"{place.name}@{revision}" if revision else place.name,
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
