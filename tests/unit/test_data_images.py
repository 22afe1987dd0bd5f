"""Image sets: every loader on small files of the real layout, and the choice of examples by their features."""

import gzip
import itertools
import re
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch

from beyondloss.choices import BadInput
from beyondloss.data import coresets, images
from beyondloss.data.hub import HubError
from beyondloss.data.idx import read_idx
from beyondloss.experiment import paths


def test_digits_are_one_balanced_set_without_a_test_part():
    found = images.load_images("digits")
    assert found is images.digits() and found.train.shape == (1797, 1, 8, 8) and found.test is None
    assert found.names == tuple("0123456789") and found.train_labels.bincount().min() > 170
    pixels = found.standardised(found.train)
    assert abs(pixels.mean()) < 1e-5 and pixels.std().item() == pytest.approx(1, abs=1e-5)


def test_statistics_are_those_of_each_channel_of_the_training_part():
    train = torch.stack([torch.randn(50, 4, 4), 3 + 2 * torch.randn(50, 4, 4)], dim=1)
    found = images.ImageSet.of((train, torch.arange(50) % 5), (train + 100, torch.arange(50) % 5))
    for channel in range(2):
        assert found.mean[channel].item() == pytest.approx(train[:, channel].mean().item(), abs=1e-6)
        assert found.deviation[channel].item() == pytest.approx(train[:, channel].std().item(), abs=1e-6)


def test_fashion_mnist_is_read_from_idx_files(tiny_fashion):
    found = images.load_images("fashion-mnist")
    assert found.train.shape == (80, 1, 28, 28) and found.train.dtype == torch.uint8 and found.mirror
    assert torch.equal(
        found.train[7, 0], torch.tensor(read_idx(tiny_fashion / "train-images-idx3-ubyte.gz")[7])
    )
    assert found.train_labels.tolist() == [i % 10 for i in range(80)] and len(found.test) == 20
    assert found.names[0] == "T-shirt/top" and found.names[9] == "ankle boot"


def test_fashion_mnist_names_both_ways_to_get_it_where_it_is_not(tmp_path, monkeypatch):
    absent = tmp_path / "absent"
    monkeypatch.setitem(images.HUB, "fashion-mnist", replace(images.HUB["fashion-mnist"], idx=absent))
    images.load_images.cache_clear()
    with pytest.raises(
        HubError, match=f"`hf download zalando-datasets/fashion_mnist .*IDX files into {absent}"
    ):
        images.load_images("fashion-mnist")


def test_a_set_of_the_hub_is_read_from_its_files_in_one_mode_with_its_names(tiny_cifar):
    found = images.load_images("cifar-10")
    assert found.train.shape == (80, 3, 32, 32) and found.train.dtype == torch.uint8
    assert (found.train[0, 0] == found.train[0, 1]).all() and not (
        found.train[1, 0] == found.train[1, 1]
    ).all()
    assert found.names == tuple(f"kind {c}" for c in range(10)) and found.test.shape == (20, 3, 32, 32)
    assert images.load_images("cifar-10") is found
    folder = images.HUB["cifar-10"].name
    again = images.load_images("cifar-10", folder)
    assert torch.equal(again.test, found.test) and again.origin == folder


@pytest.mark.parametrize("dataset", ["cifar-10", "cifar-100", "tiny-imagenet", "imagenet-1k"])
def test_a_set_that_is_not_on_this_machine_is_named_with_the_way_to_get_it(dataset):
    images.load_images.cache_clear()
    name = images.HUB[dataset].name
    with pytest.raises(
        HubError, match=f"^dataset {name}: .*`hf download {name} --repo-type dataset"
    ) as refused:
        images.load_images(dataset)
    assert "\n" not in str(refused.value)


def test_an_unknown_set_is_refused_with_the_nearest_name():
    with pytest.raises(
        BadInput, match="unknown data set 'cifar10'; did you mean 'cifar-10'. Valid: digits, "
    ):
        images.load_images("cifar10")


def test_names_of_classes_are_as_many_as_classes():
    train = torch.arange(16.0).view(4, 1, 2, 2), torch.arange(4) % 2
    assert images.ImageSet.of(train, names=["cat", "dog"]).names == ("cat", "dog")
    with pytest.raises(ValueError, match="3 names of classes, but the training labels name 2 classes"):
        images.ImageSet.of(train, names=["cat", "dog", "cow"])


