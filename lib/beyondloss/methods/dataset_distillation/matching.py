"""Distillation by matching: gradients (DC, DSA), features (DM), trajectories (MTT), and the decoupled way (SRe2L).

The loops are not that of `trainers`: what is learned are images, with gradients that pass through those of a network,
and every iteration may stop at a stage to hand it out.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from beyondloss.methods.dataset_distillation.augmentation import Siamese, moved, random_motion
from beyondloss.methods.dataset_distillation.distillation import CHUNK, Task
from beyondloss.methods.dataset_distillation.networks import ConvNet, Weights, repeated

MOMENTUM = 0.5  # of the image updates, as in the published code of DC, DSA, DM and MTT
EXPERT_LR = 0.1  # of MTT's experts, and where its students' learned rate starts


def dc(task: Task) -> Iterator[Tensor]:
    """Dataset condensation: match the gradients of real and distilled images, class by class."""
    yield from gradient_matching(task, siamese=False)


def dsa(task: Task) -> Iterator[Tensor]:
    """DC under a siamese augmentation, the same for both sides."""
    yield from gradient_matching(task, siamese=True)


def gradient_matching(task: Task, siamese: bool) -> Iterator[Tensor]:
    images = task.start().requires_grad_()
    optimizer = torch.optim.SGD([images], lr=task.setting.lr, momentum=MOMENTUM)
    outer, weights = task.setting.outer if task.per_class > 1 else 1, ()
    for iteration in range(task.setting.iterations):
        if task.snapshot(iteration):
            yield images
        fresh = iteration % outer == 0
        weights = task.networks() if fresh else trained_on(task, weights, images)
        view = siamese_of(task) if siamese else lambda pictures: pictures
        loss = gradient_distance(
            task.network, weights, view_of(view, task.drawn(task.setting.batch)), view_of(view, images)
        )
        optimizer.zero_grad()
        images.grad = torch.autograd.grad(loss.sum(), images)[0]
        optimizer.step()
    yield images


def gradient_distance(
    network: ConvNet,
    weights: Weights,
    real: Float[Tensor, "seed classes real channel height width"],
    images: Float[Tensor, "seed classes image channel height width"],
) -> Float[Tensor, " seed"]:
    """Sum over layers and their units of 1 - cosine of the gradients (chapter 6, eq. dd-dc).

    Every class has a copy of the network of its own, so that one backward pass gives the gradients of all classes.
    """
    classes = real.shape[1]
    copies = tuple(part.detach().requires_grad_() for part in repeated(weights, classes))
    wanted = class_gradients(network, copies, real, create_graph=False)
    got = class_gradients(network, copies, images, create_graph=True)
    by_class = sum(
        (1 - F.cosine_similarity(a.flatten(2), b.flatten(2), dim=-1, eps=1e-6)).sum(-1)
        for a, b in zip(wanted, got, strict=True)
        if a.dim() > 2  # biases and norms are left out, as in the published code
    )
    return by_class.unflatten(0, (-1, classes)).sum(-1)


def class_gradients(network: ConvNet, copies: Weights, images: Tensor, create_graph: bool) -> Weights:
    """Gradient of each copy's mean loss on the images of its own class."""
    classes = images.shape[1]
    flat = images.flatten(0, 1)
    labels = torch.arange(classes, device=flat.device).repeat(len(images))[:, None].expand(-1, flat.shape[1])
    losses = F.cross_entropy(network.logits(copies, flat).flatten(0, 1), labels.flatten(), reduction="none")
    return torch.autograd.grad(losses.view(labels.shape).mean(-1).sum(), copies, create_graph=create_graph)


def dm(task: Task) -> Iterator[Tensor]:
    """Distribution matching: the mean features of random networks, class by class, under a siamese augmentation."""
    images = task.start().requires_grad_()
    optimizer = torch.optim.SGD([images], lr=task.setting.lr, momentum=MOMENTUM)
    for iteration in range(task.setting.iterations):
        if task.snapshot(iteration):
            yield images
        view = siamese_of(task)
        loss = feature_distance(
            task.network,
            task.networks(),
            view_of(view, task.drawn(task.setting.batch)),
            view_of(view, images),
        )
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    yield images


