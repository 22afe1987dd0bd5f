"""The two-layer network of the book's theory (chapter 3), and of images as vectors of pixels (`models.vision`)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """`readout @ relu(features @ inputs)`: one hidden layer, as in the energy landscape of chapter 3.

    Weights start as torch's linear layers do: uniform within 1 / sqrt(number of inputs).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.features = nn.Linear(inputs, hidden)
        self.readout = nn.Linear(hidden, outputs)

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """What the readout says of each vector of inputs, without a softmax."""
        return self.readout(F.relu(self.features(inputs)))
