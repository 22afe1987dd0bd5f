"""Chapter 2: simplicity bias, SAM and the distribution of the data, after Gangavarapu and others."""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.simplicity_bias import (
    arithmetic,
    attention,
    exercises,
    experiments,
    incontext,
    language_model,
    late_examples,
    theory,
)
from beyondloss.methods.simplicity_bias.claims import CLAIMS

CHAPTER = Chapter(
    number=2,
    slug="simplicity_bias",
    title="Simplicity bias, SAM, and the data distribution as a lever",
    paper=Paper(
        title="Data Distribution as a Lever for Guiding Optimizers Toward Superior Generalization in LLMs",
        authors="Tushaar Gangavarapu, Jiping Li, Christopher Vattheuer, Zhangyang Wang, Baharan Mirzasoleiman",
        arxiv="2602.00576",
        year=2026,
    ),
    experiments=(
        experiments.POPULATION,
        experiments.POOL,
        experiments.NOISE,
        experiments.TUNING,
        experiments.FINETUNING,
        experiments.SMOLLM2_135M,
        experiments.LANGUAGE_MODEL,
    ),
    claims=CLAIMS,
)

__all__ = [
    "CHAPTER",
    "arithmetic",
    "attention",
    "exercises",
    "experiments",
    "incontext",
    "language_model",
    "late_examples",
    "theory",
]
