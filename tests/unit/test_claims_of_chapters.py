"""Every claim of every chapter is held by a made table in which it is right, and by none in which it is wrong.

A new chapter gives the recipes of its claims in `tests/unit/claims/<slug>.py`; `tests/toys/recipes.py` has the tools.
"""

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from beyondloss import catalogue
from beyondloss.experiment import judge

FOLDER = Path(__file__).parent / "claims"
CLAIMS = [(chapter, claim) for chapter in catalogue.chapters() for claim in chapter.tests]
MEASURED = [(chapter, claim) for chapter, claim in CLAIMS if claim.measure]
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


def points_of(chapter, claim, scale):
    """The points of the claim's experiment in the experiment's own preset."""
    return chapter.experiment(claim.experiment).plan(scale).grid


def table(points, made):
    return pd.DataFrame([vars(point) | made(point) for point in points])


def verdicts(chapter, claim, made):
    """Scale and verdict of the made table, at each scale whose preset has what the claim is about: one at least."""
    for scale in ("quick", "full"):
        if scale in chapter.experiment(claim.experiment).presets:
            points = {claim.experiment: table(points_of(chapter, claim, scale), made)}
            found = judge(
                replace(claim, precondition=None), points, scale
            )  # controls have tests of their own
            if found.verdict != "not run at this scale":
                yield scale, found.verdict


def verdict(chapter, claim, made):
    """The verdict at the first scale at which there is one."""
    return next(verdicts(chapter, claim, made))[1]


@EACH
def test_a_claim_holds_where_its_effect_is_there(chapter, claim):
    found = dict(verdicts(chapter, claim, recipe_of(chapter, claim).holds))
    assert set(found.values()) == {"held"}, found or f"no preset has the points of claim {claim.id}"


@EACH
def test_a_claim_does_not_hold_where_its_effect_is_reversed(chapter, claim):
    assert verdict(chapter, claim, recipe_of(chapter, claim).mirror) == "did not hold"


@EACH
def test_a_claim_does_not_hold_where_its_criterion_is_missed(chapter, claim):
    for near in recipe_of(chapter, claim).near:
        assert verdict(chapter, claim, near) in ("held in direction only", "did not hold")


@pytest.mark.parametrize("chapter, claim", CLAIMS, ids=[claim.id for _, claim in CLAIMS])
def test_a_claim_and_its_criterion_are_sentences(chapter, claim):
    assert claim.criterion.endswith(".") and claim.statement.endswith(".")
    assert claim.id.startswith(f"{chapter.number}.")


@pytest.mark.parametrize("chapter", catalogue.chapters(), ids=lambda chapter: chapter.slug)
def test_no_recipe_is_left_over(chapter):
    assert set(recipes(chapter.slug)) == {claim.id for claim in chapter.tests if claim.measure}
