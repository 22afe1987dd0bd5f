"""Texts whose gradient matches a target: alternating updates over embeddings and words (chapter 7, eq. st-updates)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beyondloss.methods.synthetic_text.gradients import Head, Kind, Reader, Target
from beyondloss.methods.synthetic_text.prompts import Texts

Project = Callable[[Float[Tensor, "text time width"], Texts, int], Int[Tensor, "text time"]]


@dataclass(frozen=True)
class Matching:
    """How texts are matched.

    start: from texts that the model writes, or from random embeddings of `size`, the best of `tries` sets.
    words: take the nearest token that reads best ("readable", of `nearest`), just the nearest, or no token at all.
    rho: weight of the distance between embeddings and words. outer, inner: rounds, and steps of Adam in each.
    at_once: texts whose joint gradient is matched. vocabulary: rows of the head whose gradient it is.
    keep: whether a text is exchanged only where that brings the joint gradient nearer, or the best round taken whole.
    """

    distance: Kind = "cosine"
    start: Literal["generated", "random"] = "generated"
    words: Literal["readable", "nearest", "none"] = "readable"
    nearest: int = 200
    rho: float = 1.0
    lr: float = 0.008
    outer: int = 4
    inner: int = 6
    at_once: int = 8
    vocabulary: Literal["labels", "all"] = "labels"
    keep: Literal["text", "round"] = "text"
    size: float = 1.4
    tries: int = 500
    seed: int = 0

    def __post_init__(self):
        if not (self.rho > 0 and self.lr > 0 and self.size > 0):
            raise ValueError(f"rho, lr and size must be positive: {self.rho}, {self.lr}, {self.size}")
        if min(self.outer, self.inner, self.at_once, self.nearest, self.tries) < 1:
            raise ValueError("outer, inner, at_once, nearest and tries must be at least 1")


PUBLISHED = Matching(start="random", rho=0.1, outer=30, inner=50, at_once=10, vocabulary="all", keep="round")


@dataclass(eq=False)
class Matched:
    """A set of one label. trace: one row a round, of distances and of how far embeddings are from words."""

    texts: Texts
    hidden: Float[Tensor, "text width"]
    embeds: Float[Tensor, "text time width"]
    distance: float
    trace: list[dict] = field(default_factory=list)


def match(
    reader: Reader, head: Head, target: Target, start: Texts, project: Project, how: Matching, batch: int = 0
) -> Matched:
    """Texts of one label whose joint gradient is near the target's, from `start`, whose lengths they keep.

    batch: number of the set, which random embeddings belong to.
    """
    embeds = beginning(reader, head, target, start, how, batch)
    found = opening(reader, head, target, start, embeds, how)
    x, multiplier = embeds.detach().clone(), torch.zeros_like(embeds)
    kept = start.mask.to(x.device)[..., None]
    for _ in range(how.outer):
        aim = x + multiplier / how.rho
        tokens = project(aim.detach(), start, target.label) if how.words != "none" else None
        z = reader.embed(tokens).detach() if tokens is not None else aim.detach()
        if tokens is not None:
            consider(found, reader, head, target, Texts(tokens.cpu(), start.mask), how)
        x, own = steps(x, z, multiplier, kept, reader, head, target, start, how)
        multiplier = (multiplier + how.rho * (x - z)) * kept
        found.trace.append(
            {
                "distance_of_embeddings": own,
                "distance_of_words": found.distance,
                "apart": float(((x - z) * kept).norm() / kept.sum().sqrt()),
            }
        )
    found.embeds = x.detach()
    if how.words == "none":
        with torch.no_grad():
            found.hidden = reader.states(x, start.mask)
            found.distance = float(target.distance(found.hidden, head, how.distance))
    else:  # the last embeddings, in words
        tokens = project((x + multiplier / how.rho).detach(), start, target.label)
        consider(found, reader, head, target, Texts(tokens.cpu(), start.mask), how)
    return found


def steps(
    x: Tensor,
    z: Tensor,
    multiplier: Tensor,
    kept: Tensor,
    reader: Reader,
    head: Head,
    target: Target,
    start: Texts,
    how: Matching,
) -> tuple[Tensor, float]:
    """Inner steps of Adam on the distance and rho / 2 |x - z + multiplier / rho|^2; the distance before the last."""
    x = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=how.lr)
    own = torch.zeros(())
    for _ in range(how.inner):
        optimizer.zero_grad()
        own = target.distance(reader.states(x, start.mask), head, how.distance)
        pull = 0.0
        if how.words != "none":
            pull = how.rho / 2 * (((x - z + multiplier / how.rho) * kept) ** 2).sum()
        (x.grad,) = torch.autograd.grad(own + pull, x)
        torch.nn.utils.clip_grad_norm_([x], 1.0)
        optimizer.step()
    return x.detach(), own.item()


def beginning(
    reader: Reader, head: Head, target: Target, start: Texts, how: Matching, batch: int
) -> Float[Tensor, "text time width"]:
    """Embeddings to start from: those of the texts, or the best of many random sets with rows of length `size`."""
    embeds = reader.embed(start.tokens).detach()
    if how.start == "generated":
        return embeds
    generator = torch.Generator().manual_seed(1000 * how.seed + 10 * batch + target.label)
    best, least = embeds, torch.inf
    for _ in range(how.tries):
        tried = torch.randn(embeds.shape, generator=generator).to(embeds)
        tried = how.size * tried / tried.norm(dim=-1, keepdim=True)
        with torch.no_grad():
            far = float(target.distance(reader.states(tried, start.mask), head, how.distance))
        if far < least:
            best, least = tried, far
    return best


def opening(
    reader: Reader, head: Head, target: Target, start: Texts, embeds: Tensor, how: Matching
) -> Matched:
    """What is there before the first round. Random embeddings have no words yet, so any words are nearer."""
    with torch.no_grad():
        hidden = reader.states(embeds, start.mask)
        own = float(target.distance(hidden, head, how.distance))
    worded = how.start == "generated" or how.words == "none"
    return Matched(start, hidden, embeds, own if worded else torch.inf)


def consider(found: Matched, reader: Reader, head: Head, target: Target, new: Texts, how: Matching) -> None:
    """Take over the new words, text by text or all together, where the joint gradient comes nearer."""
    hidden = reader.read(new)
    if how.keep == "round" or found.distance == torch.inf:
        far = float(target.distance(hidden, head, how.distance))
        if far < found.distance:
            found.texts, found.hidden, found.distance = new, hidden, far
        return
    tokens, states = found.texts.tokens.clone(), found.hidden.clone()
    for row in range(len(new)):
        tried = states.clone()
        tried[row] = hidden[row]
        far = float(target.distance(tried, head, how.distance))
        if far < found.distance:
            states, found.distance = tried, far
            tokens[row] = new.tokens[row]
    found.texts, found.hidden = Texts(tokens, new.mask), states
