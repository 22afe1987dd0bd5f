"""Sets of texts, made by the arms of chapter 7, and what is measured on them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beyondloss.methods.synthetic_text import descriptions, learning, reviews, world
from beyondloss.methods.synthetic_text.arms import Arm, arm
from beyondloss.methods.synthetic_text.base import BaseConfig, base_model
from beyondloss.methods.synthetic_text.gradients import (
    Head,
    Reader,
    Target,
    head_gradient,
    head_of,
    targets_of,
)
from beyondloss.methods.synthetic_text.gradmm import in_groups, projection
from beyondloss.methods.synthetic_text.matching import PUBLISHED, Matched, match
from beyondloss.methods.synthetic_text.privacy import attack, hidden
from beyondloss.methods.synthetic_text.prompts import Task, Texts, encoded, joined
from beyondloss.methods.synthetic_text.selection import chosen, spread_of_gradients
from beyondloss.methods.synthetic_text.settings import TextPoint
from beyondloss.methods.synthetic_text.writing import mean_length, random_tokens, written
from beyondloss.models.language import Loaded, load

AS_IT_STANDS, CALIBRATED = "as it stands", "calibrated"
EMOTION = Task(
    words={"sadness": " sadness", "joy": " joy"},
    prompt=" Does the tweet express joy or sadness?\n",
    requests={label: f"Write one tweet that expresses {label}." for label in ("sadness", "joy")},
)


def run_texts(points: Sequence[TextPoint]) -> list[dict]:
    """Measure points one after the other; points of one seed share the model and what it reads."""
    return [measured(point) for point in points]


@lru_cache(maxsize=2)
def model_of(spec: str, precision: str, device: str) -> Loaded:
    found = load(spec, getattr(torch, precision), device)
    found.model.requires_grad_(False)
    return found


@dataclass(eq=False)
class Setting:
    """What all arms of one seed share: model, task, real examples and others, and what the model makes of them."""

    loaded: Loaded
    task: Task
    examples: reviews.Examples
    longest: int
    seed: int

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.model, self.loaded.tokenizer, self.task)

    @cached_property
    def head(self) -> Head:
        return head_of(self.model, self.loaded.tokenizer, self.task)

    @cached_property
    def real(self) -> list[Texts]:
        """Real texts of each label."""
        return [encoded(self.loaded.tokenizer, self.examples.real[label]) for label in self.task.labels]

    @cached_property
    def real_states(self) -> list[Float[Tensor, "text width"]]:
        return [self.reader.read(texts) for texts in self.real]

    @cached_property
    def targets(self) -> list[Target]:
        """The gradient of the real examples of each label."""
        return targets_of(self.reader, self.head, self.real)

    @cached_property
    def bench(self) -> learning.Bench:
        """The real texts, then those that are tested, label by label."""
        tested = [encoded(self.loaded.tokenizer, self.examples.test[label]) for label in self.task.labels]
        return learning.Bench.of(self.model, self.loaded.tokenizer, self.task, joined([*self.real, *tested]))

    @property
    def count(self) -> int:
        """Real texts, which stand first among those that are judged."""
        return sum(map(len, self.real))

    @cached_property
    def labels(self) -> Int[Tensor, " text"]:
        """Labels of all that is judged."""
        parts = [*self.real, *(self.examples.test[label] for label in self.task.labels)]
        return torch.cat([torch.full((len(part),), i % len(self.real)) for i, part in enumerate(parts)])

    @cached_property
    def truth(self) -> list[Target]:
        """The gradient of the tested texts of each label, which nothing is matched to."""
        states, labels = self.bench.states[self.count :], self.labels[self.count :]
        return [
            replace(target, weights=head_gradient(states[labels == target.label], self.head, target.label))
            for target in self.targets
        ]

    def pool(self, label: str, size: int, temperature: float, shots: int) -> list[str]:
        """Texts that the model writes; a smaller number is the beginning of a larger one."""
        key = (label, temperature, shots)
        have = self.written.get(key, [])
        if len(have) < size:
            have = written(
                self.model,
                self.loaded.tokenizer,
                self.task,
                label,
                size,
                temperature=temperature,
                longest=self.longest,
                examples=self.examples.real[label],
                shots=shots,
                seed=self.seed,
            )
            self.written[key] = have
        return have[:size]

    @cached_property
    def written(self) -> dict[tuple, list[str]]:
        return {}


def setting(point: TextPoint) -> Setting:
    return setting_of(
        replace(point, arm="zero-shot", per_label=1, tuned="head", another="", outer=1, inner=1, step=1.0)
    )


@lru_cache(maxsize=4)
def setting_of(point: TextPoint) -> Setting:
    """The setting of a point whose arm does not matter."""
    if point.data == world.WORLD:
        return small_world(point)
    task = EMOTION if point.data == "emotion" else Task()
    examples = reviews.draw(point.data, point.real, point.tested, point.part, point.seed)
    return Setting(
        model_of(point.model, point.precision, point.device), task, examples, point.longest, point.seed
    )


def small_world(point: TextPoint) -> Setting:
    """The same in the small world of the seed, with a model that has read its reviews."""
    which = ("tests", "choices").index(point.part)
    here, rng = world.World(point.seed), np.random.default_rng([15, which, point.seed])
    drawn = here.reviews(point.real + point.tested, rng)
    examples = reviews.Examples(
        {label: texts[: point.real] for label, texts in drawn.items()},
        {label: texts[point.real :] for label, texts in drawn.items()},
    )
    loaded = Loaded(base_model(BaseConfig(steps=point.base_steps, seed=point.seed)), world.tokenizer())
    return Setting(loaded, world.TASK, examples, point.longest, point.seed)


# Sets -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Made:
    """A set: texts of each label, or embeddings without words, and the rounds of each joint matching."""

    texts: list[Texts]
    embeds: list[Tensor] | None = None
    rounds: list[Matched] | None = None


def made(point: TextPoint, here: Setting) -> Made | None:
    """The set of a point's arm; None where nothing is learned."""
    how, tokenizer = arm(point.arm, point.seed), here.loaded.tokenizer
    if how.source == "nothing":
        return None
    if how.source == "random tokens":
        parts = []
        for number, label in enumerate(here.task.labels):
            length = mean_length(tokenizer, here.examples.real[label], point.longest)
            parts.append(random_tokens(tokenizer, point.per_label, length, 10 * point.seed + number))
        return Made(parts)
    if how.source == "real":
        return Made([real_texts(point, how, here, target) for target in here.targets])
    if how.source == "generated":
        return Made([generated_texts(point, how, here, target) for target in here.targets])
    return matched_texts(point, how, here)


