"""A classification task as a language model meets it: a text, a prompt behind it, and a word for each label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from beyondloss.choices import choose, refuse_text
from beyondloss.experiment import BadInput
from beyondloss.models.generation import chat_prompt, pad_of

FILMS = {label: f"Write one {label} sentence from a movie review." for label in ("negative", "positive")}


@dataclass(frozen=True)
class Task:
    """How a model is asked for the label of a text, and for a text of a label.

    words: label -> the word that names it, behind the text and `prompt`; of a word of several tokens the first counts.
    requests: label -> what asks the model to write such a text. chat: in its chat template, or as it stands.
    """

    words: Mapping[str, str] = field(default_factory=lambda: {"negative": " bad", "positive": " great"})
    prompt: str = " It was"
    requests: Mapping[str, str] = field(default_factory=dict)
    chat: bool = True

    def __post_init__(self):
        if len(self.words) < 2:
            raise BadInput(f"a task has at least two labels, not {', '.join(self.words) or 'none'}")
        for label in self.requests:
            choose("label of a request", label, self.words)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.words)

    def request(self, tokenizer: Any, label: str, examples: Sequence[str] = ()) -> str:
        """What makes a model write a text of a label, with real examples of it before the request or none."""
        said = self.requests.get(label) or FILMS.get(label) or f"Write one text whose label is {label}."
        if self.chat:
            shown = "".join(f"- {text}\n" for text in examples)
            before = f"Examples of the label {label}:\n{shown}\n" if examples else ""
            return chat_prompt(tokenizer, before + said)
        return "".join(f"{said} {text} " for text in examples) + said


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts as rows of tokens that end together: shorter ones are filled up in front, where `mask` is false."""

    tokens: Int[Tensor, "text time"]
    mask: Bool[Tensor, "text time"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> Int[Tensor, " text"]:
        return self.mask.sum(1)

    def rows(self, index: Any) -> "Texts":
        """Some of the texts, without time that none of them needs."""
        tokens, mask = self.tokens[index], self.mask[index]
        start = int(mask.any(0).int().argmax()) if len(mask) else 0
        return Texts(tokens[:, start:], mask[:, start:])

    def decoded(self, tokenizer: Any) -> list[str]:
        return [tokenizer.decode(row[m]).strip() for row, m in zip(self.tokens, self.mask, strict=True)]


def encoded(tokenizer: Any, texts: Sequence[str], longest: int | None = None) -> Texts:
    """Tokens of texts, without special ones, the first `longest` of each. BadInput for an empty text or list."""
    refuse_text(texts, "texts", "a list of texts")
    rows = []
    for text in texts:
        row = tokenizer(text, add_special_tokens=False).input_ids[:longest]
        if not row:
            raise BadInput("a text is empty: it has no token to match")
        rows.append(row)
    if not rows:
        raise BadInput("there is no text")
    return from_rows(rows, pad_of(tokenizer))


def from_rows(rows: Sequence[Sequence[int]], pad: int) -> Texts:
    """Rows of tokens, filled up in front."""
    longest = max(map(len, rows))
    tokens = [[pad] * (longest - len(row)) + list(row) for row in rows]
    mask = [[False] * (longest - len(row)) + [True] * len(row) for row in rows]
    return Texts(torch.tensor(tokens), torch.tensor(mask))


def joined(parts: Sequence[Texts]) -> Texts:
    """All texts of several, in order."""
    longest = max(part.tokens.shape[1] for part in parts)

    def widened(tensor: Tensor) -> Tensor:
        return torch.nn.functional.pad(tensor, (longest - tensor.shape[1], 0))

    return Texts(
        torch.cat([widened(part.tokens) for part in parts]), torch.cat([widened(part.mask) for part in parts])
    )


def prompt_tokens(tokenizer: Any, task: Task) -> list[int]:
    """Tokens of what stands between a text and its label."""
    return tokenizer(task.prompt, add_special_tokens=False).input_ids


def word_tokens(tokenizer: Any, task: Task) -> list[int]:
    """The token that names each label, in order. BadInput where two labels have the same."""
    found = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in task.words.values()]
    if len(set(found)) < len(found):
        raise BadInput(
            f"the words {', '.join(map(repr, task.words.values()))} begin with one token for two labels"
        )
    return found
