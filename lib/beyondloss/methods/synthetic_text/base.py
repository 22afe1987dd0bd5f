"""The language models of chapter 7's small world: trained once a seed, kept in memory and on disk.

Their place on disk has a digest of the code that trains them and of their settings.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from beyondloss.experiment.kept import kept_weights
from beyondloss.methods.synthetic_text import world
from beyondloss.models import Ensemble
from beyondloss.models.stand_ins import tiny_llama
from beyondloss.trainers import Streams, TrainConfig, train
from beyondloss.trainers.fine_tuning import AnswerLosses, Epochs, answer_objective


@dataclass(frozen=True)
class BaseConfig:
    """A small Llama and its training; `other` draws another network for the same world."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    mlp: int = 192
    steps: int = 500
    batch: int = 64
    lr: float = 5e-3
    seed: int = 0
    other: bool = False


def untrained(config: BaseConfig) -> nn.Module:
    """A Llama of `transformers` with the words of the world, drawn from the seed."""
    return tiny_llama(
        world.tokenizer(),
        config.seed + 1000 * config.other,
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=128,
    )


def base_model(config: BaseConfig) -> nn.Module:
    """A fresh copy of the trained base, in evaluation mode."""
    model = untrained(config)
    model.load_state_dict(kept_weights("synthetic_text", trained, config))
    return model


def trained(config: BaseConfig) -> nn.Module:
    """Train a base on documents of its world, none of which comes twice."""
    rng = np.random.default_rng([8, config.seed, config.other])
    documents = world.World(config.seed).documents(config.steps * config.batch, rng)
    model = AnswerLosses(untrained(config))
    rows = Epochs(len(documents), config.batch, config.seed)
    loss = answer_objective(documents, rows, at_once=config.batch, recompute=False)
    settings = TrainConfig(steps=config.steps, lr=config.lr, betas=(0.9, 0.98), schedule="cosine", warmup=20)
    train(Ensemble([model]), loss, settings, Streams([config.seed]))
    return model.network.eval().requires_grad_(False)
