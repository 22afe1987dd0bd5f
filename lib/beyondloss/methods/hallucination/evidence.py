"""What a detector may look at: similarities of the target's samples, and, where they are paid for, the verifier's."""

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from beyondloss.choices import refuse_text
from beyondloss.methods.hallucination.kernels import Equality, Kernel

Samples = Collection[Collection[Hashable]]  # a list, an array or a column of a table
Verifier = Samples | Callable[[list[int]], Samples]
Grams = Float[np.ndarray, "question m m"]


@dataclass
class Evidence:
    """Gram matrices of some questions. The verifier is asked question by question, and `paid` notes which.

    `own` holds similarities of the target's samples, `answer` those of the answer itself to them. `ask` maps indices of
    questions to the cross similarities and to those among the verifier's samples.
    """

    own: Grams
    ask: Callable[[Int[np.ndarray, " asked"]], tuple[np.ndarray, np.ndarray]] | None = None
    answer: Float[np.ndarray, "question m"] | None = None
    paid: Bool[np.ndarray, " question"] = field(init=False)

    def __post_init__(self):
        self.paid = np.zeros(len(self.own), dtype=bool)

    def __len__(self) -> int:
        return len(self.own)

    def cross(
        self, asked: Bool[np.ndarray, " question"]
    ) -> tuple[Float[np.ndarray, "asked m n"], Float[np.ndarray, "asked n n"]]:
        """Similarities to the verifier's samples, and among them, for the questions `asked`; these are paid for."""
        if self.ask is None:
            raise ValueError(
                "this detector consults a verifier: give its samples, or a function that asks it"
            )
        self.paid |= asked
        return self.ask(np.flatnonzero(asked))

    def of(self, questions: Int[np.ndarray, " some"]) -> "Evidence":
        """The evidence of some of the questions, none of it paid for."""
        ask = None if self.ask is None else lambda indices: self.ask(questions[indices])
        return Evidence(self.own[questions], ask, None if self.answer is None else self.answer[questions])


def evidence(
    samples: Samples,
    verifier: Verifier | None = None,
    answers: Collection[Hashable] | None = None,
    kernel: Kernel | None = None,
) -> Evidence:
    """Evidence from answers: `samples[question]` are the target's, `answers[question]` is the one that is judged.

    `verifier` holds the second model's samples, or is a function that takes indices of questions and returns them: it
    is called for the questions that a detector pays for, and for no other.
    """
    kernel = kernel or Equality()
    samples = by_position(samples, "samples")
    check_rectangular(samples)
    verifier = (
        verifier
        if verifier is None or callable(verifier)
        else by_position(verifier, "the verifier's samples")
    )
    answers = answers if answers is None else in_order(answers, "answers")
    own = np.stack([kernel(drawn, drawn) for drawn in samples])
    said = None
    if answers is not None:
        said = np.stack([kernel([a], drawn)[0] for a, drawn in zip(answers, samples, strict=True)])

    def ask(indices: Int[np.ndarray, " asked"]) -> tuple[np.ndarray, np.ndarray]:
        chosen = indices.tolist()
        drawn = (
            by_position(verifier(chosen), "the verifier's samples")
            if callable(verifier)
            else [verifier[i] for i in chosen]
        )
        if len(drawn) != len(chosen):
            raise ValueError(f"the verifier answered {len(drawn)} of {len(chosen)} questions")
        m = own.shape[1]
        if not chosen:
            return np.empty((0, m, m)), np.empty((0, m, m))
        check_rectangular(drawn)
        cross = np.stack([kernel(samples[i], said) for i, said in zip(chosen, drawn, strict=True)])
        return cross, np.stack([kernel(said, said) for said in drawn])

    return Evidence(own, None if verifier is None else ask, said)


def by_position(samples: Samples, what: str) -> list[list[Hashable]]:
    """One list of answers a question, in the order given, whatever labels a table has put on them.

    ValueError where a text stands in place of a list: its letters would be taken for answers.
    """
    listed = in_order(samples, what)
    for number, drawn in enumerate(listed):
        refuse_text(drawn, f"{what} of question {number}", "a list of answers")
        if not hasattr(drawn, "__len__"):
            raise ValueError(f"{what} of question {number} must be a list of answers, not {drawn!r}")
    return [list(drawn) for drawn in listed]


def in_order(rows: Collection, what: str) -> list:
    """The rows as a list; ValueError for a text or a mapping, which have no rows in an order."""
    refuse_text(rows, what, "a list with one entry a question")
    return list(rows)


def check_rectangular(samples: Samples) -> None:
    sizes = sorted({len(drawn) for drawn in samples})
    if len(sizes) != 1 or sizes[0] < 2:
        raise ValueError(f"every question needs the same number of samples, at least 2, got {sizes}")


def class_evidence(
    own: Int[np.ndarray, "question m"],
    cross: Int[np.ndarray, "question n"] | None = None,
    answer: Int[np.ndarray, " question"] | None = None,
) -> Evidence:
    """Evidence from classes of meaning in place of texts: all Gram matrices at once."""
    same = lambda a, b: (a[:, :, None] == b[:, None, :]).astype(float)  # noqa: E731
    ask = None
    if cross is not None:
        ask = lambda indices: (same(own[indices], cross[indices]), same(cross[indices], cross[indices]))  # noqa: E731
    said = None if answer is None else same(answer[:, None], own)[:, 0]
    return Evidence(same(own, own), ask, said)
