"""Chapter 3: the implicit regulariser of masked diffusion language models, after Huang and Mirzasoleiman."""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.masked_diffusion import (
    exercises,
    experiments,
    grokking,
    language,
    masking,
    theory,
    window,
)
from beyondloss.methods.masked_diffusion.claims import CLAIMS
from beyondloss.trainers import Streams

CHAPTER = Chapter(
    number=3,
    slug="masked_diffusion",
    title="The implicit regulariser of masked diffusion",
    paper=Paper(
        title="Tuning the Implicit Regularizer of Masked Diffusion Language Models: Enhancing Generalization via "
        "Insights from k-Parity",
        authors="Jianhao Huang, Baharan Mirzasoleiman",
        arxiv="2601.22450",
        year=2026,
        venue="ICML 2026",
    ),
    experiments=(
        experiments.LANDSCAPE,
        experiments.WINDOW,
        experiments.GROKKING,
        experiments.LANGUAGE,
        experiments.LONGER,
        experiments.LLADA,
    ),
    claims=CLAIMS,
)

__all__ = [
    "CHAPTER",
    "Streams",
    "exercises",
    "experiments",
    "grokking",
    "language",
    "masking",
    "theory",
    "window",
]
