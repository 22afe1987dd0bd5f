"""Judge a distilled set of your own: HLR, IOR, LRS and ARS with their intervals (chapter 6, section 9).

from beyondloss.methods.dataset_distillation import dd_ranking
images, labels = dd_ranking.load_distilled("my_set.pt")
dd_ranking.evaluate(images, labels, "cifar-10")
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beyondloss.data.images import ImageSet, load_images
from beyondloss.experiment import Effect, NotEnough, choose, paired_interval
from beyondloss.experiment.tables import aligned
from beyondloss.methods.dataset_distillation import scores
from beyondloss.methods.dataset_distillation.distillation import picked
from beyondloss.methods.dataset_distillation.evaluation import Bench, Protocol, corners
from beyondloss.methods.dataset_distillation.files import load_distilled as load_distilled
from beyondloss.methods.dataset_distillation.settings import CORNERS, corner
from beyondloss.methods.dataset_distillation.splits import with_test_part
from beyondloss.methods.dataset_distillation.students import LABELS
from beyondloss.trainers.streams import Streams

SMALL = 16  # pixels up to which an image is judged by the networks of digits
FAR = 10  # times the largest real pixel that a standardised image may have


@dataclass(frozen=True)
class Report:
    """The scores of one set with 95% intervals over seeds, and the accuracies that they are made of.

    lrs_gain: LRS less that of as many random images, seed by seed: what to look at before a set is called better.
    """

    hlr: Effect
    ior: Effect
    lrs: Effect
    lrs_gain: Effect
    ars: Effect
    neutral_lrs: float  # of a random subset, for which LRS is to be compared
    neutral_ars: float
    accuracy: dict[str, Effect]
    random: dict[str, Effect]
    whole: Effect
    recipe: str
    weight: float
    gamma: float
    judged: str  # what, and by how many seeds

    def table(self) -> list[tuple[str, str, str]]:
        """Name, value with interval, and what to compare it with."""
        rows = [
            ("HLR (smaller is better)", self.hlr, "0: as good as all images"),
            (f"IOR under {self.recipe!r}", self.ior, "0: as good as random images"),
            (f"LRS, weight {self.weight:g}", self.lrs, f"{self.neutral_lrs:.3f}: random images"),
            ("LRS less that of random images", self.lrs_gain, "0: as good as random images"),
            (f"ARS, weight {self.gamma:g}", self.ars, f"{self.neutral_ars:.3f}: random images"),
        ]
        rows += [
            (f"accuracy, {name}", self.accuracy[name], f"{self.random[name]:.3f}: random images")
            for name in CORNERS
        ]
        return [(name, f"{effect:.3f}", against) for name, effect, against in rows]

    def __repr__(self) -> str:
        rows = [("", "this set", "to compare"), *self.table()]
        return "\n".join([self.judged, *aligned(rows)])

    def _repr_html_(self) -> str:
        cells = "<tr><td>{}</td><td style='white-space: nowrap'>{}</td><td>{}</td></tr>"
        rows = "".join(cells.format(*row) for row in self.table())
        heads = "<tr><th>measure</th><th>this set</th><th>to compare</th></tr>"
        return f'<table class="dataframe"><caption>{self.judged}</caption>{heads}{rows}</table>'


def evaluate(
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None,
    dataset: str | ImageSet = "digits",
    *,
    classes: Tensor | np.ndarray | None = None,
    use: str | None = None,
    augmented: bool = False,
    weight: float = 0.5,
    gamma: float = 0.5,
    seeds: int | Sequence[int] = 5,
    standardised: bool | tuple[Sequence[float], Sequence[float]] = True,
    protocol: Protocol | None = None,
) -> Report:
    """Judge a distilled set of one's own. Digits take a minute or two; larger images take a GPU.

    images: [image, channel, height, width].
    labels: classes [image] (or one-hot rows), or stored soft labels [image, classes].
    dataset: a name (`DATASETS`) or an ImageSet of one's own (`ImageSet.of`).
    classes: of the images [image] where labels are soft; where their largest entry lies, unless given.
    use, augmented: the recipe that the set is published with: "hard" or "soft" labels (soft where `labels` are, unless
        said otherwise), and whether views are augmented. Soft labels are a teacher's, given anew for each view; where
        the set brings stored ones, those, and random images then get the teacher's stored once an image, too.
    weight, gamma: of IOR in LRS, and of the gain under augmentation in ARS.
    seeds: their number, or which. Each draws its own validation part, teacher, random subset and students; intervals
        are over them. The test part is the published one, or that of `real_images`, from whose training part a set is
        to be distilled. Some of that part validate learning rates here: a set may contain them, random images do not.
    standardised: True where the images have been, by the mean and deviation of the real training images; False where
        they are in the real images' own units, to be standardised here; or the (means, deviations), one a channel of
        pixels from 0 to 1, by which they have been.
    protocol: the students and their budget; by the size of the images unless given. Its `dataset` is not looked at. The
        whole training part, HLR's reference, gets the teacher's steps where those are more.
    Raises ValueError naming what does not fit, NotEnough where networks for larger images are asked for without a GPU.
    """
    seeds = range(seeds) if isinstance(seeds, int) else tuple(seeds)
    asked(use, {"weight": weight, "gamma": gamma}, seeds)
    known = real_images(dataset)
    images, hard, soft = checked(images, labels, known, standardised, classes)
    bench = Bench.made(known, protocol or protocol_for(known), tuple(map(int, seeds)))
    size = f"{len(hard) // known.classes} image" + ("" if len(hard) == known.classes else "s")
    given = "the teacher's, for every view" if soft is None else "those stored with the set"
    return report(
        *sides(bench, images, hard, soft),
        reference(bench),
        labels=use or ("hard" if soft is None else "soft"),
        augmented=augmented,
        weight=weight,
        gamma=gamma,
        judged=f"{size} a class, {len(seeds)} seeds; soft labels: {given}",
    )


def sides(
    bench: Bench,
    images: Float[Tensor, "image channel height width"],
    hard: Int[Tensor, " image"],
    soft: Float[Tensor, "image classes"] | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Accuracy at every corner, one value a seed, of the set and of as many random images with labels of its kind."""
    drawn = random_like(bench, hard)
    theirs = None if soft is None else bench.teacher.probabilities(drawn)
    mine = judged(bench, each_seed(bench, images), hard, each_seed(bench, soft))
    return mine, judged(bench, drawn, hard.sort().values, theirs)


