"""Chapter 6: theory and scores against independent computations, students against plain torch, methods, claims."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from beyondloss.data.images import ImageSet, digits, load_images
from beyondloss.experiment import MissingPoints, NotEnough, table
from beyondloss.experiment.engines import Job, _check
from beyondloss.methods import dataset_distillation as dd
from beyondloss.methods.dataset_distillation import (
    augmentation,
    dd_ranking,
    distillation,
    evaluation,
    exercises,
    labels,
    matching,
    measures,
    networks,
    protocol_checks,
    ranking,
    rates,
    scores,
    settings,
    splits,
    students,
    tables,
    theory,
    tuning,
)
from beyondloss.models import vision
from beyondloss.trainers import Streams

NETWORK = networks.ConvNet(channels=1, size=8, classes=10, width=4)
QUICK = {"steps": 3, "teacher_steps": 3, "iterations": 2, "real_batch": 3, "width": 4}


# Labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes, p", [(2, 3), (5, 12), (10, 30)])
def test_soft_labels_on_noise_give_the_teacher_and_one_image_less_does_not(classes, p):
    generator = np.random.default_rng(p)
    teacher, inputs = generator.normal(size=(classes, p)), generator.normal(size=(p, p))
    wanted = theory.centred(teacher.T).T
    given = theory.soft_labels(teacher, inputs)
    assert np.allclose(np.exp(given).sum(1), 1)
    assert np.allclose(theory.from_soft_labels(inputs, given), wanted, atol=1e-7)
    assert np.abs(theory.from_soft_labels(inputs[1:], given[1:]) - wanted).max() > 1e-3


@pytest.mark.parametrize("images_, p", [(1, 2), (4, 2), (6, 3), (5, 4), (3, 5)])
def test_number_of_answers_by_sampling_planes(images_, p):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(images_, p))
    cells = np.unique(generator.normal(size=(200_000, p)) @ points.T > 0, axis=0)
    assert len(cells) == theory.answers(images_, p)


def test_answers_are_no_more_than_the_bound_of_the_proof():
    for p in range(2, 9):
        for images_ in range(p, 60):
            assert theory.answers(images_, p) <= 2 * (math.e * images_ / (p - 1)) ** (p - 1)


def test_distance_forgets_scale_and_constants():
    teacher = np.random.default_rng(0).normal(size=(3, 5))
    assert theory.distance(7 * teacher + np.ones((3, 1)) * np.arange(5), teacher) < 1e-12
    assert theory.distance(np.roll(teacher, 1, axis=0), teacher) > 0.1


def test_a_student_of_few_classes_still_answers():
    inputs = np.eye(4)
    for given in (np.zeros(4, int), np.array([2, 2, 1, 1])):
        student = theory.from_hard_labels(inputs, given, 3)
        assert student.shape == (3, 4)
    assert ((inputs @ student.T).argmax(1) == given).all()


def test_labels_experiment_gives_the_teacher_at_65_noise_images_and_refuses_too_many_digits():
    soft, hard = (labels.run_labels([labels.LabelsPoint("noise", kind, 65)])[0] for kind in ("soft", "hard"))
    assert soft["error"] < 1e-9 and soft["accuracy"] == soft["teacher"] and hard["accuracy"] < 0.8
    with pytest.raises(ValueError, match="more than the 860"):
        labels.measure(labels.LabelsPoint("digits", "soft", 900))


# Scores ----------------------------------------------------------------------------------------------------------


def test_scores_by_the_definition_and_at_known_sets():
    assert scores.label_robust_score(0.2678, 0.3090) == pytest.approx(0.278, abs=5e-4)
    assert scores.NEUTRAL == pytest.approx(1 / (math.e + 1))
    assert scores.label_robust_score(1.0, 0.0, 0.0) == pytest.approx(0)
    assert scores.label_robust_score(0.0, 1.0, 1.0) == pytest.approx(1)
    assert scores.augmentation_robust_score(0.2, 0.0, 1.0) == pytest.approx(scores.normalised(0.2))
    assert scores.attainable_lrs(0.95, 0.9) == pytest.approx(scores.normalised(0.025))


@pytest.mark.parametrize("first, second", [((0.3, 0.2), (0.1, 0.1)), ((0.5, 0.3), (0.45, -0.1))])
def test_random_images_are_scored_by_what_hard_labels_lose(first, second):
    for hlr in (first[0], second[0]):
        assert scores.neutral_lrs(hlr) == pytest.approx(scores.label_robust_score(hlr, 0.0))
    assert (
        scores.neutral_lrs(first[0])
        < scores.neutral_lrs(second[0])
        < scores.neutral_lrs(0.0)
        == scores.NEUTRAL
    )


@pytest.mark.parametrize("first, second", [((0.3, 0.2), (0.1, 0.1)), ((0.5, 0.3), (0.45, -0.1))])
def test_sets_change_places_at_the_turning_weight_and_only_there(first, second):
    turn = scores.swap_weight(first, second)
    ahead = [
        scores.label_robust_score(*first, w) > scores.label_robust_score(*second, w)
        for w in (turn - 0.01, turn + 0.01)
    ]
    assert ahead == [False, True]
    assert scores.swap_weight((0.3, 0.1), (0.2, 0.2)) is None  # behind in both


# Networks and students -------------------------------------------------------------------------------------------


def plain(weights, member: int) -> nn.Sequential:
    network = vision.convnet(10, NETWORK.channels, NETWORK.size, NETWORK.width, NETWORK.depth)
    with torch.no_grad():
        for own, part in zip(network.parameters(), weights, strict=True):
            own.copy_(part[member])
    return network


def test_every_member_is_the_network_that_torch_would_build():
    weights, pictures = NETWORK.initial([3, 4, 5]), torch.randn(3, 7, 1, 8, 8)
    together = NETWORK.logits(weights, pictures)
    for member in range(3):
        assert torch.allclose(together[member], plain(weights, member)(pictures[member]), atol=1e-5)
    assert not torch.equal(weights[0][0], weights[0][1])
    assert torch.equal(NETWORK.initial([4])[0][0], weights[0][1])


@pytest.mark.parametrize("size", [8, 16])
def test_pooling_by_a_product_is_pooling(size):
    pictures = torch.randn(2, 3, size, size)
    assert torch.allclose(networks.pool(pictures), F.avg_pool2d(pictures, 2), atol=1e-6)


def test_students_side_by_side_train_as_torch_s_sgd_trains_them_alone():
    pictures, wanted = torch.randn(1, 10, 1, 8, 8), torch.eye(10)[None]
    recipe = students.Recipe(steps=5)
    weights = students.train_students(NETWORK, pictures, wanted, recipe, [0.01, 0.1], 2, [7])
    for member, (lr, start) in enumerate([(0.01, 7000), (0.01, 7001), (0.1, 7000), (0.1, 7001)]):
        alone = plain(NETWORK.initial([start]), 0)
        optimizer = torch.optim.SGD(alone.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(alone(pictures[0]), torch.arange(10)).backward()
            optimizer.step()
            schedule.step()
        for own, part in zip(alone.parameters(), weights, strict=True):
            assert torch.allclose(own, part[member], atol=1e-4)


def test_a_student_sees_the_same_alone_and_beside_others():
    pictures, wanted = torch.randn(2, 40, 1, 8, 8), torch.eye(10).repeat(4, 1).expand(2, -1, -1)
    recipe = students.Recipe(augmentation="affine, cutmix", steps=3)
    both = students.train_students(NETWORK, pictures, wanted, recipe, [0.1], 1, [0, 1])
    alone = students.train_students(NETWORK, pictures[1:], wanted[1:], recipe, [0.1], 1, [1])
    assert all(torch.allclose(a[1], b[0], atol=1e-5) for a, b in zip(both, alone, strict=True))


def test_a_high_temperature_leaves_gradients_of_their_size():
    """In the limit the gradient is the distance of the logits from the teacher's, over the classes (Hinton et al.)."""
    logits, teacher = torch.randn(2, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    recipe = students.Recipe(labels="soft", temperature=1000.0)
    loss = students.soft_cross_entropy(logits, (teacher / recipe.temperature).softmax(-1), recipe)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    apart = (logits - teacher).detach()
    expected = (apart - apart.mean(-1, keepdim=True)) / 4 / 3  # classes, and the mean over three images
    torch.testing.assert_close(gradient, expected, rtol=0.01, atol=1e-4)


def test_teachers_of_two_seeds_start_apart():
    parts = splits.split(digits(), [0], 30)
    images, labels_ = parts.train.expand(2, -1, -1, -1, -1), parts.labels.expand(2, -1)
    teacher = students.train_teacher(NETWORK, images, labels_, [0, 1], 1, augmentation.Affine())
    assert not torch.equal(teacher.weights[0][0], teacher.weights[0][1])


def test_accuracy_counts_what_is_right():
    network = networks.TwoLayer(4, 2, hidden=3)
    weights, pictures = network.initial(range(6)), torch.randn(2, 9, 1, 2, 2)
    truth = network.logits(weights, pictures.repeat_interleave(3, 0)).argmax(-1)
    got = students.accuracy(network, weights, pictures, truth[::3], chunk=4)
    assert got[0] == got[3] == 1 and len(got) == 6
    assert got[1] == pytest.approx((truth[1] == truth[0]).float().mean().item())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: students.Recipe(labels="firm"), "firm"),
        (lambda: students.Recipe(augmentation="flip"), "flip"),
        (lambda: networks.ConvNet(1, 4, 10, depth=3), "leave nothing"),
        (lambda: tuning.TuningPoint(method="random"), "no learning rate"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Augmentation ----------------------------------------------------------------------------------------------------


def test_no_motion_moves_nothing_and_a_shift_shifts():
    pictures = torch.randn(2, 3, 1, 8, 8)
    still = augmentation.random_motion(Streams([0, 1]), 3, augmentation.Affine(0.0, 0.0, 0.0))
    assert torch.allclose(augmentation.moved(pictures, still), pictures, atol=1e-5)
    still[..., 0, 2] = 2 / 8  # a pixel of eight, in units of half a side
    assert torch.allclose(augmentation.moved(pictures, still)[..., :-1], pictures[..., 1:], atol=1e-5)


def test_cutmix_mixes_labels_by_area():
    pictures = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 1, 8, 8)
    mixed, wanted = augmentation.cutmix(pictures, torch.eye(6)[None], Streams([0]), share=1.0)
    assert torch.allclose(wanted.sum(-1), torch.ones(1, 6))
    shown = torch.stack([(mixed[0] == value).float().mean((1, 2, 3)) for value in range(6)], dim=1)
    assert torch.allclose(shown, wanted[0], atol=1e-6) and (wanted.amax(-1) < 1).any()


