"""What a set of texts teaches the head, a LoRA or all weights of a model, and how it classifies then.

Every setting is a learning rate and a number of steps, "RATE after STEPS". All are measured at once, and which counts
is chosen elsewhere, on seeds of its own.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.choices import choose
from beyondloss.data import Answered
from beyondloss.methods.synthetic_text.gradients import Head, Reader, head_of
from beyondloss.methods.synthetic_text.prompts import Task, Texts, prompt_tokens, word_tokens
from beyondloss.models.generation import pad_of
from beyondloss.trainers import TrainConfig
from beyondloss.trainers.fine_tuning import AnswerLosses, Lora, fine_tune, with_lora

Tuned = Literal["head", "lora", "all"]


@dataclass(frozen=True)
class Learning:
    """What is tuned, and the settings at which it is measured."""

    tuned: Tuned = "head"
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    steps: tuple[int, ...] = (10, 30, 100)
    batch: int = 16
    lora: Lora = Lora(16)  # noqa: RUF009 it is frozen

    def __post_init__(self):
        choose("part that is tuned", self.tuned, ("head", "lora", "all"))
        if not self.rates or not self.steps or min(self.steps) < 1 or min(self.rates) <= 0:
            raise ValueError("there must be learning rates and steps, all positive")

    @property
    def settings(self) -> list[str]:
        return [f"{rate:g} after {steps}" for rate in self.rates for steps in sorted(self.steps)]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Texts to learn from; `embeds` stand in place of their tokens where they have no words."""

    texts: Texts
    labels: Int[Tensor, " text"]
    embeds: Float[Tensor, "text time width"] | None = None


Judge = Callable[[Float[Tensor, "text label"]], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Bench:
    """A model as it stands, and texts whose logits are looked at after learning, read once by it."""

    model: nn.Module
    tokenizer: Any
    task: Task
    judged: Texts
    states: Float[Tensor, "text width"]

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Any, task: Task, judged: Texts) -> "Bench":
        return cls(model, tokenizer, task, judged, Reader(model, tokenizer, task).read(judged))

    @property
    def head(self) -> Head:
        return head_of(self.model, self.tokenizer, self.task)


def learn(
    bench: Bench, data: Labelled, how: Learning, seed: int = 0
) -> dict[str, Float[Tensor, "text label"]]:
    """Setting -> logits of the labels for the texts that are judged, after learning from `data`."""
    if how.tuned == "head":
        return heads(bench, data, how)
    found = {}
    for rate in how.rates:
        found |= networks(bench, data, how, rate, seed)
    return found


def heads(bench: Bench, data: Labelled, how: Learning) -> dict[str, Float[Tensor, "text label"]]:
    """The rows of the labels' words alone are tuned, on states that stay as they are, by all texts at every step."""
    reader = Reader(bench.model, bench.tokenizer, bench.task)
    if data.embeds is None:
        states = reader.read(data.texts)
    else:
        with torch.no_grad():
            states = reader.states(data.embeds, data.texts.mask)
    labels, found = data.labels.to(states.device), {}
    for rate in how.rates:
        start = bench.head
        weights, bias = (part.clone().requires_grad_() for part in (start.weights, start.bias))
        optimizer = torch.optim.Adam([weights, bias], lr=rate)
        for step in range(1, max(how.steps) + 1):
            optimizer.zero_grad()
            F.cross_entropy(states @ weights.T + bias, labels).backward()
            optimizer.step()
            if step in how.steps:
                tuned = replace(start, weights=weights.detach(), bias=bias.detach())
                found[f"{rate:g} after {step}"] = tuned.logits(bench.states)
    return found


def networks(
    bench: Bench, data: Labelled, how: Learning, rate: float, seed: int
) -> dict[str, Float[Tensor, "text label"]]:
    """The same with a LoRA or with all weights, the loss being that of the label's word among all words."""
    network = copy.deepcopy(bench.model)
    network.requires_grad_(how.tuned == "all")
    if how.tuned == "lora":
        network = with_lora(network, how.lora, seed)
    model, found = AnswerLosses(network), {}

    def look(model: AnswerLosses) -> dict[str, float]:
        found[len(found)] = judged_by(network, bench)
        return {"looked": 1.0}

    steps = sorted(how.steps)
    rows = as_answers(bench, data)
    for done, more in zip([0, *steps], steps, strict=False):
        settings = TrainConfig(steps=more - done, lr=rate, betas=(0.9, 0.999))
        fine_tune(model, rows, settings, min(how.batch, len(rows)), seed + 1000 * done, evaluate=look)
    return {f"{rate:g} after {step}": logits for step, logits in zip(steps, found.values(), strict=True)}


def as_answers(bench: Bench, data: Labelled) -> Answered:
    """Texts with their prompt as rows whose last token, the label's word, is learned."""
    words, prompt = word_tokens(bench.tokenizer, bench.task), prompt_tokens(bench.tokenizer, bench.task)
    reader = Reader(bench.model, bench.tokenizer, bench.task)
    rows, embeds = [], []
    longest = int(data.texts.lengths.max()) + len(prompt) + 1
    for place, (row, mask) in enumerate(zip(data.texts.tokens, data.texts.mask, strict=True)):
        line = [*row[mask].tolist(), *prompt, words[int(data.labels[place])]]
        rows.append(line + [pad_of(bench.tokenizer)] * (longest - len(line)))
        if data.embeds is not None:
            own = reader.embed(torch.tensor(rows[-1])).detach().clone()
            own[: int(mask.sum())] = data.embeds[place][mask]
            embeds.append(own)
    tokens = torch.tensor(rows)
    last = data.texts.lengths + len(prompt)
    answer = torch.arange(longest) == last[:, None]
    inputs = {"inputs_embeds": torch.stack(embeds)} if embeds else {}
    return Answered(tokens, answer, inputs).to(next(bench.model.parameters()).device)


@torch.no_grad()
def judged_by(network: nn.Module, bench: Bench) -> Float[Tensor, "text label"]:
    """Logits of the labels for the texts that are judged, by a tuned network."""
    states = Reader(network, bench.tokenizer, bench.task).read(bench.judged)
    return head_of(network, bench.tokenizer, bench.task).logits(states)


def accuracy(logits: Float[Tensor, "text label"], labels: Int[Tensor, " text"]) -> float:
    return float((logits.argmax(1) == labels.to(logits.device)).float().mean())


def calibrated(
    logits: Float[Tensor, "text label"], unlabelled: Float[Tensor, "other label"]
) -> Float[Tensor, "text label"]:
    """Logits without the labels' own advantage: less their median over texts whose labels nobody told."""
    return logits - unlabelled.median(0).values


def loss(logits: Float[Tensor, "text label"], labels: Int[Tensor, " text"]) -> Float[Tensor, " text"]:
    """Cross-entropy among the labels, of every text."""
    return F.cross_entropy(logits, labels.to(logits.device), reduction="none")
