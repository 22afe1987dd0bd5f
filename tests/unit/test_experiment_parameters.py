"""Presets, overrides and seeds: what is resolved, and what is refused before any work starts."""

import pickle
from dataclasses import dataclass
from typing import Literal, get_origin, get_type_hints

import numpy as np
import pytest
from toy import CHAPTER, DEAR, TOY, Point, run

from beyondloss import catalogue
from beyondloss.experiment import (
    Axis,
    BadInput,
    Chapter,
    Claim,
    Cost,
    Experiment,
    NotEnough,
    choose,
    duration,
    paper_claims,
)
from beyondloss.experiment.parameters import fitted, parse_seeds


def test_the_grid_is_the_product_of_the_axes_with_the_seed_innermost():
    assert [(p.k, p.seed) for p in TOY.plan("smoke").grid] == [(2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]


def test_points_repeated_in_a_grid_are_one():
    assert len(TOY.plan("smoke", overrides={"k": Axis(2, 2)}).grid) == 3


@pytest.mark.parametrize(
    "value, hint, expected",
    [
        (3, float, 3.0),
        (np.float64(0.5), float, 0.5),
        (np.int64(4), int, 4),
        ([0, 1], tuple[float, float], (0.0, 1.0)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        (None, float | None, None),
        (2, float | None, 2.0),
        (2, int | float, 2),
        ("b", Literal["a", "b"], "b"),
        (True, bool, True),
    ],
)
def test_values_are_fitted_to_their_type(value, hint, expected):
    found = fitted(value, hint)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "value, hint",
    [
        ("3", int),
        (3.0, int),
        (True, int),
        (True, float),
        (1, bool),
        (float("nan"), float),
        (float("inf"), float),
        (None, float),
        ((1.0,), tuple[float, float]),
        (0.5, tuple[float, float]),
        ("c", Literal["a", "b"]),
    ],
)
def test_values_of_another_type_are_refused(value, hint):
    with pytest.raises((TypeError, BadInput)):
        fitted(value, hint)


@pytest.mark.parametrize(
    "overrides, said",
    [
        ({"rat": 1}, "unknown parameter of toy 'rat'; did you mean 'rate'?"),
        ({"rate": "fast"}, "toy: parameter 'rate': must be float, not 'fast'"),
        ({"k": 2.5}, "toy: parameter 'k': must be int, not 2.5"),
        ({"k": 0}, "toy: k must be at least 1, not 0"),
        ({"k": []}, "toy: parameter 'k': an axis needs at least one value"),
        ({"mood": "wel"}, "toy: parameter 'mood': unknown value 'wel'; did you mean 'well'?"),
        ({"window": (0.0, "1")}, "toy: parameter 'window': must be float, not '1'"),
    ],
)
def test_a_wrong_parameter_is_named(overrides, said):
    with pytest.raises(BadInput) as error:
        TOY.plan("smoke", overrides=overrides)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_an_unknown_scale_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'smoke'"):
        CHAPTER.preset("smok")


def test_choose_lists_what_there_is():
    with pytest.raises(BadInput, match=r"unknown fruit 'kiwi'; Valid: apple, pear\."):
        choose("fruit", "kiwi", ["apple", "pear"])


@pytest.mark.parametrize(
    "seeds, expected",
    [
        (3, (0, 1, 2)),
        ("3", (0, 1, 2)),
        ("2:5", (2, 3, 4)),
        ("1,4", (1, 4)),
        ([5, 7], (5, 7)),
        (range(2), (0, 1)),
    ],
)
def test_seeds(seeds, expected):
    assert parse_seeds(seeds) == expected


@pytest.mark.parametrize("seeds", ["a", "0:b", "", "3:3", 0, -1, [], [-1], [0.5], 1.5, "0:2:4"])
def test_seeds_that_are_none(seeds):
    with pytest.raises(BadInput, match="seeds"):
        TOY.plan("smoke", seeds=seeds)


def test_an_axis_survives_pickling():
    assert pickle.loads(pickle.dumps(Axis(1, 2))) == Axis(1, 2)
    assert type(pickle.loads(pickle.dumps(Axis(1, 2)))) is Axis


def test_groups_are_points_equal_but_for_the_seed():
    groups = TOY.groups(TOY.plan("smoke", seeds=10).grid)
    assert [[(p.k, p.seed) for p in group] for group in groups] == [
        [(k, s) for s in seeds] for k in (2, 3) for seeds in (range(8), (8, 9))
    ]


def test_predicted_time_follows_the_number_of_points():
    assert TOY.plan("smoke").cost.seconds == 6
    assert TOY.plan("smoke", seeds=1).cost.seconds == pytest.approx(2)


# Chapters --------------------------------------------------------------------------------------------------


def test_an_override_reaches_every_experiment_that_has_it_or_the_named_one():
    both = CHAPTER.preset("smoke", overrides={"rate": 2})
    assert both["toy"].grid[0].rate == both["dear"].grid[0].rate == 2.0
    one = CHAPTER.preset("smoke", overrides={"dear.rate": 2})
    assert (one["toy"].grid[0].rate, one["dear"].grid[0].rate) == (0.5, 2.0)


def test_only_leaves_the_other_experiments_as_stored():
    config = CHAPTER.preset("smoke", only="dear", seeds=5, overrides={"rate": 2})
    assert [plan.compute for plan in config.plans.values()] == [False, True]
    assert config["toy"].grid == TOY.plan("smoke").grid  # seeds and overrides are for what is computed
    assert len(config["dear"].grid) == 5


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"only": "toi"}, "unknown experiment of 03_toy at scale smoke 'toi'; did you mean 'toy'?"),
        ({"overrides": {"raet": 1}}, "unknown parameter 'raet'; did you mean 'rate'?"),
        ({"overrides": {"toy.raet": 1}}, "unknown parameter of toy 'raet'; did you mean 'rate'?"),
        ({"overrides": {"toi.rate": 1}}, "unknown experiment 'toi'; did you mean 'toy'?"),
    ],
)
def test_a_wrong_parameter_of_a_chapter_is_named(arguments, said):
    with pytest.raises(BadInput) as error:
        CHAPTER.preset("smoke", **arguments)
    assert str(error.value).startswith(said)