def feature_distance(
    network: ConvNet,
    weights: Weights,
    real: Float[Tensor, "seed classes real channel height width"],
    images: Float[Tensor, "seed classes image channel height width"],
) -> Float[Tensor, " seed"]:
    """Sum over classes of the squared distance of mean features (chapter 6, eq. dd-dm)."""
    with torch.no_grad():
        wanted = mean_features(network, weights, real)
    return (mean_features(network, weights, images) - wanted).square().sum((1, 2))


def mean_features(
    network: ConvNet, weights: Weights, images: Tensor
) -> Float[Tensor, "seed classes feature"]:
    return network.features(weights, images.flatten(1, 2)).unflatten(1, images.shape[1:3]).mean(2)


def siamese_of(task: Task) -> Siamese:
    return Siamese.drawn(task.streams, *task.shape[-2:], task.affine)


def view_of(view, images: Tensor) -> Tensor:
    """The images of all classes of a seed under one view."""
    return view(images.flatten(1, 2)).unflatten(1, images.shape[1:3])


def trained_on(task: Task, weights: Weights, images: Tensor, lr: float = 0.01) -> Weights:
    """The networks of gradient matching, some steps further on the distilled images as they are."""
    flat, labels = labelled(task, images.detach())
    for _ in range(task.setting.inner):
        weights = descended(task.network, weights, flat, labels, lr)
    return tuple(part.detach() for part in weights)


