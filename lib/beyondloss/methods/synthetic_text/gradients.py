"""Gradients of the last layer, in closed form, and the distance of a set of texts from a target.

The gradient of one text's loss in the head's weights is (p - e_y) h^T: the last hidden state h is all that it
takes from the network. So matching needs one ordinary backward pass, and no gradient of a gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.choices import choose
from beyondloss.methods.synthetic_text.prompts import Task, Texts, prompt_tokens, word_tokens
from beyondloss.trainers.fine_tuning import body

Kind = Literal["cosine", "squared"]


@dataclass(frozen=True, eq=False)
class Head:
    """A copy of the output layer, or of the rows that name the labels: a tied embedding stays out of its gradient.

    labels: row of each label's word.
    """

    weights: Float[Tensor, "word width"]
    bias: Float[Tensor, " word"]
    labels: Int[Tensor, " label"]

    def logits(self, hidden: Float[Tensor, "text width"]) -> Float[Tensor, "text word"]:
        return hidden @ self.weights.T + self.bias

    def residuals(self, hidden: Float[Tensor, "text width"], label: int) -> Float[Tensor, "text word"]:
        """p - e_y of texts of one label."""
        p = self.logits(hidden).softmax(-1)
        return p - F.one_hot(self.labels[label], p.shape[1]).to(p)


def head_of(model: nn.Module, tokenizer: Any, task: Task, words: Literal["labels", "all"] = "labels") -> Head:
    """The head of a causal language model, restricted to the words of the labels or with all words."""
    layer, tokens = model.get_output_embeddings(), torch.tensor(word_tokens(tokenizer, task))
    weights = layer.weight.detach().float()
    bias = torch.zeros(len(weights), device=weights.device)
    if getattr(layer, "bias", None) is not None:
        bias = layer.bias.detach().float()
    tokens = tokens.to(weights.device)
    if choose("words of the head", words, ("labels", "all")) == "labels":
        return Head(
            weights[tokens].clone(), bias[tokens].clone(), torch.arange(len(tokens), device=weights.device)
        )
    return Head(weights.clone(), bias.clone(), tokens)


class Reader:
    """Last hidden states of a model at the place where it says the label."""

    def __init__(self, model: nn.Module, tokenizer: Any, task: Task):
        self.model, self.embedding = model, model.get_input_embeddings()
        self.prompt = torch.tensor(prompt_tokens(tokenizer, task), device=self.embedding.weight.device)

    def embed(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any width"]:
        return self.embedding(tokens.to(self.prompt.device)).float()

    def states(
        self, embeds: Float[Tensor, "text time width"], mask: Bool[Tensor, "text time"]
    ) -> Float[Tensor, "text hidden"]:
        """Hidden states behind texts that are given as embeddings, and the prompt; differentiable in them."""
        prompt = self.embedding(self.prompt).expand(len(embeds), -1, -1)
        seen = F.pad(mask.to(embeds.device).long(), (0, len(self.prompt)), value=1)
        read = body(self.model)(
            inputs_embeds=torch.cat([embeds.to(prompt.dtype), prompt], 1),
            attention_mask=seen,
            position_ids=(seen.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        )
        return read.last_hidden_state[:, -1].float()

    @torch.no_grad()
    def read(self, texts: Texts, batch: int = 32) -> Float[Tensor, "text hidden"]:
        """Hidden states behind texts, texts of like length together."""
        order = texts.lengths.argsort()
        parts = []
        for index in order.split(batch):
            part = texts.rows(index)
            parts.append(self.states(self.embed(part.tokens), part.mask))
        return torch.cat(parts)[order.argsort()]


@dataclass(frozen=True, eq=False)
class Target:
    """A gradient of the head that a set of texts of one label is to have."""

    label: int
    weights: Float[Tensor, "word width"]

    def inner(
        self, hidden: Float[Tensor, "text width"], residual: Float[Tensor, "text word"]
    ) -> Float[Tensor, ""]:
        """Product of the set's mean gradient with the target, by its factors (chapter 7, eq. st-product)."""
        return ((residual @ self.weights) * hidden).sum() / len(hidden)

    def distance(
        self, hidden: Float[Tensor, "text width"], head: Head, kind: Kind = "cosine"
    ) -> Float[Tensor, ""]:
        """How far the mean gradient of texts is: 1 - cosine, or the square of the distance over the target's."""
        residual = head.residuals(hidden, self.label)
        inner = self.inner(hidden, residual)
        size = ((residual @ residual.T) * (hidden @ hidden.T)).mean()
        own = self.weights.square().sum()
        if choose("distance", kind, ("cosine", "squared")) == "cosine":
            return 1 - inner / (size.clamp(min=1e-20) * own).sqrt()
        return (size - 2 * inner + own) / own


def head_gradient(
    hidden: Float[Tensor, "text width"], head: Head, label: int, clip: float | None = None
) -> Float[Tensor, "word width"]:
    """Mean gradient of texts of one label in the head's weights; that of each text is first clipped to norm `clip`."""
    residual = head.residuals(hidden, label)
    if clip is not None:
        norms = residual.norm(dim=1) * hidden.norm(dim=1)
        residual = residual * (clip / norms.clamp(min=1e-20)).clamp(max=1)[:, None]
    return residual.T @ hidden / len(hidden)


def targets_of(reader: Reader, head: Head, texts: Sequence[Texts], clip: float | None = None) -> list[Target]:
    """The mean gradient of each label's real texts."""
    return [
        Target(label, head_gradient(reader.read(part), head, label, clip)) for label, part in enumerate(texts)
    ]
