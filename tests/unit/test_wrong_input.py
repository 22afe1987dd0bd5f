"""What would give a wrong number without a word is refused, or read as it is meant, whatever method it reaches."""

import subprocess

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from PIL import Image

from beyondloss.data.images import ImageSet
from beyondloss.experiment import BadInput, paths, resources, sweep
from beyondloss.experiment.commits import files_of
from beyondloss.experiment.engines import answering
from beyondloss.experiment.parameters import parse_seeds
from beyondloss.experiment.resources import memory_limits
from beyondloss.experiment.sweep import commit
from beyondloss.methods import hallucination as ha
from beyondloss.methods.dataset_distillation import dd_ranking
from beyondloss.methods.hallucination import detectors, metrics
from beyondloss.methods.hallucination.evidence import evidence
from beyondloss.methods.masked_diffusion import masking

SAID = [["a", "a"], ["a", "b"], ["b", "b"], ["c", "a"]]
ASKED = [["a", "a"], ["b", "c"], ["a", "a"], ["c", "c"]]
WRONG = [False, True, True, False]


# Answers by position ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[3, 1, 0, 2], ["w", "x", "y", "z"], [0, 0, 0, 0]])
def test_answers_in_a_table_are_taken_in_its_order_whatever_its_labels_are(labels):
    plain = detectors.CrossConsistency().score(SAID, verifier=ASKED)
    table = detectors.CrossConsistency().score(
        pd.Series(SAID, index=labels), verifier=pd.Series(ASKED, index=labels)
    )
    np.testing.assert_array_equal(table.risk, plain.risk)


def test_a_judged_answer_in_a_table_belongs_to_the_question_at_its_place():
    answers = ["a", "b", "c", "c"]
    plain = evidence(SAID, answers=answers).answer
    np.testing.assert_array_equal(
        evidence(SAID, answers=pd.Series(answers, index=[2, 0, 3, 1])).answer, plain
    )


@pytest.mark.parametrize(
    ("samples", "verifier"),
    [
        (["yes", "no!"], None),  # texts: their letters are no answers
        ("yes", None),
        (SAID, ["aa", "bc", "aa", "cc"]),
        (SAID, lambda chosen: ["aa"] * len(chosen)),
    ],
)
def test_a_text_in_place_of_a_list_of_answers_is_refused(samples, verifier):
    with pytest.raises(ValueError, match="must be a list"):
        detectors.CrossConsistency().score(samples, verifier=verifier or ASKED)


# Numbers that are none -------------------------------------------------------------------------------------


def test_a_risk_of_nan_has_no_rank():
    right, wrong = metrics.masses(WRONG)
    for measure in (metrics.auroc, metrics.auarc, metrics.least_error):
        with pytest.raises(ValueError, match="1 risk scores are not a number"):
            measure(np.array([0.1, np.nan, 0.3, 0.2]), right, wrong)


@pytest.mark.parametrize(
    "labels", [[0, 1, np.nan, 0], [0, 1, 2, 0], [0.0, 0.5, 1.0, 0.0], ["right"] * 4, [[0, 1]]]
)
def test_labels_that_are_neither_right_nor_wrong_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be one a question"):
        metrics.masses(labels)
    with pytest.raises(ValueError, match="labels must be one a question"):
        detectors.SelfConsistency().fit(SAID, labels)


def test_labels_as_numbers_mean_what_booleans_mean():
    np.testing.assert_array_equal(metrics.masses([0, 1, 1, 0]), metrics.masses(WRONG))
    np.testing.assert_array_equal(metrics.masses(pd.Series(WRONG, index=[3, 2, 1, 0])), metrics.masses(WRONG))


@pytest.mark.parametrize(("a", "b"), [(-1, 2), (2, 0), (float("nan"), 1), (1, float("inf"))])
def test_a_beta_law_with_impossible_shapes_is_refused(a, b):
    with pytest.raises(ValueError, match="beta law"):
        masking.beta(a, b)