def labelled(task: Task, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images [seed, image, ...] in order of class, with their classes."""
    seeds, classes, each = images.shape[:3]
    labels = torch.arange(classes, device=images.device).repeat_interleave(each).expand(seeds, -1)
    return images.flatten(1, 2), labels


def descended(
    network: ConvNet,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    lr: Float[Tensor, " seed"] | float,
    create_graph: bool = False,
) -> Weights:
    """One step of gradient descent for every member, differentiable in images and learning rate if asked for."""
    weights = tuple(part if part.requires_grad else part.requires_grad_() for part in weights)
    losses = F.cross_entropy(
        network.logits(weights, images).flatten(0, 1), labels.flatten(), reduction="none"
    )
    loss = losses.view(labels.shape).mean(-1).sum()
    gradients = torch.autograd.grad(loss, weights, create_graph=create_graph)
    step = lr if isinstance(lr, Tensor) else torch.full((len(images),), lr, device=images.device)
    return tuple(
        part - step.view(-1, *[1] * (part.dim() - 1)) * gradient
        for part, gradient in zip(weights, gradients, strict=True)
    )


# Trajectories -----------------------------------------------------------------------------------------------


def mtt(task: Task) -> Iterator[Tensor]:
    """Match training trajectories: a student on distilled images must arrive where an expert does."""
    trajectories = expert_trajectories(task)
    images = task.start().requires_grad_()
    start = torch.full((len(task.seeds),), EXPERT_LR, device=task.device)
    log_lr = start.log().requires_grad_()  # of the students
    optimizer = torch.optim.SGD(
        [{"params": [images], "lr": task.setting.lr}, {"params": [log_lr], "lr": 0.01}], momentum=MOMENTUM
    )
    for iteration in range(task.setting.iterations):
        if task.snapshot(iteration):
            yield images
        begin, end = ends(task, trajectories)
        student = unrolled(task, begin, images, log_lr)
        optimizer.zero_grad()
        trajectory_distance(begin, student, end).sum().backward()
        log_lr.grad.clamp_(-1, 1)  # a seed's own, whichever seeds run beside it
        optimizer.step()
    yield images


def expert_trajectories(task: Task) -> Weights:
    """Weights [checkpoint, seed x expert, ...] of networks trained on the real images under augmentation."""
    setting, classes = task.setting, task.split.classes
    starts = task.streams.integers(2**31, setting.experts).flatten().tolist()
    weights = task.network.initial(starts, str(task.device))
    found = [weights]
    for step in range(1, setting.checkpoints * setting.stride + 1):
        views = view_of(siamese_of(task), task.drawn(max(1, 64 // classes)))
        flat, labels = (part.repeat_interleave(setting.experts, 0) for part in labelled(task, views))
        weights = tuple(p.detach() for p in descended(task.network, weights, flat, labels, EXPERT_LR))
        if step % setting.stride == 0:
            found.append(weights)
    return tuple(torch.stack([part.detach() for part in parts]) for parts in zip(*found, strict=True))


def ends(task: Task, trajectories: Weights) -> tuple[Weights, Weights]:
    """A random expert of each seed at a random checkpoint, and where it is some checkpoints later."""
    setting = task.setting
    first = task.streams.integers(setting.checkpoints + 1 - setting.expert_checkpoints, 1)[:, 0]
    expert = task.streams.integers(setting.experts, 1)[:, 0]
    member = torch.arange(len(expert), device=task.device) * setting.experts + expert
    return tuple(
        tuple(part[at, member] for part in trajectories) for at in (first, first + setting.expert_checkpoints)
    )


def unrolled(task: Task, weights: Weights, images: Tensor, log_lr: Tensor) -> Weights:
    """The student's weights after some steps on batches of the distilled images."""
    for _ in range(task.setting.student_steps):
        flat, labels = labelled(task, view_of(siamese_of(task), images))
        if flat.shape[1] > 50:  # more images than a student's batch
            chosen = task.streams.integers(flat.shape[1], 50)
            rows = torch.arange(len(flat), device=flat.device)[:, None]
            flat, labels = flat[rows, chosen], labels[rows, chosen]
        weights = descended(task.network, weights, flat, labels, log_lr.exp(), create_graph=True)
    return weights


def trajectory_distance(begin: Weights, student: Weights, end: Weights) -> Float[Tensor, " seed"]:
    """Squared distance of student and expert at the end, over that of the expert's way (chapter 6, eq. dd-mtt)."""
    return squared_distance(student, end) / squared_distance(begin, end)


def squared_distance(first: Weights, second: Weights) -> Float[Tensor, " seed"]:
    return sum((a - b).square().flatten(1).sum(1) for a, b in zip(first, second, strict=True))


# Decoupled --------------------------------------------------------------------------------------------------


def decoupled(task: Task) -> Iterator[Tensor]:
    """Images from noise that please one trained teacher and have its feature statistics, after SRe2L."""
    images = task.streams.normal(*task.shape[1:]).requires_grad_()
    every = math.ceil(task.split.train.shape[1] / CHUNK)
    wanted = feature_statistics(task.network, task.teacher.weights, task.split.train[:, ::every])
    optimizer = torch.optim.Adam([images], lr=task.setting.lr, betas=(0.5, 0.9))
    for iteration in range(task.setting.iterations):
        if task.snapshot(iteration):
            yield images
        flat, labels = labelled(task, images)
        views = moved(flat, random_motion(task.streams, flat.shape[1], task.affine))
        logits = task.network.logits(task.teacher.weights, views)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) * len(flat)
        got = feature_statistics(task.network, task.teacher.weights, views)
        loss = loss + task.setting.statistics * sum(
            (a.detach() - b).square().sum() for a, b in zip(wanted, got, strict=True)
        )
        optimizer.zero_grad()
        images.grad = torch.autograd.grad(loss, images)[0]
        optimizer.step()
    yield images


def feature_statistics(
    network: ConvNet, weights: Weights, images: Tensor
) -> list[Float[Tensor, "seed channel"]]:
    """Mean and deviation of every channel of every convolution, over images and pixels.

    They are taken where a batch norm would keep them, before the norm: behind an instance norm every image has its own.
    """
    found = [before for before, _ in network.blocks(weights, images)]
    return [statistic for layer in found for statistic in (layer.mean((1, 3, 4)), layer.std((1, 3, 4)))]
