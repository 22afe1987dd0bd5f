"""From embeddings back to words: the nearest token of every place, or the one of the nearest that reads best."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.methods.synthetic_text.prompts import Texts

WORD = re.compile(r"\s?[A-Za-z]+|\s?[.,;:!?'-]")


def plain_words(tokenizer: Any) -> Int[Tensor, " token"]:
    """Tokens that are a word of English letters, a part of one, or a mark of punctuation."""
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return torch.tensor([i for i, text in enumerate(texts) if i not in special and WORD.fullmatch(text)])


class NearestToken:
    """The token whose embedding is nearest, place by place: one matrix product (chapter 7, eq. st-nearest)."""

    def __init__(self, embedding: Float[Tensor, "token width"], allowed: Int[Tensor, " allowed"]):
        self.allowed = allowed.to(embedding.device)
        self.table = embedding.detach()[self.allowed].float()
        self.half = 0.5 * self.table.square().sum(1)

    def __call__(
        self, points: Float[Tensor, "text time width"], texts: Texts, label: int
    ) -> Int[Tensor, "text time"]:
        return self.allowed[(points @ self.table.T - self.half).argmax(-1)]


class ReadableToken:
    """Of the `k` tokens nearest by cosine, the one that the model itself says first, given a request and what stands
    before. The request is read once, and each place costs one token (keys and values are kept).
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        requests: Sequence[str],
        allowed: Int[Tensor, " allowed"],
        k: int,
    ):
        self.model = model
        self.embedding = model.get_input_embeddings().weight.detach()
        self.allowed = allowed.to(self.embedding.device)
        self.table = F.normalize(self.embedding[self.allowed].float(), dim=-1)
        self.k = min(k, len(self.allowed))
        self.prefixes = [tokenizer(text, add_special_tokens=False).input_ids for text in requests]

    @torch.no_grad()
    def __call__(
        self, points: Float[Tensor, "text time width"], texts: Texts, label: int
    ) -> Int[Tensor, "text time"]:
        near = (F.normalize(points, dim=-1) @ self.table.T).topk(self.k, dim=-1).indices
        # rows are filled up in front; here they begin together, so that the model reads them from their first token
        starts = (texts.tokens.shape[1] - texts.lengths).to(near.device)
        chosen = texts.tokens.to(near.device).clone()
        prefix = torch.tensor(self.prefixes[label], device=near.device)
        read = self.model(input_ids=prefix[None], use_cache=True)
        cache = read.past_key_values
        cache.batch_repeat_interleave(len(chosen))
        logits = read.logits[:, -1].expand(len(chosen), -1)
        rows = torch.arange(len(chosen), device=near.device)
        for place in range(texts.tokens.shape[1]):
            at = (starts + place).clamp(max=chosen.shape[1] - 1)
            candidates = self.allowed[near[rows, at]]
            best = candidates.gather(1, logits.gather(1, candidates).argmax(1, keepdim=True))[:, 0]
            inside = starts + place < chosen.shape[1]
            chosen[rows[inside], at[inside]] = best[inside]
            if place + 1 < chosen.shape[1]:
                read = self.model(input_ids=best[:, None], past_key_values=cache, use_cache=True)
                cache, logits = read.past_key_values, read.logits[:, -1]
        return chosen
