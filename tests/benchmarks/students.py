"""Students of distilled sets side by side, against one after another as plain torch and the package train them.

python tests/benchmarks/students.py [--threads N N] [--rounds N]    prints a table, writes data/results/students.json

A step is one step of every student. Both clocks are reported: on a machine that does other things the processor's time
says what the work costs, the wall's what a reader waits.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from beyondloss.data.images import digits
from beyondloss.methods.dataset_distillation.augmentation import Affine
from beyondloss.methods.dataset_distillation.networks import ConvNet
from beyondloss.methods.dataset_distillation.splits import split
from beyondloss.methods.dataset_distillation.students import Recipe, accuracy, sgd_step, train_students
from beyondloss.models import vision
from run import DEVICE, Row, keep, machine, now, summary, table

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results" / "students.json"
STUDENTS, LR, STEPS = 36, 0.03, 200
# a GPU's work is on no clock of the processor
CLOCKS = {"wall time": now} | ({} if DEVICE == "cuda" else {"processor time": time.process_time})
NETWORK = ConvNet(channels=1, size=8, classes=10)
Step = Callable[[], None]


def plain(weights: tuple[Tensor, ...], member: int) -> nn.Module:
    """One member as torch's own layers, with the same weights."""
    network = vision.convnet(NETWORK.classes, NETWORK.channels, NETWORK.size, NETWORK.width, NETWORK.depth)
    with torch.no_grad():
        for own, part in zip(network.parameters(), weights, strict=True):
            own.copy_(part[member])
    return network.to(DEVICE)


def sgd(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(), lr=LR, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def batched(images: Tensor, labels: Tensor, recipe: Recipe) -> Step:
    """All students in one call: the chapter's own training, one step of it."""
    state = {"weights": list(NETWORK.initial(range(STUDENTS), DEVICE))}
    velocity = tuple(torch.zeros_like(part) for part in state["weights"])
    lr = torch.full((STUDENTS,), LR, device=DEVICE)
    all_images = images.expand(STUDENTS, *images.shape)
    wanted = F.one_hot(labels, NETWORK.classes).float().expand(STUDENTS, -1, -1)

    def step() -> None:
        weights = [part.requires_grad_() for part in state["weights"]]
        losses = -(wanted * F.log_softmax(NETWORK.logits(tuple(weights), all_images), -1)).sum(-1).mean(-1)
        gradients = torch.autograd.grad(losses.sum(), weights)
        state["weights"] = sgd_step(weights, gradients, velocity, lr, recipe)

    return step


def in_turn(images: Tensor, labels: Tensor, recipe: Recipe) -> Step:
    """Students one after another on tensors, as fast as plain torch goes."""
    weights = NETWORK.initial(range(STUDENTS))
    students = [plain(weights, member) for member in range(STUDENTS)]
    optimizers = [sgd(student, recipe) for student in students]

    def step() -> None:
        for student, optimizer in zip(students, optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(student(images), labels).backward()
            optimizer.step()

    return step


def with_loader(images: Tensor, labels: Tensor, recipe: Recipe) -> Step:
    """One after another as the package's loop does it: an epoch of a loader a step, loss and accuracies read out."""
    weights, data = NETWORK.initial(range(STUDENTS)), TensorDataset(images.cpu(), labels.cpu())
    students = [plain(weights, member) for member in range(STUDENTS)]
    optimizers = [sgd(student, recipe) for student in students]
    loader = DataLoader(
        data, batch_size=256, sampler=RandomSampler(data)
    )  # in this process: no workers to start

    def step() -> None:
        for student, optimizer in zip(students, optimizers, strict=True):
            for batch, wanted in loader:
                batch, wanted = batch.to(DEVICE), wanted.to(DEVICE)
                logits = student(batch)
                loss = F.cross_entropy(logits, wanted)
                loss.item()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                right = logits.topk(5, 1).indices.eq(wanted[:, None])
                right[:, :1].sum().item(), right.sum().item()

    return step


def both_clocks(ways: dict[str, Step], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Steps a second by each clock. Ways take turns, so that whatever else the machine does slows all of them."""
    speeds = {clock: {way: [] for way in ways} for clock in CLOCKS}
    for round_ in range(-2, rounds):  # the first two warm up
        for way in list(ways) if round_ % 2 else list(reversed(ways)):
            start = {name: clock() for name, clock in CLOCKS.items()}
            steps = 6 if way == next(iter(ways)) else 1
            for _ in range(steps):
                ways[way]()
            for name, clock in CLOCKS.items():
                if round_ >= 0:
                    speeds[name][way].append(steps / (clock() - start[name]))
    return speeds


def accuracies(images: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, recipe: Recipe) -> str:
    """Mean test accuracy of the students of both ways after a whole training, and whether they agree."""
    wanted = F.one_hot(labels, NETWORK.classes).float()
    weights = train_students(NETWORK, images[None], wanted[None], recipe, [LR], STUDENTS, [0])
    beside = accuracy(NETWORK, weights, test[None], test_labels[None])
    starts = NETWORK.initial(range(STUDENTS))  # the same as those of seed 0's rounds
    alone = []
    for member in range(STUDENTS):
        student = plain(starts, member)
        optimizer = sgd(student, recipe)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
        for _ in range(recipe.steps):
            optimizer.zero_grad()
            F.cross_entropy(student(images), labels).backward()
            optimizer.step()
            schedule.step()
        alone.append((student(test).argmax(-1) == test_labels).float().mean().item())
    alone = torch.tensor(alone)
    error = ((beside.var() + alone.var()) / STUDENTS).sqrt()
    difference = beside.mean() - alone.mean()
    agree = "within" if abs(difference) <= error else "more than"
    return (
        f"Test accuracy after {recipe.steps} steps on {len(images)} images, mean of {STUDENTS} students: "
        f"{beside.mean():.4f} side by side, {alone.mean():.4f} one after another; the difference is {agree} one "
        f"standard error ({error:.4f})."
    )


def measure(per_class: int, threads: list[int], rounds: int) -> tuple[list[Row], str]:
    """Rows for every number of threads and both clocks, and what the students of both ways reach."""
    parts = split(digits(), [0], validation=30, device=DEVICE)
    images = parts.by_class[0, :, :per_class].flatten(0, 1)
    labels = torch.arange(10, device=DEVICE).repeat_interleave(per_class)
    recipe = Recipe(steps=STEPS, batch=256, affine=Affine())
    rows: list[Row] = []
    for count in threads:
        torch.set_num_threads(count)
        ways = {
            "students side by side": batched(images, labels, recipe),
            "one after another": in_turn(images, labels, recipe),
            "with the package's loop": with_loader(images, labels, recipe),
        }
        task = f"{STUDENTS} students of {len(images)} digits"
        if DEVICE == "cpu":
            task += f", {count} {'thread' if count == 1 else 'threads'}"
        for clock, speeds in both_clocks(ways, rounds).items():
            rows += summary(f"{task}, {clock}", speeds)
    return rows, accuracies(images, labels, parts.test[0], parts.test_labels[0], recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="threads of the processor (1 2)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="turns of each way (30)")
    arguments = parser.parse_args()
    measured = [measure(size, arguments.threads, arguments.rounds) for size in (1, 10)]
    rows, notes = [row for found, _ in measured for row in found], [note for _, note in measured]
    print(table(rows), *notes, sep="\n")
    keep(RESULTS, machine(" and ".join(map(str, arguments.threads))), rows, notes)


if __name__ == "__main__":
    main()
