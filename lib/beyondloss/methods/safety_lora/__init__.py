"""Chapter 8: LoRA and the safety tax, after Xue and Mirzasoleiman.

from beyondloss.methods import safety_lora

safety_lora.overlap(base, tuned).plot()
model = safety_lora.merge(base, tuned, remove=16, scale=0.8)
penalty = safety_lora.OverlapPenalty(model, side="row")
"""

# `chapter.CHAPTER` isn't imported here, which keeps it out of the book, until its notebook is written
from beyondloss.methods.safety_lora import experiments, linear, tables, theory
from beyondloss.methods.safety_lora.merging import merge
from beyondloss.methods.safety_lora.overlap import OverlapTable, overlap
from beyondloss.methods.safety_lora.penalty import OverlapPenalty

__all__ = [
    "OverlapPenalty",
    "OverlapTable",
    "experiments",
    "linear",
    "merge",
    "overlap",
    "tables",
    "theory",
]
