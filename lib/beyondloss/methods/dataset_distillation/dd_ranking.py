"""Judge a distilled set of your own: HLR, IOR, LRS and ARS with their intervals (chapter 6, section 9).

from beyondloss.methods.dataset_distillation import dd_ranking
images, labels = dd_ranking.load_distilled("my_set.pt")
dd_ranking.evaluate(images, labels, "cifar-10")
"""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from beyondloss.experiment import Effect, paired_interval
from beyondloss.methods.dataset_distillation import scores
from beyondloss.methods.dataset_distillation.distillation import picked
from beyondloss.methods.dataset_distillation.evaluation import Bench, Protocol, corners
from beyondloss.methods.dataset_distillation.images import ImageSet, load, with_test_part
from beyondloss.methods.dataset_distillation.settings import CORNERS, corner
from beyondloss.methods.dataset_distillation.students import LABELS
from beyondloss.trainers.streams import Streams

SMALL = 16  # pixels up to which an image is judged by the networks of digits
FAR = 10  # times the largest real pixel that a standardised image may have


@dataclass(frozen=True)
class Report:
    """The scores of one set with 95% intervals over seeds, and the accuracies that they are made of."""

    hlr: Effect
    ior: Effect
    lrs: Effect
    ars: Effect
    neutral_lrs: float  # of a random subset, for which LRS is to be compared
    neutral_ars: float
    accuracy: dict[str, Effect]
    random: dict[str, Effect]
    whole: Effect
    recipe: str
    weight: float

    def table(self) -> list[tuple[str, str, str]]:
        """Name, value with interval, and what to compare it with."""
        rows = [
            ("HLR (smaller is better)", self.hlr, "0: as good as all images"),
            (f"IOR under {self.recipe!r}", self.ior, "0: as good as random images"),
            (f"LRS, weight {self.weight:g}", self.lrs, f"{self.neutral_lrs:.3f}: random images"),
            ("ARS", self.ars, f"{self.neutral_ars:.3f}: random images"),
        ]
        rows += [(f"accuracy, {name}", self.accuracy[name], f"{self.random[name]:.3f}") for name in CORNERS]
        return [(name, f"{effect:.3f}", against) for name, effect, against in rows]

    def __repr__(self) -> str:
        rows = [("", "this set", "to compare"), *self.table()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in self.table())
        return f"<table><tr><th>measure</th><th>this set</th><th>to compare</th></tr>{rows}</table>"


def evaluate(
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None,
    dataset: str | ImageSet = "digits",
    *,
    use: str | None = None,
    augmented: bool = False,
    weight: float = 0.5,
    gamma: float = 0.5,
    seeds: Sequence[int] = range(5),
    standardised: bool = True,
    protocol: Protocol | None = None,
) -> Report:
    """Judge a distilled set of one's own.

    images: [image, channel, height, width], standardised by the mean and deviation of the real training images, unless
        `standardised` is False: then they are in the real images' own units and standardised here.
    labels: classes [image], or stored soft labels [image, classes], whose largest entry is the class.
    dataset: a name (`DATASETS`) or an ImageSet of one's own.
    use, augmented: the recipe that the set is published with: "hard" or "soft" labels (soft where `labels` are, unless
        said otherwise), and whether views are augmented. Soft labels are a teacher's, given anew for each view; where
        the set brings stored ones, those, and random images then get the teacher's stored once an image, too.
    weight, gamma: of IOR in LRS, and of the gain under augmentation in ARS.
    seeds: each draws its own validation part, teacher, random subset and students; intervals are over them. The test
        part is the published one, or that of `real_images`, from whose training part a set is to be distilled. Some
        of that part validate learning rates here: a set may contain them, random images do not.
    protocol: the students and their budget; by the size of the images unless given. Its `dataset` is not looked at.
    Raises ValueError naming what does not fit.
    """
    asked(use, {"weight": weight, "gamma": gamma}, seeds)
    known = real_images(dataset)
    protocol = protocol or protocol_for(known)
    images, hard, soft = checked(images, labels, known, standardised)
    use = use or ("hard" if soft is None else "soft")
    bench = Bench.made(known, protocol, tuple(seeds))
    repeated, kept = (each_seed(bench, part) for part in (images, soft))
    drawn = random_like(bench, hard)
    mine = judged(bench, repeated, hard, kept)
    random = judged(
        bench, drawn, hard.sort().values, None if soft is None else bench.teacher.probabilities(drawn)
    )
    own = corner(use, augmented)
    gains = {name: mine[name] - random[name] for name in CORNERS}
    hlr = scores.hard_label_recovery(bench.whole.double().numpy(force=True), mine["hard"])
    random_hlr = scores.hard_label_recovery(bench.whole.double().numpy(force=True), random["hard"])
    ars = scores.augmentation_robust_score(gains[corner(use, True)], gains[corner(use, False)], gamma)
    return Report(
        hlr=paired_interval(hlr),
        ior=paired_interval(gains[own]),
        lrs=paired_interval(scores.label_robust_score(hlr, gains[own], weight)),
        ars=paired_interval(ars),
        neutral_lrs=float(np.mean(scores.neutral_lrs(random_hlr, weight))),
        neutral_ars=scores.NEUTRAL,
        accuracy={name: paired_interval(values) for name, values in mine.items()},
        random={name: paired_interval(values) for name, values in random.items()},
        whole=paired_interval(bench.whole.double().numpy(force=True)),
        recipe=own,
        weight=weight,
    )


