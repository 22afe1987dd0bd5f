"""Does masked diffusion avoid grokking? One transformer, six objectives on parity (chapter 3, section 8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beyondloss.experiment import checkpoint_file
from beyondloss.methods.masked_diffusion import masking, theory
from beyondloss.methods.masked_diffusion.parity import MASK, VOCABULARY, parity_data
from beyondloss.models import Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import History, Streams, TrainConfig, seeded_networks, train

MEMORISED, GENERALISED = 0.99, 0.95  # label accuracy on the sample, and on held-out strings

DIFFUSION_LAWS = {
    "diffusion": lambda k: masking.uniform(),
    "diffusion, window": lambda k: masking.uniform(0, theory.optimal_edge(k)),
    "fixed rate": lambda k: masking.point_mass(0.15),  # the customary rate of masked language models
}
OBJECTIVES = ("label", "label, masked inputs", "autoregressive", *DIFFUSION_LAWS)


@dataclass(frozen=True)
class GrokkingPoint:
    """Train one transformer on `samples` strings of k-parity with one objective."""

    objective: Literal[*OBJECTIVES]
    samples: int
    weight_decay: float = 0.0
    n: int = 12
    k: int = 3
    layers: int = 2
    heads: int = 4
    width: int = 32
    steps: int = 3000
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 50
    held_out: int = 1000
    evaluate_every: int = 50
    device: str = "cpu"
    precision: str = "float32"
    seed: int = 0


def run_grokking(points: Sequence[GrokkingPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: when the sample is memorised, and when the rule is found."""
    point, seeds = points[0], [p.seed for p in points]
    data = parity_data(point.n, point.k, point.samples, point.held_out, seeds, point.device)
    model = seeded_networks(lambda: Transformer(network_config(point)), seeds, point.device)
    loss, causal = parity_loss(point.objective, point.k), point.objective == "autoregressive"

    def objective(forward: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        return loss(forward, data.batch(streams, point.batch), streams)

    def evaluate(forward: Ensemble) -> dict[str, list[float]]:
        return {
            "train_accuracy": label_accuracy(forward, data.train[:, :1000], causal),
            "held_out_accuracy": label_accuracy(forward, data.held_out, causal),
        }

    streams = Streams(seeds, point.device)
    history = train(model, objective, train_config(point), streams, evaluate, knows, checkpoint_file())
    return [describe(history, member) for member in range(len(points))]


def network_config(point: GrokkingPoint) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=VOCABULARY,
        context=point.n + 1,
        n_layers=point.layers,
        n_heads=point.heads,
        d_model=point.width,
        bidirectional=point.objective != "autoregressive",
    )


def train_config(point: GrokkingPoint) -> TrainConfig:
    return TrainConfig(
        steps=point.steps,
        lr=point.lr,
        weight_decay=point.weight_decay,
        warmup=point.warmup,
        evaluate_every=point.evaluate_every,
        checkpoint_every=5000,
        precision=point.precision,
    )


def knows(row: dict) -> bool:
    """A network tells the label of nearly all strings: more steps would show nothing."""
    return min(row["held_out_accuracy"]) >= 0.995 and min(row["train_accuracy"]) >= MEMORISED


def parity_loss(objective: str, k: int) -> Callable[[Ensemble, Tensor, Streams], Tensor]:
    """The loss of an objective on a batch of strings; all see as many strings and take as many forward passes."""
    if objective in DIFFUSION_LAWS:
        return lambda forward, strings, streams: diffusion(
            forward, strings, streams, DIFFUSION_LAWS[objective](k)
        )
    if objective == "autoregressive":
        return next_bit
    law = masking.uniform(0, theory.optimal_edge(k)) if objective == "label, masked inputs" else None
    return lambda forward, strings, streams: label_only(forward, strings, streams, law)


def diffusion(
    forward: Ensemble, strings: Int[Tensor, "member batch position"], streams: Streams, law: masking.MaskRate
) -> Float[Tensor, " member"]:
    """Cross-entropy at the masked positions of strings masked by `law`."""
    rates = law.sample(streams, strings.shape[1])
    masked = masking.draw_masks(rates, strings.shape[2], streams)
    logits = forward(masking.hide(strings, masked, MASK))
    return masking.diffusion_loss(token_losses(logits, strings), masked, rates, weighted=False)


def next_bit(
    forward: Ensemble, strings: Int[Tensor, "member batch position"], streams: Streams
) -> Float[Tensor, " member"]:
    """Cross-entropy of every bit, the label among them, given the bits before it."""
    logits = forward(strings)
    return token_losses(logits[:, :, :-1], strings[:, :, 1:]).mean((1, 2))


def label_only(
    forward: Ensemble,
    strings: Int[Tensor, "member batch position"],
    streams: Streams,
    law: masking.MaskRate | None,
) -> Float[Tensor, " member"]:
    """Cross-entropy of the label; with a `law`, input bits are masked as augmentation and never predicted."""
    masked = torch.zeros_like(strings, dtype=torch.bool)
    if law:
        masked = masking.draw_masks(law.sample(streams, strings.shape[1]), strings.shape[2], streams)
    masked[..., -1] = True
    logits = forward(masking.hide(strings, masked, MASK))
    return token_losses(logits[:, :, -1:], strings[:, :, -1:]).mean((1, 2))


def token_losses(
    logits: Float[Tensor, "member batch position vocabulary"], tokens: Int[Tensor, "member batch position"]
) -> Float[Tensor, "member batch position"]:
    return F.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none").view_as(tokens)


def label_accuracy(
    forward: Ensemble, strings: Int[Tensor, "member string position"], causal: bool
) -> list[float]:
    """Share of strings whose label is told from all the other bits, one value a member."""
    if causal:
        logits = forward(strings[..., :-1])[:, :, -1]
    else:
        shown = strings.clone()
        shown[..., -1] = MASK
        logits = forward(shown)[:, :, -1]
    return (logits[..., :MASK].argmax(-1) == strings[..., -1]).float().mean(-1).tolist()


def first_step(steps: list[int], accuracy: list[float], level: float) -> int | None:
    """The first evaluated step at which `accuracy` reaches `level`."""
    return next((s for s, a in zip(steps, accuracy, strict=True) if a >= level), None)


def describe(history: History, member: int) -> dict:
    curve = history.of(member)
    steps, trained, held_out = (
        curve.get(name, []) for name in ("step", "train_accuracy", "held_out_accuracy")
    )
    return {
        "memorised_at": first_step(steps, trained, MEMORISED),
        "generalised_at": first_step(steps, held_out, GENERALISED),
        "final_train": trained[-1] if trained else None,  # a run may diverge before its first evaluation
        "final_held_out": held_out[-1] if held_out else None,
        "step": steps,
        "train_accuracy": trained,
        "held_out_accuracy": held_out,
        "diverged_at": history.diverged_at[member],
    }
