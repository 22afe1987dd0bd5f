"""One training loop for every objective, the random streams it draws from, and a recipe for fine-tuning."""

from beyondloss.trainers.checkpoint import BadCheckpoint
from beyondloss.trainers.config import TrainConfig
from beyondloss.trainers.fine_tuning import AnswerLosses, Lora, fine_tune, with_lora
from beyondloss.trainers.history import History
from beyondloss.trainers.loop import Objective, train
from beyondloss.trainers.optimizers import SAM, Joined, block_matrices
from beyondloss.trainers.streams import Streams, seeded_networks

__all__ = [
    "SAM",
    "AnswerLosses",
    "BadCheckpoint",
    "History",
    "Joined",
    "Lora",
    "Objective",
    "Streams",
    "TrainConfig",
    "block_matrices",
    "fine_tune",
    "seeded_networks",
    "train",
    "with_lora",
]
