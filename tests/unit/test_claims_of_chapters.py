"""Every claim of every chapter is held by a made table in which it is right, and by none in which it is wrong.

A new chapter gives the recipes of its claims in `tests/unit/claims/<slug>.py`; `tests/toys/recipes.py` has the tools.
"""

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from recipes import Recipe

from beyondloss import catalogue
from beyondloss.experiment import Claim, Precondition, judge, paired_interval
from beyondloss.experiment.tables import select
from beyondloss.methods.synthetic_text import chapter as chapter_7

# chapter 7 has its claims already, its notebook not yet
CHAPTERS = [*catalogue.chapters(), chapter_7.CHAPTER]
FOLDER = Path(__file__).parent / "claims"
CLAIMS = [(chapter, claim) for chapter in CHAPTERS for claim in chapter.tests]


def control_of(claim):
    """A test's positive control as a claim of its own, which it is to its criterion."""
    control = claim.precondition
    experiment = control.experiment or claim.experiment
    return Claim(
        f"{claim.id} control",
        control.statement,
        control.criterion,
        experiment,
        control.measure,
        control.margin,
    )


def controls(chapter):
    """The positive controls of a chapter, each under the first test that needs it."""
    found = {}
    for control in [control_of(claim) for claim in chapter.tests if claim.precondition]:
        found.setdefault((control.criterion, control.experiment), control)
    return list(found.values())


CONTROLS = [(chapter, control) for chapter in CHAPTERS for control in controls(chapter)]
# a test is judged here without its control, which is judged as a claim of its own
MEASURED = [
    (chapter, replace(claim, precondition=None)) for chapter, claim in CLAIMS if claim.measure
] + CONTROLS
EACH = pytest.mark.parametrize("chapter, claim", MEASURED, ids=[claim.id for _, claim in MEASURED])


@cache
def recipes(slug):
    """Claim -> recipe, of a chapter."""
    file = FOLDER / f"{slug}.py"
    assert file.is_file(), f"chapter {slug} needs tests/unit/claims/{slug}.py with RECIPES, one a claim"
    spec = importlib.util.spec_from_file_location(f"claims_of_{slug}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RECIPES


def recipe_of(chapter, claim):
    found = recipes(chapter.slug)
    assert claim.id in found, f"claim {claim.id} needs a recipe in tests/unit/claims/{chapter.slug}.py"
    return found[claim.id]


def tables(chapter, claim, scale, made, control):
    """Experiment -> made table, of the claim and of its precondition: the points are those of the presets."""
    parts = {claim.experiment: [made]}
    if claim.precondition:
        assert control, f"the recipe of claim {claim.id} needs a control, the recipe of its precondition"
        parts.setdefault(claim.precondition.experiment or claim.experiment, []).append(control)
    found = {}
    for name, makers in parts.items():
        experiment = chapter.experiment(name)
        points = experiment.plan(scale).grid if scale in experiment.presets else []
        rows = [vars(point) for point in points]
        for make in makers:
            rows = [row | make(point) for row, point in zip(rows, points, strict=True)]
        found[name] = pd.DataFrame(rows)
    return found


def verdicts(chapter, claim, made, control=None):
    """Scale and verdict of the made tables, at each scale whose preset has what the claim is about: one at least."""
    for scale in ("quick", "full"):
        if scale in chapter.experiment(claim.experiment).presets:
            found = judge(claim, tables(chapter, claim, scale, made, control), scale)
            if found.verdict != "not run at this scale":
                yield scale, found.verdict


def verdict(chapter, claim, made, control=None):
    """The verdict at the first scale at which there is one."""
    return next(verdicts(chapter, claim, made, control))[1]


def there(recipe):
    """The table of a precondition that is met."""
    return recipe.control and recipe.control.holds


@pytest.mark.parametrize("chapter, claim", CLAIMS, ids=[claim.id for _, claim in CLAIMS])
def test_a_statement_is_a_sentence(chapter, claim):
    """It stands alone on a page, whatever stands before it in the list."""
    assert not claim.statement[0].islower() and claim.statement.endswith((".", "?")), claim.statement


@EACH
def test_a_claim_holds_where_its_effect_is_there(chapter, claim):
    recipe = recipe_of(chapter, claim)
    found = dict(verdicts(chapter, claim, recipe.holds, there(recipe)))
    assert set(found.values()) == {"held"}, found or f"no preset has the points of claim {claim.id}"


@EACH
def test_a_claim_does_not_hold_where_its_effect_is_reversed(chapter, claim):
    recipe = recipe_of(chapter, claim)
    assert verdict(chapter, claim, recipe.mirror, there(recipe)) == "did not hold"


@EACH
def test_a_claim_does_not_hold_where_its_criterion_is_missed(chapter, claim):
    recipe = recipe_of(chapter, claim)
    for near in recipe.near:
        assert verdict(chapter, claim, near, there(recipe)) in ("held in direction only", "did not hold")


def made_up():
    """A claim of chapter 2 with a control: gradient descent learns the directions at different speeds at all."""
    chapter, claim = next((c, t) for c, t in MEASURED if t.id == "2.1b")
    plain = {"data": "as drawn", "rho": 0.0}
    control = Precondition(
        "Gradient descent is biased.",
        "The log ratio lies above 1.",
        lambda table: paired_interval(select(table, **plain)["log_ratio"]),
        margin=1.0,
    )
    recipe = recipe_of(chapter, claim)
    even = lambda point: {"log_ratio": 0.1 if (point.data, point.rho) == ("as drawn", 0.0) else -1.0}  # noqa: E731
    return (
        chapter,
        replace(claim, precondition=control),
        replace(recipe, control=Recipe(lambda point: {}, even)),
    )


def no_verdict_without_control(chapter, claim, recipe):
    for made in (recipe.holds, recipe.mirror):
        assert verdict(chapter, claim, made, recipe.control.mirror) == "precondition absent"
    assert verdict(chapter, claim, recipe.holds, recipe.control.holds) == "held"


def test_where_a_made_up_control_fails_there_is_no_verdict_on_the_claim():
    no_verdict_without_control(*made_up())


CONTROLLED = [(chapter, claim) for chapter, claim in CLAIMS if claim.precondition]


@pytest.mark.parametrize("chapter, claim", CONTROLLED, ids=[claim.id for _, claim in CONTROLLED])
def test_where_its_own_control_fails_a_claim_that_would_hold_has_no_verdict(chapter, claim):
    own = control_of(claim)
    same = next(
        c for c in controls(chapter) if (c.criterion, c.experiment) == (own.criterion, own.experiment)
    )
    failing = recipe_of(chapter, same).mirror
    assert verdict(chapter, claim, recipe_of(chapter, claim).holds, failing) == "precondition absent"


@pytest.mark.parametrize("chapter, claim", CLAIMS, ids=[claim.id for _, claim in CLAIMS])
def test_a_claim_and_its_criterion_are_sentences(chapter, claim):
    assert claim.criterion.endswith(".") and claim.statement.endswith(".")
    assert claim.id.startswith(f"{chapter.number}.")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_no_recipe_is_left_over(chapter):
    assert set(recipes(chapter.slug)) == {
        claim.id for claim in (*chapter.tests, *controls(chapter)) if claim.measure
    }
