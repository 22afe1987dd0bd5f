"""Chapter 6: is accuracy a fair measure of dataset distillation? After DD-Ranking."""

from beyondloss.experiment import Chapter, Paper
from beyondloss.methods.dataset_distillation import (
    augmentation,
    dd_ranking,
    distillation,
    evaluation,
    exercises,
    experiments,
    files,
    matching,
    networks,
    protocol_checks,
    scores,
    splits,
    students,
    tables,
    theory,
)
from beyondloss.methods.dataset_distillation.claims import CLAIMS

CHAPTER = Chapter(
    number=6,
    slug="dataset_distillation",
    title="Is accuracy a fair measure of dataset distillation?",
    paper=Paper(
        title="DD-Ranking: Rethinking the Evaluation of Dataset Distillation",
        authors="Zekai Li, Xinhao Zhong, Samir Khaki and others",
        arxiv="2505.13300",
        year=2025,
    ),
    experiments=experiments.ALL,
    claims=CLAIMS,
    boards=tables.leaderboard,
)

__all__ = [
    "CHAPTER",
    "augmentation",
    "dd_ranking",
    "distillation",
    "evaluation",
    "exercises",
    "files",
    "experiments",
    "matching",
    "networks",
    "protocol_checks",
    "scores",
    "splits",
    "students",
    "tables",
    "theory",
]