def real_texts(point: TextPoint, how: Arm, here: Setting, target: Target) -> Texts:
    texts = here.real[target.label]
    if how.choice == "all":
        return texts
    states = here.real_states[target.label]
    return texts.rows(chosen(how.choice, states, point.per_label, here.head, target, point.seed))


def generated_texts(point: TextPoint, how: Arm, here: Setting, target: Target) -> Texts:
    """Texts that the model writes; with a pool those whose joint gradient is nearest, greedily."""
    label = here.task.labels[target.label]
    pool = here.pool(label, how.pool * point.per_label, how.temperature, shots_of(point, how))
    texts = encoded(here.loaded.tokenizer, pool, point.longest)
    if how.pool == 1:
        return texts
    return texts.rows(chosen("gradient", here.reader.read(texts), point.per_label, here.head, target))


def matched_texts(point: TextPoint, how: Arm, here: Setting) -> Made:
    """Texts of GRADMM, `at_once` of a label together."""
    options = how.matching
    if options != replace(PUBLISHED, seed=point.seed):
        options = replace(options, outer=point.outer, inner=point.inner, lr=point.step, nearest=point.nearest)
    project = projection(here.reader, here.loaded.tokenizer, here.task, options)
    head = head_of(here.model, here.loaded.tokenizer, here.task, options.vocabulary)
    clip = how.privacy.clip if how.privacy else None
    texts, embeds, rounds = [], [], []
    for target in targets_of(here.reader, head, here.real, clip):
        if how.privacy:
            target = hidden(target, len(here.real[target.label]), how.privacy, point.seed)
        parts = []
        for number, start in enumerate(starts(point, how, here, target.label)):
            parts.append(match(here.reader, head, target, start, project, options, number))
        rounds += parts
        texts.append(joined([part.texts for part in parts]))
        embeds.append(torch.cat([part.embeds for part in parts]) if len(parts) == 1 else None)
    return Made(texts, embeds if options.words == "none" else None, rounds)


def shots_of(point: TextPoint, how: Arm) -> int:
    return point.shots if how.from_examples else 0


def starts(point: TextPoint, how: Arm, here: Setting, label: int) -> list[Texts]:
    """Generated texts, `at_once` in a group; for random embeddings rows of the mean length of real ones."""
    name, tokenizer = here.task.labels[label], here.loaded.tokenizer
    if how.matching.start == "random":
        length = mean_length(tokenizer, here.examples.real[name], point.longest)
        texts = random_tokens(tokenizer, point.per_label, length, 10 * point.seed + label)
    else:
        pool = here.pool(name, point.per_label, how.temperature, shots_of(point, how))
        texts = encoded(tokenizer, pool, point.longest)
    return in_groups(texts, how.matching)