def test_a_siamese_view_is_the_same_for_both_sides():
    view = augmentation.Siamese.drawn(Streams([0, 1]), 8, 8, augmentation.Affine())
    pictures = torch.randn(2, 3, 1, 8, 8)
    assert torch.equal(view(pictures)[:, 1:], view(pictures[:, 1:]))
    assert not torch.equal(
        view(pictures[:1].repeat(2, 1, 1, 1, 1))[0], view(pictures[:1].repeat(2, 1, 1, 1, 1))[1]
    )


# Methods ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task():
    seeds = [100, 101]
    parts = splits.split(digits(), seeds, 30)
    teacher = students.train_teacher(NETWORK, parts.train, parts.labels, seeds, 5, augmentation.Affine())
    setting = distillation.Setting(iterations=3, batch=3, experts=2, checkpoints=3, stride=1, student_steps=2)
    return distillation.Task(parts, NETWORK, teacher, 2, seeds, setting)


def test_splits_are_balanced_disjoint_and_differ_between_seeds(task):
    parts = task.split
    assert parts.train.shape[:2] == (2, 860) and parts.validation.shape[1] == 300
    assert (parts.labels[0].bincount() == 86).all() and (parts.test_labels[1].bincount() == 58).all()
    flat = torch.cat([parts.train[0], parts.validation[0], parts.test[0]]).flatten(1)
    assert len(flat.unique(dim=0)) == len(flat)
    assert not torch.equal(parts.train[0], parts.train[1])


