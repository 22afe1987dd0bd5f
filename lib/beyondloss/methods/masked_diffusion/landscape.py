"""The two regimes in numbers: the exact decomposition, and what noise does to features (chapter 3, section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from beyondloss.methods.masked_diffusion import masking, theory


@dataclass(frozen=True)
class LandscapePoint:
    """Random features of a parity problem small enough to enumerate, at one share of noise."""

    width: int
    noise_share: float  # P_N / (P_S + P_N) for the label
    n: int = 5
    k: int = 2
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.noise_share < 1:
            raise ValueError(f"noise_share lies in [0, 1), got {self.noise_share}")


def run_landscape(points: Sequence[LandscapePoint]) -> list[dict]:
    return [measure_landscape(point) for point in points]


def measure_landscape(point: LandscapePoint) -> dict:
    """Errors of theorem md-decomposition on a random network; energy (theorem md-energy) and its pull on features."""
    generator = torch.Generator().manual_seed(point.seed)
    landscape = theory.label_landscape(point.n, point.k)
    features = torch.randn(point.width, 3 * point.n, generator=generator, dtype=torch.float64)
    identity_error, gradient_error = decomposition_errors(point, generator)
    return {
        "identity_error": identity_error,
        "gradient_error": gradient_error,
        "energy": float(theory.energy(landscape, features, point.noise_share)),
        "pull": theory.energy_gradient_norm(landscape, features, point.noise_share),
        "signal_inputs": int((landscape.signal_weight > 0).sum()),
        "inputs": len(landscape.inputs),
    }


def decomposition_errors(point: LandscapePoint, generator: torch.Generator) -> tuple[float, float]:
    """Largest error of eq. md-parts in the objective and in its gradient, for a random tanh network."""
    case = theory.enumerate_parity(point.n, point.k)
    inputs = theory.network_inputs(case)
    shapes = ((point.width, inputs.shape[-1]), (point.n + 1, point.width))
    first, second = (
        torch.randn(shape, generator=generator, dtype=torch.float64) / shape[1] ** 0.5 for shape in shapes
    )
    weights = [first.requires_grad_(), second.requires_grad_()]
    prediction = torch.tanh(inputs @ first.T) @ second.T
    parts = theory.decompose(case, prediction, masking.uniform())
    whole = parts.signal + parts.noise + parts.constant
    error = parts.objective - whole
    difference = torch.autograd.grad(error, weights)
    return abs(error.item()), max(d.abs().max().item() for d in difference)
