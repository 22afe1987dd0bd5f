"""Chapter 7 as the book will list it: paper, experiments, claims."""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.synthetic_text import experiments
from beyondloss.methods.synthetic_text.claims import CLAIMS

CHAPTER = Chapter(
    number=7,
    slug="synthetic_text",
    title="Synthetic text by gradient matching",
    paper=Paper(
        title="Synthetic Text Generation for Training Large Language Models via Gradient Matching",
        authors="Dang Nguyen, Zeman Li, Mohammadhossein Bateni, Vahab Mirrokni, Meisam Razaviyayn, "
        "Baharan Mirzasoleiman",
        arxiv="2502.17607",
        year=2025,
        venue="ICML 2025",
    ),
    experiments=(experiments.WORLDS, experiments.REVIEWS),
    claims=CLAIMS,
)
