"""How good a risk score is: ROC, its area, and the area under the accuracy-rejection curve (chapter 10, section 1).

Every function takes masses: how much of the population has a score and is right, and how much has it and is wrong. A
question that was asked once has mass 1 on its side; an outcome that was enumerated has its probability on both. Ties
count as broken by lot.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


def masses(
    wrong: ArrayLike,
) -> tuple[Float[np.ndarray, " question"], Float[np.ndarray, " question"]]:
    """Mass that is right and mass that is wrong, of questions with known labels."""
    wrong = checked_labels(wrong).astype(float)
    return 1 - wrong, wrong


def checked_labels(wrong: ArrayLike) -> Bool[np.ndarray, " question"]:
    """Labels as booleans, by position; ValueError for what is neither right (0) nor wrong (1), such as NaN."""
    labels = np.asarray(wrong)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "labels must be one a question, True or 1 for a wrong answer, False or 0 for a right one"
        )
    return labels.astype(bool)


def tied(
    risk: Float[np.ndarray, " outcome"],
    right: Float[np.ndarray, " outcome"],
    wrong: Float[np.ndarray, " outcome"],
) -> tuple[Float[np.ndarray, " level"], Float[np.ndarray, " level"], Float[np.ndarray, " level"]]:
    """Distinct scores in rising order with the mass that is right and wrong at each; ValueError for a score of NaN."""
    if np.isnan(risk).any():
        raise ValueError(f"{int(np.isnan(risk).sum())} risk scores are not a number: they have no rank")
    level, index = np.unique(np.round(risk, 12), return_inverse=True)
    return level, np.bincount(index, right, len(level)), np.bincount(index, wrong, len(level))


def roc(
    risk: Float[np.ndarray, " outcome"],
    right: Float[np.ndarray, " outcome"],
    wrong: Float[np.ndarray, " outcome"],
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """False and true alarm rates as the threshold falls, from (0, 0) to (1, 1)."""
    _, right, wrong = tied(risk, right, wrong)
    false, true = (np.cumsum(mass[::-1]) / mass.sum() for mass in (right, wrong))
    return np.append(0.0, false), np.append(0.0, true)


def auroc(
    risk: Float[np.ndarray, " outcome"],
    right: Float[np.ndarray, " outcome"],
    wrong: Float[np.ndarray, " outcome"],
) -> float:
    """Chance that a wrong answer has the higher risk, ties counted half; not a number if one side has no mass."""
    if not (right.sum() > 0 and wrong.sum() > 0):
        return float("nan")
    false, true = roc(risk, right, wrong)
    return float(np.trapezoid(true, false))


def auarc(
    risk: Float[np.ndarray, " outcome"],
    right: Float[np.ndarray, " outcome"],
    wrong: Float[np.ndarray, " outcome"],
) -> float:
    """Accuracy of the answers that are kept, averaged over the share that is kept, the least risky first.

    Between two levels the kept share t holds right answers in the proportion of the level, and the accuracy
    (r0 + slope (t - t0)) / t integrates to slope (t1 - t0) + (r0 - slope t0) log(t1 / t0) (chapter 10, eq. ha-auarc).
    """
    _, right, wrong = tied(risk, right, wrong)
    total = right.sum() + wrong.sum()
    end, kept = np.cumsum(right + wrong) / total, np.cumsum(right) / total
    start, before = np.append(0.0, end[:-1]), np.append(0.0, kept[:-1])
    slope = right / (right + wrong)
    offset = np.where(start > 0, before - slope * start, 0.0)
    return float((slope * (end - start) + offset * np.log(end / np.where(start > 0, start, end))).sum())


def least_error(
    risk: Float[np.ndarray, " outcome"],
    right: Float[np.ndarray, " outcome"],
    wrong: Float[np.ndarray, " outcome"],
    slope: float = 1.0,
) -> float:
    """Misses plus `slope` times false alarms, a share of all, at the best threshold of the score."""
    _, right, wrong = tied(risk, right, wrong)
    missed = np.append(0.0, np.cumsum(wrong))
    alarmed = np.append(right.sum(), right.sum() - np.cumsum(right))
    return float((missed + slope * alarmed).min() / (right.sum() + wrong.sum()))


def bootstrap(
    statistic, questions: int, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of `statistic(indices)` over resampled questions."""
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(questions, size=questions)) for _ in range(resamples)]
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
