"""What labels alone carry: linear teachers and students (chapter 6, section 3).

Inputs are rows of p numbers, the last of them 1 where there is a bias; a teacher is a matrix [class, p].
"""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betainc, comb, log_softmax


def centred(logits: Float[np.ndarray, "*any classes"]) -> Float[np.ndarray, "*any classes"]:
    """Logits less their mean: what probabilities fix of them."""
    return logits - logits.mean(-1, keepdims=True)


def soft_labels(
    teacher: Float[np.ndarray, "classes p"], inputs: Float[np.ndarray, "image p"]
) -> Float[np.ndarray, "image classes"]:
    """Log-probabilities that a linear teacher gives to each input."""
    return log_softmax(inputs @ teacher.T, axis=-1)


def from_soft_labels(
    inputs: Float[np.ndarray, "image p"], log_probabilities: Float[np.ndarray, "image classes"]
) -> Float[np.ndarray, "classes p"]:
    """The least student, in norm, whose centred logits are those of the labels (theorem dd-soft)."""
    return np.linalg.lstsq(inputs, centred(log_probabilities), rcond=None)[0].T


def from_hard_labels(
    inputs: Float[np.ndarray, "image p"],
    labels: Int[np.ndarray, " image"],
    classes: int,
    penalty: float = 1e-3,
) -> Float[np.ndarray, "classes p"]:
    """A logistic student of hard labels with next to no ridge; classes without an image get no logit worth choosing."""
    from sklearn.linear_model import LogisticRegression

    student = np.zeros((classes, inputs.shape[1]))
    present = np.unique(labels)
    if len(present) == 1:
        student[present[0], -1] = 1.0
        return student
    fit = LogisticRegression(C=1 / penalty, fit_intercept=False, max_iter=500, tol=1e-6).fit(inputs, labels)
    weights = np.concatenate([-fit.coef_, fit.coef_]) if len(present) == 2 else fit.coef_
    student[present] = weights
    return student


def distance(student: Float[np.ndarray, "classes p"], teacher: Float[np.ndarray, "classes p"]) -> float:
    """Relative distance of the student from the teacher at its best scale, which hard labels do not tell."""
    given, wanted = (centred(weights.T).ravel() for weights in (student, teacher))
    scale = given @ wanted / (given @ given) if given.any() else 0.0
    return float(np.linalg.norm(scale * given - wanted) / np.linalg.norm(wanted))


def undetermined_share(images: int, p: int) -> float:
    """Expected squared error of the least student from fewer than p isotropic inputs, as a share (eq. dd-share)."""
    return max(0.0, 1 - images / p)


def noise_error(images: int, p: int, deviation: float) -> float:
    """Expected squared error a row from normal inputs and noisy logits; infinite up to p + 1 (eq. dd-noise)."""
    return deviation**2 * p / (images - p - 1) if images > p + 1 else math.inf


def answers(images: int, p: int) -> int:
    """Into how many ways a plane through 0 parts points in general position (Cover; eq. dd-cover)."""
    return int(2 * sum(comb(images - 1, k, exact=True) for k in range(min(p, images))))


def cap(angle: float, p: int) -> float:
    """Share of the sphere in p dimensions within `angle` (at most a quarter turn) of a direction."""
    return 0.5 * float(betainc((p - 1) / 2, 0.5, math.sin(angle) ** 2))


def least_angle(images: int, p: int) -> float:
    """The angle that no learner of hard labels undercuts but with chance 2^(1-p) (theorem dd-hard)."""
    return (p - 1) / (2 * math.e * images)


def angle(first: Float[np.ndarray, " p"], second: Float[np.ndarray, " p"]) -> float:
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return float(np.arccos(np.clip(cosine, -1, 1)))
