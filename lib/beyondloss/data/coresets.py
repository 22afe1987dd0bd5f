"""Subsets that stand for a whole: examples chosen by their features, without a label and without training.

Both work on many groups at once (a class of a seed, say): every leading axis is one, and each chooses on its own.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def herding(features: Float[Tensor, "*group item feature"], size: int) -> Int[Tensor, "*group size"]:
    """Greedily the items whose mean follows the mean of their group (Welling 2009), in the order of choice.

    No item is chosen twice. ValueError unless 1 <= size <= items.
    """
    check_size(features, size)
    mean, total = features.mean(-2, keepdim=True), torch.zeros_like(features[..., :1, :])
    taken = features.new_zeros(features.shape[:-1])
    chosen = []
    for count in range(1, size + 1):
        away = ((total + features) / count - mean).square().sum(-1) + taken
        best = away.argmin(-1, keepdim=True)
        taken.scatter_(-1, best, torch.inf)
        total = total + at(features, best)
        chosen.append(best)
    return torch.cat(chosen, -1)


def k_center(features: Float[Tensor, "*group item feature"], size: int) -> Int[Tensor, "*group size"]:
    """Greedily the items farthest from those chosen, from the one nearest to the mean of its group on.

    No other item is farther from the chosen ones than twice the least radius that any choice reaches (Gonzalez 1985,
    from any first item). Of items that coincide one may be chosen twice. ValueError unless 1 <= size <= items.
    """
    check_size(features, size)
    best = (features - features.mean(-2, keepdim=True)).square().sum(-1).argmin(-1, keepdim=True)
    nearest, chosen = torch.full(features.shape[:-1], torch.inf, device=features.device), [best]
    while len(chosen) < size:
        nearest = torch.minimum(nearest, (features - at(features, best)).square().sum(-1))
        best = nearest.argmax(-1, keepdim=True)
        chosen.append(best)
    return torch.cat(chosen, -1)


def at(features: Float[Tensor, "*group item feature"], items: Int[Tensor, "*group size"]) -> Tensor:
    """The features of some items of each group, [*group, size, feature]."""
    return features.gather(-2, items[..., None].expand(*items.shape, features.shape[-1]))


def check_size(features: Tensor, size: int) -> None:
    """ValueError unless there are so many items to choose from."""
    if not 1 <= size <= features.shape[-2]:
        raise ValueError(f"{size} items are none of 1 to the {features.shape[-2]} there are to choose from")