@pytest.mark.parametrize(
    "train, message",
    [
        ((torch.zeros(3, 8, 8), torch.arange(3)), "must be .image, channel, size, size"),
        ((torch.zeros(3, 1, 8, 9), torch.arange(3)), "size, size., not .3, 1, 8, 9"),
        ((torch.zeros(3, 1, 8, 8), torch.arange(2)), "3 images have labels .2."),
        ((torch.zeros(2, 1, 8, 8), torch.tensor([0, 2])), "class 1 of 0 to 2 has no training images"),
    ],
)
def test_a_set_of_one_s_own_that_cannot_be_is_refused(train, message):
    with pytest.raises(ValueError, match=message):
        images.ImageSet.of(train)


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_is_read_as_it_was_written(tmp_path, save_idx, packed):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    save_idx(tmp_path / "file", array)
    if not packed:
        (tmp_path / "file").write_bytes(gzip.decompress((tmp_path / "file").read_bytes()))
    assert (read_idx(tmp_path / "file") == array).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        bytes([0, 0, 8, 3]),
        bytes([0, 0, 8, 1, 0, 0, 0, 9, 1]),
        gzip.compress(b"text")[:-4],
        gzip.compress(b"text")[:10] + b"damaged",
    ],
    ids=["empty", "text", "no shape", "short", "gzip cut off", "gzip damaged"],
)
def test_a_damaged_idx_file_is_named(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match="^bad is no IDX file, or not a whole one"):
        read_idx(tmp_path / "bad")
    with pytest.raises(ValueError, match="^lost is no IDX file"):
        read_idx(tmp_path / "lost")
    (tmp_path / "floats").write_bytes(bytes([0, 0, 13, 1, 0, 0, 0, 4, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="holds numbers of type 0x0d"):
        read_idx(tmp_path / "floats")


def test_sets_of_the_hub_are_asked_for_at_the_commit_that_the_manifest_names(monkeypatch):
    asked = []

    def ask(name, config=None, revision=None):
        asked.append((f"hub dataset {name}", revision))
        raise LookupError

    monkeypatch.setattr(images, "load_dataset", ask)
    for place in images.HUB.values():
        with pytest.raises(LookupError):
            images.from_hub(place)
    manifest = tomllib.loads((paths.root() / "data" / "MANIFEST").read_text())["loaded"]
    assert set(asked) <= {(entry["origin"], entry.get("revision")) for entry in manifest}
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for _, revision in asked)


# Choosing by features --------------------------------------------------------------------------------------------


def test_groups_choose_apart_and_never_twice():
    features = torch.randn(2, 3, 20, 4)
    for choice in (coresets.herding, coresets.k_center):
        chosen = choice(features, 6)
        assert chosen.shape == (2, 3, 6)
        assert all(len(set(row.tolist())) == 6 for row in chosen.flatten(0, 1))
        assert torch.equal(chosen[1, 2], choice(features[1, 2], 6))


def test_herding_is_greedy_for_the_mean():
    features = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    chosen = coresets.herding(features, 5).tolist()
    for count in range(5):
        before, rest = chosen[:count], [i for i in range(12) if i not in chosen[:count]]
        away = [(features[[*before, i]].mean(0) - features.mean(0)).norm() for i in rest]
        assert chosen[count] == rest[int(torch.stack(away).argmin())]


def test_k_center_covers_within_twice_the_best_radius():
    features = torch.randn(9, 2, generator=torch.Generator().manual_seed(2))
    distance = torch.cdist(features, features)
    radius = lambda centres: distance[:, list(centres)].amin(1).max().item()  # noqa: E731
    chosen = coresets.k_center(features, 3).tolist()
    best = min(radius(centres) for centres in itertools.combinations(range(9), 3))
    assert chosen[0] == (features - features.mean(0)).norm(dim=1).argmin()
    assert best <= radius(chosen) <= 2 * best and radius(chosen[:2]) >= radius(chosen)


@pytest.mark.parametrize("size", [0, 5])
def test_more_items_than_there_are_are_refused(size):
    for choice in (coresets.herding, coresets.k_center):
        with pytest.raises(ValueError, match=f"{size} items are none of 1 to the 4"):
            choice(torch.randn(4, 2), size)
