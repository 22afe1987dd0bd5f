"""Augmentations of many sets at once, and their siamese form for matching (chapter 6, section 5)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beyondloss.trainers.streams import Streams

KINDS = ("none", "affine", "affine, cutmix")


@dataclass(frozen=True)
class Affine:
    """Largest rotation in degrees, log of zoom, and shift as a share of the picture; whether to mirror."""

    degrees: float = 15.0
    zoom: float = 0.15
    shift: float = 0.125
    mirror: bool = False


def augmented(
    images: Float[Tensor, "set batch channel height width"],
    targets: Float[Tensor, "set batch classes"],
    kind: str,
    affine: Affine,
    streams: Streams,
) -> tuple[Tensor, Tensor]:
    """New views of every image with their targets; CutMix mixes the targets in proportion to the area."""
    if kind == "none":
        return images, targets
    views = moved(images, random_motion(streams, images.shape[1], affine))
    return cutmix(views, targets, streams) if kind == "affine, cutmix" else (views, targets)


def random_motion(streams: Streams, batch: int, affine: Affine) -> Float[Tensor, "set batch 2 3"]:
    """A random rotation, zoom and shift for each image, as matrices of `affine_grid`."""
    draw = 2 * streams.uniform(batch, 5) - 1
    angle, zoom = draw[..., 0] * affine.degrees * torch.pi / 180, torch.exp(draw[..., 1] * affine.zoom)
    mirror = torch.where(draw[..., 4] < 0, -1.0, 1.0) if affine.mirror else 1.0
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift = 2 * affine.shift * draw[..., 2:4]
    rows = [cosine * mirror, -sine, shift[..., 0], sine * mirror, cosine, shift[..., 1]]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


def moved(
    images: Float[Tensor, "set batch channel height width"], motion: Float[Tensor, "set #batch 2 3"]
) -> Float[Tensor, "set batch channel height width"]:
    """Each image under its own motion, with its border repeated beyond its edge."""
    flat = images.flatten(0, 1)
    matrices = motion.expand(*images.shape[:2], 2, 3).flatten(0, 1)
    grid = F.affine_grid(matrices, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).view_as(images)


def cutmix(
    images: Float[Tensor, "set batch channel height width"],
    targets: Float[Tensor, "set batch classes"],
    streams: Streams,
    share: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Paste a box of another image of the set into a `share` of the images."""
    sets, batch, _, height, width = images.shape
    partner = streams.uniform(batch).argsort(-1)
    rows = torch.arange(sets, device=images.device)[:, None]
    draw = streams.uniform(batch, 4)
    side = torch.sqrt(1 - draw[..., 0]) * (draw[..., 3] < share)  # of a box of uniform area, or none
    across = inside(draw[..., 1], side, width)[..., None, None, :]
    down = inside(draw[..., 2], side, height)[..., None, :, None]
    box = across & down
    pasted = box.float().mean((-1, -2, -3))[..., None]
    mixed = torch.where(box, images[rows, partner], images)
    return mixed, (1 - pasted) * targets + pasted * targets[rows, partner]


def inside(centre: Float[Tensor, "set batch"], side: Float[Tensor, "set batch"], pixels: int) -> Tensor:
    """Which of the pixels lie within half a side of the centre: [set, batch, pixel]."""
    at = (torch.arange(pixels, device=centre.device) + 0.5) / pixels
    return (at - centre[..., None]).abs() < side[..., None] / 2


@dataclass(frozen=True)
class Siamese:
    """One draw of an augmentation after Zhao and Bilen, the same for real and for distilled images of a set.

    Theirs draws one of these transformations at a time; here they come together.
    """

    motion: Float[Tensor, "set 1 2 3"]
    brightness: Float[Tensor, " set"]
    contrast: Float[Tensor, " set"]
    hole: Float[Tensor, "set 1 1 height width"]

    @classmethod
    def drawn(cls, streams: Streams, height: int, width: int, affine: Affine) -> "Siamese":
        """A motion, a brightness, a contrast, and half of the time a hole of half the side."""
        draw = streams.uniform(5)
        side = 0.5 * (draw[:, 4:] < 0.5)
        across = inside(draw[:, 2:3], side, width)[..., None, :]
        down = inside(draw[:, 3:4], side, height)[..., :, None]
        hole = (across & down).float()[:, :, None]
        return cls(random_motion(streams, 1, affine), draw[:, 0] - 0.5, 0.5 + draw[:, 1], hole)

    def __call__(
        self, images: Float[Tensor, "set batch channel height width"]
    ) -> Float[Tensor, "set batch channel height width"]:
        views = moved(images, self.motion)
        level = views.mean((2, 3, 4), keepdim=True)
        contrast, brightness = (part.view(-1, 1, 1, 1, 1) for part in (self.contrast, self.brightness))
        return ((views - level) * contrast + level + brightness) * (1 - self.hole)
