"""One recipe for fine-tuning language models, and vision-language models: all weights, or low-rank ones beside them.

    model = AnswerLosses(with_lora(load(spec).model, Lora(rank=8)))
    history = fine_tune(model, completions(rows, tokenizer, context), TrainConfig(steps=500, lr=1e-4), batch=16)

It is the book's one training loop with a loss of its own: the cross-entropy of completions, prompts being given.
Optimizer, schedule, clipping, accumulation, learning rates by part (`lr_factors`), checkpoints: see `TrainConfig`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recomputed

from beyondloss.choices import choose
from beyondloss.data import Answered
from beyondloss.models import Ensemble
from beyondloss.models.modes import in_mode
from beyondloss.models.vision_language import VISION, embed
from beyondloss.trainers.checkpoint import digest_of
from beyondloss.trainers.config import TrainConfig
from beyondloss.trainers.history import History
from beyondloss.trainers.loop import Objective, train
from beyondloss.trainers.streams import Streams

if TYPE_CHECKING:
    from peft import PeftModel

AT_ONCE = 4  # rows of a large model whose activations are held at a time

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
Rule = Literal["fixed", "proportional", "sqrt"]


class AnswerLosses(nn.Module):
    """A causal language model of `transformers` as a map from rows to losses; logits of nothing else are computed.

    A network whose body reads more than tokens (pictures) gets it through `inputs`. Override `hidden_states` where
    that is not enough.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def hidden_states(
        self, tokens: Int[Tensor, "row time"], **inputs: Tensor
    ) -> Float[Tensor, "row time width"]:
        """Last states of the network's body; `inputs_embeds` stands in place of the tokens."""
        if "inputs_embeds" not in inputs:
            inputs["input_ids"] = tokens
        return body(self.network)(**inputs, use_cache=False).last_hidden_state

    def forward(
        self, tokens: Int[Tensor, "row time"], answer: Bool[Tensor, "row time"], **inputs: Tensor
    ) -> Float[Tensor, " row"]:
        """Cross-entropy of each row's answer, summed over its tokens, in nats."""
        hidden = self.hidden_states(tokens, **inputs)
        spoken = answer[:, 1:]  # the state before a token predicts it
        logits = self.network.get_output_embeddings()(hidden[:, :-1][spoken]).float()
        losses = F.cross_entropy(logits, tokens[:, 1:][spoken], reduction="none")
        rows = spoken.nonzero()[:, 0]
        return torch.zeros(len(tokens), device=tokens.device).index_add(0, rows, losses)


class AnswerLossesFromFeatures(AnswerLosses):
    """The same for a vision-language model whose rows have an image each, in `Answered.inputs` by cached `features`.

    The projector reads them anew at every step; the vision tower is not run (`models.vision_language.image_features`).
    """

    def hidden_states(
        self, tokens: Int[Tensor, "row time"], features: Float[Tensor, "row patch feature"]
    ) -> Float[Tensor, "row time width"]:
        """Last states of the language model, the projected features in the places of image tokens."""
        return super().hidden_states(tokens, inputs_embeds=embed(self.network, tokens, features))


def body(network: nn.Module) -> nn.Module:
    """The network without its head, with whatever `peft` put into it. ValueError if its logits are more than a head."""
    plain = network.get_base_model() if hasattr(network, "peft_config") else network
    config = plain.config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1.0):
            raise ValueError(
                f"{type(plain).__name__} bends its logits ({name}), which this loss does not know"
            )
    return plain.base_model


