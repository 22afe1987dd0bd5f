"""Networks for images: shapes, stems that keep small images large, and refusals."""

import re
import sys

import pytest
import torch
from torch import nn

from beyondloss.choices import BadInput
from beyondloss.models import vision


def timm_or_skip():
    try:
        return vision.timm_library()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", vision.OWN)
@pytest.mark.parametrize("channels, size", [(1, 8), (3, 32)])
def test_a_network_of_the_book_gives_a_logit_a_class_and_learns(name, channels, size):
    network, pictures = (
        vision.build(name, 4, channels=channels, size=size),
        torch.randn(6, channels, size, size),
    )
    logits = network(pictures)
    assert logits.shape == (6, 4)
    nn.functional.cross_entropy(logits, torch.arange(6) % 4).backward()
    assert all(
        parameter.grad.abs().sum() > 0 for name, parameter in network.named_parameters() if "bias" not in name
    )


def test_options_reach_the_network():
    network = vision.build("convnet", 10, channels=1, size=16, width=8, depth=3, norm="batch")
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network) == 3
    assert network[-1].in_features == 8 * 2 * 2


def test_an_instance_norm_sees_one_image_and_a_batch_norm_all():
    pictures = torch.randn(4, 1, 8, 8)
    alone, beside = pictures[:1], torch.cat([pictures[:1], 9 + pictures[1:]])
    instance, batch = (
        vision.build("convnet", 2, channels=1, size=8, norm=norm) for norm in ("instance", "batch")
    )
    assert torch.allclose(instance(alone), instance(beside)[:1], atol=1e-5)
    assert not torch.allclose(batch(pictures)[:1], batch(beside)[:1], atol=1e-2)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet-18", {}, "unknown network 'resnet-18'; did you mean 'resnet18'"),
        (
            "convnet",
            {"widht": 8},
            "unknown option of convnet 'widht'; did you mean 'width'. Valid: width, depth, norm",
        ),
        ("convnet", {"norm": "bath"}, "unknown norm 'bath'; did you mean 'batch'"),
        ("mlp", {"depth": 2}, "unknown option of mlp 'depth'; Valid: hidden"),
    ],
)
def test_what_there_is_not_is_refused_with_the_nearest_match(name, options, message):
    with pytest.raises(BadInput, match=message):
        vision.build(name, 10, **options)


def test_more_poolings_than_pixels_are_refused():
    with pytest.raises(ValueError, match="4 poolings leave nothing of 8 pixels"):
        vision.build("convnet", 10, size=8, depth=4)


@pytest.mark.parametrize("name", ["mlp", "convnet"])
@pytest.mark.parametrize("what", ["n_classes", "channels", "size"])
def test_sizes_below_one_are_refused(name, what):
    with pytest.raises(ValueError, match=f"{what} must be at least 1, got 0"):
        vision.build(name, **({"n_classes": 10} | {what: 0}))


@pytest.mark.parametrize("name, option", [("convnet", "width"), ("convnet", "depth"), ("mlp", "hidden")])
def test_options_below_one_are_refused(name, option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1, got 0"):
        vision.build(name, 10, **{option: 0})


def test_without_timm_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"timm's \(.*\): pip install -e '.\[vision\]'"):
        vision.build("resnet18", 10)


def test_a_timm_that_does_not_fit_torch_is_named(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(
        ImportError, match=f"beside torch {re.escape(torch.__version__)} .*nms does not exist.: install"
    ):
        vision.build("resnet18", 10)


LAST = {"resnet18": "layer4", "resnet50": "layer4", "densenet121": "features", "convnext-tiny": "stages"}
PARAMETERS = {  # millions, for ten classes
    "resnet18": 11.17,
    "resnet50": 23.52,
    "densenet121": 6.96,
    "vgg19": 20.04,
    "vit-small": 21.34,
    "convnext-tiny": 27.82,
    "swin-tiny": 27.51,
}


@pytest.mark.parametrize("name", vision.TIMM)
@pytest.mark.parametrize("channels, size", [(3, 32), (1, 32), (3, 64)])
def test_a_network_of_timm_takes_small_images(name, channels, size):
    timm_or_skip()
    network = vision.build(name, 10, channels=channels, size=size).eval()
    sides = []
    if name in LAST:
        network.get_submodule(LAST[name]).register_forward_hook(lambda *a: sides.append(a[2].shape[-1]))
    with torch.no_grad():
        logits = network(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 10) and logits.isfinite().all()
    assert sides == [size // 8] * len(sides)  # three halvings, where ImageNet's stem makes it five
    if (channels, size) == (3, 32):
        count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        assert count == pytest.approx(PARAMETERS[name], abs=0.02)


def test_large_images_get_the_stem_that_timm_gives_them():
    timm = timm_or_skip()
    ours, theirs = vision.build("resnet18", 10, size=224), timm.create_model("resnet18", num_classes=10)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
