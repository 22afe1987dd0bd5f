"""The methods behind one interface: a method turns a task into stages of images, the last of which is its set.

Images are [seed, class, image, channel, height, width] inside a method: several seeds are distilled side by side, each
from its own split, networks and random stream.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from beyondloss.data import coresets
from beyondloss.methods.dataset_distillation.augmentation import Affine
from beyondloss.methods.dataset_distillation.networks import ConvNet, Weights
from beyondloss.methods.dataset_distillation.splits import Split
from beyondloss.methods.dataset_distillation.students import Teacher
from beyondloss.trainers.streams import Streams

STAGES = 6  # snapshots of the images on their way
CHUNK = 1000  # real images that go through a network at a time


@dataclass(frozen=True)
class Setting:
    """What a method is run with; `lr` is that of the images and the one number that is tuned."""

    iterations: int = 150
    lr: float = 1.0
    batch: int = 32  # real images a class and iteration
    outer: int = 10  # iterations with one network (DC, DSA); 1 with one image a class
    inner: int = 5  # steps that this network is trained in between
    experts: int = 3  # trajectories a seed (MTT)
    checkpoints: int = 12
    stride: int = 8  # steps between checkpoints
    student_steps: int = 16  # as many as the expert takes on the way that is to be matched
    expert_checkpoints: int = 2
    statistics: float = 1.0  # weight of the teacher's feature statistics (decoupled)


@dataclass(frozen=True)
class Task:
    """What a method gets: real images, a teacher, networks to match on, and one random stream a seed."""

    split: Split
    network: ConvNet
    teacher: Teacher
    per_class: int
    seeds: Sequence[int]
    setting: Setting = Setting()
    affine: Affine = Affine()

    def __post_init__(self):
        most = self.split.by_class.shape[2]
        if not 1 <= self.per_class <= most:
            raise ValueError(
                f"{self.per_class} images a class are none of 1 to the {most} there are to draw from"
            )

    @property
    def device(self) -> torch.device:
        return self.split.train.device

    @property
    def shape(self) -> tuple[int, ...]:
        """Seeds, classes, images a class and the shape of an image."""
        return len(self.seeds), self.split.classes, self.per_class, *self.split.train.shape[2:]

    @cached_property
    def streams(self) -> Streams:
        return Streams([20_000 + seed for seed in self.seeds], self.device)

    def drawn(self, number: int, streams: Streams | None = None) -> Tensor:
        """`number` real images of each class, without repetition within a draw."""
        pool = self.split.by_class
        order = (streams or self.streams).uniform(*pool.shape[1:3]).argsort(-1)[..., :number]
        return picked(pool, order)

    def start(self, draw: int = 0) -> Tensor:
        """The random subset that methods start from; every method from the same, `draw` counts further ones."""
        own = Streams([30_000 + 1000 * draw + seed for seed in self.seeds], self.device)
        return self.drawn(self.per_class, own).clone()

    def networks(self) -> Weights:
        """New networks, one a seed."""
        fresh = self.streams.integers(2**31, 1).flatten().tolist()
        return self.network.initial(fresh, str(self.device))

    def snapshot(self, iteration: int) -> bool:
        """Whether the images of this iteration are a stage to be kept."""
        every = max(1, self.setting.iterations // STAGES)
        return iteration % every == 0


Method = Callable[[Task], Iterator[Tensor]]


@dataclass(frozen=True)
class Distilled:
    """Distilled images with their classes, in order of class, and the stages on the way."""

    images: Float[Tensor, "seed image channel height width"]
    labels: Tensor
    stages: list[Tensor]


def distil(method: Method, task: Task) -> Distilled:
    """Run a method to its end."""
    stages = [stage.detach().clone() for stage in method(task)]
    seeds, classes, per_class = task.shape[:3]
    labels = torch.arange(classes, device=task.device).repeat_interleave(per_class).expand(seeds, -1)
    return Distilled(stages[-1].flatten(1, 2), labels, [stage.flatten(1, 2) for stage in stages])


def picked(pool: Tensor, order: Tensor) -> Tensor:
    """Images [seed, class, chosen, ...] of the pool [seed, class, image, ...] by their numbers."""
    index = order.view(*order.shape, *[1] * (pool.dim() - 3)).expand(*order.shape, *pool.shape[3:])
    return pool.gather(2, index)


# Controls and subsets of real images ------------------------------------------------------------------------


def random(task: Task) -> Iterator[Tensor]:
    """Real images drawn at random: what every method starts from, and the reference of the scores."""
    yield task.start()


def random_again(task: Task) -> Iterator[Tensor]:
    """A second random draw: what the scores must call neutral."""
    yield task.start(draw=1)


def noise(task: Task) -> Iterator[Tensor]:
    """Independent normal pixels: no image of anything."""
    yield task.streams.normal(*task.shape[1:])


def teacher_features(task: Task) -> Float[Tensor, "seed classes image feature"]:
    with torch.no_grad():
        parts = task.split.train.split(CHUNK, dim=1)
        features = torch.cat([task.network.features(task.teacher.weights, part) for part in parts], dim=1)
    return features.unflatten(1, (task.split.classes, -1))


def herding(task: Task) -> Iterator[Tensor]:
    """The real images whose mean features under the teacher follow the mean of their class."""
    yield picked(task.split.by_class, coresets.herding(teacher_features(task), task.per_class))


def k_center(task: Task) -> Iterator[Tensor]:
    """The real images whose features under the teacher cover those of their class."""
    yield picked(task.split.by_class, coresets.k_center(teacher_features(task), task.per_class))
