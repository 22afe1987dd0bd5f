"""Every method by name, the labels and augmentation it is published with, and the learning rates to choose from."""

from dataclasses import dataclass

from beyondloss.methods.dataset_distillation import distillation, matching
from beyondloss.methods.dataset_distillation.distillation import Method, Setting


@dataclass(frozen=True)
class Entry:
    """One method: the recipe that it was published with, and the learning rates to choose from."""

    method: Method
    labels: str = "hard"
    augmented: bool = False
    grid: tuple[float, ...] = ()
    iterations: int = 150

    @property
    def corner(self) -> str:
        return corner(self.labels, self.augmented)


def corner(labels: str, augmented: bool) -> str:
    """How a recipe is called in tables: "hard", "hard, augmented", "soft", "soft, augmented"."""
    return f"{labels}, augmented" if augmented else labels


CORNERS = tuple(corner(labels, augmented) for labels in ("hard", "soft") for augmented in (False, True))

METHODS = {
    "random": Entry(distillation.random),
    "random again": Entry(distillation.random_again),
    "noise": Entry(distillation.noise),
    "herding": Entry(distillation.herding),
    "k-center": Entry(distillation.k_center),
    "DC": Entry(matching.dc, grid=(0.0003, 0.003, 0.03, 0.3, 3.0, 30.0)),
    "DSA": Entry(matching.dsa, augmented=True, grid=(0.0003, 0.003, 0.03, 0.3, 3.0, 30.0)),
    "DM": Entry(matching.dm, augmented=True, grid=(0.003, 0.03, 0.3, 3.0, 30.0, 300.0), iterations=300),
    "MTT": Entry(matching.mtt, augmented=True, grid=(0.03, 0.3, 3.0, 30.0, 300.0, 3000.0), iterations=100),
    "decoupled": Entry(
        matching.decoupled, "soft", augmented=True, grid=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0), iterations=200
    ),
}
OPTIMISED = ("DC", "DSA", "DM", "MTT", "decoupled")
MATCHED = ("DC", "DSA", "DM", "MTT")


def setting(method: str, lr: float, iterations: int = 0, batch: int = 32) -> Setting:
    """The setting of a method with an image learning rate: its own iterations, unless others are given."""
    entry = METHODS[method]
    return Setting(iterations=iterations or entry.iterations, lr=lr, batch=batch)
