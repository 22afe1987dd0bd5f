"""The formulation that nanoGPT published, written anew with plain `torch.nn`: what readers would write by hand.

Same network as the book's causal transformer: layer norms with a bias, one map for queries, keys and values, exact
GELU, a readout that is the token table. Different in form: positions are looked up like tokens, dropout and
activation are modules, heads are split by `view`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.models import Transformer


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.size()
        q, k, v = self.project_in(x).split(width, dim=2)
        q = q.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
        k = k.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
        v = v.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=True)
        y = y.transpose(1, 2).contiguous().view(batch, time, width)
        return self.drop(self.project_out(y))


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.down = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.down(self.activation(self.up(x))))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.first_norm, self.attend = nn.LayerNorm(width), SelfAttention(width, heads)
        self.second_norm, self.feed = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.first_norm(x))
        return x + self.feed(self.second_norm(x))


class NanoGPT(nn.Module):
    """Logits of every position, with a copy of the weights of the book's transformer."""

    def __init__(self, ours: Transformer):
        super().__init__()
        config = ours.config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = nn.Embedding(config.context, config.d_model)
        self.drop = nn.Dropout(0.0)
        self.layers = nn.ModuleList(Layer(config.d_model, config.n_heads) for _ in range(config.n_layers))
        self.last_norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.tokens.weight = self.head.weight
        self.copy_from(ours)

    def forward(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.size(1), dtype=torch.long, device=tokens.device)
        x = self.drop(self.tokens(tokens) + self.positions(place))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.last_norm(x))

    def copy_from(self, ours: Transformer) -> None:
        self.tokens.load_state_dict(ours.token.state_dict())
        self.positions.load_state_dict(ours.position.state_dict())
        self.last_norm.load_state_dict(ours.norm.state_dict())
        for layer, block in zip(self.layers, ours.blocks, strict=True):
            layer.first_norm.load_state_dict(block.norm_attention.state_dict())
            layer.attend.project_in.load_state_dict(block.attention.query_key_value.state_dict())
            layer.attend.project_out.load_state_dict(block.attention.output.state_dict())
            layer.second_norm.load_state_dict(block.norm_mlp.state_dict())
            layer.feed.up.load_state_dict(block.expand.state_dict())
            layer.feed.down.load_state_dict(block.contract.state_dict())