def report(
    mine: dict[str, np.ndarray],
    random: dict[str, np.ndarray],
    whole: np.ndarray,
    *,
    labels: str,
    augmented: bool,
    weight: float,
    gamma: float,
    judged: str,
) -> Report:
    """The scores of a set from accuracies at every corner, its own and those of random images, one value a seed."""
    own = corner(labels, augmented)
    gains = {name: scores.improvement_over_random(mine[name], random[name]) for name in CORNERS}
    hlr, random_hlr = (scores.hard_label_recovery(whole, side["hard"]) for side in (mine, random))
    lrs, neutral = scores.label_robust_score(hlr, gains[own], weight), scores.neutral_lrs(random_hlr, weight)
    ars = scores.augmentation_robust_score(gains[corner(labels, True)], gains[corner(labels, False)], gamma)
    return Report(
        hlr=paired_interval(hlr),
        ior=paired_interval(gains[own]),
        lrs=paired_interval(lrs),
        lrs_gain=paired_interval(lrs - neutral),
        ars=paired_interval(ars),
        neutral_lrs=float(np.mean(neutral)),
        neutral_ars=scores.NEUTRAL,
        accuracy={name: paired_interval(values) for name, values in mine.items()},
        random={name: paired_interval(values) for name, values in random.items()},
        whole=paired_interval(whole),
        recipe=own,
        weight=weight,
        gamma=gamma,
        judged=judged,
    )


def real_images(dataset: str | ImageSet) -> ImageSet:
    """A data set with the test part that `evaluate` tests on."""
    return with_test_part(load_images(dataset) if isinstance(dataset, str) else dataset)


