"""Random numbers of several seeds, drawn side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beyondloss.models import Ensemble


class Streams:
    """One random stream a seed. Every draw has a first axis `member`, one row a stream.

    A seed therefore sees the same numbers whether it is trained alone or beside others, on a CPU or on a GPU: numbers
    are drawn on the CPU, and travel to a GPU while it works. `batch` counts the batches drawn before the one that the
    training loop asks for.
    """

    def __init__(self, seeds: Sequence[int], device: str | torch.device = "cpu"):
        if not seeds:
            raise ValueError("streams need at least one seed")
        self.seeds = tuple(seeds)
        self.device = torch.device(device)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.batch = 0

    def uniform(self, *shape: int) -> Float[Tensor, "member ..."]:
        """Uniform numbers in [0, 1)."""
        return self._drawn(lambda generator: torch.rand(shape, generator=generator))

    def normal(self, *shape: int) -> Float[Tensor, "member ..."]:
        """Standard normal numbers."""
        return self._drawn(lambda generator: torch.randn(shape, generator=generator))

    def integers(self, high: int, *shape: int) -> Int[Tensor, "member ..."]:
        """Integers in {0, …, high - 1}."""
        return self._drawn(lambda generator: torch.randint(high, shape, generator=generator))

    def _drawn(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        numbers = torch.stack([draw(generator) for generator in self.generators])
        if self.device.type != "cuda":
            return numbers.to(self.device)
        return numbers.pin_memory().to(self.device, non_blocking=True)  # so that no step waits for it

    @contextmanager
    def seeded_dropout(self) -> Iterator[None]:
        """Start torch's global stream, from which dropout draws, from the first seed; put it back at the end."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seeds[0])
            yield

    def state(self) -> list[Tensor]:
        """Where every stream stands, the global ones last."""
        states = [g.get_state() for g in self.generators] + [torch.get_rng_state()]
        return states + ([torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else [])

    def repeated(self, draw: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """`draw`, but each call finds the streams where they stand now: it sees one batch, one dropout mask."""
        state = self.state()

        def again() -> Tensor:
            self.restore(state)
            return draw()

        return again

    def restore(self, states: Sequence[Tensor]) -> None:
        """Go back to where `state` found the streams."""
        own, shared = states[: len(self.generators)], states[len(self.generators) :]
        for generator, state in zip(self.generators, own, strict=True):
            generator.set_state(state.cpu())
        torch.set_rng_state(shared[0].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(shared[1].cpu(), self.device)


def seeded_networks(
    make: Callable[[], nn.Module], seeds: Sequence[int], device: str | torch.device = "cpu"
) -> Ensemble:
    """An ensemble of `make()`, one network a seed, each started from its own seed on the CPU."""
    networks = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            networks.append(make().to(device))
    return Ensemble(networks)