@pytest.mark.parametrize("name", settings.METHODS)
def test_every_method_gives_finite_images_of_the_right_shape_in_order_of_class(task, name):
    made = distillation.distil(settings.METHODS[name].method, replace(task))
    assert made.images.shape == (2, 20, 1, 8, 8) and made.images.isfinite().all()
    assert made.labels[0].tolist() == [c for c in range(10) for _ in range(2)]
    if name in settings.OPTIMISED:
        assert len(made.stages) > 1 and not torch.equal(made.stages[0], made.stages[-1])


@pytest.mark.parametrize("name", ["random", "herding", "k-center"])
def test_selected_images_are_training_images_of_their_class_without_repetition(task, name):
    made = distillation.distil(settings.METHODS[name].method, replace(task))
    for c in range(10):
        pool = task.split.by_class[0, c].flatten(1)
        chosen = made.images[0, 2 * c : 2 * c + 2].flatten(1)
        found = (chosen[:, None] == pool[None]).all(-1)
        assert found.any(1).all() and not torch.equal(chosen[0], chosen[1])


def test_herding_follows_the_mean_and_k_center_covers(task):
    features = distillation.teacher_features(task)
    spread = (features - features.mean(2, keepdim=True)).square().sum(-1)
    first = {
        n: distillation.distil(settings.METHODS[n].method, replace(task)).images[:, ::2]
        for n in ("herding", "k-center")
    }
    nearest = distillation.picked(task.split.by_class, spread.argmin(-1, keepdim=True))[:, :, 0]
    assert torch.equal(first["herding"], nearest) and torch.equal(first["k-center"], nearest)


def test_gradients_by_class_are_those_of_a_network_alone(task):
    weights, pictures = NETWORK.initial([0, 1]), task.drawn(3)
    copies = tuple(part.requires_grad_() for part in networks.repeated(weights, 10))
    gradients = matching.class_gradients(NETWORK, copies, pictures, create_graph=False)
    alone = plain(weights, 1)
    F.cross_entropy(alone(pictures[1, 4]), torch.full((3,), 4)).backward()
    for own, gradient in zip(alone.parameters(), gradients, strict=True):
        assert torch.allclose(own.grad, gradient[14], atol=1e-5)


def test_losses_have_their_known_values_and_point_downhill(task):
    real, weights = task.drawn(4), NETWORK.initial([0, 1])
    assert matching.gradient_distance(NETWORK, weights, real, real).abs().max() < 1e-2
    assert matching.feature_distance(NETWORK, weights, real, real.flip(2)).max() < 1e-8
    other = NETWORK.initial([2, 3])
    assert torch.equal(matching.trajectory_distance(weights, weights, other), torch.ones(2))
    begin = task.drawn(2).requires_grad_()
    loss = matching.gradient_distance(NETWORK, weights, real, begin).sum()
    (slope,) = torch.autograd.grad(loss, begin)
    step = 1e-3 * slope / slope.norm()
    later = matching.gradient_distance(NETWORK, weights, real, begin - step).sum()
    assert (loss - later).item() == pytest.approx(1e-3 * slope.norm().item(), rel=0.05)


def test_the_teacher_s_statistics_of_its_own_images_are_reached():
    weights, pictures = NETWORK.initial([0]), torch.randn(1, 5, 1, 8, 8)
    mean, deviation, *_ = matching.feature_statistics(NETWORK, weights, pictures)
    layer = NETWORK.blocks(weights, pictures)[0][0]
    assert torch.allclose(mean[0], layer[0].transpose(0, 1).flatten(1).mean(1), atol=1e-6)
    assert torch.allclose(deviation[0], layer[0].transpose(0, 1).flatten(1).std(1), atol=1e-6)


def test_points_run_agree_alone_and_beside_and_name_no_metric_like_a_field():
    points = [ranking.RankingPoint(method="MTT", seed=s, **QUICK) for s in (0, 1)]
    beside = ranking.run_ranking(points)
    alone = ranking.run_ranking(points[1:])
    assert beside[1]["hard by lr"] == pytest.approx(alone[0]["hard by lr"], abs=0.02)
    assert len(beside[0]["pictures"][0]) == 640 and beside[1]["pictures"] == []
    _check(Job(ranking.run_ranking, tuple(points), ""), beside)
    tuned = tuning.run_tuning([tuning.TuningPoint(method="DM", seed=100, **QUICK)])
    _check(Job(tuning.run_tuning, (tuning.TuningPoint(method="DM", seed=100),), ""), tuned)


@pytest.mark.parametrize(
    ("experiment", "dataset"), [("tuning", "digits"), ("fashion_tuning", "fashion-mnist")]
)
def test_the_tuned_learning_rates_are_those_of_the_stored_table(experiment, dataset):
    """The written procedure: greatest mean validation accuracy; nothing typed that the table does not say."""
    found = table(dd.CHAPTER.preset("quick")[experiment])
    if found.empty:
        pytest.skip("no checkout of the book, or nothing published")
    by_table = {}
    for row in tables.tuned(found).query("chosen").itertuples():
        by_table.setdefault(row.method, {})[row.per_class] = row.image_lr
    assert by_table == rates.TUNED[dataset]
    assert found["seed"].min() >= 100


