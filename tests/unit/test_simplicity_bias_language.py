"""Chapter 2 at full scale, on a tiny model and small data in the published formats."""

from dataclasses import replace

import pytest

from beyondloss.data import HubError
from beyondloss.methods.simplicity_bias import language_model
from beyondloss.methods.simplicity_bias.language_model import (
    LanguageModelPoint,
    Problem,
    run_language_model,
)
from beyondloss.models import Ensemble
from beyondloss.models.generation import Continuation
from beyondloss.trainers.fine_tuning import losses_of_all


@pytest.fixture
def point(tiny_llama, gsm8k_folder):
    return LanguageModelPoint(
        str(tiny_llama),
        origin=str(gsm8k_folder),
        lr=1e-2,
        steps=4,
        batch=4,
        context=48,
        tested=4,
        answer_tokens=4,
    )


@pytest.mark.parametrize("optimizer", language_model.OPTIMIZERS)
@pytest.mark.parametrize("data", ["as given", "late x2"])
def test_a_twin_goes_all_the_way(point, optimizer, data):
    (row,) = run_language_model([replace(point, optimizer=optimizer, data=data)])
    assert row["doubled"] == (6 if data == "late x2" else 0)
    assert 0 <= row["exact_match"] <= 1 and row["diverged_at"] is None
    assert "gsm8k" in row["problems_from"]
    assert not set(row) & set(vars(point))  # a sweep refuses metrics that are named like settings


@pytest.mark.parametrize("data", ["random x2", "early x2", "longer"])
def test_the_controls_go_all_the_way(point, data):
    (row,) = run_language_model([replace(point, data=data, trained_layers=1)])
    assert row["doubled"] == (0 if data == "longer" else 6)


def test_a_twin_learns_its_sums_and_is_then_matched_exactly(point):
    longer = replace(point, steps=150, batch=10)
    (row,) = run_language_model([longer])
    assert row["test_loss"] < 10 < language_model_loss_before(longer)


def language_model_loss_before(point: LanguageModelPoint) -> float:
    model = language_model.load_language_model(point)
    problems = language_model.gsm8k(point)
    data = language_model.laid_out(problems.test[: point.tested], model.tokenizer, point.context)
    return losses_of_all(Ensemble([model]), data).mean().item()


def test_exact_match_counts_right_answers(tiny_llama, monkeypatch):
    model = language_model.load_language_model(LanguageModelPoint(str(tiny_llama)))
    problems = [
        Problem("a", "#### 1", "1"),
        Problem("b", "#### 23", "23"),
    ]  # a part of the answer is not the answer
    said = [[Continuation(text, 4, 0.0)] for text in ("so #### 1", "so #### 3")]
    monkeypatch.setattr(language_model, "generate", lambda *_: said)
    assert language_model.exact_match(model, problems, 4) == 0.5


def test_only_the_solution_and_its_end_are_learned(tiny_llama):
    model = language_model.load_language_model(LanguageModelPoint(str(tiny_llama)))
    problem = Problem("1+1?", "#### 2", "2")
    data = language_model.laid_out([problem], model.tokenizer, 64)
    learned = model.tokenizer.decode(data.tokens[0][data.answer[0]])
    assert learned == " #### 2" + model.tokenizer.eos_token
    assert model.tokenizer.decode(data.tokens[0]).startswith(problem.prompt)


def test_the_loss_is_that_of_transformers(tiny_llama):
    model = language_model.load_language_model(LanguageModelPoint(str(tiny_llama)))
    data = language_model.laid_out([Problem("1+1?", "#### 2", "2")], model.tokenizer, 64)
    labels = data.tokens.where(data.answer, -100)
    expected = model.network(input_ids=data.tokens, labels=labels).loss.item() * data.answer.sum().item()
    for trained_layers in (0, 1, 2):  # what enters the trained part is made once, and gives the same loss
        point = LanguageModelPoint(str(tiny_llama), trained_layers=trained_layers)
        model = language_model.load_language_model(point)
        losses = losses_of_all(Ensemble([model]), model.prepared(data))
        assert losses.tolist() == pytest.approx([expected], rel=1e-5)


def test_a_point_may_be_asked_of_competition_problems(tiny_llama, math_folder):
    point = LanguageModelPoint(str(tiny_llama), problems="math", origin=str(math_folder))
    assert len(language_model.SOURCES[point.problems](point).train) == 21


def test_a_model_without_a_revision_is_refused():
    with pytest.raises(HubError, match="model some/model names no revision: write some/model@REVISION"):
        language_model.load_language_model(LanguageModelPoint("some/model"))


def test_last_layers_alone_are_trained(tiny_llama):
    model = language_model.load_language_model(LanguageModelPoint(str(tiny_llama), trained_layers=1))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".layers.1." in name for name in trained)


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path):
    with pytest.raises(HubError, match="is no folder of this machine"):
        language_model.load_language_model(LanguageModelPoint(str(tmp_path / "none")))


def test_impossible_points_are_refused():
    with pytest.raises(ValueError, match="steps"):
        LanguageModelPoint("any", steps=0)
