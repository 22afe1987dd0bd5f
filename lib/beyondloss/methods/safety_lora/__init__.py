"""Chapter 8: LoRA and the safety tax, after Xue and Mirzasoleiman.

from beyondloss.methods import safety_lora

safety_lora.overlap(base, tuned).plot()
model = safety_lora.merge(base, tuned, remove=16, scale=0.8)
penalty = safety_lora.OverlapPenalty(model, side="row")
"""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.safety_lora import (
    arms,
    case,
    exercises,
    experiments,
    linear,
    measures,
    plane,
    tables,
    theory,
    trial,
)
from beyondloss.methods.safety_lora.claims import CLAIMS
from beyondloss.methods.safety_lora.merging import merge
from beyondloss.methods.safety_lora.overlap import OverlapTable, overlap
from beyondloss.methods.safety_lora.penalty import OverlapPenalty

CHAPTER = Chapter(
    number=8,
    slug="safety_lora",
    title="LoRA and the safety tax",
    paper=Paper(
        title="LoRA is All You Need for Safety Alignment of Reasoning LLMs",
        authors="Yihao Xue, Baharan Mirzasoleiman",
        arxiv="2507.17075",
        year=2025,
    ),
    experiments=(experiments.LINEAR, experiments.FRONTS, experiments.REAL),
    claims=CLAIMS,
)

__all__ = [
    "CHAPTER",
    "OverlapPenalty",
    "OverlapTable",
    "arms",
    "case",
    "exercises",
    "experiments",
    "linear",
    "measures",
    "merge",
    "overlap",
    "plane",
    "tables",
    "theory",
    "trial",
]