def protocol_for(known: ImageSet) -> Protocol:
    """The chapter's sizes for images as small as digits; else those of the literature, for which it takes a GPU."""
    size = known.train.shape[-1]
    if size <= SMALL:
        return Protocol()
    if not torch.cuda.is_available():
        raise NotEnough(
            f"images of {size} pixels are judged by networks of width 128, which take a GPU, and none is here: pass "
            "smaller ones, as protocol=Protocol(width=32, depth=3, steps=400, teacher_steps=1000)"
        )
    return Protocol(
        width=128,
        depth=4 if size >= 64 else 3,
        steps=1000,
        batch=64 if size >= 64 else 256,  # fifty students of such a batch fit a GPU of 80 GB
        teacher_steps=20_000,
        validation=50,
        lrs=(0.001, 0.005, 0.01, 0.05, 0.1),
        device="auto",
    )


def asked(use: str | None, weights: dict[str, float], seeds: Sequence[int]) -> None:
    """ValueError for a recipe, a weight or seeds that there cannot be, before anything is loaded."""
    if use is not None:
        choose("kind of labels", use, LABELS)
    for name, weight in weights.items():
        if not isinstance(weight, Real) or not 0 <= weight <= 1:
            raise ValueError(f"{name} {weight!r} is no number between 0 and 1")
    whole = all(isinstance(seed, Integral) and seed >= 0 for seed in seeds)
    if not whole or len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"an interval takes two different seeds or more, from 0 on and none twice, not {list(seeds)}"
        )