# Measures ---------------------------------------------------------------------------------------------------


def measured(point: TextPoint) -> dict:
    here, began = setting(point), time.process_time()
    found = made(point, here)
    seconds = time.process_time() - began
    if found is None:
        return zero_shot(here)
    data = labelled(found)
    learned = learning.learn(here.bench, data, point.learning, point.seed)
    metrics = judged(learned, here) | {"made_seconds": seconds, "diverged_at": None}
    if found.embeds is None:
        metrics |= described(found, here, real=arm(point.arm, 0).source == "real")
    if found.rounds:
        metrics |= traced(found.rounds)
    if point.another and found.embeds is None:
        metrics |= {f"another_{name}": values for name, values in transferred(point, found, here).items()}
    return metrics


def transferred(point: TextPoint, found: Made, here: Setting) -> dict:
    """What another model learns from the same texts, in its own tokens."""
    loaded = model_of(point.another, point.precision, point.device)
    there = Setting(loaded, here.task, here.examples, point.longest, point.seed)
    texts = [encoded(loaded.tokenizer, part.decoded(here.loaded.tokenizer)) for part in found.texts]
    learned = learning.learn(there.bench, labelled(Made(texts)), point.learning, point.seed)
    return {
        name: values for name, values in judged(learned, there).items() if name in ("setting", "accuracy")
    }


def labelled(found: Made) -> learning.Labelled:
    labels = torch.cat([torch.full((len(texts),), i) for i, texts in enumerate(found.texts)])
    texts = joined(found.texts)
    embeds = None
    if found.embeds is not None:
        longest = texts.tokens.shape[1]
        embeds = torch.cat(
            [torch.nn.functional.pad(part, (0, 0, longest - part.shape[1], 0)) for part in found.embeds]
        )
    return learning.Labelled(texts, labels, embeds)


def zero_shot(here: Setting) -> dict:
    """The model as it stands, and with its preference for a label taken off by unlabelled texts."""
    logits = here.bench.head.logits(here.bench.states)
    plain = judged({AS_IT_STANDS: logits}, here)
    level = judged({CALIBRATED: learning.calibrated(logits, logits[: here.count])}, here)
    return {name: plain[name] + level[name] for name in plain} | {
        "spread": [spread_of_gradients(s, here.head, i) for i, s in enumerate(here.real_states)],
        "diverged_at": None,
    }


def judged(learned: dict[str, Float[Tensor, "text label"]], here: Setting) -> dict:
    """One entry a setting: accuracy and loss on tested texts, loss on the real examples, and an attack on these.

    The attack tells real examples from tested texts by how far training lowered their loss.
    """
    before = learning.loss(here.bench.head.logits(here.bench.states), here.labels)
    members = torch.arange(len(here.labels)) < here.count
    lists: dict[str, list] = {name: [] for name in ("setting", "accuracy", "loss", "real_loss", "attack")}
    for name, logits in learned.items():
        after = learning.loss(logits, here.labels)
        tested = slice(here.count, None)
        lists["setting"].append(name)
        lists["accuracy"].append(learning.accuracy(logits[tested], here.labels[tested]))
        lists["loss"].append(float(after[tested].mean()))
        lists["real_loss"].append(float(after[: here.count].mean()))
        finite = bool(after.isfinite().all())
        lists["attack"].append(attack(before, after, members) if finite else float("nan"))
    return lists


@torch.no_grad()
def described(found: Made, here: Setting, real: bool) -> dict:
    """Distances of the joint gradient from that of the real examples and of the tested texts; what the texts are like.

    Of real texts nothing is kept that could be read.
    """
    tokenizer = here.loaded.tokenizer
    states = [here.reader.read(texts) for texts in found.texts]
    distances = {
        name: [float(t.distance(s, here.head)) for t, s in zip(targets, states, strict=True)]
        for name, targets in (("distance", here.targets), ("distance_of_tested", here.truth))
    }
    said = [text for texts in found.texts for text in texts.decoded(tokenizer)]
    known = [text for label in here.task.labels for text in here.examples.real[label]]
    metrics = {
        "surprise": descriptions.surprise(here.model, tokenizer, joined(found.texts)),
        "diversity": descriptions.diversity(said),
        "copied": descriptions.copied(said, known),
        "nearest_real": descriptions.nearest_real(said, known),
    }
    return distances | metrics | {"texts": [] if real else said}


def traced(rounds: list[Matched]) -> dict:
    """The first group of each label, round by round."""
    names = rounds[0].trace[0]
    return {name: [[row[name] for row in matched.trace] for matched in rounds] for name in names}