def fine_tune(
    model: AnswerLosses,
    data: Answered,
    config: TrainConfig,
    batch: int,
    seed: int = 0,
    penalty: Callable[[AnswerLosses], Float[Tensor, ""]] | None = None,
    evaluate: Callable[[AnswerLosses], dict[str, float]] | None = None,
    checkpoint: Path | None = None,
    at_once: int | None = None,
) -> History:
    """Train the weights of `model` that require gradients; each epoch goes through all rows in an order of its own.

    The loss of a step is the mean cross-entropy of a completion's token over all its batches, plus `penalty` of the
    model. `evaluate` is asked every `config.evaluate_every` steps and at the end; its values stand in the history as
    lists of one. `data` lies on the model's device. A checkpoint that is found is resumed, as if training had not
    stopped; of a penalty only the name tells whether it is the same. With `at_once` a batch goes through in slices of
    so many rows and activations are computed twice: for large models. ValueError where no weight requires a gradient.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("no weight of the model requires a gradient: there is nothing to train")
    networks, epochs = Ensemble([model]), Epochs(len(data), batch, seed)
    loss = answer_objective(data, epochs, at_once or batch, recompute=bool(at_once))

    def objective(networks: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        found = loss(networks, streams)
        if config.accumulate > 1:  # the loop takes the mean of the batches: each is to count by its tokens
            found = found * share_of_step(data, epochs, streams.batch, config.accumulate) * config.accumulate
        return found + (penalty(model) if penalty else 0.0)

    def measure(networks: Ensemble) -> dict[str, list[float]]:
        return {name: [value] for name, value in evaluate(model).items()}

    streams = Streams([seed], data.tokens.device)
    about = describe_tuning(model, data, batch, penalty) if checkpoint else None
    asked = measure if evaluate else None
    return train(networks, objective, config, streams, asked, checkpoint=checkpoint, about=about)


def describe_tuning(
    model: AnswerLosses, data: Answered, batch: int, penalty: Callable[[AnswerLosses], Tensor] | None
) -> dict[str, Any]:
    """What must agree for a run to be resumed, beside the settings and the shapes that the loop knows."""
    scale = ("lora_alpha", "use_rslora", "lora_dropout")
    adapters = getattr(model.network, "peft_config", {})
    name = penalty and getattr(penalty, "__qualname__", type(penalty).__qualname__)
    tensors = {"tokens": data.tokens, "answer": data.answer, **data.inputs}
    about = {"batch": batch, "rows": len(data), "data": digest_of(tensors), "penalty": name}
    for adapter, settings in adapters.items():
        about |= {f"{field} of adapter {adapter}": getattr(settings, field, None) for field in scale}
    return about


@dataclass(frozen=True)
class Epochs:
    """Batches of rows such that every epoch has each row once, in an order of its own; a batch may span two epochs."""

    rows: int
    batch: int
    seed: int

    def __call__(self, streams: Streams) -> Int[Tensor, " row"]:
        """Rows of the batch that the training loop asks for."""
        places = range(streams.batch * self.batch, (streams.batch + 1) * self.batch)
        return torch.tensor(self.rows_at(places), device=streams.device)

    def rows_at(self, places: range) -> list[int]:
        """Rows at places of the epochs, one epoch after the other."""
        return [order_of_epoch(self.rows, self.seed, p // self.rows)[p % self.rows] for p in places]


def share_of_step(data: Answered, epochs: Epochs, batch: int, accumulate: int) -> Float[Tensor, ""]:
    """The part of its step's answer tokens that a batch has, by its number."""

    def tokens(first: int, end: int) -> Int[Tensor, ""]:
        return data.answer[epochs.rows_at(range(first * epochs.batch, end * epochs.batch))].sum()

    start = batch - batch % accumulate
    return tokens(batch, batch + 1) / tokens(start, start + accumulate)


@cache
def order_of_epoch(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, epoch]).permutation(rows).tolist())


