"""Which window of mask rates makes the better language model? (chapter 3, section 9)"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beyondloss.data import TokenStream, python_documentation, wikitext
from beyondloss.experiment import checkpoint_file
from beyondloss.methods.masked_diffusion import masking
from beyondloss.models import Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import Streams, TrainConfig, seeded_networks, train

RATES = tuple(
    round(0.05 * i, 2) for i in range(1, 20)
)  # where CE(t) is measured; their mean is the reported bound

TENTHS = [f"[{low / 10:.1f}, {(low + 1) / 10:.1f}]" for low in range(10)]
ARMS = {  # name -> (law, weight 1/t)
    "[0, 1]": (masking.uniform(), True),
    "[0, 1], unweighted": (masking.uniform(), False),
    "[0, 1], stratified": (masking.uniform(stratified=True), True),
    "[0.15, 0.25]": (masking.uniform(0.15, 0.25), True),
    "[0.45, 0.55]": (masking.uniform(0.45, 0.55), True),
    "[0.75, 0.85]": (masking.uniform(0.75, 0.85), True),
    "[0.2, 0.8]": (masking.uniform(0.2, 0.8), True),
} | {name: (masking.uniform(low / 10, (low + 1) / 10), True) for low, name in enumerate(TENTHS)}

TEXTS = {"python documentation": python_documentation, "wikitext-103": wikitext}


@dataclass(frozen=True)
class LanguagePoint:
    """Train one masked-diffusion language model with one law of the mask rate; evaluate it over all rates."""

    arm: Literal[*ARMS]
    text: Literal[*TEXTS] = "python documentation"
    layers: int = 2
    heads: int = 4
    width: int = 64
    context: int = 64
    steps: int = 600
    batch: int = 32
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.01
    evaluated: int = 64  # held-out sequences
    denoising_steps: int = 16  # of the sample that the explorer shows
    precision: str = "float32"
    compile: bool = False
    device: str = "cpu"
    seed: int = 0


@cache
def text_of(name: str) -> TokenStream:
    return TEXTS[name]()


def run_language(points: Sequence[LanguagePoint]) -> list[dict]:
    """Measure points that differ in the seed alone: cross-entropy at each mask rate, and a sample as it is denoised."""
    point, seeds = points[0], [p.seed for p in points]
    text, (law, weighted) = text_of(point.text), ARMS[point.arm]
    tokens, hidden_token = text.train.to(point.device), text.vocabulary
    model = seeded_networks(lambda: Transformer(network_config(point, text)), seeds, point.device)

    def objective(forward: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        batch = random_windows(tokens, point.context, point.batch, streams)
        rates = law.sample(streams, point.batch)
        masked = masking.draw_masks(rates, point.context, streams)
        losses = token_losses(forward, batch, masked, hidden_token)
        return masking.diffusion_loss(losses, masked, rates, weighted)

    streams = Streams(seeds, point.device)
    history = train(model, objective, train_config(point), streams, checkpoint=checkpoint_file())
    model.eval()
    curves = cross_entropy_by_rate(model, held_out_windows(text, point), hidden_token)
    samples = denoise(model, point.context, hidden_token, point.denoising_steps, Streams(seeds, point.device))
    return [
        {
            "bound": float(np.mean(curves[member])),
            "cross_entropy": curves[member],
            "sample": [shown(text, row[member], hidden_token) for row in samples],
            "parameters": sum(p.numel() for p in model.parameters()) // len(points),
            "diverged_at": history.diverged_at[member],
        }
        for member in range(len(points))
    ]


def network_config(point: LanguagePoint, text: TokenStream) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=text.vocabulary + 1,  # and the mask
        context=point.context,
        n_layers=point.layers,
        n_heads=point.heads,
        d_model=point.width,
        bidirectional=True,
    )


def train_config(point: LanguagePoint) -> TrainConfig:
    return TrainConfig(
        steps=point.steps,
        lr=point.lr,
        schedule="cosine",
        warmup=point.warmup,
        weight_decay=point.weight_decay,
        checkpoint_every=5000,
        precision=point.precision,
        compile=point.compile,
    )


def random_windows(
    tokens: Int[Tensor, " time"], context: int, batch: int, streams: Streams
) -> Int[Tensor, "member batch position"]:
    start = streams.integers(len(tokens) - context, batch)
    return tokens[start[..., None] + torch.arange(context, device=tokens.device)].long()


def held_out_windows(text: TokenStream, point: LanguagePoint) -> Int[Tensor, "batch position"]:
    """The same evenly spread held-out windows for every arm and seed."""
    start = torch.linspace(0, len(text.held_out) - point.context - 1, point.evaluated).long()
    return text.held_out[start[:, None] + torch.arange(point.context)].long().to(point.device)


def token_losses(
    forward: Ensemble,
    tokens: Int[Tensor, "member batch position"],
    masked: Tensor,
    hidden_token: int,
) -> Float[Tensor, "member batch position"]:
    """Cross-entropy of every token given the shown ones, in nats."""
    logits = forward(masking.hide(tokens, masked, hidden_token))[..., :hidden_token]
    return F.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none").view_as(tokens)


@torch.no_grad()
def cross_entropy_by_rate(
    forward: Ensemble, windows: Int[Tensor, "batch position"], hidden_token: int
) -> list[list[float]]:
    """CE(t) for t in `RATES`: mean loss of a masked token, one list a member; the same masks for everyone."""
    tokens = windows.expand(forward.members, *windows.shape)
    draws = torch.rand(windows.shape, generator=torch.Generator().manual_seed(0)).to(windows.device)
    curve = []
    for rate in RATES:
        masked = (draws < rate).expand_as(tokens)
        losses = token_losses(forward, tokens, masked, hidden_token)
        curve.append((losses * masked).sum((1, 2)) / masked.sum((1, 2)))
    return torch.stack(curve, dim=1).tolist()


@torch.no_grad()
def denoise(
    forward: Ensemble, context: int, hidden_token: int, steps: int, streams: Streams
) -> list[Int[Tensor, "member position"]]:
    """Reveal a wholly masked text in random order, drawing each token from the model; every stage is returned."""
    order = streams.uniform(context).argsort(-1)
    tokens = torch.full_like(order, hidden_token)
    stages = [tokens]
    for step in range(steps):
        probabilities = forward(tokens[:, None])[:, 0, :, :hidden_token].float().softmax(-1)
        draws = (streams.uniform(context, 1) > probabilities.cumsum(-1)).sum(-1).clamp(max=hidden_token - 1)
        low, high = step * context // steps, (step + 1) * context // steps
        reveal = (order >= low) & (order < high)
        tokens = torch.where(reveal, draws, tokens)
        stages.append(tokens)
    return stages


def shown(text: TokenStream, tokens: Int[Tensor, " position"], hidden_token: int, mark: str = "░") -> str:
    """A partly masked text to be read, with a mark for each masked token and for each line break."""
    pieces = [mark if t == hidden_token else text.decode(t[None]) for t in tokens.cpu()]
    return "".join(pieces).replace("\n", "⏎")
