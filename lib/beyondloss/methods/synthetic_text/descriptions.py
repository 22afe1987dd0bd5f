"""What texts are like: how likely a model finds them, how varied they are, and how near to a real example."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from beyondloss.methods.synthetic_text.prompts import Texts
from beyondloss.models.generation import pad_of


@torch.no_grad()
def surprise(model: nn.Module, tokenizer: Any, texts: Texts, batch: int = 32) -> float:
    """Mean negative log-likelihood of a token, in nats, given those before it; the first token is given."""
    total, count, device = 0.0, 0, next(model.parameters()).device
    for index in torch.arange(len(texts)).split(batch):
        part = texts.rows(index)
        longest = int(part.lengths.max())
        rows = [row[m].tolist() for row, m in zip(part.tokens, part.mask, strict=True)]
        filled = [row + [pad_of(tokenizer)] * (longest - len(row)) for row in rows]
        tokens = torch.tensor(filled, device=device)
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
        lost = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        said = torch.arange(1, longest, device=device) < part.lengths.to(device)[:, None]
        total, count = total + float(lost[said].sum()), count + int(said.sum())
    return total / count


def words_of(text: str) -> list[str]:
    return [word.strip(".,;:!?'\"()").lower() for word in text.split() if word.strip(".,;:!?'\"()")]


def pieces(text: str, size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words."""
    words = words_of(text)
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]


def diversity(texts: Sequence[str], size: int = 2) -> float:
    """Share of the runs of words in all texts that are different ones."""
    found = [piece for text in texts for piece in pieces(text, size)]
    return len(set(found)) / len(found) if found else 0.0


def copied(texts: Sequence[str], real: Sequence[str], size: int = 4) -> float:
    """Share of the runs of `size` words that also stand in a real example."""
    known = {piece for text in real for piece in pieces(text, size)}
    found = [piece for text in texts for piece in pieces(text, size)]
    return sum(piece in known for piece in found) / len(found) if found else 0.0


def nearest_real(texts: Sequence[str], real: Sequence[str]) -> float:
    """Mean over texts of the largest share of words that one real example has in common (Jaccard)."""
    sets = [set(words_of(text)) for text in real]
    best = []
    for text in texts:
        own = set(words_of(text))
        best.append(max(len(own & other) / max(1, len(own | other)) for other in sets))
    return sum(best) / len(best)
