"""What labels carry where images are noise: a linear teacher of digits and its students (chapter 6, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from beyondloss.data.images import digits
from beyondloss.methods.dataset_distillation import theory
from beyondloss.methods.dataset_distillation.splits import split

INPUTS = ("noise", "digits")
LABELS = ("hard", "soft")


@dataclass(frozen=True)
class LabelsPoint:
    """Train one linear student on so many inputs, labelled by a linear teacher of digits."""

    inputs: Literal[*INPUTS]
    labels: Literal[*LABELS]
    images: int
    validation: int = 30
    seed: int = 0


def run_labels(points: Sequence[LabelsPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: accuracy on digits, and the distance from the teacher."""
    return [measure(point) for point in points]


def measure(point: LabelsPoint) -> dict:
    real, labels, test, test_labels, classes = real_inputs(point.seed, point.validation)
    teacher = theory.from_hard_labels(real, labels, classes, penalty=1.0)
    student = taught(point, real, teacher)
    right = [float(((test @ weights.T).argmax(-1) == test_labels).mean()) for weights in (student, teacher)]
    return {"accuracy": right[0], "teacher": right[1], "error": theory.distance(student, teacher)}


def taught(
    point: LabelsPoint, real: Float[np.ndarray, "train p"], teacher: Float[np.ndarray, "classes p"]
) -> Float[np.ndarray, "classes p"]:
    """The student of a point."""
    inputs = drawn(point, real)
    given = theory.soft_labels(teacher, inputs)
    if point.labels == "soft":
        return theory.from_soft_labels(inputs, given)
    return theory.from_hard_labels(inputs, given.argmax(-1), len(teacher))


def student_of(point: LabelsPoint) -> tuple[Float[np.ndarray, "classes p"], float]:
    """The student of a point and its accuracy on digits."""
    real, labels, test, test_labels, classes = real_inputs(point.seed, point.validation)
    student = taught(point, real, theory.from_hard_labels(real, labels, classes, penalty=1.0))
    return student, float(((test @ student.T).argmax(-1) == test_labels).mean())


def real_inputs(seed: int, validation: int) -> tuple:
    """Digits with a constant input at the end, and their labels: training and test part."""
    parts = split(digits(), [seed], validation)
    return (
        with_constant(parts.train[0].flatten(1).double().numpy()),
        parts.labels[0].numpy(),
        with_constant(parts.test[0].flatten(1).double().numpy()),
        parts.test_labels[0].numpy(),
        parts.classes,
    )


def with_constant(rows: Float[np.ndarray, "image pixel"]) -> Float[np.ndarray, "image p"]:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def drawn(point: LabelsPoint, real: Float[np.ndarray, "train p"]) -> Float[np.ndarray, "image p"]:
    """Normal pixels, or real images without repetition."""
    generator = np.random.default_rng([point.seed, point.images])
    if point.inputs == "noise":
        return with_constant(generator.normal(size=(point.images, real.shape[1] - 1)))
    if point.images > len(real):
        raise ValueError(f"{point.images} digits are more than the {len(real)} there are to train on")
    return real[generator.permutation(len(real))[: point.images]]
