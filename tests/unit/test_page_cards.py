"""Cards: read from the store, the same each time, and no markup of their own from what they are told."""

import json
from dataclasses import replace

import pytest
import toy

from beyondloss.experiment import BadInput, DamagedFile, Effect, Verdict, sweep
from beyondloss.page import claims_table, run_card
from beyondloss.page.cards import Card, details, published_numbers, published_table


@pytest.fixture
def config(own_store):
    return toy.CHAPTER.preset("smoke")


def test_before_any_run_the_card_says_so(config):
    card = run_card(config)
    assert card.rows[0] == ["A toy", "0 to 2", "0 of 6", "–", "not measured yet"]
    assert card.rows[1][1] == "0, 1"


def test_the_card_speaks_of_the_stored_points(config):
    sweep(config["toy"], workers=1)
    first, again = run_card(config), run_card(config)
    assert first._repr_html_() == again._repr_html_()
    assert first.rows[0][2] == "6" and first.rows[0][4] != "not measured yet"
    assert "torch" in first.notes[0] and first.notes[0].startswith("Scale **smoke**. Measured 20")
    assert "`beyondloss run toy --scale smoke --fresh`" in first.notes[1]
    assert first.head[3] == "Time, added up" and "one after the other" in first.notes[0]


@pytest.mark.parametrize("adjusted, said", [(0.04, "(survives)"), (0.06, "(does not survive)")])
def test_a_test_that_held_says_whether_it_survives_the_correction(adjusted, said):
    held = Verdict(toy.CHAPTER.tests[0], "quick", "held", Effect(2.0, 1.5, 2.5, 6), adjusted=adjusted)
    assert details(held)[1].endswith(f"after Holm {adjusted:.2g} {said}")
    failed = replace(held, verdict="did not hold", effect=Effect(-1.0, -1.5, -0.5, 6))
    assert details(failed)[1].endswith(f"after Holm {adjusted:.2g}")


def test_stale_points_are_counted(config, monkeypatch):
    from beyondloss.experiment import Experiment

    sweep(config["toy"], workers=1)
    monkeypatch.setattr(Experiment, "code_digest", property(lambda self: "0" * 16))
    assert run_card(config).rows[0][2] == "6, 6 of them stale"


def test_claims_show_criterion_and_verdict(config):
    sweep(config["toy"], workers=1)
    card = claims_table(toy.CHAPTER, "smoke")
    page, text = card._repr_html_(), repr(card)
    for claim in toy.CHAPTER.claims:
        assert claim.statement in page and claim.statement in text
        for test in claim.tests:
            assert test.id in page and test.criterion in page and test.criterion in text
    assert "6 seeds" in page and "after Holm" in page
    assert claims_table(toy.CHAPTER, "smoke")._repr_html_() == page


def test_a_claim_without_points_is_not_run(config):
    sweep(config["toy"], workers=1)
    assert "Dear toys are good. (not run at this scale)" in repr(claims_table(toy.CHAPTER, "smoke"))
    assert "bl-not-run-at-this-scale" in claims_table(toy.CHAPTER, "smoke")._repr_html_()


def test_cells_speak_a_little_markdown_and_no_html():
    shown = Card("run", ["a"], [["`x<y` $t^2$ **b** *e* <i>"]])._repr_html_()
    assert "<code>x&lt;y</code> \\(t^2\\) <strong>b</strong> <em>e</em> &lt;i&gt;" in shown


def test_as_text_columns_align():
    lines = repr(Card("run", ["a", "bb"], [["long cell", 1], ["x", 22]], ["note"])).splitlines()
    assert lines == ["a          bb", "long cell  1", "x          22", "note"]


@pytest.fixture
def published(own_store, tmp_path):
    path = tmp_path / "checkout" / "data" / "published" / "toy.json"
    path.parent.mkdir(parents=True)
    table = {
        "title": "Table 1.",
        "source": "arXiv 0.0.",
        "columns": ["window", "loss"],
        "rows": [["[.4,.5]", 3.62]],
    }
    path.write_text(json.dumps({"loss": table}))
    return path


def test_published_numbers_are_marked_as_such(published):
    assert "Published by the paper, not measured here. Table 1. arXiv 0.0." in repr(
        published_table(toy.CHAPTER, "loss")
    )
    assert published_numbers(toy.CHAPTER, "loss").loss.tolist() == [3.62]


def test_a_long_card_shows_eight_rows_and_folds_all_of_them():
    short, long = (Card("run", ["n"], [[n] for n in range(count)]) for count in (8, 9))
    assert "<details>" not in short._repr_html_()
    before, inside = long._repr_html_().split("<details>")
    assert before.count("<td") == 8 and inside.count("<td") == 9 and "All 9 rows" in inside
    assert len(repr(long).splitlines()) == 10


def test_a_published_table_that_is_not_there(published):
    with pytest.raises(BadInput, match="loss"):
        published_table(toy.CHAPTER, "lose")
    published.write_text("{")
    with pytest.raises(DamagedFile, match="toy.json"):
        published_table(toy.CHAPTER, "loss")
    published.unlink()
    with pytest.raises(BadInput, match="no published numbers of toy"):
        published_table(toy.CHAPTER, "loss")
