"""Chapter 8: LoRA and the safety tax, after Xue and Mirzasoleiman.

from beyondloss.methods import safety_lora

safety_lora.overlap(base, tuned).plot()
model = safety_lora.merge(base, tuned, remove=16, scale=0.8)
penalty = safety_lora.OverlapPenalty(model, side="row")
"""

from beyondloss.methods.safety_lora import linear, theory
from beyondloss.methods.safety_lora.merging import merge
from beyondloss.methods.safety_lora.overlap import OverlapTable, overlap
from beyondloss.methods.safety_lora.penalty import OverlapPenalty

__all__ = ["OverlapPenalty", "OverlapTable", "linear", "merge", "overlap", "theory"]
