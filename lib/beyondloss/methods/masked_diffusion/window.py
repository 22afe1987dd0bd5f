"""Which law of the mask probability learns parity fastest? Two-layer networks (chapter 3, section 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.experiment import checkpoint_file
from beyondloss.methods.masked_diffusion import masking, theory
from beyondloss.methods.masked_diffusion.parity import MASK, VOCABULARY, parity_data
from beyondloss.models import MLP, Ensemble
from beyondloss.trainers import Streams, TrainConfig, seeded_networks, train

REACHED = 0.9  # held-out accuracy whose first step is the time that laws are compared by


def laws(k: int) -> dict[str, tuple[masking.MaskRate, bool]]:
    """The arms of the experiment for a secret of k bits: each a law of t, and whether the loss has the weight 1/t."""
    edge = theory.optimal_edge(k)
    return {
        "uniform": (masking.uniform(), False),
        "uniform, 1/t": (masking.uniform(), True),
        "uniform, stratified": (masking.uniform(stratified=True), False),
        "window": (masking.uniform(0, edge), False),
        "window, 1/t": (masking.uniform(0, edge), True),
        "window, stratified": (masking.uniform(0, edge, stratified=True), False),
        "point": (masking.point_mass(theory.optimal_rate(k)), False),
        "beta": (masking.beta(2, k + 1), False),
        "cosine": (masking.cosine(), False),
        "low": (masking.uniform(0, 0.15), False),
        "high": (masking.uniform(0.5, 1), False),
    }


ARMS = tuple(laws(3))


@dataclass(frozen=True)
class WindowPoint:
    """Train one two-layer network on k-parity of n bits, masked by one law."""

    arm: Literal[*ARMS]
    n: int = 14
    k: int = 3
    samples: int = 400
    hidden: int = 256
    steps: int = 9000
    batch: int = 64
    lr: float = 0.1
    held_out: int = 1000
    evaluate_every: int = 125
    device: str = "cpu"
    seed: int = 0


class ParityMLP(nn.Module):
    """One-hot of each masked position into a two-layer network with one logit of `bit = 1` a position."""

    def __init__(self, positions: int, hidden: int):
        super().__init__()
        self.mlp = MLP(VOCABULARY * positions, hidden, positions)

    def forward(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch position"]:
        return self.mlp(F.one_hot(tokens, VOCABULARY).flatten(-2).float())


def run_window(points: Sequence[WindowPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: held-out label accuracy over steps, and the step of 90%."""
    point, seeds = points[0], [p.seed for p in points]
    law, weighted = laws(point.k)[point.arm]
    data = parity_data(point.n, point.k, point.samples, point.held_out, seeds, point.device)
    model = seeded_networks(lambda: ParityMLP(point.n + 1, point.hidden), seeds, point.device)

    def objective(forward: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        tokens = data.batch(streams, point.batch)
        rates = law.sample(streams, point.batch)
        masked = masking.draw_masks(rates, point.n + 1, streams)
        return masking.diffusion_loss(bit_losses(forward, tokens, masked), masked, rates, weighted)

    def evaluate(forward: Ensemble) -> dict[str, list[float]]:
        return {"accuracy": label_accuracy(forward, data.held_out)}

    history = train(
        model,
        objective,
        train_config(point),
        Streams(seeds, point.device),
        evaluate,
        lambda row: min(row["accuracy"]) >= 0.95,
        checkpoint_file(),
    )
    return [describe(history, member, theory.signal_mass(point.k, law)) for member in range(len(points))]


def train_config(point: WindowPoint) -> TrainConfig:
    return TrainConfig(
        steps=point.steps,
        lr=point.lr,
        optimizer="sgd",
        clip=0.0,
        evaluate_every=point.evaluate_every,
        checkpoint_every=5000,
    )


def bit_losses(
    forward: Ensemble,
    tokens: Int[Tensor, "member batch position"],
    masked: Bool[Tensor, "member batch position"],
) -> Float[Tensor, "member batch position"]:
    """Cross-entropy of every bit given the shown ones, in nats."""
    logits = forward(masking.hide(tokens, masked, MASK))
    return F.binary_cross_entropy_with_logits(logits, tokens.float(), reduction="none")


def label_accuracy(forward: Ensemble, strings: Int[Tensor, "member string position"]) -> list[float]:
    """Share of strings whose label is told from all the other bits, one value a member."""
    shown = strings.clone()
    shown[..., -1] = MASK
    guess = forward(shown)[..., -1] > 0
    return (guess == (strings[..., -1] == 1)).float().mean(-1).tolist()


def describe(history, member: int, predicted_mass: float) -> dict:
    """Metrics of one network; its curve ends once it tells nearly all labels."""
    curve = history.of(member)
    steps, accuracy = (
        curve["step"],
        curve.get("accuracy", []),
    )  # none if it diverged before the first evaluation
    return {
        "signal_mass": predicted_mass,
        "steps_to_90": next((s for s, a in zip(steps, accuracy, strict=True) if a >= REACHED), None),
        "final_accuracy": accuracy[-1] if accuracy else None,
        "step": steps,
        "accuracy": accuracy,
        "diverged_at": history.diverged_at[member],
    }