def test_a_rate_comes_from_the_set_itself_or_from_the_nearest_one():
    assert rates.tuned("digits", "DM", 1) == rates.TUNED["digits"]["DM"][1]
    assert rates.tuned("digits", "DM", 20) == rates.TUNED["digits"]["DM"][10]
    assert rates.tuned("imagenet-1k", "DM", 1) == rates.TUNED[rates.NEAREST]["DM"][1]
    assert rates.tuned("digits", "herding", 1) == 1


# Sets of the hub and of files -------------------------------------------------------------------------------------


@pytest.fixture
def no_bench():
    """Forget benches of sets that other tests made, and those of this one."""
    evaluation.Bench.of.cache_clear()
    yield
    evaluation.Bench.of.cache_clear()


def test_fashion_mnist_goes_through_the_whole_path(tiny_fashion, no_bench):
    settings_ = QUICK | {"dataset": "fashion-mnist", "depth": 3, "validation": 2, "most": 5, "device": "auto"}
    measured = ranking.run_ranking([ranking.RankingPoint(method="DSA", seed=s, **settings_) for s in (0, 1)])
    assert all(0 <= found["soft, augmented"] <= 1 and found["pictures"] == [] for found in measured)
    tuned = tuning.run_tuning([tuning.TuningPoint(method="decoupled", place=1, seed=0, **settings_)])
    assert tuned[0]["image_lr"] == settings.METHODS["decoupled"].grid[1]


def test_a_set_of_the_hub_goes_through_the_whole_full_scale_path(tiny_cifar, no_bench):
    point = ranking.RankingPoint(
        method="DM", dataset="cifar-10", depth=3, validation=2, most=5, rounds=1, **QUICK
    )
    (metrics,) = ranking.run_ranking([point])
    assert set(measures.CORNERS) <= set(metrics) and metrics["pictures"] == []
    found = load_images("cifar-10")
    assert splits.split(found, [0], 2, most=3).train.shape == (1, 30, 3, 32, 32)


PICTURES, TEN = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10)
SAVED = {
    "set.safetensors": lambda path: save_file({"images": PICTURES, "labels": TEN}, path),
    "set.npz": lambda path: np.savez(path, image=PICTURES.numpy(), label=TEN.numpy()),
    "names.pt": lambda path: torch.save({"x": PICTURES, "y": TEN}, path),
    "mixed.PT": lambda path: torch.save({"images": PICTURES, "label": TEN}, path),
    "data.pth": lambda path: torch.save({"data": PICTURES, "labels": TEN}, path),
    "pair.pt": lambda path: torch.save((PICTURES, TEN), path),
    "listed.pt": lambda path: torch.save({"images": list(PICTURES), "labels": TEN.tolist()}, path),
    "arrays.pt": lambda path: torch.save({"images": PICTURES.numpy(), "labels": TEN.numpy()}, path),
    "bare.pt": lambda path: torch.save(PICTURES, path),
    "bare.npy": lambda path: np.save(path, PICTURES.numpy()),
}


@pytest.mark.parametrize("name", SAVED)
def test_published_sets_are_read_from_files(tmp_path, name):
    SAVED[name](tmp_path / name)
    found, given = dd_ranking.load_distilled(tmp_path / name)
    assert torch.equal(found, PICTURES)
    assert given is None if name.startswith("bare") else torch.equal(given, TEN)


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3)])
def test_a_folder_of_pictures_a_class_is_read_in_order_of_number(tmp_path, mode, channels):
    for label in range(11):
        (tmp_path / str(label)).mkdir()
        Image.new("L", (8, 8), 20 * label).convert(mode).save(tmp_path / str(label) / "a.png")
        (tmp_path / str(label) / "notes.txt").touch()
    found, given = dd_ranking.load_distilled(tmp_path)
    assert found.shape == (11, channels, 8, 8) and found.dtype == torch.uint8
    assert given.tolist() == list(range(11)) and (found[:, 0, 0, 0] == 20 * given).all()


def test_files_are_read_as_the_code_of_dc_and_of_mtt_saves_them(tmp_path):
    pictures, classes = torch.randn(10, 1, 8, 8), torch.arange(10)
    accuracies = {"ConvNet": [np.float64(0.5), np.float32(0.25)]}
    torch.save({"data": [[pictures, classes]], "accs_all_exps": accuracies}, tmp_path / "res_DC.pt")
    torch.save(pictures, tmp_path / "images_best.pt")
    torch.save(classes, tmp_path / "labels_best.pt")
    for found, given in (
        dd_ranking.load_distilled(tmp_path / "res_DC.pt"),
        dd_ranking.load_distilled(tmp_path / "images_best.pt", tmp_path / "labels_best.pt"),
    ):
        assert torch.equal(found, pictures) and torch.equal(given, classes)