def test_a_rate_below_the_smallest_that_can_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"\[0.001, 1\]"):
        masking.point_mass(5e-4)
    assert float(masking.point_mass(masking.SMALLEST_RATE).table.max()) == pytest.approx(
        masking.SMALLEST_RATE
    )


# Folders and parameters ------------------------------------------------------------------------------------


def test_folders_without_pictures_and_hidden_names_are_no_classes(tmp_path):
    for label in range(12):
        (tmp_path / str(label)).mkdir()
        Image.fromarray(np.full((2, 2), label, dtype=np.uint8)).save(tmp_path / str(label) / "0.png")
    for name in ("__MACOSX", ".ipynb_checkpoints", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "__MACOSX" / "0.png").write_bytes(b"no picture")
    (tmp_path / "3" / "._0.png").write_bytes(b"no picture")
    images, labels = dd_ranking.load_distilled(tmp_path)
    assert labels.tolist() == list(range(12)) == images[:, 0, 0, 0].tolist()


def test_a_picture_with_a_palette_is_read_as_its_colours(tmp_path):
    colours = np.array([[[200, 10, 10], [10, 200, 10]], [[10, 10, 200], [90, 90, 90]]], dtype=np.uint8)
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(
            tmp_path / str(label) / "a.png"
        )
    images, _ = dd_ranking.load_distilled(tmp_path)
    np.testing.assert_array_equal(images[0].permute(1, 2, 0).numpy(), colours)


def test_what_yaml_makes_of_an_unquoted_range_is_not_taken_for_a_number_of_seeds():
    with pytest.raises(BadInput, match="write seeds '0:63' if so many are meant"):
        parse_seeds(63)
    assert len(parse_seeds("0:63")) == 63


def test_seeds_may_be_a_number_of_numpy():
    assert parse_seeds(np.int64(2)) == parse_seeds(2)


@pytest.mark.parametrize("name", ["fresh", "compute_stored", "force"])
def test_a_text_is_no_switch(name):
    plan = ha.CHAPTER.preset("smoke").computed[0]
    with pytest.raises(BadInput, match=f"{name} must be True or False, not 'no'"):
        sweep(plan, **{name: "no"})


def test_a_root_that_does_not_exist_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(tmp_path / "misspelt"))
    with pytest.raises(BadInput, match="misspelt"):
        paths.root()


# Limits of a batch job -------------------------------------------------------------------------------------


def test_the_least_memory_limit_of_nested_groups_counts(tmp_path):
    own, groups = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/slurm/job_7/step_0\n")
    step = groups / "slurm" / "job_7" / "step_0"
    step.mkdir(parents=True)
    (step / "memory.max").write_text("max\n")
    (step.parent / "memory.max").write_text("2000000000\n")
    (step.parent.parent / "memory.max").write_text("8000000000\n")
    assert memory_limits(own, groups) == [2_000_000_000, 8_000_000_000]


def test_the_memory_limit_of_a_group_of_version_1_counts(tmp_path):
    own, groups = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("12:cpuset:/job\n5:cpu,memory:/job\n")
    (groups / "memory" / "job").mkdir(parents=True)
    (groups / "memory" / "job" / "memory.limit_in_bytes").write_text("3000000000\n")
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert min(memory_limits(own, groups)) == 3_000_000_000


@pytest.mark.parametrize("limits, share", [([], 1.0), ([0.25, 0.5], 0.25), ([4.0], 1.0)])
def test_memory_is_that_of_the_machine_or_of_the_limit_where_that_is_less(limits, share, monkeypatch):
    here = psutil.virtual_memory().total
    monkeypatch.setattr(resources, "memory_limits", lambda: [limit * here for limit in limits])
    assert resources.memory_gb() == pytest.approx(share * here / 1e9)


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert memory_limits(tmp_path / "none", tmp_path) == []


# Images that no network can be trained on ------------------------------------------------------------------

PICTURES = np.random.default_rng(0).normal(size=(6, 2, 3, 3)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 0, 1, 2])
BYTES = np.arange(PICTURES.size, dtype=np.uint8).reshape(PICTURES.shape)


