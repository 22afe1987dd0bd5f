"""Vision-language models of LLaVA's form: a vision tower, a projector into the language model, and that model.

An image takes so many places in a row of tokens as the tower gives features, each marked by the token of images; there
the projected features stand in place of embeddings of words. Everything here works on `transformers`' class with or
without weights that `peft` put beside its own::

    loaded = load("owner/name@revision")                      # or a folder, as `stand_ins.write` fills one
    batch = loaded.processor(images=pictures, text=prompts, padding=True, return_tensors="pt")
    features = image_features(loaded.model, batch["pixel_values"])  # once: the tower stays as it is
    logits = loaded.model(inputs_embeds=embed(loaded.model, batch["input_ids"], features)).logits
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from beyondloss.choices import choose
from beyondloss.data.hub import HubError, explained, model_json
from beyondloss.models.language import load_model, located

# the parts, by what stands in the names of their weights: also the patterns of `TrainConfig.lr_factors`
VISION, PROJECTOR, LANGUAGE, HEAD = "vision_tower", "multi_modal_projector", "language_model", "lm_head"
PARTS = (VISION, PROJECTOR, LANGUAGE, HEAD)

Block = Float[Tensor, "row head text image"]


class Loaded(NamedTuple):
    """A network of `transformers` in evaluation mode, and its processor of images and texts, which has a tokenizer."""

    model: nn.Module
    processor: Any


def load(spec: str, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Loaded:
    """A model of LLaVA's form and its processor, from "owner/name@revision" on the hub or a local folder.

    Images are resized by Pillow on every machine: torchvision, where it is installed, does it a little differently.
    Raises HubError in one line, as `models.language.load` does.
    """
    name, revision = located(spec)
    kind = model_json(name, "config.json", revision).get("model_type")
    if kind != "llava":  # else the library would build LLaVA's largest network and fill it with noise
        raise HubError(
            f"model {name} is of type {kind}, not llava: it is no vision-language model of that form"
        )
    model = load_model(spec, dtype, device, "LlavaForConditionalGeneration")
    with explained("model", name, revision, "its processor of images"):
        from transformers import AutoProcessor

        processor = AutoProcessor.from_pretrained(
            name, revision=revision, backend="pil", trust_remote_code=False
        )
    return Loaded(model, processor)


# Images as features and as embeddings ----------------------------------------------------------------------------


@torch.no_grad()
def image_features(
    model: nn.Module, pixel_values: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "image patch feature"]:
    """What the vision tower hands to the projector, without gradients: constant while the tower is frozen."""
    handed: list[Tensor] = []
    hook = part(model, PROJECTOR).register_forward_pre_hook(lambda _, inputs: handed.append(inputs[0]))
    try:
        model.get_image_features(pixel_values=pixel_values)
    finally:
        hook.remove()
    return handed[0]


def project(
    model: nn.Module, features: Float[Tensor, "image patch feature"]
) -> Float[Tensor, "image patch d_model"]:
    """Image tokens: features in the space of the embeddings of words."""
    return part(model, PROJECTOR)(features)


def embed(
    model: nn.Module, tokens: Int[Tensor, "row time"], features: Float[Tensor, "image patch feature"]
) -> Float[Tensor, "row time d_model"]:
    """`inputs_embeds` of rows with images, from their cached features; differentiable in projector and embeddings.

    The logits are those of the full path from `pixel_values`.
    """
    return placed(model, tokens, project(model, features))


def placed(
    model: nn.Module, tokens: Int[Tensor, "row time"], image_tokens: Float[Tensor, "image patch d_model"]
) -> Float[Tensor, "row time d_model"]:
    """Embeddings of `tokens`, with `image_tokens` at the places of images, in order of rows.

    They may be anything of that width: projected features, shifted ones, or the embeddings of a text.
    Raises ValueError unless there are as many as places.
    """
    places = image_places(model, tokens)
    if (count := int(places.sum())) != image_tokens.shape[0] * image_tokens.shape[1]:
        raise ValueError(
            f"the tokens have {count} places for images, but {len(image_tokens)} images of "
            f"{image_tokens.shape[1]} tokens are given"
        )
    words = model.get_input_embeddings()(tokens)
    return words.masked_scatter(places[..., None], image_tokens.to(words.dtype))


def image_places(model: nn.Module, tokens: Int[Tensor, "row time"]) -> Bool[Tensor, "row time"]:
    """Where image tokens stand."""
    return tokens == model.config.image_token_id


# Attention from text to image ------------------------------------------------------------------------------------


def head_mean(block: Block) -> Float[Tensor, "row text image"]:
    """The mean over heads."""
    return block.mean(1)


@torch.no_grad()
def cross_modal_attention(
    model: nn.Module,
    tokens: Int[Tensor, "row time"],
    attention_mask: Int[Tensor, "row time"] | None = None,
    summary: Callable[[Block], Tensor] = head_mean,
    **inputs: Tensor,
) -> Float[Tensor, "layer row *rest"]:
    """The attention that text tokens pay to image tokens, in every layer of the language model.

    It is the model's own: causal, with positions, and normalised over all tokens, so a row of a block sums to the
    share that goes to images. `summary` takes a layer's block and is all that is kept of it; the mean over heads
    without it. Text and images stand in the order of their row; where a row has fewer than another, or padding by
    `attention_mask`, zeros fill it up at the end, which changes neither sums nor singular values.
    inputs: `pixel_values`, or `inputs_embeds`, which stand in place of the tokens.
    """
    image = image_places(model, tokens)
    text = ~image if attention_mask is None else ~image & attention_mask.bool()
    if "inputs_embeds" not in inputs:
        inputs["input_ids"] = tokens
    kept: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple, output: tuple) -> None:
        kept.append(summary(block_of(output[1], text, image)))

    with eager_attention(part(model, LANGUAGE)) as decoder:
        hooks = [layer.self_attn.register_forward_hook(keep) for layer in decoder.layers]
        try:
            # the logits of one place are computed: none are asked for
            model(**inputs, attention_mask=attention_mask, use_cache=False, logits_to_keep=1)
        finally:
            for hook in hooks:
                hook.remove()
    return torch.stack(kept)


def block_of(
    attention: Float[Tensor, "row head query key"],
    text: Bool[Tensor, "row query"],
    image: Bool[Tensor, "row key"],
) -> Block:
    """The rows of text and the columns of images, in order, filled up with zeros."""
    texts, text_there = compacted(text)
    images, image_there = compacted(image)
    heads = attention.shape[1]
    rows = attention.gather(2, texts[:, None, :, None].expand(-1, heads, -1, attention.shape[3]))
    block = rows.gather(3, images[:, None, None, :].expand(-1, heads, rows.shape[2], -1))
    return block * (text_there[:, :, None] & image_there[:, None, :])[:, None]


def compacted(chosen: Bool[Tensor, "row time"]) -> tuple[Int[Tensor, "row most"], Bool[Tensor, "row most"]]:
    """Places that are chosen in each row, in order, and which of the columns stand for one."""
    most = int(chosen.sum(1).max())
    order = chosen.long().argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, chosen.gather(1, order)


@contextmanager
def eager_attention(decoder: nn.Module) -> Iterator[nn.Module]:
    """The decoder with attention in plain torch, which alone returns its weights; afterwards as it was."""
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation("eager")
    try:
        yield decoder
    finally:
        decoder.set_attn_implementation(before)


# Parts -----------------------------------------------------------------------------------------------------------


def part(model: nn.Module, name: str) -> nn.Module:
    """A part of the model, one of `PARTS`, wherever a wrapper has put it."""
    choose("part of a vision-language model", name, PARTS)
    for path, module in model.named_modules():
        if path.rpartition(".")[2] == name:
            return module
    raise ValueError(f"{type(model).__name__} has no {name}: it is not of LLaVA's form")


def train_only(model: nn.Module, *parts: str) -> nn.Module:
    """The model, whose trainable weights are now those of these parts: the projector alone for LLaVA's first stage.

    Two learning rates are then `TrainConfig(lr=2e-4, lr_factors=((PROJECTOR, 0.1),))`.
    """
    model.requires_grad_(False)
    for name in parts:
        part(model, name).requires_grad_(True)
    return model