def checked(
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None,
    known: ImageSet,
    standardised: bool | tuple[Sequence[float], Sequence[float]] = True,
    classes: Tensor | np.ndarray | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Standardised images, classes, and stored soft labels or None; ValueError naming what does not fit."""
    images = as_images(torch.as_tensor(images).cpu(), known, standardised)
    hard, soft = as_labels(labels, len(images), known.classes)
    if classes is not None:
        hard, also_soft = as_labels(classes, len(images), known.classes)
        if also_soft is not None:
            raise ValueError("`classes` must be integers, one an image; soft labels go into `labels`")
    balanced(hard, known.classes, guessed=soft is not None and classes is None)
    return images, hard, soft


def as_images(
    images: Tensor, known: ImageSet, standardised: bool | tuple[Sequence[float], Sequence[float]]
) -> Float[Tensor, "image channel height width"]:
    """Images as students get them: with mean 0 and deviation 1 where the real ones have them."""
    channels, *size = known.train.shape[1:]
    if not len(images):
        raise ValueError("there are no images")
    if images.dim() != 4 or list(images.shape[1:]) != [channels, *size]:
        last = list(images.shape[1:]) == [*size, channels]
        raise ValueError(
            f"images have shape {list(images.shape)}, the data set asks for "
            f"[image, {', '.join(map(str, [channels, *size]))}]"
            + (": channels go first, images.permute(0, 3, 1, 2)" if last else "")
        )
    bad = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"{len(bad)} images have pixels that are not finite, the first is image {bad[0]}")
    in_units(images, known, standardised)
    if standardised is True:
        return images.float()
    if standardised is not False:
        mean, deviation = (torch.tensor(part, dtype=torch.float32)[:, None, None] for part in standardised)
        if (
            deviation.numel() != known.train.shape[1]
            or not (deviation > 0).all()
            or not mean.isfinite().all()
        ):
            raise ValueError(
                "standardised=(means, deviations) takes a finite mean and a positive deviation for each of the "
                f"{known.train.shape[1]} channels, not {standardised}"
            )
        images = (images * deviation + mean) * known.train.max()
    images = known.standardised(images)
    if not images.isfinite().all():  # in half precision pixels can overflow on the way
        raise ValueError(
            "standardising makes pixels that are not finite: pass the images in single precision"
        )
    return images


def in_units(images: Tensor, known: ImageSet, standardised: object) -> None:
    """ValueError for pixels that cannot be in the units that they are said to be in."""
    low, high, top = float(images.min()), float(images.max()), float(known.train.max())
    pixels = f"pixels from {low:.3g} to {high:.3g}"
    if standardised is False:
        if low < -top or not top / 5 <= high <= 2 * top:
            raise ValueError(
                f"{pixels} are not in the units of the real images, 0 to {top:.0f}: bring them there, or leave out "
                "standardised=False if they are standardised"
            )
        return
    real = known.standardised(known.train[:100])
    if not images.is_floating_point() or low >= 0 < high or high > FAR * real.abs().max():
        raise ValueError(
            f"{pixels} are not standardised, which takes real images from {real.min():.3g} to {real.max():.3g}: bring "
            f"them to pixels from 0 to {top:.0f} and pass standardised=False"
        )


def as_labels(
    labels: Tensor | np.ndarray | None, images: int, classes: int
) -> tuple[Int[Tensor, " image"], Float[Tensor, "image classes"] | None]:
    """Classes, and the stored soft labels where there are any."""
    if labels is None:
        raise ValueError(
            f"there are no labels: where the images are in order of class, pass "
            f"torch.arange({classes}).repeat_interleave({max(1, images // classes)})"
        )
    labels = torch.as_tensor(labels).cpu()
    labels = labels.float() if labels.dtype == torch.bool else labels
    labels = labels.squeeze(1) if labels.dim() == 2 and labels.shape[1] == 1 else labels
    if len(labels) != images:
        raise ValueError(f"{images} images have {len(labels)} labels")
    if labels.dim() == 1 and not labels.is_floating_point():
        return in_range(labels.long(), classes), None
    if list(labels.shape) != [images, classes] or not probabilities(labels):
        hint = "labels.long()" if labels.dim() == 1 else "labels.softmax(-1), if they are logits"
        raise ValueError(
            f"labels must be classes, integers [{images}], or probabilities [{images}, {classes}] whose rows sum to 1, "
            f"not {labels.dtype} {list(labels.shape)}: pass {hint}"
        )
    one_hot = bool((labels.amax(1) == 1).all())
    return labels.argmax(1), None if one_hot else labels.float()


def probabilities(labels: Tensor) -> bool:
    """Whether every row is a distribution, to the rounding of its type."""
    rounding = torch.finfo(labels.dtype).eps if labels.is_floating_point() else 0.0
    off = (labels.double().sum(1) - 1).abs().max()
    return bool(labels.isfinite().all() and labels.min() >= 0 and off < max(1e-3, rounding))


def in_range(labels: Int[Tensor, " image"], classes: int) -> Int[Tensor, " image"]:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        hint = ": pass labels - 1" if (low, high) == (1, classes) else ""
        raise ValueError(f"labels from {low} to {high} are not classes from 0 to {classes - 1}{hint}")
    return labels


def balanced(hard: Int[Tensor, " image"], classes: int, guessed: bool) -> None:
    """ValueError unless every class has the same number of images, as random images will."""
    counts = torch.bincount(hard, minlength=classes)
    if len(counts.unique()) == 1:
        return
    usual = counts.mode().values
    off = {c: int(counts[c]) for c in (counts != usual).nonzero().flatten().tolist()}
    some = ", ".join(f"{count} of class {c}" for c, count in list(off.items())[:5])
    raise ValueError(
        f"every one of the {classes} classes needs the same number of images; most have {usual}, but there are {some}"
        + (f" and {len(off) - 5} more" if len(off) > 5 else "")
        + (
            ": pass the images' own as classes=, they were taken from the largest soft label"
            if guessed
            else ""
        )
    )


def each_seed(bench: Bench, part: Tensor | None) -> Tensor | None:
    return None if part is None else part.to(bench.split.train.device).expand(len(bench.seeds), *part.shape)


def reference(bench: Bench) -> np.ndarray:
    """Accuracy of the whole training part, one value a seed: it gets no fewer steps than the teacher, who has as many
    images to see."""
    p = bench.protocol
    if p.teacher_steps > p.steps:
        bench = replace(bench, protocol=replace(p, steps=p.teacher_steps, rounds=1))
    return bench.whole.double().numpy(force=True)


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
