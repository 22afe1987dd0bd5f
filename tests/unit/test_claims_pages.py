"""Sentences with verdicts: what the title page counts, what a chapter opens with, what the page of claims folds."""

import json
import re
from dataclasses import replace

import pytest
import toy

from beyondloss import catalogue
from beyondloss.experiment import Claim, Effect, Finding, PaperClaim, Precondition, Verdict
from beyondloss.experiment.claims import corrected
from beyondloss.page.cards import ClaimsCard, tally
from beyondloss.site import chapters, generated, mutants

WORDS = {
    "2.1": ["held", "held"],
    "2.2": ["held", "did not hold", "held in direction only"],
    "2.3": ["precondition absent"],
    "2.4": ["did not hold"],
    "2.5": ["not run at this scale"],
}
EFFECTS = {
    "held": Effect(0.5, 0.3, 0.7, 5, "accuracy"),
    "held in direction only": Effect(0.5, -0.1, 1.1, 5, "accuracy"),
    "did not hold": Effect(-0.5, -0.7, -0.3, 5, "accuracy"),
    "precondition absent": Effect(0.2, 0.1, 0.3, 5, "accuracy"),
}
CONTROL = Precondition("The oracle gains.", "Its interval lies above 0.", lambda table: None)


def verdict(name, word, scale):
    control = CONTROL if word == "precondition absent" else None
    claim = Claim(
        name, f"Sentence {name}.", f"Criterion {name}.", "toy", lambda table: None, precondition=control
    )
    return Verdict(claim, scale, word, EFFECTS.get(word), control and Effect(-0.1, -0.2, 0.0, 5))


def findings(chapter, scale, run=("quick",)):
    """A chapter's findings as WORDS has them at the scales in `run`, and nothing at the others."""
    tests = {
        number: [
            verdict(f"{number}{letter}", word if scale in run else "not run at this scale", scale)
            for letter, word in zip("abc", words, strict=False)
        ]
        for number, words in WORDS.items()
    }
    judged = iter(corrected([test for of in tests.values() for test in of]))
    return [
        Finding(
            PaperClaim(number, f"Claim {number}.", tuple(test.claim for test in of)),
            scale,
            tuple(next(judged) for _ in of),
        )
        for number, of in tests.items()
    ]


@pytest.fixture
def invented(monkeypatch):
    """Two written chapters whose claims came out as WORDS says, at quick scale alone."""
    monkeypatch.setattr(catalogue, "chapters", lambda: [toy.CHAPTER, toy.CHAPTER])
    monkeypatch.setattr(generated, "findings_at", findings)


def test_the_title_page_counts_claims_and_not_tests(invented):
    whole, part, absent, failed, unrun = findings(None, "quick")
    unequal = [whole] * 3 + [part] + [absent] * 4 + [failed] * 2 + [unrun] * 5
    counted = "3 held, 1 held in part, 2 did not hold, 4 precondition absent, 5 not run"
    assert generated.verdict_counts(unequal) == counted
    text = generated.summary("")
    assert "Written so far: 2 chapters of 10. Their papers make 6 claims, which 6 tests examine." in text
    quick = "2 held, 2 held in part, 2 did not hold, 2 precondition absent, 2 not run"
    assert f"At quick scale {quick}." in text
    assert text.endswith(
        "None of these claims was tested at full scale yet; what is proved holds at every scale."
    )


def test_a_headline_is_a_sentence_with_its_verdict(invented, monkeypatch):
    monkeypatch.setattr(
        generated, "planned", lambda: [{"chapter": [{"number": toy.CHAPTER.number, "headline": "3.2"}]}]
    )
    head, _, first, *_, last = generated.headlines_table("").splitlines()
    assert head == "| No. | What the paper claims | Quick |", "nothing ran at full scale: no column for it"
    assert "| 3 | Claim 2.2.<br>" in first and first.endswith(
        'bl-held-in-part" data-scale="Quick">held in part</span> |'
    )
    assert last.startswith("None of these claims was tested at full scale")


def test_a_headline_has_the_verdict_of_each_scale_in_its_column(invented, monkeypatch):
    monkeypatch.setattr(
        generated, "planned", lambda: [{"chapter": [{"number": toy.CHAPTER.number, "headline": "3.2"}]}]
    )

    def at(chapter, scale):
        found = findings(chapter, scale, ("quick", "full"))
        return found if scale == "quick" else found[::-1]  # another claim's verdict stands in its place

    monkeypatch.setattr(generated, "findings_at", at)
    head, _, first, *_ = generated.headlines_table("").splitlines()
    assert head == "| No. | What the paper claims | Quick | Full |"
    chips = re.findall(r'bl-chip bl-[\w-]+" data-scale="(\w+)">([\w ]+)<', first)
    assert chips == [(scale.title(), at(None, scale)[1].verdict) for scale in ("quick", "full")]
    assert chips[0][1] != chips[1][1]


def test_a_scale_at_which_something_was_run_has_its_column(invented, monkeypatch):
    monkeypatch.setattr(
        generated, "findings_at", lambda chapter, scale: findings(chapter, scale, ("quick", "full"))
    )
    table = generated.findings_table("")
    assert table.splitlines()[0] == "| Claim | What the paper says | Quick | Full |"
    assert "None of these claims" not in table
    for scale in ("Quick", "Full"):
        chip = f'bl-precondition-absent" data-scale="{scale}">precondition absent</span> |'
        assert table.count(chip) == 2


