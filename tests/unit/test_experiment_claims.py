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
    Finding,
    MissingPoints,
    PaperClaim,
    Precondition,
    Verdict,
    findings,
    judge,
    paired_interval,
    paper_claims,
    sweep,
    verdicts,
    weakest,
)
from beyondloss.experiment.claims import corrected, holm


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
    assert judge(claim(effect, margin), {"toy": points()}, "smoke").verdict == verdict


def test_no_points_no_verdict():
    def measure(table):
        raise MissingPoints("no pair at k = 6")

    assert judge(claim(Effect(1, 1, 1, 1)), {"toy": points()[:0]}, "full").verdict == "not run at this scale"
    verdict = judge(Claim("1.1", "s", "c", "toy", measure), {"toy": points()}, "full")
    assert (verdict.verdict, verdict.note) == ("not run at this scale", "no pair at k = 6")


def test_a_mistake_in_a_measure_is_no_verdict():
    with pytest.raises(KeyError):
        judge(Claim("1.1", "s", "c", "toy", lambda table: table["scroe"]), {"toy": points()}, "smoke")


def test_notes_say_what_is_stale_diverged_and_left_out():
    table = points(state=["stale", "current"], diverged_at=[None, 12])
    table.attrs["planned"] = 10
    note = judge(claim(Effect(1, 1, 1, 2)), {"toy": table}, "smoke").note
    assert note == "2 of 10 points; 1 of 2 points diverged; 1 points computed at commit abc"


def test_a_proof_holds_without_an_experiment():
    verdict = judge(Claim("3.1", "s", "c", by="proof"), {}, "full")
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
    assert (first.verdict, first.effect.seeds, second.verdict) == ("held", 6, "not run at this scale")


def test_an_effect_in_words_is_its_value_and_interval():
    assert f"{Effect(0.0123, -0.003, 0.0271, 8):+.3f}" == "+0.012 [-0.003, +0.027]"
    assert f"{Effect(1, -math.inf, math.inf, 1):.1f}" == "1.0"


# The correction ---------------------------------------------------------------------------------------------


