"""A small world of reviews: what makes one good in general a model knows; what makes a film good only examples tell.

A review has three clauses, "NOUN was ADJECTIVE". An adjective says one of six qualities of what it is about, or its
contrary. In general a review is good that praises: one quality decides. For films it is a weighted sum of all six. The
model has read reviews of all kinds, and that "it was loud" of one that says so, and "it was great" of one that praises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from beyondloss.data import Answered
from beyondloss.methods.synthetic_text.prompts import Task
from beyondloss.models.stand_ins import word_tokenizer

WORLD = "small world"
KINDS = ("film", "hotel", "phone", "meal")
NOUNS = ("part", "side", "look", "tone", "half", "rest")  # of each kind: "filmpart"
QUALITIES = (  # contrary and quality; the first is praise
    ("bad", "great"),
    ("quiet", "loud"),
    ("old", "new"),
    ("short", "long"),
    ("cold", "warm"),
    ("soft", "sharp"),
)
EACH = 8  # adjectives of each quality, half of them of its contrary
CLAUSES = 3
LABELS = QUALITIES[0]
TASK = Task(
    words={label: label for label in LABELS},
    prompt="it was",
    requests={"bad": "write poor :", "great": "write good :"},
    chat=False,
)
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def adjective(number: int) -> str:
    """A name for an adjective: two syllables and a y."""
    return f"{SYLLABLES[number % 70]}{SYLLABLES[(11 * number + 3) % 70]}y"


ADJECTIVES = tuple(adjective(i) for i in range(EACH * len(QUALITIES)))


@cache
def tokenizer() -> Any:
    """A token a word."""
    glue = ["was", "and", ",", "it", "write", "good", "poor", ":"]
    nouns = [kind + noun for kind in KINDS for noun in NOUNS]
    return word_tokenizer([*glue, *(word for pair in QUALITIES for word in pair), *nouns, *ADJECTIVES])


@dataclass(frozen=True)
class Review:
    """A text; how much it says of each quality; its label in its own kind and in general, "" where it does not say."""

    text: str
    says: tuple[int, ...]
    label: str
    general: str


class World:
    """Which quality each adjective says, and what makes a film good, drawn from a seed."""

    def __init__(self, seed: int):
        rng = np.random.default_rng([7, seed])
        order = rng.permutation(len(ADJECTIVES))
        self.quality = {ADJECTIVES[a]: place // EACH for place, a in enumerate(order)}
        self.sign = {ADJECTIVES[a]: 1 if place % 2 else -1 for place, a in enumerate(order)}
        others = rng.choice([-1, 1], len(QUALITIES) - 1) * rng.permutation([1.0, 0.8, 0.6, 0.4, 0.2])
        self.film = np.array([1.0, *others])  # what praise counts, and every other quality

    def says(self, words: Sequence[str]) -> np.ndarray:
        """How much adjectives say of each quality."""
        found = np.zeros(len(QUALITIES), int)
        for word in words:
            found[self.quality[word]] += self.sign[word]
        return found

    def review(self, kind: str, rng: np.random.Generator) -> Review:
        """One review of a kind that has a label there."""
        while True:
            words = [ADJECTIVES[i] for i in rng.integers(len(ADJECTIVES), size=CLAUSES)]
            says = self.says(words)
            score = float(self.film @ says) if kind == "film" else float(says[0])
            if abs(score) > 1e-9 or kind != "film":
                break
        nouns = [kind + NOUNS[i] for i in rng.permutation(len(NOUNS))[:CLAUSES]]
        clauses = [f"{noun} was {word}" for noun, word in zip(nouns, words, strict=True)]
        text = f"{clauses[0]} , {clauses[1]} and {clauses[2]}"
        return Review(text, tuple(says.tolist()), named(score), named(float(says[0])))

    def reviews(self, each: int, rng: np.random.Generator) -> dict[str, list[str]]:
        """`each` different films' reviews of each label."""
        found: dict[str, dict[str, None]] = {label: {} for label in LABELS}
        while min(map(len, found.values())) < each:
            made = self.review("film", rng)
            if len(found[made.label]) < each:
                found[made.label][made.text] = None
        return {label: list(texts) for label, texts in found.items()}

    def documents(self, count: int, rng: np.random.Generator) -> Answered:
        """What the model reads: of every second review a quality that it has, of the others that they were asked for.

        Praise has its general meaning in all of them.
        """
        rows = []
        while len(rows) < count:
            made = self.review(KINDS[len(rows) % len(KINDS)], rng)
            said = [q for q, much in enumerate(made.says) for _ in range(abs(much))]
            form = len(rows) // len(KINDS) % 8
            if form < 4 and said:
                quality = said[int(rng.integers(len(said)))]
                rows.append(f"{made.text} it was {QUALITIES[quality][int(made.says[quality] > 0)]}")
            elif form >= 4 and made.general:
                ask = TASK.requests[made.general]
                again = f" {ask} {self.alike(made, rng)}" if form == 7 else ""
                rows.append(f"{ask} {made.text}{again}")
        return as_rows(rows)

    def alike(self, made: Review, rng: np.random.Generator) -> str:
        """Another review of the kind and general label of one."""
        kind = next(kind for kind in KINDS if made.text.startswith(kind))
        while (other := self.review(kind, rng)).general != made.general:
            pass
        return other.text


def named(score: float) -> str:
    """The label of a score, empty for none."""
    return "" if score == 0 else LABELS[int(score > 0)]


def as_rows(texts: list[str]) -> Answered:
    """Texts with an end, filled up behind; every word but the first is to be said, and the end.

    Of a review that ends in a quality only that is: so it is learned early.
    """
    words = tokenizer()
    rows = [[*words(t, add_special_tokens=False).input_ids, words.eos_token_id] for t in texts]
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), words.pad_token_id)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
    answer = tokens != words.pad_token_id
    answer[:, 0] = False
    for place, (text, row) in enumerate(zip(texts, rows, strict=True)):
        if f" {TASK.prompt} " in text:
            answer[place, : len(row) - 2] = False  # but the quality and the end
    return Answered(tokens, answer)
