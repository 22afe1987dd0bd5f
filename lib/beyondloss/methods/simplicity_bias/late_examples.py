"""The method: which examples are learned late, and a data set that has more of them (chapter 2, section 5)."""

import numpy as np
from jaxtyping import Float, Int


def late_set(losses: Float[np.ndarray, "checkpoint example"], share: float) -> Int[np.ndarray, " late"]:
    """Indices of the `share` of examples whose loss, averaged over the checkpoints of a proxy pass, is highest."""
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), got {share}")
    count = max(1, round(share * losses.shape[1]))
    return np.sort(np.argsort(-losses.mean(0), kind="stable")[:count])


def early_set(losses: Float[np.ndarray, "checkpoint example"], share: float) -> Int[np.ndarray, " early"]:
    """Indices of the `share` of examples whose loss is lowest: the control that should not help."""
    return late_set(-losses, share)


def upsampled(examples: int, chosen: Int[np.ndarray, " chosen"], copies: int = 2) -> Int[np.ndarray, " row"]:
    """Rows of a data set in which every example stands once and the chosen ones `copies` times."""
    return np.concatenate([np.arange(examples), np.repeat(chosen, copies - 1)])