def test_holm_as_worked_out_by_hand():
    """.005 x 4, .01 x 3, .03 x 2, and .04 x 1, which must not be less than the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_the_p_value_is_that_of_the_t_test_above_the_margin():
    differences = [0.3, 0.1, 0.4, 0.15, 0.22]
    found = paired_interval(differences)
    for margin in (0.0, 0.1, 0.2):
        one_sided = stats.ttest_1samp(differences, margin, alternative="greater").pvalue
        assert found.p_value(margin) == pytest.approx(2 * one_sided, rel=1e-9)
    assert found.p_value(0.5) == 1.0, "an effect on the other side of the margin counts for nothing"


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_the_p_value_is_below_a_twentieth_exactly_where_the_interval_clears_the_margin(interval):
    effect = Effect(0.5, 0.2, 1.1, 8, interval=interval)
    assert effect.p_value(0.2 - 1e-9) < 0.05 < effect.p_value(0.2 + 1e-9)


def test_the_p_value_of_a_bootstrap_is_normal_on_the_side_of_the_margin():
    effect = Effect(1.0, 1.0 - 1.959964, 9.0, 1, interval="bootstrap")
    assert effect.p_value() == pytest.approx(2 * stats.norm.sf(1), rel=1e-5)


@pytest.mark.parametrize(
    "effect, p",
    [
        (Effect(1.0, -math.inf, math.inf, 1), 1.0),
        (Effect(math.nan, math.nan, math.nan, 5), 1.0),
        (Effect(1.0, 1.0, 1.0, 5), 0.0),
        (Effect(0.0, 0.0, 0.0, 5), 1.0),
    ],
)
def test_an_effect_without_an_interval_says_nothing_and_one_without_spread_everything(effect, p):
    assert effect.p_value() == p


CLEAR = Effect(0.5, 0.3, 0.7, 5)


def of_word(word, name="1.1a", effect=CLEAR, **settings):
    claim = Claim(name, "s", "c", "toy", lambda table: effect, **settings)
    return Verdict(claim, "smoke", word, effect)


def test_the_correction_counts_the_tests_that_were_run():
    """A proof is none; one whose precondition is absent is, so that a failed control helps no other test through."""
    proved = Verdict(Claim("1.1z", "s", "c", by="proof"), "smoke", "held")
    nothing = of_word("did not hold", effect=Effect(-1.0, -2.0, 0.0, 5))
    judged = [of_word("held"), of_word("did not hold")]
    three = corrected([*judged, nothing])
    unrun = of_word("not run at this scale", effect=None)
    among = corrected([proved, judged[0], of_word("precondition absent"), judged[1], unrun])
    assert [among[1].adjusted, among[3].adjusted] == [verdict.adjusted for verdict in three[:2]]
    assert [among[i].adjusted for i in (0, 2, 4)] == [None] * 3 and among[0].survives is None
    assert three[0].adjusted == pytest.approx(3 * three[0].p) and three[0].verdict == "held"


# Preconditions ----------------------------------------------------------------------------------------------


def controlled(control, effect=CLEAR, **settings):
    found = Precondition("Something groks.", "Above 1.", lambda table: control, **settings)
    return Claim("1.1a", "s", "c", "toy", lambda table: effect, precondition=found)


@pytest.mark.parametrize(
    "control, effect, verdict",
    [
        (Effect(2.0, 1.5, 2.5, 5), Effect(1.0, 0.5, 1.5, 5), "held"),
        (Effect(2.0, 1.5, 2.5, 5), Effect(-1.0, -1.5, -0.5, 5), "did not hold"),
        (Effect(2.0, 0.9, 3.1, 5), Effect(1.0, 0.5, 1.5, 5), "precondition absent"),
        (Effect(2.0, 0.9, 3.1, 5), Effect(-1.0, -1.5, -0.5, 5), "precondition absent"),
        (Effect(math.nan, math.nan, math.nan, 5), Effect(1.0, 0.5, 1.5, 5), "precondition absent"),
    ],
)
def test_where_the_positive_control_fails_no_verdict_is_given(control, effect, verdict):
    found = judge(controlled(control, effect, margin=1.0), {"toy": points()}, "smoke")
    assert found.verdict == verdict and found.control == control
    assert (found.p is None) == (verdict == "precondition absent")


def test_a_control_may_be_measured_on_another_experiment():
    claim = controlled(Effect(1.0, 0.5, 1.5, 5), experiment="other")
    assert judge(claim, {"toy": points()}, "smoke").verdict == "not run at this scale"
    assert judge(claim, {"toy": points(), "other": points()}, "smoke").verdict == "held"


def test_a_failed_control_is_told_even_where_the_test_itself_cannot_be_measured():
    def measure(table):
        raise MissingPoints("nothing to compare")

    control = Precondition("s", "c", lambda table: Effect(-1.0, -2.0, 0.0, 5))
    claim = Claim("1.1a", "s", "c", "toy", measure, precondition=control)
    assert judge(claim, {"toy": points()}, "smoke").verdict == "precondition absent"


# The paper's claim ------------------------------------------------------------------------------------------

HELD, DIRECTION, NOT, ABSENT, NOT_RUN = (
    "held",
    "held in direction only",
    "did not hold",
    "precondition absent",
    "not run at this scale",
)


@pytest.mark.parametrize(
    "words, verdict",
    [
        ([HELD, HELD], HELD),
        ([HELD, NOT], "held in part"),
        ([HELD, DIRECTION], "held in part"),
        ([HELD, ABSENT], "held in part"),
        ([HELD, NOT_RUN], "held in part"),
        ([DIRECTION, DIRECTION], DIRECTION),
        ([DIRECTION, ABSENT, NOT_RUN], DIRECTION),
        ([DIRECTION, NOT], NOT),
        ([NOT, ABSENT], NOT),
        ([ABSENT, ABSENT], ABSENT),
        ([ABSENT, NOT_RUN], ABSENT),
        ([NOT_RUN], NOT_RUN),
    ],
)
def test_the_verdict_of_a_paper_s_claim_follows_the_rule(words, verdict):
    tests = [of_word(word, f"1.1{letter}") for word, letter in zip(words, "abc", strict=False)]
    for ordered in (tests, tests[::-1]):
        claim = PaperClaim("1.1", "s", tuple(test.claim for test in ordered))
        assert Finding(claim, "smoke", tuple(ordered)).verdict == verdict


def test_a_proof_decides_alone_and_not_beside_experiments_that_were_not_run():
    proved = Verdict(Claim("1.1a", "s", "c", by="proof"), "full", "held")
    unrun = of_word("not run at this scale", "1.1b", effect=None)
    for tests, verdict in (((proved,), "held"), ((proved, unrun), "not run at this scale")):
        assert (
            Finding(PaperClaim("1.1", "s", tuple(t.claim for t in tests)), "full", tests).verdict == verdict
        )
    failed = of_word("did not hold", "1.1b")
    beside = PaperClaim("1.1", "s", (proved.claim, failed.claim))
    assert Finding(beside, "full", (proved, failed)).verdict == "did not hold"
    held = of_word("held", "1.1b")
    assert (
        Finding(PaperClaim("1.1", "s", (proved.claim, held.claim)), "full", (proved, held)).verdict == "held"
    )


@pytest.mark.parametrize("role", ["supports", "ours"])
def test_a_test_that_is_not_the_paper_s_decides_nothing(role):
    tests = (of_word("held", "1.1a"), of_word("did not hold", "1.1b", role=role))
    claim = PaperClaim("1.1", "s", tuple(test.claim for test in tests))
    assert Finding(claim, "smoke", tests).verdict == "held"
    with pytest.raises(BadInput, match=r"1\.1 has no test that decides it"):
        PaperClaim("1.1", "s", (tests[1].claim,))


def test_a_claim_may_bring_a_rule_of_its_own():
    tests = (of_word("held", "1.1a"), of_word("did not hold", "1.1b"))
    claim = PaperClaim("1.1", "s", tuple(t.claim for t in tests), rule=lambda deciding: deciding[-1].verdict)
    assert Finding(claim, "smoke", tests).verdict == "did not hold"


def test_tests_stand_under_the_claim_whose_number_they_bear():
    tests = [Claim(name, "s", "c", by="proof") for name in ("1.1a", "1.1b", "1.10a", "1.2a")]
    claims = paper_claims({"1.1": "One.", "1.2": "Two.", "1.10": "Ten."}, tests)
    assert [[test.id for test in claim.tests] for claim in claims] == [["1.1a", "1.1b"], ["1.2a"], ["1.10a"]]
    with pytest.raises(BadInput, match=r"1\.3"):
        paper_claims({"1.1": "One."}, [Claim("1.3a", "s", "c", by="proof")])
    with pytest.raises(BadInput, match=r"call it 1\.1a"):
        PaperClaim("1.1", "s", (Claim("1.2a", "s", "c", by="proof"),))


def test_findings_hold_the_verdicts_of_their_tests(own_store):
    sweep(CHAPTER.preset("smoke")["toy"], workers=1, progress=False)
    found = findings(CHAPTER, "smoke")
    assert [finding.verdict for finding in found] == ["held", "not run at this scale", "held"]
    assert [test for finding in found for test in finding.tests] == verdicts(CHAPTER, "smoke")
    assert [finding.ran for finding in found] == [True, False, False]


# Several effects at once -----------------------------------------------------------------------------------

SMALL_LOSS = Effect(-0.001, -0.002, 0.0, 8)
WIDE_GAIN = Effect(0.05, -0.34, 0.44, 8)
CLOSE = Effect(0.05, 0.001, 0.099, 8)
NARROW = Effect(0.002, 0.00015, 0.00385, 8)
UNKNOWN = Effect(math.nan, math.nan, math.nan, 8)


@pytest.mark.parametrize(
    "effects, weaker",
    [
        ([SMALL_LOSS, WIDE_GAIN], SMALL_LOSS),  # a loss, however small, is no direction held
        ([WIDE_GAIN, CLEAR], WIDE_GAIN),
        ([CLEAR, CLOSE], CLOSE),
        ([CLOSE, NARROW], CLOSE),  # whose interval ends higher, and whose p value is larger
        ([CLEAR, UNKNOWN], UNKNOWN),
        ([UNKNOWN, CLEAR, SMALL_LOSS], UNKNOWN),
    ],
)
def test_of_several_effects_the_weakest_decides_in_any_order(effects, weaker):
    assert weakest(effects) is weaker and weakest(effects[::-1]) is weaker


def test_all_effects_hold_exactly_where_the_weakest_does():
    for one in (SMALL_LOSS, WIDE_GAIN, CLEAR, CLOSE):
        for other in (SMALL_LOSS, WIDE_GAIN, CLEAR, CLOSE):
            word = judge(claim(weakest([one, other])), {"toy": points()}, "quick").verdict
            alone = {judge(claim(e), {"toy": points()}, "quick").verdict for e in (one, other)}
            assert (word == "held") == (alone == {"held"})
            assert (word == "did not hold") == ("did not hold" in alone)


def test_notes_name_the_points_of_the_control_too():
    control = Precondition("there", "above 0", lambda table: CLEAR, experiment="other")
    test = Claim("1.1a", "A statement.", "a criterion", "toy", lambda table: CLEAR, precondition=control)
    old = points(state="stale", commit="old")
    assert judge(test, {"toy": points(), "other": old}, "quick").note == "2 points computed at commit old"


def test_a_failed_control_is_told_where_the_test_s_own_experiment_has_no_points_at_all():
    control = Precondition("there", "above 0", lambda table: SMALL_LOSS, experiment="other")
    test = Claim("1.1a", "A statement.", "a criterion", "toy", lambda table: CLEAR, precondition=control)
    assert judge(test, {"other": points()}, "quick").verdict == "precondition absent"


def test_percentiles_above_their_effect_are_judged_as_the_interval_is():
    effect = Effect(0.1, 0.2, 0.3, 50, interval="bootstrap")
    assert effect.p_value(0.15) == 0.0 and effect.p_value(0.25) == 1.0
