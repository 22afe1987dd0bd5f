"""Chapter 8 as the book will list it: paper, experiments, claims."""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.safety_lora import experiments
from beyondloss.methods.safety_lora.claims import CLAIMS

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