def real_images(dataset: str | ImageSet) -> ImageSet:
    """A data set with the test part that `evaluate` tests on."""
    return with_test_part(load(dataset) if isinstance(dataset, str) else dataset)


def protocol_for(known: ImageSet) -> Protocol:
    """The chapter's sizes for images as small as digits; else those of the literature, on a GPU if there is one."""
    size = known.train.shape[-1]
    if size <= SMALL:
        return Protocol()
    return Protocol(
        width=128,
        depth=4 if size >= 64 else 3,
        steps=1000,
        batch=256,
        teacher_steps=20_000,
        validation=50,
        lrs=(0.001, 0.005, 0.01, 0.05, 0.1),
        device="auto",
    )


def asked(use: str | None, weights: dict[str, float], seeds: Sequence[int]) -> None:
    """ValueError for a recipe, a weight or seeds that there cannot be, before anything is loaded."""
    if use not in (None, *LABELS):
        raise ValueError(f"use {use!r} is none of {', '.join(LABELS)}")
    for name, weight in weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise ValueError(f"{name} {weight!r} is no number between 0 and 1")
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise ValueError(f"an interval takes two different seeds or more and none twice, not {list(seeds)}")


def checked(
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None,
    known: ImageSet,
    standardised: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Standardised images, classes, and stored soft labels or None; ValueError naming what does not fit."""
    return as_images(torch.as_tensor(images), known, standardised), *as_labels(
        labels, len(images), known.classes
    )


def as_images(
    images: Tensor, known: ImageSet, standardised: bool
) -> Float[Tensor, "image channel height width"]:
    wanted = list(known.train.shape[1:])
    if not len(images):
        raise ValueError("there are no images")
    if images.dim() != 4 or list(images.shape[1:]) != wanted:
        raise ValueError(
            f"images have shape {list(images.shape)}, the data set asks for [image, {', '.join(map(str, wanted))}]"
        )
    if standardised and not images.is_floating_point():
        raise ValueError(f"images of {images.dtype} are not standardised: pass standardised=False")
    if not images.isfinite().all():
        raise ValueError(f"{int((~images.isfinite()).sum())} pixels of the images are not finite")
    own, real = images.float().abs().max(), known.train.max()
    if not standardised and own <= 1 < real:
        raise ValueError(
            f"pixels up to {own:.3g} are not in the real images' units, which go up to {real:.0f}"
        )
    if standardised and own > FAR * known.standardised(known.train[:100]).abs().max():
        raise ValueError(
            f"pixels up to {own:.3g} are not standardised: pass standardised=False, or standardise them"
        )
    return images.float() if standardised else known.standardised(images)


def as_labels(
    labels: Tensor | np.ndarray | None, images: int, classes: int
) -> tuple[Int[Tensor, " image"], Float[Tensor, "image classes"] | None]:
    """Classes, and the stored soft labels where there are any."""
    if labels is None:
        raise ValueError(
            f"there are no labels: where the images are in order of class, pass "
            f"torch.arange({classes}).repeat_interleave({max(1, images // classes)})"
        )
    labels = torch.as_tensor(labels)
    if len(labels) != images:
        raise ValueError(f"{images} images have {len(labels)} labels")
    if labels.dim() == 1 and not labels.is_floating_point():
        hard, soft = labels.long(), None
    else:
        hard, soft = labels.flatten(1).argmax(1) if labels.dim() > 1 else labels.long(), labels.float()
        sums = soft.sum(1) if soft.dim() == 2 else torch.zeros(0)
        whole = list(soft.shape) == [images, classes] and bool(soft.isfinite().all())
        if not whole or soft.min() < 0 or (sums - 1).abs().max() > 1e-3:
            raise ValueError(
                f"labels must be classes, integers [{images}], or probabilities [{images}, {classes}] whose rows "
                f"sum to 1, not {labels.dtype} {list(labels.shape)}"
            )
    counts = torch.bincount(hard, minlength=classes) if hard.min() >= 0 else torch.zeros(0)
    if len(counts) != classes or len(counts.unique()) != 1:
        raise ValueError(
            f"every one of the {classes} classes, 0 to {classes - 1}, needs the same number of images, not "
            f"{dict(zip(*(part.tolist() for part in hard.unique(return_counts=True)), strict=True))}"
        )
    return hard, soft


def each_seed(bench: Bench, part: Tensor | None) -> Tensor | None:
    return None if part is None else part.to(bench.split.train.device).expand(len(bench.seeds), *part.shape)


def judged(
    bench: Bench,
    images: Float[Tensor, "seed image channel height width"],
    hard: Int[Tensor, " image"],
    soft: Float[Tensor, "seed image classes"] | None,
) -> dict[str, np.ndarray]:
    """Accuracy of a set at every corner, one value a seed; stored soft labels stand in for the teacher's."""
    found = corners(bench, images, bench.one_hot(each_seed(bench, hard)), soft)
    return {name: result.chosen.mean(-1).double().numpy(force=True) for name, result in found.items()}


def random_like(bench: Bench, hard: Tensor) -> Float[Tensor, "seed image channel height width"]:
    """As many random training images of each class, drawn anew for each seed."""
    each = len(hard) // bench.split.classes
    streams = Streams([40_000 + seed for seed in bench.seeds], bench.split.train.device)
    pool = bench.split.by_class
    if each > pool.shape[2]:
        raise ValueError(f"{each} images a class are more than the {pool.shape[2]} there are to draw from")
    order = streams.uniform(*pool.shape[1:3]).argsort(-1)[..., :each]
    return picked(pool, order).flatten(1, 2)


NAMES = (
    ("images", "labels"),
    ("image", "label"),
    ("x", "y"),
)  # of the entries of a file, in order of preference


def load_distilled(
    path: str | Path, labels: str | Path | None = None
) -> tuple[Num[Tensor, "image channel height width"], Tensor | None]:
    """Images and labels of a published distilled set; nothing in its files is executed.

    Reads .safetensors, .npz, and .pt or .pth files. The entries are called as NAMES says; or `data` is a list of pairs
    of images and labels, as the code of DC, DSA and DM saves it, whose first is taken; or the file holds the images
    alone: their labels are those in the file `labels`, as MTT's code saves them, or None. ValueError for anything else.
    """
    path, named = Path(path), read(path)
    if not isinstance(named, dict):
        named = {"images": named}
    elif "data" in named:
        named = dict(zip(NAMES[0], named["data"][0], strict=False))
    image, label = next((pair for pair in NAMES if pair[0] in named), ("", ""))
    if not image:
        wanted = ", ".join(f"`{pair[0]}`" for pair in NAMES)
        raise ValueError(f"{path.name} has no entry {wanted} or `data`, only {', '.join(map(str, named))}")
    images, given = torch.as_tensor(named[image]), read(labels) if labels else named.get(label)
    if images.dim() != 4:
        raise ValueError(
            f"{path.name}: images must be [image, channel, height, width], not {list(images.shape)}"
        )
    return images, None if given is None else torch.as_tensor(given)


def read(path: str | Path):
    """What a file of tensors holds; ValueError for other files, and for what would run code."""
    path = Path(path)
    readers: dict[str, Callable] = {".safetensors": _safetensors, ".npz": _npz, ".pt": _torch, ".pth": _torch}
    if path.suffix not in readers:
        raise ValueError(f"{path.name}: distilled sets are read from {', '.join(readers)}")
    if not path.is_file():
        raise ValueError(f"{path.name}: there is no such file")
    try:
        return readers[path.suffix](path)
    except Exception as error:  # each format has its own; what they mean to the reader is one thing
        raise ValueError(
            f"{path.name} is damaged or holds more than arrays, which is not read: save images and labels alone, as "
            "torch.save({'images': images, 'labels': labels}, path) does"
        ) from error


def _safetensors(path: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(path)


def _npz(path: Path) -> dict:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def _torch(path: Path):
    """Tensors, and the numbers of numpy that published files keep beside them (accuracies)."""
    scalar = np._core.multiarray.scalar
    numbers = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals(
        [*numbers, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, codecs.encode]
    ):
        return torch.load(path, map_location="cpu", weights_only=True)
