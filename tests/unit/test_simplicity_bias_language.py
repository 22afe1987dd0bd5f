"""Chapter 2 at full scale, on a tiny model and small data in the published formats."""

import json
from dataclasses import replace

import pytest
import torch

from beyondloss.data import HubError
from beyondloss.methods.simplicity_bias import language_model
from beyondloss.methods.simplicity_bias.language_model import (
    SUBJECTS,
    LanguageModelPoint,
    Problem,
    final_answer,
    run_language_model,
)

SUMS = [(f"{a}+{b}?", a + b) for a in range(5) for b in range(4)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, byte_tokenizer):
    """Folder of a two-layer Llama with a token a byte."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "llama"
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=262, tie_word_embeddings=True, **sizes)).save_pretrained(folder)
    for file in byte_tokenizer.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def write_configs(folder, configs):
    """A data set of several configurations, each with a train and a test split."""
    listed = ""
    for config, rows in configs.items():
        (folder / config).mkdir(parents=True)
        listed += f"- config_name: {config}\n  data_files:\n"
        for split in ("train", "test"):
            (folder / config / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
            listed += f"  - split: {split}\n    path: {config}/{split}.jsonl\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    return folder


@pytest.fixture
def gsm8k_folder(tmp_path, fresh_dataset_cache):
    rows = [{"question": q, "answer": f"We add.\n#### {total}"} for q, total in SUMS]
    return write_configs(tmp_path / "gsm8k", {"main": rows})


@pytest.fixture
def math_folder(tmp_path, fresh_dataset_cache):
    rows = [{"problem": q, "solution": rf"It is $\boxed{{{total}}}$."} for q, total in SUMS[:3]]
    return write_configs(tmp_path / "math", dict.fromkeys(SUBJECTS, rows))


@pytest.fixture
def point(tiny_model, gsm8k_folder):
    return LanguageModelPoint(
        str(tiny_model),
        origin=str(gsm8k_folder),
        lr=1e-2,
        steps=4,
        batch=4,
        context=48,
        tested=4,
        answer_tokens=4,
    )


@pytest.mark.parametrize(
    "text, answer",
    [
        ("So 3 + 4 = 7.\n#### 1,234", "1234"),
        ("#### 5\n#### 6 apples\nand more", "6apples"),
        (r"Thus $x = \boxed{\frac{1}{2}}$ or \boxed{\dfrac{\sqrt{3}}{4}}.", r"\frac{\sqrt{3}}{4}"),
        (r"\boxed{never closed", "neverclosed"),
        ("first 12, then -3.5 and 1,000.", "1000"),
        ("nothing", ""),
    ],
)
def test_final_answers(text, answer):
    assert final_answer(text) == answer


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
    from beyondloss.models import Ensemble

    model = language_model.load_language_model(point.model, None, "cpu")
    problems = language_model.gsm8k(point)
    data = language_model.laid_out(problems.test[: point.tested], model.encoder, point.context)
    losses = language_model.losses_of_all(Ensemble([model]), language_model.Encoded.by(model, data))
    return sum(losses) / len(losses)


def test_exact_match_counts_right_answers(tiny_model, monkeypatch):
    model = language_model.load_language_model(str(tiny_model), None, "cpu")
    problems = [Problem("a", "#### 1", "1"), Problem("b", "#### 2", "2")]
    monkeypatch.setattr(language_model, "answers", lambda *_: ["so #### 1", "so #### 3"])
    assert language_model.exact_match(model, problems, 4) == 0.5


def test_only_the_solution_and_its_end_are_learned(tiny_model):
    model = language_model.load_language_model(str(tiny_model), None, "cpu")
    problem = Problem("1+1?", "#### 2", "2")
    data = language_model.laid_out([problem], model.encoder, 64)
    learned = model.encoder.decode(data.tokens[0][data.answer[0]])
    assert learned == " #### 2" + model.encoder.eos_token
    assert model.encoder.decode(data.tokens[0]).startswith(problem.prompt)


def test_the_loss_is_that_of_transformers(tiny_model):
    from beyondloss.models import Ensemble

    model = language_model.load_language_model(str(tiny_model), None, "cpu")
    data = language_model.laid_out([Problem("1+1?", "#### 2", "2")], model.encoder, 64)
    labels = data.tokens.where(data.answer, -100)
    expected = model.network(input_ids=data.tokens, labels=labels).loss.item() * data.answer.sum().item()
    for trained_layers in (0, 1, 2):  # what enters the trained part is made once, and gives the same loss
        model = language_model.load_language_model(str(tiny_model), None, "cpu", trained_layers)
        losses = language_model.losses_of_all(Ensemble([model]), language_model.Encoded.by(model, data))
        assert losses == pytest.approx([expected], rel=1e-5)


def test_math_has_seven_subjects(tiny_model, math_folder):
    found = language_model.competition(
        LanguageModelPoint(str(tiny_model), problems="math", origin=str(math_folder))
    )
    assert len(found.train) == len(found.test) == 21
    assert found.train[0].answer == "0"


def test_generated_problems_differ_between_training_and_test(tiny_model):
    pytest.importorskip(
        "reasoning_gym",
        reason="extra `problems` is in no environment of the tests: a package that it needs is compiled",
    )
    made = language_model.generated(LanguageModelPoint("any", problems="generated", generated=3, tested=2))
    assert len(made.train) == 3 and len(made.test) == 2
    assert all(final_answer(p.solution) == final_answer(p.answer) for p in made.train)
    assert made.train[0].question != made.test[0].question


def test_last_layers_alone_are_trained(tiny_model):
    model = language_model.load_language_model(str(tiny_model), None, "cpu", trained_layers=1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".layers.1." in name for name in trained)


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path):
    with pytest.raises(HubError, match="is no folder of this machine"):
        language_model.load_language_model(str(tmp_path / "none"), None, "cpu")


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"data": "later"}, "data 'later' is none of"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"steps": 0}, "steps"),
    ],
)
def test_impossible_points_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        LanguageModelPoint("any", **wrong)
