"""Verdicts follow their criteria; what a reader must know of the points stands beside them."""

import math

import pandas as pd
import pytest
from scipy import stats
from toy import CHAPTER

from beyondloss.experiment import (
    BadInput,
    Claim,
    Effect,
    MissingPoints,
    judge,
    paired_interval,
    sweep,
    verdicts,
)


def claim(effect, margin=0.0):
    return Claim("1.1", "A statement.", "a criterion", "toy", lambda table: effect, margin)


def points(**columns):
    frame = pd.DataFrame({"score": [1.0, 2.0], "state": "current", "commit": "abc", **columns})
    frame.attrs["planned"] = 2
    return frame


@pytest.mark.parametrize(
    "effect, margin, verdict",
    [
        (Effect(1.0, 0.5, 1.5, 5), 0.0, "held"),
        (Effect(1.0, 0.5, 1.5, 5), 0.5, "held in direction only"),
        (Effect(1.0, -0.1, 2.1, 5), 0.0, "held in direction only"),
        (Effect(1.0, -math.inf, math.inf, 1), 0.0, "held in direction only"),
        (Effect(0.0, 0.0, 0.0, 5), 0.0, "did not hold"),
        (Effect(-1.0, -1.5, -0.5, 5), 0.0, "did not hold"),
        (Effect(math.nan, math.nan, math.nan, 5), 0.0, "did not hold"),
    ],
)
def test_the_verdict_is_that_of_the_criterion(effect, margin, verdict):
    assert judge(claim(effect, margin), points(), "smoke").verdict == verdict


def test_no_points_no_verdict():
    def measure(table):
        raise MissingPoints("no pair at k = 6")

    assert judge(claim(Effect(1, 1, 1, 1)), points()[:0], "full").verdict == "not run at this scale"
    verdict = judge(Claim("1.1", "s", "c", "toy", measure), points(), "full")
    assert (verdict.verdict, verdict.note) == ("not run at this scale", "no pair at k = 6")


def test_a_mistake_in_a_measure_is_no_verdict():
    with pytest.raises(KeyError):
        judge(Claim("1.1", "s", "c", "toy", lambda table: table["scroe"]), points(), "smoke")


def test_notes_say_what_is_stale_diverged_and_left_out():
    table = points(state=["stale", "current"], diverged_at=[None, 12])
    table.attrs["planned"] = 10
    note = judge(claim(Effect(1, 1, 1, 2)), table, "smoke").note
    assert note == "2 of 10 points; 1 of 2 points diverged; 1 points computed at commit abc"


def test_a_proof_holds_without_an_experiment():
    verdict = judge(Claim("3.1", "s", "c", by="proof"), pd.DataFrame(), "full")
    assert (verdict.verdict, verdict.effect, verdict.note) == ("held", None, "proved in the chapter")


def test_an_experimental_claim_needs_a_measure():
    with pytest.raises(BadInput, match=r"1\.1"):
        Claim("1.1", "s", "c")


def test_the_interval_is_student_s():
    differences = [0.3, 0.1, 0.4, 0.15, 0.22]
    found = paired_interval(differences)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.value == pytest.approx(0.234) and found.seeds == 5
    wide = paired_interval(differences, confidence=0.99)
    assert wide.low < found.low < found.high < wide.high


def test_the_interval_of_one_difference_is_unbounded_and_of_none_missing():
    assert paired_interval([0.5]) == Effect(0.5, -math.inf, math.inf, 1)
    with pytest.raises(MissingPoints):
        paired_interval([])


def test_a_diverged_point_is_not_left_out_of_the_interval():
    assert math.isnan(paired_interval([1.0, 1.1, math.nan]).value)


def test_verdicts_come_from_the_store_and_compute_nothing(own_store):
    assert [v.verdict for v in verdicts(CHAPTER, "smoke")] == ["not run at this scale"] * 2 + ["held"]
    assert not own_store.exists()
    sweep(CHAPTER.preset("smoke")["toy"], workers=1, progress=False)
    first, second, _ = verdicts(CHAPTER, "smoke")
    assert (first.verdict, first.seeds, second.verdict) == ("held", 6, "not run at this scale")


def test_an_effect_in_words_is_its_value_and_interval():
    assert f"{Effect(0.0123, -0.003, 0.0271, 8):+.3f}" == "+0.012 [-0.003, +0.027]"
    assert f"{Effect(1, -math.inf, math.inf, 1):.1f}" == "1.0 [-inf, inf]"
