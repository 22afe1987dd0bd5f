"""Every method by name, the labels and augmentation it is published with, and its tuned learning rate."""

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
    statistics: float = 1.0

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
REAL = ("random", "herding", "k-center")

TUNED_AT = (1, 10, 50)
TUNED = {  # (method, images a class) -> image learning rate, as the experiment `tuning` chose it
    ("DC", 1): 0.3,
    ("DC", 10): 0.3,
    ("DC", 50): 0.0003,
    ("DSA", 1): 0.03,
    ("DSA", 10): 0.3,
    ("DSA", 50): 0.0003,
    ("DM", 1): 0.3,
    ("DM", 10): 3.0,
    ("DM", 50): 0.03,
    ("MTT", 1): 30.0,
    ("MTT", 10): 0.3,
    ("MTT", 50): 0.3,
    ("decoupled", 1): 0.1,
    ("decoupled", 10): 1.0,
    ("decoupled", 50): 0.1,
}


def setting(method: str, per_class: int, lr: float = 0.0, iterations: int = 0, batch: int = 32) -> Setting:
    """The setting of a method: its tuned learning rate and its own iterations, unless others are given."""
    entry = METHODS[method]
    return Setting(
        iterations=iterations or entry.iterations,
        lr=lr or tuned_lr(method, per_class),
        batch=batch,
        statistics=entry.statistics,
    )


def tuned_lr(method: str, per_class: int) -> float:
    """The learning rate chosen at the largest number of images that is no larger; 1 for a method without one."""
    known = {size: lr for (name, size), lr in TUNED.items() if name == method and size <= per_class}
    return known[max(known)] if known else 1.0
