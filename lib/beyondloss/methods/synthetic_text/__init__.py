"""Chapter 7: synthetic text by gradient matching, after Nguyen, Li and others.

from beyondloss.methods import synthetic_text

texts = synthetic_text.generate(model, tokenizer, {"negative": [...], "positive": [...]}, per_label=8)
"""

from beyondloss.methods.synthetic_text import theory
from beyondloss.methods.synthetic_text.gradmm import generate
from beyondloss.methods.synthetic_text.matching import Matching
from beyondloss.methods.synthetic_text.privacy import Privacy
from beyondloss.methods.synthetic_text.prompts import Task

__all__ = ["Matching", "Privacy", "Task", "generate", "theory"]
