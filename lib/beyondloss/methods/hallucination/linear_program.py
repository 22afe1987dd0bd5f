"""The best policy for a budget as a linear program, which knows nothing of the theorem that it checks."""

import numpy as np
from scipy.optimize import linprog

from beyondloss.methods.hallucination.theory import Exact


def largest_gain(exact: Exact, budget: float, slope: float) -> float:
    """Largest mass of true alarms minus `slope` times that of false ones (chapter 10, theorem ha-budget).

    Variables: how often an outcome leads to an alarm after asking, how often a partition does without asking, and how
    often a partition is asked about.
    """
    outcomes, partitions = len(exact.right), int(exact.partition.max()) + 1
    belongs = np.zeros((partitions, outcomes))
    belongs[exact.partition, np.arange(outcomes)] = 1
    gain, mass = exact.wrong - slope * exact.right, belongs @ (exact.right + exact.wrong)
    one, other = np.eye(outcomes), np.eye(partitions)
    after = np.hstack(
        [one, np.zeros((outcomes, partitions)), -belongs.T]
    )  # an alarm after asking: only if asked
    without = np.hstack([np.zeros((partitions, outcomes)), other, other])  # or without: only if not asked
    price = np.concatenate([np.zeros(outcomes + partitions), mass])[None]
    solved = linprog(
        -np.concatenate([gain, belongs @ gain, np.zeros(partitions)]),
        np.vstack([after, without, price]),
        np.concatenate([np.zeros(outcomes), np.ones(partitions), [budget]]),
        bounds=(0, 1),
    )
    return float(-solved.fun)
