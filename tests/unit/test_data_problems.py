"""Problems: where they come from, and how an answer is read."""

import pytest

from beyondloss.data import HubError, problems
from beyondloss.data.problems import final_answer


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


def test_gsm8k_has_answers_behind_its_marks(gsm8k_folder):
    found = problems.gsm8k(str(gsm8k_folder))
    assert len(found.train) == len(found.test) == 20 and str(gsm8k_folder) in found.origin
    assert found.train[7] == problems.Problem("1+3?", "We add.\n#### 4", "4")
    assert found.train[7].prompt == "Question: 1+3?\nAnswer:"


def test_math_has_seven_subjects(math_folder):
    found = problems.competition(str(math_folder))
    assert len(found.train) == len(found.test) == 21
    assert found.train[2].answer == "2" and found.train[2].question == "0+2?"


@pytest.mark.parametrize("load", [problems.gsm8k, problems.competition])
def test_a_set_is_pinned(load):
    with pytest.raises(HubError, match="dataset some/problems names no revision"):
        load("some/problems")
    with pytest.raises(HubError, match="dataset .*: .* at revision [0-9a-f]{40} is not on this machine"):
        load()


def test_generated_problems_differ_between_training_and_test():
    pytest.importorskip(
        "reasoning_gym",
        reason="extra `problems` is in no environment of the tests: a package that it needs is compiled",
    )
    made = problems.generated(3, 2, seed=0)
    assert len(made.train) == 3 and len(made.test) == 2
    assert all(final_answer(p.solution) == final_answer(p.answer) for p in made.train)
    assert made.train[0].question != made.test[0].question


def test_without_the_generator_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(HubError, match=r"need reasoning-gym .*-e '.\[problems\]'"):
        problems.generated(1, 1, 0)
