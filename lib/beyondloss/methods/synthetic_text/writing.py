"""Texts that a language model writes when it is asked for a label, and random ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from beyondloss.experiment import BadInput
from beyondloss.methods.synthetic_text.projection import plain_words
from beyondloss.methods.synthetic_text.prompts import Task, Texts, encoded, from_rows
from beyondloss.models.generation import Sampling, generate, pad_of

LEAST = 3  # words of a text
ROUNDS = 6  # how often more is asked for before giving up


def written(
    model: nn.Module,
    tokenizer: Any,
    task: Task,
    label: str,
    count: int,
    *,
    temperature: float = 1.0,
    longest: int = 24,
    examples: Sequence[str] = (),
    shots: int = 0,
    seed: int = 0,
) -> list[str]:
    """`count` different texts of a label, of one line, of at most `longest` tokens each.

    With `shots`, so many of the real `examples` stand in each request, drawn anew for every request. BadInput where the
    model writes too few texts of at least three words.
    """
    found: dict[str, None] = {}
    for turn in range(ROUNDS):
        missing = count - len(found)
        many = missing + missing // 4 + 1
        requests, samples = [task.request(tokenizer, label)], many
        if shots:
            requests = [task.request(tokenizer, label, s) for s in shown(examples, shots, many, [seed, turn])]
            samples = 1
        how = Sampling(longest, temperature, top_p=0.95, samples=samples, seed=100 * seed + turn)
        for row in generate(model, tokenizer, requests, how, batch=32):
            for said in row:
                if len((text := cleaned(said.text)).split()) >= LEAST:
                    found[text] = None
        if len(found) >= count:
            return list(found)[:count]
    raise BadInput(
        f"the model wrote {len(found)} different texts of the label {label}, {count} were asked for"
    )


def shown(examples: Sequence[str], shots: int, requests: int, seed: list[int]) -> list[list[str]]:
    """For every request its real examples, drawn without replacement. BadInput where there are too few."""
    if shots > len(examples):
        raise BadInput(f"{shots} examples are to be shown, {len(examples)} are there")
    rng = np.random.default_rng([13, *seed])
    return [[examples[i] for i in rng.permutation(len(examples))[:shots]] for _ in range(requests)]


def cleaned(text: str) -> str:
    """The first line that says something, without the marks of a list or a quotation."""
    for line in text.splitlines():
        if line := line.strip().lstrip("-*0123456789. ").strip("\"'` "):
            return line
    return ""


def random_tokens(tokenizer: Any, count: int, length: int, seed: int) -> Texts:
    """Texts of plain words at random."""
    words = plain_words(tokenizer).numpy()
    drawn = np.random.default_rng([14, seed]).choice(words, (count, length))
    return from_rows(drawn.tolist(), pad_of(tokenizer))


def mean_length(tokenizer: Any, texts: Sequence[str], longest: int) -> int:
    """Mean number of tokens, at most `longest`."""
    return int(encoded(tokenizer, texts, longest).lengths.float().mean().round())