def flat(channel: int) -> np.ndarray:
    """The pictures with one value everywhere in a channel."""
    return np.where(np.arange(2)[:, None, None] == channel, np.float32(3), PICTURES)


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ((flat(1), CLASSES), None, "channel 1 has one value"),
        ((PICTURES, CLASSES.astype(float)), None, "labels must be integers"),
        ((PICTURES, CLASSES), (PICTURES, CLASSES + 1), "labels from 1 to 3 name classes beyond the 3"),
        ((PICTURES, CLASSES), (PICTURES, CLASSES - 1), "labels from -1 to 1"),
        ((PICTURES, CLASSES), (PICTURES[:, :1], CLASSES), "test images are"),
        (
            (BYTES, CLASSES),
            (BYTES / 255, CLASSES),
            "training images are torch.uint8, test images torch.float",
        ),
        ((PICTURES, CLASSES - 1), None, "training labels must be classes from 0 on, got -1"),
        ((PICTURES[:0], CLASSES[:0]), None, "no images"),
        ((PICTURES, CLASSES), (PICTURES[:0], CLASSES[:0]), "no images"),
        ((np.where(PICTURES > 1, np.nan, PICTURES), CLASSES), None, "not finite"),
    ],
)
def test_a_set_that_no_network_can_be_trained_on_is_refused(train, test, told):
    with pytest.raises(ValueError, match=told):
        ImageSet.of(train, test)


def test_pixels_of_sixteen_bits_are_read_as_numbers():
    bits = np.arange(6 * 9, dtype=np.uint16).reshape(6, 1, 3, 3) * 1000
    made = ImageSet.of((bits, CLASSES))
    assert float(made.train.max()) == 53_000 and bool(made.standardised(made.train).isfinite().all())


@pytest.mark.parametrize("by", [([0.5], [0.0]), ([float("nan")], [1.0]), ([0.5, 0.5], [1.0, 1.0])])
def test_a_deviation_that_cannot_be_undone_is_refused(by):
    known = ImageSet.of((np.abs(PICTURES[:, :1]), CLASSES))
    images = torch.from_numpy(PICTURES[:3, :1])
    with pytest.raises(ValueError, match="a positive deviation for each of the 1 channels"):
        dd_ranking.as_images(images, known, by)


# Clusters that are not there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "told"),
    [("127.0.0.1:9", "no Ray cluster answers"), ("nonsense", "takes host:port"), ("a:b", "takes host:port")],
)
def test_a_cluster_that_does_not_answer_is_named_at_once(address, told):
    with pytest.raises(BadInput, match=told):
        answering(address)


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://head:10001"])
def test_what_ray_finds_by_itself_is_left_to_it(address):
    answering(address)


# Numbers of few digits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_soft_labels_of_few_digits_are_probabilities_and_logits_are_not(kind):
    logits = torch.randn(40, 10, generator=torch.Generator().manual_seed(3))
    assert dd_ranking.probabilities(logits.softmax(-1).to(kind))
    assert not dd_ranking.probabilities((logits.softmax(-1) * 1.02).to(kind))
    assert not dd_ranking.probabilities(logits.to(kind))


# Checkouts ------------------------------------------------------------------------------------------------


def committed(folder):
    """A repository with one commit."""
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    for arguments in (["init", "--quiet"], [*who, "commit", "--quiet", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", folder, *arguments], check=True)


def test_a_release_unpacked_inside_another_repository_is_no_commit_of_it(tmp_path, monkeypatch):
    inner = tmp_path / "beyondloss"
    inner.mkdir()
    committed(tmp_path)
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(inner))
    assert commit().startswith("release ")
    committed(inner)
    assert len(commit()) == 10


def test_a_checkout_that_git_does_not_trust_is_told_from_a_commit_that_is_not_there(tmp_path, monkeypatch):
    committed(tmp_path)
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(tmp_path))
    with pytest.raises(BadInput, match="'abc' is none of this checkout"), files_of("abc"):
        pass
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # what git's own tests set
    with pytest.raises(BadInput, match="does not trust .*safe.directory"), files_of("HEAD"):
        pass
