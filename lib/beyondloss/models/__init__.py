"""Networks, by their field names."""

from beyondloss.models.ensemble import Ensemble
from beyondloss.models.mlp import MLP
from beyondloss.models.transformer import Transformer, TransformerConfig

__all__ = ["MLP", "Ensemble", "Transformer", "TransformerConfig"]