def test_the_page_of_claims_folds_the_tests(invented):
    text = generated.claims_tables("../")
    open_parts = [part.split("</details>")[-1] for part in text.split("<details>")]
    assert "Claim 2.2. Quick: <span" in "".join(open_parts)
    assert "Criterion 2.2b." in text and "Criterion 2.2b." not in "".join(open_parts)
    assert "quick: 3 tests: 1 held, 1 held in direction only, 1 did not hold</summary>" in text
    assert "positive control failed: The oracle gains. -0.1 [-0.2, 0]" in text


def test_the_verdict_of_a_test_has_a_frame_as_that_of_a_claim_has(invented):
    rows = [row for row in generated.claims_tables("").splitlines() if 'id="claim-2-2b"' in row]
    framed = '<span class="bl-chip bl-did-not-hold" data-scale="Quick">did not hold</span><br><small>'
    assert len(rows) == 2 and all(f"| {framed}" in row for row in rows)


def test_a_chapter_opens_with_sentences_and_folds_their_tests(invented):
    block = chapters._claims(findings(None, "quick"), "quick")
    shown = "".join(part.split("</details>")[-1] for part in block.split("<details>"))
    assert shown.count("<li>") == 5 and "Claim 2.3." in shown and "bl-precondition-absent" in shown
    assert "Sentence 2.2b." in block and "Sentence 2.2b." not in shown
    assert "<li>" not in chapters._claims(findings(None, "full"), "full")


def test_what_is_the_book_s_own_is_marked_wherever_it_is_told(invented, monkeypatch):
    (found,) = [finding for finding in findings(None, "quick") if finding.claim.id == "2.2"]
    own = replace(found.tests[1], claim=replace(found.tests[1].claim, role="ours"))
    tests = (found.tests[0], own, *found.tests[2:])
    claim = replace(found.claim, tests=tuple(test.claim for test in tests))
    found = replace(found, tests=tests, claim=claim)
    number, marked = own.claim.id, f"<em>Ours.</em> {own.claim.statement}"
    shown = {
        "opening": chapters._claims([found], "quick"),
        "card": ClaimsCard([found], "quick")._repr_html_(),
    }
    for where, page in shown.items():
        assert page.count(marked) == 1 == page.count("Ours."), where
        assert number in page.split(marked)[0].rpartition("<li>" if where == "opening" else "<tr>")[2]
    assert generated._claim_block([found], found).count(f"*Ours.* {own.claim.statement}") == 1


def test_the_card_of_a_notebook_says_the_same_in_a_terminal_and_on_a_page():
    card = ClaimsCard(findings(None, "quick"), "quick")
    page, text = card._repr_html_(), repr(card)
    assert page.count("<details>") == 5 == page.count("<summary>")
    summaries = [part.split("</summary>")[0] for part in page.split("<summary>")[1:]]
    assert (
        "Claim 2.2." in summaries[1] and "bl-held-in-part" in summaries[1] and "Criterion" not in summaries[1]
    )
    assert "2.2 Claim 2.2. (held in part)" in text and "Criterion 2.2b." in text


def test_a_card_without_points_is_sentences_and_no_column_of_verdicts():
    card = ClaimsCard(findings(None, "full"), "full")
    assert (
        "None of these claims was tested at full scale" in card._repr_html_()
        and "None of these claims" in repr(card)
    )
    summaries = [part.split("</summary>")[0] for part in card._repr_html_().split("<summary>")[1:]]
    assert len(summaries) == 5 and not any("bl-chip" in summary for summary in summaries)


def test_tests_that_do_not_survive_the_correction_are_counted():
    weak = Effect(0.5, 0.001, 0.999, 5)
    claims = [Claim(f"2.1{letter}", "s", "c", "toy", lambda table: None) for letter in "abc"]
    effects = [weak, EFFECTS["held"], weak]
    tests = corrected([Verdict(c, "quick", "held", e) for c, e in zip(claims, effects, strict=True)])
    found = Finding(PaperClaim("2.1", "s", tuple(claims)), "quick", tuple(tests))
    assert tally(found) == "3 tests: 3 held (1 after Holm)"


def test_the_page_of_mutants_names_the_modules_without_one(tmp_path, monkeypatch):
    library = tmp_path / "lib" / "beyondloss"
    for file in (
        "cli.py",
        "page/theme.py",
        "page/explorer/heat.mjs",
        "methods/coin/a.py",
        "methods/coin/__init__.py",
    ):
        (library / file).parent.mkdir(parents=True, exist_ok=True)
        (library / file).touch()
    tried = {
        "room": "page",
        "file": "page/theme.py",
        "old": "a",
        "new": "b",
        "outcome": "killed",
        "by": "t",
        "why": "",
    }
    results = tmp_path / "data" / "results" / "mutants.json"
    results.parent.mkdir(parents=True)
    results.write_text(json.dumps({"mutants": [tried | {"tried": "2026-11-28"}]}))
    monkeypatch.setattr(mutants, "root", lambda: tmp_path)
    shown = mutants.mutants_table("")
    assert "3 modules without a mutant yet" in shown
    assert {"- `command line`: `cli`", "- `page`: `explorer/heat.mjs`", "- `methods/coin`: `a`"} <= set(
        shown.splitlines()
    )