def test_files_that_are_no_set_are_refused(tmp_path):
    torch.save({"pixels": torch.zeros(3)}, tmp_path / "a.pt")
    torch.save({"images": torch.zeros(3, 4)}, tmp_path / "b.pt")
    torch.save({"data": []}, tmp_path / "none.pt")
    torch.save({"images": {"a": torch.zeros(3)}}, tmp_path / "nested.pt")
    (tmp_path / "c.gif").touch()
    (tmp_path / "empty").mkdir()
    for name, size in (("0", 8), ("1", 9)):
        (tmp_path / "uneven" / name).mkdir(parents=True)
        Image.new("L", (size, size)).save(tmp_path / "uneven" / name / "a.png")
    torch.save({"images": nn.Linear(1, 1)}, tmp_path / "code.pt")
    np.savez(tmp_path / "objects.npz", images=np.array([{}], dtype=object))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name, message in (
        ("a.pt", "no entry"),
        ("b.pt", "must be"),
        ("none.pt", "must be .* not None"),
        ("nested.pt", "images are no array, but dict"),
        ("empty", "has no folders of pictures"),
        ("uneven", r"one size and mode, not \(8, 8\), \(9, 9\)"),
        ("c.gif", "read from"),
        ("d.pt", "no such file"),
        ("code.pt", "more than arrays"),
        ("objects.npz", "more than arrays"),
        ("torn.safetensors", "damaged"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            dd_ranking.load_distilled(tmp_path / name)
        assert "\n" not in str(refused.value)


PROTOCOL = evaluation.Protocol(steps=3, teacher_steps=3, rounds=1, width=4)
SURE = torch.full((10, 10), 0.01) + 0.9 * torch.eye(10)  # soft labels


def test_a_report_holds_the_definition_and_takes_soft_labels():
    own = dd_ranking.real_images("digits")
    means = torch.stack([own.standardised(own.train[own.train_labels == c]).mean(0) for c in range(10)])
    report = dd_ranking.evaluate(means, torch.arange(10), "digits", seeds=range(2), protocol=PROTOCOL)
    hard, rnd = report.accuracy["hard"].value, report.random["hard"].value
    assert report.hlr.value == pytest.approx(report.whole.value - hard)
    assert report.ior.value == pytest.approx(hard - rnd, abs=1e-6) and report.ior.low < report.ior.value
    assert report.lrs.value == pytest.approx(
        scores.label_robust_score(report.hlr.value, report.ior.value), abs=0.01
    )
    assert report.lrs_gain.value == pytest.approx(report.lrs.value - report.neutral_lrs)
    assert repr(report).startswith("1 image a class, 2 seeds") and "LRS" in repr(report)
    assert "<caption>1 image a class" in report._repr_html_()
    again = dd_ranking.evaluate(
        means.numpy(), SURE, "digits", use="soft", augmented=True, seeds=range(2), protocol=PROTOCOL
    )
    assert again.accuracy["hard"].value == pytest.approx(hard, abs=1e-6) and again.recipe == "soft, augmented"


@pytest.mark.parametrize(
    "pictures, given, message",
    [
        (torch.zeros(10, 3, 8, 8), torch.arange(10), "the data set asks for"),
        (torch.zeros(10, 1, 8, 8), torch.arange(9), "9 labels"),
        (torch.zeros(10, 1, 8, 8), torch.zeros(10, dtype=torch.long), "same number"),
        (torch.zeros(10, 1, 8, 8), torch.ones(10, 10), "probabilities"),
        (torch.zeros(10, 1, 8, 8), torch.eye(10)[:, :9], "probabilities"),
        (torch.zeros(10, 1, 8, 8), torch.eye(10) - 0.1, "probabilities"),
        (torch.zeros(10, 1, 8, 8), torch.arange(10).float(), r"must be classes.*labels.long\(\)"),
        (torch.zeros(10, 1, 8, 8), torch.arange(1, 11), "0 to 9"),
        (torch.zeros(10, 1, 8, 8), torch.arange(-1, 9), "0 to 9"),
        (torch.zeros(20, 1, 8, 8), None, r"repeat_interleave\(2\)"),
        (torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10), "standardised=False"),
        (torch.full((10, 1, 8, 8), torch.nan), torch.arange(10), "10 images .* the first is image 0"),
        (torch.full((10, 1, 8, 8), 255.0), torch.arange(10), "to 255 are not standardised"),
        (torch.full((10, 1, 8, 8), 0.5), torch.arange(10), "from 0.5 to 0.5 are not standardised"),
        (-torch.ones(10, 8, 8, 1), torch.arange(10), r"images.permute\(0, 3, 1, 2\)"),
        (torch.zeros(10, 1, 8, 8), torch.randn(10, 10), "labels.softmax"),
        (torch.zeros(10, 1, 8, 8), torch.arange(1, 11), "pass labels - 1"),
        (torch.zeros(10, 1, 8, 8), torch.full((10,), 10**12), "are not classes from 0 to 9"),
        (torch.zeros(10, 1, 8, 8), SURE.flip(0)[[0, *range(9)]], "pass the images' own as classes="),
        (torch.zeros(10, 1, 8, 8), torch.full((10, 10), torch.nan), "probabilities"),
        (torch.zeros(0, 1, 8, 8), torch.arange(0), "there are no images"),
    ],
)
def test_a_set_that_does_not_fit_is_refused_before_any_training(pictures, given, message):
    with pytest.raises(ValueError, match=message) as refused:
        dd_ranking.evaluate(pictures, given, "digits", protocol=PROTOCOL)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "settings_, message",
    [
        ({"use": "sift"}, "did you mean 'soft'"),
        ({"weight": 1.5}, "weight 1.5 is no number between 0 and 1"),
        ({"gamma": -0.5}, "gamma -0.5 is no number between 0 and 1"),
        ({"seeds": [3]}, "two different seeds"),
        ({"seeds": [0, 0, 1]}, "none twice"),
        ({"seeds": [-1, 2]}, "from 0 on"),
        ({"dataset": "fashion_mnist"}, "did you mean 'fashion-mnist'"),
        ({"classes": torch.full((10, 10), 0.1)}, "`classes` must be integers"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused_by_name(settings_, message):
    with pytest.raises(ValueError, match=message):
        dd_ranking.evaluate(torch.zeros(10, 1, 8, 8), torch.arange(10), protocol=PROTOCOL, **settings_)


OWN = dd_ranking.real_images("digits")
MEANS = torch.stack([OWN.train[OWN.train_labels == c].mean(0) for c in range(10)])


@pytest.mark.parametrize(
    "pictures, standardised",
    [
        (MEANS, True),
        (MEANS / 16, True),
        (MEANS / 16, False),
        (255 / 16 * MEANS, False),
        (OWN.standardised(MEANS), False),
        (-MEANS - 16, False),
    ],
)
def test_pixels_in_other_units_than_said_are_refused(pictures, standardised):
    with pytest.raises(ValueError, match=r"pixels from [-\d.]+ to [-\d.]+ are not"):
        dd_ranking.as_images(pictures, OWN, standardised)


@pytest.mark.parametrize(
    "pictures, standardised",
    [
        (OWN.standardised(MEANS), True),
        (MEANS, False),
        (MEANS.to(torch.uint8), False),
        ((MEANS / 16 - 0.2) / 0.5, ((0.2,), (0.5,))),
        (torch.zeros(10, 1, 8, 8), True),
    ],
)
def test_every_unit_that_is_said_comes_to_the_same(pictures, standardised):
    found = dd_ranking.as_images(pictures, OWN, standardised)
    wanted = pictures if not pictures.any() else OWN.standardised(MEANS)
    assert torch.allclose(found, wanted, atol=0.2 if pictures.dtype == torch.uint8 else 1e-5)


@pytest.mark.parametrize("hot", [torch.eye(10), torch.eye(10).bool(), torch.eye(10).long(), TEN[:, None]])
def test_rows_with_a_single_one_are_classes(hot):
    hard, soft = dd_ranking.as_labels(hot, 10, 10)
    assert hard.tolist() == list(range(10)) and soft is None


def test_soft_labels_may_name_another_class_than_the_image_has():
    images_, hard, soft = dd_ranking.checked(PICTURES, SURE[[0, 0, *range(2, 10)]], OWN, classes=TEN)
    assert torch.equal(hard, TEN) and soft.argmax(1).tolist() == [0, 0, *range(2, 10)]


def test_larger_images_without_a_gpu_are_refused_before_any_training(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pictures = torch.rand(20, 3, 32, 32), torch.arange(20) % 10
    known = ImageSet.of(pictures, pictures)
    with pytest.raises(NotEnough, match="take a GPU, and none is here: pass smaller ones"):
        dd_ranking.evaluate(known.standardised(pictures[0][:10]), TEN, known, seeds=2)


def test_the_whole_training_part_gets_the_steps_of_the_teacher():
    benches = [evaluation.Bench.made(OWN, replace(PROTOCOL, teacher_steps=n), (0, 1)) for n in (3, 40)]
    short, long = (dd_ranking.reference(bench) for bench in benches)
    assert (short == benches[0].whole.numpy()).all() and (long > short + 0.1).all()


def test_a_set_of_one_s_own_is_made_of_arrays_and_judged():
    generator = np.random.default_rng(0)
    train = generator.integers(0, 256, (60, 1, 8, 8)).astype(np.uint8), np.arange(60) % 3
    known = ImageSet.of(train)
    tiny = replace(PROTOCOL, validation=2)
    report = dd_ranking.evaluate(
        train[0][:6], train[1][:6], known, seeds=2, standardised=False, protocol=tiny
    )
    assert known.classes == 3 and 0 <= report.lrs.value <= 1


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"lrs": ()}, {"lrs": (0.1, -1.0)}, {"validation": 0}, {"rounds": -1}]
)
def test_a_protocol_that_trains_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        evaluation.Protocol(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ranking.RankingPoint(**wrong)


def test_random_images_get_stored_labels_where_the_set_has_stored_labels(monkeypatch):
    """The same recipe on both sides: with stored labels nobody is relabelled view by view."""
    pictures = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    asked = []
    monkeypatch.setattr(
        evaluation,
        "train_students",
        lambda *a: asked.append((a[3].labels, a[-1])) or students.train_students(*a),
    )
    report = dd_ranking.evaluate(pictures, SURE, seeds=range(2), protocol=PROTOCOL)
    assert report.recipe == "soft"  # as its labels are
    assert sum(kind == "soft" and teacher is None for kind, teacher in asked) == 6  # three views, two sides


def test_the_test_part_of_one_s_own_evaluation_is_always_the_same():
    first, second = (dd_ranking.real_images("digits") for _ in range(2))
    assert torch.equal(first.test, second.test) and len(first.test) == 580
    joined = torch.cat([first.train, first.test]).flatten(1)
    assert len(joined.unique(dim=0)) == len(joined)


# Claims: each measure must be able to find for and against --------------------------------------------------------


def ranking_table(accuracy: dict[str, tuple[float, float, float, float]], seeds: int = 6) -> pd.DataFrame:
    """A table of sets with accuracies at the four corners, and a little noise between seeds and rounds."""
    generator, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for method, corners in accuracy.items():
            row = {"method": method, "per_class": 1, "seed": seed, "whole": 0.95, "two-layer": corners[0]}
            for corner, value in zip(measures.CORNERS, corners, strict=True):
                pair = value + 0.002 * generator.normal(size=2)
                row |= {corner: pair.mean(), f"{corner}, rounds": pair.tolist(), f"{corner}, optimism": 0.01}
            rows.append(row)
    return pd.DataFrame(rows)


EVEN = {name: (0.6, 0.65, 0.62, 0.9) for name in settings.METHODS}
MADE = {  # images matter with hard labels and little with soft ones, as the paper says
    **EVEN,
    "DM": (0.85, 0.88, 0.86, 0.93),
    "DC": (0.8, 0.83, 0.81, 0.92),
    "MTT": (0.82, 0.85, 0.83, 0.92),
    "decoupled": (0.4, 0.5, 0.5, 0.86),
}


def choice_table(accuracy: dict[str, float]) -> pd.DataFrame:
    generator, rows = np.random.default_rng(0), []
    for seed in range(6):
        for method, value in accuracy.items():
            views = ("without augmentation", "augmented", "by choice")
            row = {name: value + 0.002 * generator.normal() for name in views}
            rates = {"lrs": (0.03, 0.1), "by views and rate": [value] * 6}
            rows.append({"method": method, "per_class": 1, "seed": seed} | row | rates)
    return pd.DataFrame(rows)


def test_the_claim_on_sides_that_choose_goes_both_ways():
    level = {"DC": 0.6, "DSA": 0.69, "DM": 0.65}
    assert measures.random_against_best_choice(choice_table({"random": 0.71} | level)).low > 0
    assert measures.random_against_best_choice(choice_table({"random": 0.67} | level)).high < 0
    assert measures.random_against_best_choice(choice_table({"random": 0.71} | level)).value < 0.03
    with pytest.raises(MissingPoints):
        measures.random_against_best_choice(choice_table(level))
    shown = tables.choices(choice_table({"random": 0.71} | level))
    assert shown["labels"].tolist() == ["soft", "hard", "hard", "hard"]
    assert tables.by_rate(choice_table(level)).shape == (6, 3)


def test_a_method_that_lacks_seeds_is_not_averaged_over():
    whole = ranking_table(MADE)
    torn = whole[(whole["method"] != "DM") | (whole["seed"] != 3)]
    for measure in (
        measures.recipe_against_images("recipe"),
        measures.order_changes,
        measures.lrs_predicts_better_than(measures.own_accuracy),
        measures.random_against_best("hard"),
    ):
        assert np.isfinite(measure(whole).value)
        with pytest.raises(MissingPoints, match="some seeds of"):
            measure(torn)


@pytest.mark.parametrize("per_class", [0, 100])
def test_more_images_a_class_than_there_are_is_refused(per_class):
    point = ranking.RankingPoint(per_class=per_class, **{**QUICK, "steps": 1})
    with pytest.raises(ValueError, match=f"{per_class} images a class are none of 1 to the 86"):
        ranking.run_ranking([point])


def test_sides_choose_among_all_views_and_references_keep_their_teacher():
    point = protocol_checks.ChoicePoint(method="DM", **QUICK)
    (found,) = protocol_checks.run_choice([point])
    assert point.labels == "hard" and protocol_checks.ChoicePoint(method="random").labels == "soft"
    assert len(found["by views and rate"]) == 3 * len(point.lrs)
    assert max(found["by views and rate"]) >= found["by choice"]
    first, longer = (
        protocol_checks.run_references([protocol_checks.ReferencePoint(**{**QUICK, "steps": steps})])[0]
        for steps in (3, 30)
    )
    assert first["teacher"] == longer["teacher"] and first["whole"] != longer["whole"]
    assert len(tables.references(pd.DataFrame([{"steps": 3} | first, {"steps": 3} | longer]))) == 1


def test_claims_on_random_images_go_both_ways():
    best = measures.random_against_best("hard")
    assert best(ranking_table(MADE)).low > 0.03
    assert best(ranking_table(MADE | {"DSA": (0.95, 0.9, 0.95, 0.95)})).high < 0
    assert measures.recipe_against_images("recipe")(ranking_table(MADE)).low > 0.2
    images_matter = {m: (0.6, 0.6, 0.6, 0.6 if m == "random" else 0.9) for m in settings.METHODS}
    assert measures.recipe_against_images("recipe")(ranking_table(images_matter)).high < 0
    both = measures.recipe_against_images("average")
    always = {m: (0.5, 0.5, 0.5, 0.55) if m == "random" else (0.9, 0.9, 0.9, 0.95) for m in settings.METHODS}
    assert both(ranking_table(EVEN)).low > 0.25 and both(ranking_table(always)).high < 0
    assert (
        measures.recipe_against_images("recipe")(ranking_table(MADE)).value
        > both(ranking_table(MADE)).value + 0.1
    )


def test_scores_that_tell_images_and_scores_that_do_not():
    assert measures.lrs_tells_images(ranking_table(MADE)).low > 0.2
    assert measures.ars_tells_images(ranking_table(MADE)).low > 0.2
    alike = {m: (0.6 + 0.03 * i,) * 4 for i, m in enumerate(settings.METHODS)}  # accuracy tells images itself
    assert measures.lrs_tells_images(ranking_table(alike)).high < 0.2


def test_the_stricter_criteria_can_be_met_and_missed():
    predicts = measures.lrs_predicts_better_than(measures.bare_accuracy)
    assert abs(predicts(ranking_table(MADE)).value) < 0.2  # the other architecture has hard accuracy itself
    hidden = ranking_table(MADE).assign(**{"two-layer": lambda t: -t["hard"]})
    assert measures.lrs_predicts_better_than(measures.own_accuracy)(hidden).high < 0
    ars = measures.ars_tells_images_beyond_averaging
    alike = {m: (0.6 + 0.03 * i,) * 4 for i, m in enumerate(settings.METHODS)}
    assert ars(ranking_table(alike)).high < 0.01  # nothing is left to tell
    shifted = {m: (v[0], v[1], v[2] + 0.3, v[3] + 0.3) for m, v in alike.items()}
    assert ars(ranking_table(shifted)).low > 0.1


def test_orders_that_turn_and_orders_that_stay():
    assert measures.order_reverses(ranking_table(MADE)).low > 0.04
    assert measures.order_reverses(ranking_table(EVEN)).low < 0.0
    assert measures.order_changes(ranking_table(MADE)).low > 0.05
    hard_only = {m: (0.5 + 0.05 * i,) * 4 for i, m in enumerate(settings.METHODS)}
    assert measures.order_changes(ranking_table(hard_only)).value == pytest.approx(0)
    assert measures.lrs_predicts_better_than(measures.own_accuracy)(ranking_table(MADE)).low > 0


def test_neutral_means_both_ways():
    assert measures.random_is_neutral(ranking_table(EVEN)).low > 0
    better = EVEN | {"random again": (0.75, 0.8, 0.62, 0.9)}
    worse = EVEN | {"random again": (0.45, 0.5, 0.62, 0.9)}
    assert max(measures.random_is_neutral(ranking_table(t)).high for t in (better, worse)) < 0


def test_a_student_that_misses_its_teacher_is_no_held_claim():
    rows = [
        {
            "inputs": "noise",
            "images": 65,
            "labels": kind,
            "seed": seed,
            "accuracy": right + seed / 100,
            "error": error,
        }
        for seed in range(3)
        for kind, right, error in (("soft", 0.95, 1e-12), ("hard", 0.4, 1.0))
    ]
    assert measures.noise_labels(pd.DataFrame(rows)).low > 0.5
    rows[0]["error"] = 1e-3
    assert measures.noise_labels(pd.DataFrame(rows)).value < 0


def test_missing_sets_are_missing_points():
    only = ranking_table({"DM": (0.8,) * 4, "DC": (0.8,) * 4})
    for measure in (
        measures.random_against_best("hard"),
        measures.recipe_against_images("recipe"),
        measures.order_reverses,
    ):
        with pytest.raises(MissingPoints):
            measure(only)
    with pytest.raises(MissingPoints):
        measures.random_against_best("hard", 10)(ranking_table(MADE))


# Tables and self-checks -------------------------------------------------------------------------------------------


def test_the_waterfall_sums_to_the_accuracy_of_the_set():
    found = ranking_table(MADE)
    steps = tables.waterfall(found, "DM")
    full = found[found["method"] == "DM"]["soft, augmented"].mean()
    assert steps["value"].sum() == pytest.approx(full)


def test_gains_by_order_share_their_sum():
    found = tables.orders(ranking_table(MADE)).set_index("first")
    number = found.map(lambda text: float(text.split()[0]))
    assert number.loc["recipe", "recipe adds"] == pytest.approx(0.3, abs=0.01)
    assert number.loc["images", "recipe adds"] < number.loc["recipe", "recipe adds"]
    sums = number["recipe adds"] + number["images add"]
    assert np.allclose(sums, sums.iloc[0], atol=0.003)
    middle = number.loc[["recipe", "images"]].mean()
    assert np.allclose(number.loc["average"], middle, atol=0.002)


def test_shares_and_predictions_stand_beside_their_controls():
    shares = tables.shares(ranking_table(MADE)).set_index("measure")["value"]
    assert len(shares) == 5 and shares["LRS"] > shares["accuracy"]
    assert shares["accuracy averaged over augmentation"] > shares["accuracy"]
    found = tables.predictions(ranking_table(MADE)).set_index(["sets", "measure"])["value"]
    assert found["all", "accuracy, hard labels"] > found["all", "accuracy, own recipe"]
    assert found["without decoupled", "accuracy, own recipe"] != found["all", "accuracy, own recipe"]


def test_a_chapter_without_points_has_no_stages():
    with pytest.raises(MissingPoints):
        tables.stages(pd.DataFrame())


def test_more_steps_shows_the_sets_that_were_trained_with_more():
    more = ranking_table(MADE).assign(per_class=50, steps=400)
    longer = more[more["method"].isin(["random", "DM"])].assign(steps=1600)
    found = tables.more_steps([more, longer, pd.DataFrame()], 50)
    assert found["set"].tolist() == ["random", "DM"] * 2 and found["steps"].tolist() == [400, 400, 1600, 1600]


def test_the_best_set_of_every_size_stands_beside_random_images():
    more = ranking_table(MADE | {"k-center": (0.9, 0.9, 0.9, 0.95)}).assign(per_class=10)
    found = tables.by_size([ranking_table(MADE), pd.DataFrame(), more]).set_index(
        ["images a class", "recipe"]
    )
    assert found.loc[(1, "hard"), "best set"] == "DM" and found.loc[(10, "hard"), "best set"] == "k-center"
    assert found.loc[(1, "hard"), "against"].mean() == pytest.approx(0.05, abs=0.01)
    assert found.loc[(10, "soft, augmented"), "images"].mean() == pytest.approx(0.05, abs=0.01)
    assert len(tables.by_size_text([more, pd.DataFrame()])) == 4
    with pytest.raises(MissingPoints):
        tables.by_size_text([pd.DataFrame()])
    assert set(tables.by_size_long([more])["images"]) == {"best set", "random images"}


def test_the_slope_in_the_weight_is_that_of_the_score():
    up, down = (scores.label_robust_score(0.4, 0.1, 0.5 + step) for step in (1e-5, -1e-5))
    assert scores.slope_in_weight(0.4, 0.1) == pytest.approx((up - down) / 2e-5)


def test_the_board_is_sorted_and_compares_random_with_another_draw():
    board = tables.scoreboard(ranking_table(MADE)).set_index("set")
    assert board["LRS"].is_monotonic_decreasing and board.index[0] == "DM"
    assert board.loc["random", "ARS"] == pytest.approx(scores.NEUTRAL, abs=0.005)
    assert board.loc["random, soft labels", "accuracy"] > board.loc["DM", "accuracy"] - 0.1
    boards = tables.leaderboard(
        {"ranking": ranking_table(MADE).assign(dataset="digits"), "none": pd.DataFrame()}
    )
    assert list(boards) == ["digits, 1 image a class"]
    few = ranking_table({name: MADE[name] for name in ("random", "DM")}).assign(dataset="digits")
    assert tables.leaderboard({"longer": few}) == {}


def test_the_explorer_s_grid_has_a_bar_for_every_entry():
    found, weights = ranking_table(MADE), np.array([0.0, 1.0])
    names, value, low, high = tables.ranking_grid([found], [1], weights)
    assert value.shape == (3, 2, 1, len(names)) and np.isfinite(value).all() and (low <= value).all()
    assert np.isfinite(tables.neutral_grid([found], [1], weights)).all()


def test_self_checks_tell_right_from_wrong(capsys):
    def said(check, answer):
        check(answer)
        return capsys.readouterr().out

    assert said(exercises.check_score, scores.label_robust_score).startswith("right")
    assert said(exercises.check_score, lambda h, i, w: w * i - (1 - w) * h).startswith("not yet")
    assert said(exercises.check_score, lambda h, i, w: None).startswith("not yet")
    assert said(exercises.check_recovery, theory.from_soft_labels).startswith("right")
    assert said(exercises.check_recovery, lambda x, q: x[:3]).startswith("not yet")
    assert said(exercises.check_recovery, lambda x: x).startswith("not yet: your function raised")