def test_an_experiment_that_a_configuration_does_not_have_is_named():
    with pytest.raises(BadInput, match="did you mean 'toy'"):
        CHAPTER.preset("smoke")["tyo"]


def test_a_configuration_shows_its_settings_and_what_it_takes():
    shown = repr(CHAPTER.preset("smoke", overrides={"toy.rate": 2}))
    assert "\n  k = 2, 3" in shown and "rate = 2.0" in shown and "6 s" in shown and "2 min (stored)" in shown
    page = CHAPTER.preset("smoke")._repr_html_()
    assert page.count("<tr") == 3 and page.count("<details>") == 2


def test_the_cost_leaves_out_what_comes_from_the_store():
    assert CHAPTER.preset("smoke").cost == Cost(6)
    assert CHAPTER.preset("quick").cost == Cost(106, memory_gb=2)
    assert CHAPTER.preset("smoke", only="dear").cost.seconds == 0


@pytest.mark.parametrize("seconds, said", [(0.2, "under 1 s"), (40, "40 s"), (300, "5 min"), (10800, "3 h")])
def test_duration(seconds, said):
    assert duration(seconds) == said


def test_full_scale_without_its_gpus_is_refused_with_the_need_and_what_is_there():
    config = CHAPTER.preset("full")
    with pytest.raises(NotEnough, match=r"03_toy at scale 'full'.* 99 GPUs.*here are \d+ GPUs.*--force"):
        config.check_resources()
    config.check_resources(force=True)
    CHAPTER.preset("smoke").check_resources()


@pytest.mark.parametrize("need", [{"memory_gb": 1e6}, {"disk_gb": 1e6}])
def test_too_little_memory_or_disk_is_refused(need):
    with pytest.raises(NotEnough, match=r"1e\+06 GB"):
        Cost(1, **need).check("a toy")


# Mistakes of a chapter's author ----------------------------------------------------------------------------


def experiment(**changes):
    settings = dict(name="x", title="X", point=Point, run=run, presets={"smoke": {}}, cost={"smoke": Cost(1)})
    return Experiment(**settings | changes)


@dataclass(frozen=True)
class Seedless:
    k: int = 1


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"point": Seedless}, "seed: int"),
        ({"run": lambda points: []}, "function of a module"),
        ({"cost": {}}, "cost of x at scale 'smoke'"),
    ],
)
def test_an_experiment_that_cannot_work_is_refused_when_it_is_defined(changes, said):
    with pytest.raises(BadInput, match=said):
        experiment(**changes)


def test_a_claim_on_an_experiment_that_is_not_there_is_refused():
    claim = Claim("3.1a", "s", "c", "nothing", lambda table: None)
    with pytest.raises(BadInput, match="nothing"):
        Chapter(3, "toy", "Toys", CHAPTER.paper, (TOY, DEAR), paper_claims({"3.1": "s"}, [claim]))


@pytest.mark.parametrize(
    "number, setting, value, meant",
    [
        ("2", "finetuning.arm", "adam, late x2", "adamw, late x2"),
        ("2", "pool.data", "late by proxy", "late by proxy x2"),
        ("3", "window.arm", "uniformm", "uniform"),
        ("3", "grokking.objective", "lable", "label"),
        ("3", "language.text", "wikitext", "wikitext-103"),
        ("6", "ranking.method", "DN", "DM"),
        ("6", "ranking.dataset", "digit", "digits"),
        ("6", "labels.inputs", "nois", "noise"),
        ("10", "models.kernel", "equal", "equality"),
    ],
)
def test_a_misspelt_choice_of_a_chapter_names_the_nearest(number, setting, value, meant):
    chapter = catalogue.chapter(number)
    with pytest.raises(BadInput, match=f"{value!r}; did you mean {meant!r}"):
        chapter.preset("quick", overrides={setting: value})
    experiment, _, field = setting.partition(".")
    assert get_origin(get_type_hints(chapter.experiment(experiment).point)[field]) is Literal


def test_names_with_commas_are_told_apart_in_the_list():
    with pytest.raises(BadInput, match=r"Valid: 'uniform', 'uniform, 1/t', "):
        catalogue.chapter("3").preset("quick", overrides={"window.arm": "uniformm"})
