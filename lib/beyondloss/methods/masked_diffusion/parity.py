"""k-parity as a language of strings: n random bits and the parity of k secret ones (chapter 3, section 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from beyondloss.trainers import Streams

MASK = 2  # the token that hides a bit
VOCABULARY = 3


@dataclass(frozen=True)
class ParityData:
    """Strings `x_1 … x_n y` of distinct x; a member is a seed with its own secret and its own sample."""

    train: Int[Tensor, "member sample position"]
    held_out: Int[Tensor, "member string position"]
    secret: Int[Tensor, "member k"]

    def batch(self, streams: Streams, size: int) -> Int[Tensor, "member batch position"]:
        rows = streams.integers(self.train.shape[1], size)
        return torch.take_along_dim(self.train, rows[..., None], dim=1)


def parity_data(
    n: int, k: int, samples: int, held_out: int, seeds: Sequence[int], device: str = "cpu"
) -> ParityData:
    """Draw secrets and disjoint train and held-out strings, one set a seed."""
    if not 0 < k <= n:
        raise ValueError(f"the secret has between 1 and n = {n} bits, got k = {k}")
    if samples + held_out > 2**n:
        raise ValueError(
            f"samples {samples} and held_out {held_out} exceed the {2**n} strings of n = {n} bits"
        )
    sets = [one_parity_set(n, k, samples, held_out, seed) for seed in seeds]
    return ParityData(*(torch.stack(parts).to(device) for parts in zip(*sets, strict=True)))


def one_parity_set(n: int, k: int, samples: int, held_out: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1))  # apart from the streams of training
    secret = torch.randperm(n, generator=generator)[:k].sort().values
    codes = torch.randperm(2**n, generator=generator)[: samples + held_out]
    bits = (codes[:, None] >> torch.arange(n)) & 1
    strings = torch.cat([bits, bits[:, secret].sum(1, keepdim=True) % 2], dim=1)
    return strings[:samples], strings[samples:], secret
