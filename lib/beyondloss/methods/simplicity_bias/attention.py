"""Linear self-attention on prompts of in-context regression, and its heads of rank one (chapter 2, section 1)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from beyondloss.methods.simplicity_bias.theory import InContext, Spectrum


@dataclass(frozen=True)
class Prompts:
    """Prompts [[x_1 .. x_N, x_query], [y_1 .. y_N, 0]], the label of each query and, of typed queries, its type."""

    tokens: Float[np.ndarray, "*many prompt row position"]
    label: Float[np.ndarray, "*many prompt"]
    kind: np.ndarray

    @property
    def query(self) -> Float[np.ndarray, "*many prompt direction"]:
        return self.tokens[..., :-1, -1]

    @property
    def beta(self) -> Float[np.ndarray, "*many prompt direction"]:
        """Mean of y x over the context: all that the reduced network sees of it."""
        x, y = self.tokens[..., :-1, :-1], self.tokens[..., -1:, :-1]
        return (x * y).mean(-1)


def draw_prompts(
    task: InContext,
    prompts: int,
    generator: np.random.Generator,
    typed: bool = False,
    label_noise: float = 0.0,
) -> Prompts:
    """Independent prompts. A typed query lies along one eigen-direction, drawn evenly, with the same covariance."""
    lam, n = task.eigenvalues, task.context
    d = len(lam)
    x = generator.standard_normal((prompts, d, n + 1)) * np.sqrt(lam)[:, None]
    w = generator.standard_normal((prompts, d))
    kind = generator.integers(d, size=prompts)
    if typed:
        x[:, :, -1] *= np.sqrt(d) * np.eye(d)[kind]
    y = np.einsum("pd,pdn->pn", w, x)
    label = y[:, -1] + label_noise * generator.standard_normal(prompts)
    y += task.noise * generator.standard_normal(y.shape)
    y[:, -1] = 0
    return Prompts(np.concatenate([x, y[:, None]], axis=1), label, kind)


class LinearSelfAttention(nn.Module):
    """Multi-head attention without softmax; reads the answer off the last token (chapter 2, eq. sb-attention).

    Keys and queries have rank one. Of the value only the row that writes the answer matters. The entries that the
    reduction sets to zero, the key's of the label and the value's of the input, are weights like the others.
    """

    def __init__(self, directions: int, heads: int):
        super().__init__()
        shape = (heads, directions)
        self.value_input, self.value_label = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.ones(heads))
        self.key_input, self.key_label = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(heads))
        self.query_input = nn.Parameter(torch.ones(shape))

    def forward(self, tokens: Float[Tensor, "prompt row position"]) -> Float[Tensor, " prompt"]:
        x, y, n = tokens[:, :-1], tokens[:, -1], tokens.shape[-1] - 1
        values = torch.einsum("hd,pdn->phn", self.value_input, x) + self.value_label[:, None] * y[:, None]
        keys = torch.einsum("hd,pdn->phn", self.key_input, x) + self.key_label[:, None] * y[:, None]
        query = torch.einsum("hd,pd->ph", self.query_input, x[:, :, -1])
        return torch.einsum("phn,phn,ph->p", values, keys, query) / n


@dataclass
class Heads:
    """Rank-one heads of several seeds side by side: yhat = beta^T M x_query with M = sum of v k q^T."""

    v: Float[np.ndarray, "seed head"]
    k: Float[np.ndarray, "seed head direction"]
    q: Float[np.ndarray, "seed head direction"]

    @property
    def matrix(self) -> Float[np.ndarray, "seed row column"]:
        return np.swapaxes(self.v[..., None] * self.k, 1, 2) @ self.q

    def gradient(self, of_matrix: Float[np.ndarray, "seed row column"]) -> "Heads":
        """Chain rule from dL/dM to the heads (chapter 2, eq. sb-head-flow)."""
        along_q = self.q @ np.swapaxes(of_matrix, 1, 2)  # G q
        along_k = self.k @ of_matrix  # G^T k
        return Heads((self.k * along_q).sum(-1), self.v[..., None] * along_q, self.v[..., None] * along_k)

    def moved(self, direction: "Heads", by: Float[np.ndarray, " seed"] | float) -> "Heads":
        by = np.asarray(by, dtype=float)
        return Heads(
            self.v + by[..., None] * direction.v,
            self.k + by[..., None, None] * direction.k,
            self.q + by[..., None, None] * direction.q,
        )

    @property
    def norm(self) -> Float[np.ndarray, " seed"]:
        """Of all weights of a seed together."""
        return np.sqrt((self.v**2).sum(-1) + (self.k**2).sum((-2, -1)) + (self.q**2).sum((-2, -1)))

    @property
    def imbalance(self) -> Float[np.ndarray, " seed"]:
        """Largest difference of v^2, |k|^2 and |q|^2 in a head, which gradient flow conserves (theorem sb-balance)."""
        sizes = np.stack([self.v**2, (self.k**2).sum(-1), (self.q**2).sum(-1)])
        return (sizes.max(0) - sizes.min(0)).max(-1)


def small_heads(directions: int, heads: int, size: float, seeds: list[int]) -> Heads:
    """Balanced heads of random directions: v = +-size, |k| = |q| = size."""

    def of_seed(seed: int) -> tuple:
        generator = np.random.default_rng(seed)
        k, q = generator.standard_normal((2, heads, directions))
        unit = lambda a: size * a / np.linalg.norm(a, axis=-1, keepdims=True)  # noqa: E731
        return size * generator.choice([-1.0, 1.0], heads), unit(k), unit(q)

    return Heads(*(np.stack(part) for part in zip(*map(of_seed, seeds), strict=True)))


def aligned_heads(factor: Spectrum) -> Heads:
    """One head for each direction, v = |k| = |q| = its factor."""
    along = np.diag(factor)[None]
    return Heads(np.asarray(factor)[None], along, along)
