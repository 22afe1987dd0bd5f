"""One training loop for every objective, and the random streams it draws from."""

from beyondloss.trainers.checkpoint import BadCheckpoint
from beyondloss.trainers.config import TrainConfig
from beyondloss.trainers.history import History
from beyondloss.trainers.loop import Objective, train
from beyondloss.trainers.optimizers import SAM, Joined, block_matrices
from beyondloss.trainers.streams import Streams, seeded_networks

__all__ = [
    "SAM",
    "BadCheckpoint",
    "History",
    "Joined",
    "Objective",
    "Streams",
    "TrainConfig",
    "block_matrices",
    "seeded_networks",
    "train",
]
