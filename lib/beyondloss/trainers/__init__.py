"""One training loop for every objective, and the random streams it draws from."""

from beyondloss.trainers.checkpoint import BadCheckpoint
from beyondloss.trainers.config import TrainConfig
from beyondloss.trainers.history import History
from beyondloss.trainers.loop import Objective, train
from beyondloss.trainers.streams import Streams, seeded_networks

__all__ = ["BadCheckpoint", "History", "Objective", "Streams", "TrainConfig", "seeded_networks", "train"]
