"""The base models of chapter 8's small world: trained once a seed, and kept for all arms.

A base is kept in memory and on disk, under a digest of the code that trains it and of its settings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from beyondloss.data import Answered
from beyondloss.experiment.kept import kept_weights
from beyondloss.methods.safety_lora import world
from beyondloss.models import Ensemble
from beyondloss.models.stand_ins import tiny_llama
from beyondloss.trainers import Streams, TrainConfig, train
from beyondloss.trainers.fine_tuning import AnswerLosses, answer_objective

MIX = {"chains": 104, "requests": 24, "knowledge": 10, "void": 6}  # rows of a batch


@dataclass(frozen=True)
class BaseConfig:
    """A small Llama and its training."""

    width: int = 64
    layers: int = 3
    heads: int = 4
    mlp: int = 192
    steps: int = 400
    lr: float = 5e-3
    seed: int = 0


def untrained(config: BaseConfig) -> nn.Module:
    """A Llama of `transformers` with the words of the world, drawn from the seed."""
    return tiny_llama(
        world.tokenizer(),
        config.seed,
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=world.CONTEXT,
    )


def base_model(config: BaseConfig) -> nn.Module:
    """A fresh copy of the trained base, in evaluation mode."""
    model = untrained(config)
    model.load_state_dict(kept_weights("safety_lora", trained, config))
    return model


def trained(config: BaseConfig) -> nn.Module:
    """Train a base on chains, requests, knowledge and refusals of what does not exist."""
    here = world.World(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    parts = {
        "chains": world.chains(config.steps * MIX["chains"], generator),
        "requests": here.answered(list(here.facts)),
        "knowledge": here.knowledge(),
        "void": world.refused(here.void),
    }
    model = AnswerLosses(untrained(config))
    loss = answer_objective(
        world.joined(*parts.values()), Mixed(parts), at_once=sum(MIX.values()), recompute=False
    )
    settings = TrainConfig(steps=config.steps, lr=config.lr, betas=(0.9, 0.98), schedule="cosine", warmup=20)
    train(Ensemble([model]), loss, settings, Streams([config.seed]))
    return model.network.eval()


class Mixed:
    """Batches with a fixed number of rows of each kind; no chain comes twice."""

    def __init__(self, parts: dict[str, Answered]):
        self.sizes = {name: len(part) for name, part in parts.items()}

    def __call__(self, streams: Streams) -> Int[Tensor, " row"]:
        chosen, start = [], 0
        for name, size in self.sizes.items():
            if name == "chains":
                rows = torch.arange(streams.batch * MIX[name], (streams.batch + 1) * MIX[name])
            else:
                rows = streams.integers(size, MIX[name])[0]
            chosen.append(start + rows)
            start += size
        return torch.cat(chosen)
