"""One transformer for the whole book: causal, bidirectional, and looped."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

GELUS = ("exact", "tanh")


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a pre-norm transformer.

    `bidirectional` lets every position see every other one. `loops > 1` applies the same stack of `n_layers` that
    many times and adds the embedded input again before each further pass. `gelu="tanh"` is GPT-2's approximation of
    the activation, which takes a CPU more than twice as long. Dropout draws from torch's global stream, which
    networks side by side share: with it they agree with networks alone in distribution only.

    vocab_size: tokens. context: the most of them in a row. d_model: width of the residual stream, shared by n_heads.
    Raises ValueError naming a size that cannot be.
    """

    vocab_size: int
    context: int
    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 64
    bidirectional: bool = False
    loops: int = 1
    dropout: float = 0.0
    gelu: str = "exact"

    def __post_init__(self):
        for name in ("vocab_size", "context", "n_layers", "n_heads", "d_model", "loops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if self.gelu not in GELUS:
            raise ValueError(f"gelu must be one of {', '.join(GELUS)}, got {self.gelu!r}")


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for queries, keys and values."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.n_heads, self.causal, self.dropout = config.n_heads, not config.bidirectional, config.dropout
        self.query_key_value = nn.Linear(config.d_model, 3 * config.d_model)
        self.output = nn.Linear(config.d_model, config.d_model)

    def forward(
        self, hidden_states: Float[Tensor, "batch time d_model"]
    ) -> Float[Tensor, "batch time d_model"]:
        """Each position's mean of the values it attends to, all heads joined; later positions unseen if causal."""
        query, key, value = map(self.split_heads, self.query_key_value(hidden_states).chunk(3, dim=-1))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=self.causal)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def split_heads(
        self, states: Float[Tensor, "batch time d_model"]
    ) -> Float[Tensor, "batch head time size"]:
        """The part of each state that belongs to each head."""
        return states.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a network on each position; each adds to its normalised input."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.attention = Attention(config)
        self.expand = nn.Linear(config.d_model, 4 * config.d_model)
        self.contract = nn.Linear(4 * config.d_model, config.d_model)
        self.dropout, self.approximate = config.dropout, "tanh" if config.gelu == "tanh" else "none"

    def forward(
        self, hidden_states: Float[Tensor, "batch time d_model"]
    ) -> Float[Tensor, "batch time d_model"]:
        """The residual stream after both have written to it."""
        hidden_states = hidden_states + self.drop(self.attention(self.norm_attention(hidden_states)))
        inner = F.gelu(self.expand(self.norm_mlp(hidden_states)), approximate=self.approximate)
        return hidden_states + self.drop(self.contract(inner))

    def drop(self, update: Tensor) -> Tensor:
        """Dropout of what is written to the stream, in training alone."""
        return F.dropout(update, self.dropout, self.training)


class Transformer(nn.Module):
    """A decoder-style network with learned positions; the token table is also the readout.

    Weights start normal with deviation 1 / sqrt(fan-in), those that write into the residual stream divided by the
    root of the number of writers. GPT-2's fixed 0.02 is the same at its width of 768 within a factor of two, but
    leaves a narrow network on a long plateau.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.d_model)
        self.position = nn.Embedding(config.context, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.apply(start_at_fan_in)
        writers = 2 * config.n_layers * config.loops
        for block in self.blocks:
            for writer in (block.attention.output, block.contract):
                nn.init.normal_(writer.weight, std=(writer.in_features * writers) ** -0.5)

    def hidden_states(
        self, tokens: Int[Tensor, "batch time"], loops: int | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """Normalised states after the last block. `loops` overrides the configured number of passes.

        ValueError for more tokens than the context.
        """
        if tokens.shape[1] > self.config.context:
            raise ValueError(f"{tokens.shape[1]} tokens, but the context is {self.config.context}")
        embedded = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        states = embedded = F.dropout(embedded, self.config.dropout, self.training)
        for turn in range(self.config.loops if loops is None else loops):
            states = states + embedded if turn else states
            for block in self.blocks:
                states = block(states)
        return self.norm(states)

    def forward(
        self, tokens: Int[Tensor, "batch time"], loops: int | None = None
    ) -> Float[Tensor, "batch time vocab_size"]:
        """Logits of every position; `loops` and errors as for `hidden_states`."""
        return self.readout(self.hidden_states(tokens, loops))

    def readout(self, hidden_states: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any vocab_size"]:
        """Logits: inner products with the table of tokens."""
        return F.linear(hidden_states, self.token.weight)


def start_at_fan_in(module: nn.Module) -> None:
    """Draw the weights of a linear layer or a table anew, normal with deviation 1 / sqrt(fan-in), biases zero."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):  # it is also the readout, whose fan-in is d_model
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
