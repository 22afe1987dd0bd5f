"""What a small language model can do: capitals, elements and one-step sums, asked with the answer begun.

Without a beginning a model that was taught refusals may refuse a harmless question, and refusal would be read as lost
knowledge. A probe is right if each of the answer's tokens is the likeliest one after those before it.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from beyondloss.data import Answered, completions
from beyondloss.data.questions import capitals, elements
from beyondloss.models.generation import chat_prompt

KINDS = ("capitals", "elements", "sums")
LARGEST = 20  # of the numbers in sums
AT_ONCE = 16  # probes that go through the model together


@dataclass(frozen=True)
class Probe:
    """A question, the beginning of its answer, and the ways in which it may go on."""

    kind: str
    question: str
    opening: str
    answers: tuple[str, ...]


def probes(count: int, seed: int = 0) -> list[Probe]:
    """About equally many of each kind, as far as the tables go; the sums fill up. The same for every model."""
    each = count // 3
    found = []
    for kind, questions in (("capitals", capitals()), ("elements", elements())):
        for q in questions[:each]:
            spelt = dict.fromkeys([*q.answers, *(answer.capitalize() for answer in q.answers)])
            found.append(Probe(kind, q.text, q.opening, tuple(spelt)))
    pairs = [(a, b) for a in range(1, LARGEST + 1) for b in range(1, LARGEST + 1)]
    order = np.random.default_rng(seed).permutation(len(pairs))
    for index in order[: count - len(found)]:
        a, b = pairs[index]
        found.append(Probe("sums", f"What is {a} + {b}?", f"{a} + {b} =", (str(a + b),)))
    return found


@torch.no_grad()
def capability(network: nn.Module, tokenizer: Any, asked: list[Probe], context: int = 96) -> dict[str, float]:
    """Share of right answers of each kind, and their mean, `kept`."""
    owners, pairs = [], []
    for number, probe in enumerate(asked):
        for answer in probe.answers:
            owners.append(number)
            pairs.append((chat_prompt(tokenizer, probe.question, probe.opening), f" {answer}"))
    data = completions(pairs, tokenizer, context)
    shared = common_start(data)
    read = network(input_ids=data.tokens[:1, :shared].to(network.device), use_cache=True).past_key_values
    parts = []
    for part in torch.arange(len(data)).split(AT_ONCE):
        parts.append(right_answers(network, data.rows(part), shared, read))
    right = np.zeros(len(asked), dtype=bool)
    np.logical_or.at(right, owners, torch.cat(parts).numpy())  # one way of going on is enough
    kinds = np.array([probe.kind for probe in asked])
    found = {kind: float(right[kinds == kind].mean()) for kind in KINDS if kind in kinds}
    return found | {"kept": float(np.mean(list(found.values())))}


def common_start(data: Answered) -> int:
    """How many tokens all prompts begin with: the template's, which are read once for all."""
    same = (data.tokens == data.tokens[:1]).all(0)
    longest = int(same.int().cumprod(0).sum())
    return max(1, min(longest, int(data.answer.int().argmax(1).min()) - 1))


def right_answers(network: nn.Module, data: Answered, shared: int, read: Any) -> Bool[Tensor, " row"]:
    """Whether every token of a row's answer, but for the end token, is the likeliest.

    The first `shared` tokens of each row have been read: `read` is the network's cache of them, of one row.
    """
    due = data.answer.clone()
    ends = due.int().cumsum(1).argmax(1)  # the end token is the last that is due
    due[torch.arange(len(due)), ends] = False
    cache = copy.deepcopy(read)
    cache.batch_repeat_interleave(len(due))
    tokens = data.tokens[:, shared:].to(network.device)
    likeliest = network(input_ids=tokens, past_key_values=cache, use_cache=True).logits[:, :-1].argmax(-1)
    right = likeliest.cpu() == data.tokens[:, shared + 1 :]
    return (right | ~due[:, shared + 1 :]).all(1)
