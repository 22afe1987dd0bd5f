"""Mathematical problems with worked solutions, and when an answer is the right one."""

import re
import threading
from dataclasses import dataclass
from importlib.metadata import version

from beyondloss.data.hub import HubError, load_dataset, pinned, revision_of

GSM8K = "openai/gsm8k@740312add88f781978c0658806c59bc2815b9866"
MATH = "EleutherAI/hendrycks_math@21a5633873b6a120296cce3e2df9d5550074f4a3"
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
TEST_SEEDS = 2**31  # generated test problems have seeds of their own, from here on


@dataclass(frozen=True)
class Problem:
    """A question, a worked solution that ends in the answer, and the answer."""

    question: str
    solution: str
    answer: str

    @property
    def prompt(self) -> str:
        return f"Question: {self.question}\nAnswer:"


@dataclass(frozen=True, eq=False)
class ProblemSet:
    """Problems to train on and to be tested on, and where they come from."""

    train: list[Problem]
    test: list[Problem]
    origin: str


def gsm8k(spec: str = GSM8K) -> ProblemSet:
    """Grade-school mathematics; a solution ends in `#### answer`. Raises HubError."""
    name, revision = pinned(spec, "dataset")
    splits = load_dataset(name, "main", revision)
    return ProblemSet(
        train=[problem(row["question"], row["answer"]) for row in splits["train"]],
        test=[problem(row["question"], row["answer"]) for row in splits["test"]],
        origin=f"{name}@{revision_of(splits['train'], revision)}",
    )


def competition(spec: str = MATH) -> ProblemSet:
    """MATH, all seven subjects; the answer is in a box. Raises HubError."""
    name, revision = pinned(spec, "dataset")
    subjects = [load_dataset(name, subject, revision) for subject in SUBJECTS]
    return ProblemSet(
        train=[problem(row["problem"], row["solution"]) for splits in subjects for row in splits["train"]],
        test=[problem(row["problem"], row["solution"]) for splits in subjects for row in splits["test"]],
        origin=f"{name}@{revision_of(subjects[0]['train'], revision)}",
    )


def problem(question: str, solution: str) -> Problem:
    return Problem(question, solution, final_answer(solution))


def generated(train: int, test: int, seed: int) -> ProblemSet:
    """Grade-school problems from templates (PyPI `reasoning-gym`, Apache-2.0); the test set has a seed of its own.

    Raises HubError where the package is missing.
    """
    try:
        import reasoning_gym
    except ImportError as error:
        raise HubError(
            f"generated problems need reasoning-gym ({error}): pip install -c constraints.txt -e '.[problems]'"
        ) from error

    def made(count: int, seed: int) -> list[Problem]:
        rows = reasoning_gym.create_dataset("gsm_symbolic", size=count, seed=seed)
        return [Problem(row["question"], row["metadata"]["answer_cot"], str(row["answer"])) for row in rows]

    origin = f"reasoning-gym {version('reasoning-gym')}, gsm_symbolic"
    return ProblemSet(made(train, seed), made(test, TEST_SEEDS + seed), origin)


def final_answer(text: str) -> str:
    """The answer of a solution in one spelling: after the last `####`, else in the last box, else the last number.

    Chapter 2's points compare answers by it, letter by letter; `is_right` knows more.
    """
    if "####" in text:
        found = text.rpartition("####")[2].strip().split("\n")[0]
    elif r"\boxed{" in text:
        found = boxed(text)
    else:
        found = (re.findall(r"-?\d[\d,]*\.?\d*", text) or [""])[-1]
    return re.sub(r"[\s$,]|\\!|\\left|\\right", "", found.replace(r"\dfrac", r"\frac")).rstrip(".")


def boxed(text: str) -> str:
    """What stands between the braces of the last box; all that follows where they do not close."""
    inside, depth = text.rpartition(r"\boxed{")[2], 1
    for end, character in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if not depth:
            return inside[:end]
    return inside


def is_right(said: str, problem: Problem) -> bool:
    """Whether what is said ends in the problem's answer, as mathematics: 1/2 is 0.5 and (x+1)^2 is x^2+2x+1.

    Read and compared by `math-verify`; what it cannot read is right where it is the same letter by letter. HubError
    where that package is missing.
    """
    try:
        from math_verify import parse, verify
    except ImportError as error:
        raise HubError(f"answers are compared by math-verify ({error}): pip install -e '.[full]'") from error
    # its time limits are signals, which only the main thread gets
    seconds = 5 if threading.current_thread() is threading.main_thread() else None
    wanted, found = (
        parse(text.rpartition("####")[2], parsing_timeout=seconds) for text in (problem.solution, said)
    )
    if wanted and found:
        return verify(wanted, found, timeout_seconds=seconds)
    return final_answer(said) == final_answer(problem.solution) != ""