def answer_objective(
    data: Answered,
    choose: Callable[[Streams], Int[Tensor, " row"]],
    at_once: int = AT_ONCE,
    recompute: bool = True,
) -> Objective:
    """Mean cross-entropy of an answer's token, over the rows that `choose` takes for a batch."""

    def objective(model: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        index = choose(streams)
        losses = in_slices(lambda part: row_losses(model, data.rows(part)), index, at_once, recompute)
        return losses.sum()[None] / data.answer[index].sum()

    return objective


def in_slices(
    losses_of: Callable[[Int[Tensor, " slice"]], Tensor],
    index: Int[Tensor, " row"],
    at_once: int = AT_ONCE,
    recompute: bool = True,
) -> Float[Tensor, "*member row"]:
    """Losses of the rows `index`, `at_once` at a time.

    Recomputing, no more than one slice's activations are held: the others are computed again for the gradient.
    """
    if recompute and torch.is_grad_enabled():
        losses_of = partial(recomputed, losses_of, use_reentrant=False)
    return torch.cat([losses_of(part) for part in index.split(at_once)], dim=-1)


def row_losses(model: Ensemble, data: Answered) -> Float[Tensor, " row"]:
    """Summed loss of every row's answer, all at once."""
    return model(data.tokens[None], answer=data.answer, **data.inputs)[0]


@torch.no_grad()
def losses_of_all(model: Ensemble, data: Answered) -> Float[Tensor, " row"]:
    """Loss of every row's answer, summed over its tokens, in nats; divide by `data.answer.sum(1)` for a token's.

    Without dropout, in whatever mode the model is found and left.
    """
    index = torch.arange(len(data), device=data.tokens.device)
    with in_mode(model, training=False):
        return in_slices(lambda part: row_losses(model, data.rows(part)), index)


@dataclass(frozen=True)
class Lora:
    """Which matrices get a low-rank product beside them, and how it is scaled (Hu et al. 2021).

    The product is scaled by alpha / rank under the rule "fixed" (so that a higher rank takes smaller steps), by alpha
    under "proportional", by alpha / sqrt(rank) under "sqrt" (rsLoRA, Kalajdzievski 2023). `layers` is a half-open
    range of blocks, None all of them.
    """

    rank: int
    alpha: float = 16.0
    rule: Rule = "fixed"
    targets: tuple[str, ...] = ATTENTION + FEED_FORWARD
    layers: tuple[int, int] | None = None
    dropout: float = 0.0

    def __post_init__(self):
        if self.rank < 1:
            raise ValueError(f"the rank must be at least 1, got {self.rank}")
        if not 0 < self.alpha < math.inf or not 0 <= self.dropout < 1:
            raise ValueError(
                f"alpha must be positive and finite and dropout lie in [0, 1): {self.alpha}, {self.dropout}"
            )
        choose("rule of LoRA", self.rule, get_args(Rule))

    @property
    def scale(self) -> float:
        """What the product of the two thin matrices is multiplied by."""
        return self.alpha / {"fixed": self.rank, "proportional": 1, "sqrt": self.rank**0.5}[self.rule]


def with_lora(network: nn.Module, lora: Lora, seed: int | None = None) -> "PeftModel":
    """Freeze the weights and put low-rank ones beside the matrices that `lora` names; the network computes the same.

    A vision tower, whose matrices have names of the same kind, gets none. They are drawn from `seed`, or from torch's
    stream without one. Raises ValueError for a target or a layer that the network does not have.
    """
    from peft import LoraConfig, get_peft_model

    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    known = sorted({name.rpartition(".")[2] for name in linear if VISION not in name})
    for target in lora.targets:
        choose("target of LoRA", target, known)
    count = network.config.get_text_config().num_hidden_layers
    first, end = lora.layers or (0, count)
    if not 0 <= first < end <= count:
        raise ValueError(
            f"the network has layers 0 to {count - 1}: {lora.layers} is no half-open range of them"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha * (lora.rank if lora.rule == "proportional" else 1),
        use_rslora=lora.rule == "sqrt",
        target_modules=list(lora.targets),
        layers_to_transform=list(range(first, end)) if lora.layers else None,
        lora_dropout=lora.dropout,
        exclude_modules=f".*{VISION}.*" if any(VISION in name for name in linear) else None,
    )
    if seed is None:
        return get_peft_model(network, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(network, config)
