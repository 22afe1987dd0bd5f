"""Consistency scores as functionals of Gram matrices of answers (chapter 10, section 3).

`gram` holds the similarities of the m samples of each question with one another, ones on the diagonal; `cross` those
of the target's samples with the verifier's. Every score is higher where an answer is more likely to be wrong.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components

Grams = Float[np.ndarray, "question m m"]
Scores = Float[np.ndarray, " question"]

SAME = 0.5  # similarity above which two answers are put into one cluster
ECCENTRIC = 0.9  # eigenvalues of the Laplacian below it span the embedding of `eccentricity`


def mean_pairwise_distance(gram: Grams) -> Scores:
    """1 - the unbiased estimate of the squared length of the mean embedding (chapter 10, eq. ha-mpd)."""
    m = gram.shape[1]
    if m < 2:
        raise ValueError("a pairwise distance takes at least 2 samples a question")
    return 1 - (gram.sum((1, 2)) - np.trace(gram, axis1=1, axis2=2)) / (m * (m - 1))


def degree(gram: Grams) -> Scores:
    """trace(m - D) / m^2 with the degrees D of the similarity graph (Lin et al.)."""
    return 1 - gram.mean((1, 2))


def laplacian(gram: Grams) -> Grams:
    """Normalised Laplacian I - D^(-1/2) W D^(-1/2)."""
    scale = gram.sum(2).clip(1e-12) ** -0.5
    return np.eye(gram.shape[1]) - scale[:, :, None] * gram * scale[:, None, :]


def eigenvalues(gram: Grams) -> Scores:
    """Sum of max(0, 1 - eigenvalue of the Laplacian): a count of clusters that need not be whole (Lin et al.)."""
    return (1 - np.linalg.eigvalsh(laplacian(gram))).clip(0).sum(1)


def eccentricity(gram: Grams) -> Scores:
    """Spread of the samples in the space of the Laplacian's lowest eigenvectors (Lin et al.)."""
    values, vectors = np.linalg.eigh(laplacian(gram))
    spread = vectors - vectors.mean(1, keepdims=True)
    return np.sqrt(((spread**2).sum(1) * (values < ECCENTRIC)).sum(1))


def eigen_score(gram: Grams, alpha: float = 1e-3) -> Scores:
    """Mean log eigenvalue of the Gram matrix, regularised by `alpha` (INSIDE, on answers in place of states)."""
    return np.log(np.linalg.eigvalsh(gram).clip(0) + alpha).mean(1)


def kernel_entropy(gram: Grams) -> Scores:
    """Von Neumann entropy of the Gram matrix at trace 1 (kernel language entropy)."""
    values = np.linalg.eigvalsh(gram / np.trace(gram, axis1=1, axis2=2)[:, None, None]).clip(1e-15)
    return -(values * np.log(values)).sum(1)


def clusters(gram: Grams) -> list[np.ndarray]:
    """Sizes of the clusters of each question: connected components of similarity above one half."""
    return [np.bincount(connected_components(g > SAME, directed=False)[1]) for g in gram]


def semantic_entropy(gram: Grams) -> Scores:
    """Entropy of the shares of the clusters, nats."""
    shares = [sizes / sizes.sum() for sizes in clusters(gram)]
    return np.array([-(share * np.log(share)).sum() for share in shares])


def cluster_count(gram: Grams) -> Scores:
    return np.array([float(len(sizes)) for sizes in clusters(gram)])


def minority(gram: Grams) -> Scores:
    """Share of the samples outside the largest cluster."""
    return np.array([1 - sizes.max() / sizes.sum() for sizes in clusters(gram)])


OF_SAMPLES: dict[str, Callable[[Grams], Scores]] = {
    "mean pairwise distance": mean_pairwise_distance,
    "semantic entropy": semantic_entropy,
    "number of clusters": cluster_count,
    "minority share": minority,
    "degree": degree,
    "Laplacian eigenvalues": eigenvalues,
    "eccentricity": eccentricity,
    "eigen-score": eigen_score,
    "kernel entropy": kernel_entropy,
}


def self_check(answer: Float[np.ndarray, "question m"]) -> Scores:
    """How little the samples support the answer itself, in the manner of SelfCheckGPT."""
    return 1 - answer.mean(1)


def cross_distance(cross: Float[np.ndarray, "question m n"]) -> Scores:
    """1 - the unbiased estimate of the inner product of the two mean embeddings (chapter 10, eq. ha-cross)."""
    return 1 - cross.mean((1, 2))


def squared_mmd(
    gram: Grams, cross: Float[np.ndarray, "question m n"], verifier: Float[np.ndarray, "question n n"]
) -> Scores:
    """Unbiased estimate of the squared distance of the two mean embeddings (chapter 10, eq. ha-mmd)."""
    return 2 * cross_distance(cross) - mean_pairwise_distance(gram) - mean_pairwise_distance(verifier)
