"""GPT-2's weights in the book's transformer: how the tests prove that it computes what a known implementation does.

No chapter calls it. It is public for the same reason: who trusts GPT-2 can check ours, and start from its weights.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from beyondloss.models.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

ACTIVATIONS = {"gelu": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


def load_gpt2(gpt2: "GPT2LMHeadModel") -> Transformer:
    """A causal transformer that computes the logits of Hugging Face's GPT-2, with a copy of its weights.

    Raises ValueError where that GPT-2 has a feature which the book's transformer lacks.
    """
    config = gpt2.config
    unknown = {
        "activation_function": config.activation_function not in ACTIVATIONS,
        "n_inner": config.n_inner not in (None, 4 * config.n_embd),
        "layer_norm_epsilon": config.layer_norm_epsilon != nn.LayerNorm(1).eps,
        "tie_word_embeddings": not config.tie_word_embeddings,
        "scale_attn_weights": not config.scale_attn_weights,
        "scale_attn_by_inverse_layer_idx": config.scale_attn_by_inverse_layer_idx,
    }
    for name in (name for name, differs in unknown.items() if differs):
        raise ValueError(f"the book's transformer has no {name}={getattr(config, name)}")
    network = Transformer(
        TransformerConfig(
            vocab_size=config.vocab_size,
            context=config.n_positions,
            n_layers=config.n_layer,
            n_heads=config.n_head,
            d_model=config.n_embd,
            dropout=config.resid_pdrop,
            gelu=ACTIVATIONS[config.activation_function],
        )
    )
    trunk = gpt2.transformer
    pairs = [(network.token, trunk.wte), (network.position, trunk.wpe), (network.norm, trunk.ln_f)]
    for ours, theirs in zip(network.blocks, trunk.h, strict=True):
        pairs += [
            (ours.norm_attention, theirs.ln_1),
            (ours.attention.query_key_value, theirs.attn.c_attn),
            (ours.attention.output, theirs.attn.c_proj),
            (ours.norm_mlp, theirs.ln_2),
            (ours.expand, theirs.mlp.c_fc),
            (ours.contract, theirs.mlp.c_proj),
        ]
    for ours, theirs in pairs:
        copy_weights(ours, theirs)
    return network


@torch.no_grad()
def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy weight and bias of one layer; GPT-2 keeps the matrices of its linear maps transposed."""
    weight = theirs.weight.T if isinstance(ours, nn.Linear) else theirs.weight
    ours.weight.copy_(weight)
    if getattr(ours, "bias", None) is not None:
        ours.bias.copy_(theirs.bias)
