"""Networks that tell images apart: small ones that a laptop trains, and timm's with stems for small images.

`build` makes any of them by name. Weights are drawn from torch's global stream; `trainers.streams.seeded_networks`
makes an ensemble, a seed each.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from beyondloss.choices import choose
from beyondloss.models.mlp import MLP

SMALL = 64  # pixels up to which a network of timm gets the stem of the literature on CIFAR and TinyImageNet


def build(name: str, n_classes: int, *, channels: int = 3, size: int = 32, **options: Any) -> nn.Module:
    """A new network from images [batch, channel, size, size] to logits [batch, class].

    name: one of `NETWORKS`: `convnet` and `mlp` are the functions of this module, the others are timm's, which are not
        pretrained. Images of at most 64 pixels get a stem that keeps their resolution, as CIFAR's networks have one.
    size: pixels of a side.
    options: of the function, or of `timm.create_model`.
    Raises BadInput with the nearest match for an unknown name or option of the book's own networks, ValueError for
    sizes that cannot be, ImportError with the way out where timm is asked for and cannot be imported.
    """
    choose("network", name, NETWORKS)
    check_counts(n_classes=n_classes, channels=channels, size=size)
    if name in TIMM:
        return from_timm(TIMM[name], n_classes, channels, size, options)
    make = OWN[name]
    for option in options:
        choose(f"option of {name}", option, list(inspect.signature(make).parameters)[3:])
    check_counts(**options)
    return make(n_classes, channels, size, **options)


def check_counts(**counts: Any) -> None:
    """ValueError for a number below 1, by its name; what is no number, such as the name of a norm, passes."""
    for name, count in counts.items():
        if not isinstance(count, str) and not count >= 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


# The book's own --------------------------------------------------------------------------------------------------


def convnet(
    n_classes: int, channels: int, size: int, width: int = 16, depth: int = 2, norm: str = "instance"
) -> nn.Sequential:
    """The ConvNet of the literature on distillation (chapter 6): blocks of convolution, norm, ReLU, average pooling.

    width: channels of every block. depth: blocks, each of which halves the image. norm: instance or batch.
    """
    if size >> depth < 1:
        raise ValueError(f"{depth} poolings leave nothing of {size} pixels")
    # a group a channel is the instance norm with weights; over one image, it is the same in training and evaluation
    make_norm = {"instance": lambda: nn.GroupNorm(width, width), "batch": lambda: nn.BatchNorm2d(width)}
    new_norm = make_norm[choose("norm", norm, make_norm)]
    layers: list[nn.Module] = []
    for block in range(depth):
        layers += [nn.Conv2d(width if block else channels, width, 3, padding=1), new_norm()]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (size >> depth) ** 2, n_classes))


def mlp(n_classes: int, channels: int, size: int, hidden: int = 64) -> nn.Sequential:
    """One hidden layer on the pixels as they come: a network that knows nothing of images."""
    return nn.Sequential(nn.Flatten(), MLP(channels * size**2, hidden, n_classes))


OWN: dict[str, Callable[..., nn.Module]] = {"convnet": convnet, "mlp": mlp}


# timm's ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimmNetwork:
    """A network of timm and what makes it one for small images.

    sized: options that depend on the size of the image, whatever it is.
    small: options for images of at most `SMALL` pixels.
    stem: what is changed in the finished network for such images, given the number of its classes.
    """

    name: str
    sized: Callable[[int], dict] = lambda size: {}
    small: Callable[[int], dict] = lambda size: {}
    stem: Callable[[nn.Module, int], None] = lambda network, n_classes: None


def resnet_stem(network: nn.Module, n_classes: int) -> None:
    """One convolution of stride 1 and no pooling, as He and others train ResNets on CIFAR."""
    network.conv1 = same_size(network.conv1)
    network.maxpool = nn.Identity()


def densenet_stem(network: nn.Module, n_classes: int) -> None:
    """The same for DenseNet (Huang and others)."""
    network.features.conv0 = same_size(network.features.conv0)
    network.features.pool0 = nn.Identity()


def vgg_head(network: nn.Module, n_classes: int) -> None:
    """Five poolings leave one pixel of 32: one layer reads the classes there, where ImageNet's VGG has three."""
    width = network.pre_logits.fc1.in_channels
    network.pre_logits = nn.Identity()
    network.head.fc = nn.Linear(width, n_classes)


def same_size(first: nn.Conv2d) -> nn.Conv2d:
    """A new 3 x 3 convolution of stride 1 in place of the first one of a network, started as ResNets are."""
    new = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


def img_size(size: int) -> dict:
    """The option by which timm's transformers are told the size of an image in pixels."""
    return {"img_size": size}


TIMM = {
    "resnet18": TimmNetwork("resnet18", stem=resnet_stem),
    "resnet50": TimmNetwork("resnet50", stem=resnet_stem),
    "densenet121": TimmNetwork("densenet121", stem=densenet_stem),
    "vgg19": TimmNetwork("vgg19_bn", stem=vgg_head),
    # patches and windows shrink with the image, so that there are about as many of them
    "vit-small": TimmNetwork(
        "vit_small_patch16_224", sized=img_size, small=lambda size: {"patch_size": max(1, size // 8)}
    ),
    "convnext-tiny": TimmNetwork("convnext_tiny", small=lambda size: {"patch_size": 1}),
    "swin-tiny": TimmNetwork(
        "swin_tiny_patch4_window7_224",
        sized=img_size,
        small=lambda size: {"patch_size": max(1, size // 16), "window_size": 4},
    ),
}
NETWORKS = (*OWN, *TIMM)


def from_timm(entry: TimmNetwork, n_classes: int, channels: int, size: int, options: dict) -> nn.Module:
    """A network of timm, its stem made for the size of the images."""
    small = size <= SMALL
    wanted = entry.sized(size) | (entry.small(size) if small else {}) | options
    network = timm_library().create_model(
        entry.name, pretrained=False, num_classes=n_classes, in_chans=channels, **wanted
    )
    if small:
        entry.stem(network, n_classes)
    return network


def timm_library():
    """timm, or ImportError in one line: it needs a torchvision that was built for the torch that is installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ImportError(f"this network is timm's ({error}): pip install -e '.[vision]'") from error
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"timm cannot be imported beside torch {torch.__version__} ({error}): install the torchvision that was "
            "built for it"
        ) from error
    return timm
