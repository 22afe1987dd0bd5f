"""Many small networks as one: every weight has a first axis `member`, and one call runs them all.

A convolution over members is one grouped convolution, a readout one batched product. Weights are plain tuples of
tensors, so that a trained network, an unrolled one (MTT) and one copy a class (DC) go through the same code. A member
of a `ConvNet` is the network that `beyondloss.models.vision.convnet` makes of torch's layers; a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Weights = tuple[Tensor, ...]

PRODUCT_POOLING = 64  # pixels up to which a matrix product pools faster than torch's loop on a CPU


@dataclass(frozen=True)
class ConvNet:
    """The ConvNet of the literature on distillation: blocks of convolution, instance norm, ReLU and average pooling."""

    channels: int
    size: int
    classes: int
    width: int = 16
    depth: int = 2

    def __post_init__(self):
        if self.size >> self.depth < 1:
            raise ValueError(f"{self.depth} poolings leave nothing of {self.size} pixels")

    @property
    def features_size(self) -> int:
        return self.width * (self.size >> self.depth) ** 2

    def initial(self, seeds: Sequence[int], device: str = "cpu") -> Weights:
        """One network a seed, as torch starts its own layers."""
        shapes, width = [], self.channels
        for _ in range(self.depth):
            shapes += [(self.width, width, 3, 3), (self.width,), "gain", "shift"]
            width = self.width
        shapes += [(self.classes, self.features_size), (self.classes,)]
        drawn = [self._drawn(shapes, torch.Generator().manual_seed(seed)) for seed in seeds]
        return tuple(torch.stack(parts).to(device) for parts in zip(*drawn, strict=True))

    def _drawn(self, shapes: list, generator: torch.Generator) -> list[Tensor]:
        drawn, fan_in = [], 1
        for shape in shapes:
            if shape in ("gain", "shift"):
                drawn.append(torch.full((self.width,), float(shape == "gain")))
                continue
            fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else fan_in
            drawn.append((2 * torch.rand(shape, generator=generator) - 1) / fan_in**0.5)
        return drawn

    def features(
        self, weights: Weights, images: Float[Tensor, "member batch channel height width"]
    ) -> Float[Tensor, "member batch feature"]:
        """What the readout sees."""
        return self.layers(weights, images)[-1].flatten(2)

    def layers(
        self, weights: Weights, images: Float[Tensor, "member batch channel height width"]
    ) -> list[Tensor]:
        """The output of every block, each [member, batch, channel, height, width]."""
        return [after for _, after in self.blocks(weights, images)]

    def blocks(
        self, weights: Weights, images: Float[Tensor, "member batch channel height width"]
    ) -> list[tuple[Tensor, Tensor]]:
        """What the convolution of every block gives, and what leaves the block."""
        members = len(images)
        hidden, found = images.transpose(0, 1).flatten(1, 2), []
        for block in range(self.depth):
            kernel, bias, gain, shift = (part.flatten(0, 1) for part in weights[4 * block : 4 * block + 4])
            before = F.conv2d(hidden, kernel, bias, padding=1, groups=members)
            hidden = F.group_norm(before, before.shape[1], gain, shift)
            hidden = pool(F.relu(hidden, inplace=True))
            found.append(tuple(part.unflatten(1, (members, -1)).transpose(0, 1) for part in (before, hidden)))
        return found

    def logits(
        self, weights: Weights, images: Float[Tensor, "member batch channel height width"]
    ) -> Float[Tensor, "member batch classes"]:
        return readout(weights, self.features(weights, images))


@dataclass(frozen=True)
class TwoLayer:
    """A network without convolutions: the architecture for which no set of this chapter was distilled."""

    inputs: int
    classes: int
    hidden: int = 128

    def initial(self, seeds: Sequence[int], device: str = "cpu") -> Weights:
        """One network a seed, as torch starts its own layers."""
        shapes = [(self.hidden, self.inputs), (self.hidden,), (self.classes, self.hidden), (self.classes,)]
        fans = (self.inputs, self.inputs, self.hidden, self.hidden)
        members = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            draws = (2 * torch.rand(shape, generator=generator) - 1 for shape in shapes)
            members.append([draw / fan**0.5 for draw, fan in zip(draws, fans, strict=True)])
        return tuple(torch.stack(parts).to(device) for parts in zip(*members, strict=True))

    def logits(
        self, weights: Weights, images: Float[Tensor, "member batch channel height width"]
    ) -> Float[Tensor, "member batch classes"]:
        return readout(weights, F.relu(readout(weights[:2], images.flatten(2))))


Network = ConvNet | TwoLayer


def readout(weights: Weights, features: Tensor) -> Tensor:
    """The last layer: features [member, batch, in] to [member, batch, out]."""
    matrix, bias = weights[-2:]
    return torch.baddbmm(bias[:, None], features, matrix.transpose(1, 2))


def pool(
    hidden: Float[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch channel half_height half_width"]:
    """Mean of every two by two pixels; of small pictures on a CPU by one product with a fixed matrix."""
    height, width = hidden.shape[2:]
    if hidden.is_cuda or height * width > PRODUCT_POOLING:
        return F.avg_pool2d(hidden, 2)
    flat = hidden.reshape(-1, height * width) @ pooling_matrix(height, width)
    return flat.view(*hidden.shape[:2], height // 2, width // 2)


@cache
def pooling_matrix(height: int, width: int) -> Float[Tensor, "pixel pooled"]:
    pixels = torch.eye(height * width).view(-1, 1, height, width)
    return F.avg_pool2d(pixels, 2).flatten(1)


def repeated(weights: Weights, times: int) -> Weights:
    """Each network `times` times, copies beside each other."""
    return tuple(part.repeat_interleave(times, 0) for part in weights)
