"""Problems: where they come from, and how an answer is read."""

import sys
import threading
from types import SimpleNamespace

import pytest

from beyondloss.data import HubError, problems
from beyondloss.data.problems import final_answer, is_right


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


BOX = r"\boxed{%s}"
SAME = [  # a solution's ending, what is said; the second group differs in its letters
    ("#### 1234", "so #### 1,234"),
    ("#### 18", "The answer is 18 dollars."),
    (BOX % "(1,2)", "so " + BOX % "(1, 2)"),
    (BOX % "blue", BOX % "blue"),
    (BOX % "1", r"\boxed{1"),  # cut off by the last token
    #
    ("#### 18", "She has 18.00 dollars"),
    ("#### 5", "#### 5 apples"),
    ("#### 0.5", "the answer is 1/2"),
    (BOX % r"\frac{1}{2}", BOX % r"\dfrac12"),
    (BOX % r"2\sqrt{3}", BOX % r"\sqrt{12}"),
    (BOX % r"\{1,2\}", BOX % r"\{2,1\}"),
    (BOX % "5", BOX % "x=5"),
    (BOX % "x^2+2x+1", BOX % "(x+1)^2"),
    (BOX % r"90^\circ", BOX % "90"),
    (BOX % r"\text{(B)}", BOX % "B"),
]
OTHER = [
    ("#### 18", "First 18, then 20"),
    ("#### 18", ""),
    (BOX % "(1,2)", BOX % "(2,1)"),
    (BOX % "(1,2)", BOX % "12"),
    (BOX % "[0,1)", BOX % "[0,1]"),
    (BOX % r"\frac{3}{4}", BOX % "0.7"),
    (BOX % r"\sqrt{2}", BOX % "1.41"),
    (BOX % "A", BOX % "B"),
]


@pytest.mark.parametrize(("solution", "said"), SAME)
def test_answers_that_are_the_same(solution, said):
    assert is_right(said, problems.problem("?", f"First 7, then 3.\n{solution}"))


@pytest.mark.parametrize(("solution", "said"), OTHER)
def test_answers_that_are_not_the_same(solution, said):
    assert not is_right(said, problems.problem("?", f"First 7, then 3.\n{solution}"))


def test_reading_answers_for_what_they_mean_is_worth_a_package():
    """Why `is_right` exists: letter by letter, a third of these are judged wrongly or worse."""
    cases = [(case, True) for case in SAME] + [(case, False) for case in OTHER]
    by_letters = [(final_answer(a) == final_answer(b)) == truth for (a, b), truth in cases]
    assert sum(by_letters) < 2 / 3 * len(cases)


def test_answers_are_compared_in_a_thread_too():
    found = []
    thread = threading.Thread(target=lambda: found.append(is_right("0.5", problems.problem("?", "#### 1/2"))))
    thread.start()
    thread.join()
    assert found == [True]


def test_gsm8k_has_answers_behind_its_marks(gsm8k_folder):
    found = problems.gsm8k(str(gsm8k_folder))
    assert len(found.train) == len(found.test) == 20 and str(gsm8k_folder) in found.origin
    assert found.train[7] == problems.Problem("1+3?", "We add.\n#### 4", "4")
    assert found.train[7].prompt == "Question: 1+3?\nAnswer:"


def test_math_has_seven_subjects(math_folder):
    found = problems.competition(str(math_folder))
    assert len(found.train) == len(found.test) == 21
    assert found.train[2].answer == "2" and found.train[2].question == "0+2?"


@pytest.mark.parametrize(
    "load, folder, split, question",
    [
        (problems.gsm8k, "gsm8k_folder", "main", "question"),
        (problems.competition, "math_folder", "algebra", "problem"),
    ],
)
def test_problems_to_train_on_and_to_be_tested_on_are_the_sets_own_parts(
    load, folder, split, question, request
):
    folder = request.getfixturevalue(folder)
    test = folder / split / "test.jsonl"
    test.write_text(test.read_text().replace(f'"{question}": "', f'"{question}": "Tested: '))
    found = load(str(folder))
    assert not any(problem.question.startswith("Tested: ") for problem in found.train)
    assert any(problem.question.startswith("Tested: ") for problem in found.test)


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


def test_no_seed_of_generated_training_problems_is_one_of_test_problems(monkeypatch):
    """The generator stood in for by one that says its seed, for the package itself is not here."""

    def create_dataset(name, size, seed):
        row = {"question": f"{name} {seed}", "answer": seed, "metadata": {"answer_cot": f"#### {seed}"}}
        return [row] * size

    monkeypatch.setitem(sys.modules, "reasoning_gym", SimpleNamespace(create_dataset=create_dataset))
    monkeypatch.setattr(problems, "version", lambda package: "0")
    made = [problems.generated(3, 2, seed) for seed in range(200)]
    assert [(len(found.train), len(found.test)) for found in made] == [(3, 2)] * 200
    assert made[4].train[0] == problems.Problem("gsm_symbolic 4", "#### 4", "4")
    train, test = (
        {problem.question for found in made for problem in part(found)}
        for part in (lambda found: found.train, lambda found: found.test)
    )
    assert len(train) == len(test) == 200 and not train & test


def test_without_the_generator_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(HubError, match=r"need reasoning-gym .*-e '.\[problems\]'"):
        problems.generated(1, 1, 0)
