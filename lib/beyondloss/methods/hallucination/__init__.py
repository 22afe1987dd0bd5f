"""Chapter 10: black-box detection of hallucinations, after Xue, Greenewald, Mroueh and Mirzasoleiman.

from beyondloss.methods import hallucination

detector = hallucination.Cascade(budget=0.3).fit(samples, wrong, verifier=second_model_samples)
risk, asked = detector.score(new_samples, verifier=ask_second_model)
"""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.hallucination import (
    asking,
    exercises,
    experiments,
    generator,
    kernels,
    linear_program,
    metrics,
    models,
    questions,
    scores,
    tables,
    theory,
    worlds,
)
from beyondloss.methods.hallucination.claims import CLAIMS
from beyondloss.methods.hallucination.detectors import (
    Cascade,
    CrossConsistency,
    Detector,
    GraphOracle,
    SelfCheck,
    SelfConsistency,
    TwoStage,
)
from beyondloss.methods.hallucination.evidence import Evidence, class_evidence, evidence
from beyondloss.methods.hallucination.kernels import Embedding, Entailment, Equality

CHAPTER = Chapter(
    number=10,
    slug="hallucination",
    title="Verify when uncertain",
    paper=Paper(
        title="Verify when Uncertain: Beyond Self-Consistency in Black Box Hallucination Detection",
        authors="Yihao Xue, Kristjan Greenewald, Youssef Mroueh, Baharan Mirzasoleiman",
        arxiv="2502.15845",
        year=2025,
    ),
    experiments=(experiments.GENERATOR, experiments.WORLDS, experiments.MODELS),
    claims=CLAIMS,
)

__all__ = [
    "CHAPTER",
    "Cascade",
    "CrossConsistency",
    "Detector",
    "Embedding",
    "Entailment",
    "Equality",
    "Evidence",
    "GraphOracle",
    "SelfCheck",
    "SelfConsistency",
    "TwoStage",
    "asking",
    "class_evidence",
    "evidence",
    "exercises",
    "experiments",
    "generator",
    "kernels",
    "linear_program",
    "metrics",
    "models",
    "questions",
    "scores",
    "tables",
    "theory",
    "worlds",
]
