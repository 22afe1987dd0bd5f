"""Small language models trained on a known world of facts, which hallucinate by themselves (chapter 10, section 10).

A world has entities, relations and one true answer each. A corpus covers part of the facts, some of them with a wrong
answer; a model is trained on sentences "entity relation phrase answer" drawn from it, frequent entities more often.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beyondloss.methods.hallucination import metrics
from beyondloss.methods.hallucination.detectors import (
    Cascade,
    CrossConsistency,
    Detector,
    GraphOracle,
    SelfCheck,
    SelfConsistency,
    TwoStage,
)
from beyondloss.methods.hallucination.evidence import Evidence, class_evidence
from beyondloss.methods.hallucination.scores import OF_SAMPLES
from beyondloss.models import Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import Streams, TrainConfig, seeded_networks, train

BUDGETS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
PHRASES = 4  # ways of saying the same
SENTENCE = 4  # tokens: entity, relation, phrase, answer


@dataclass(frozen=True)
class Student:
    """How a model of the pool is made. `errors`: of its own, beyond the misconceptions that every corpus shares.

    A student `of` another one reads that one's corpus, except for a share `redrawn` of the facts.
    """

    width: int = 64
    coverage: float = 0.6
    errors: float = 0.08
    of: str = ""
    redrawn: float = 0.1


POOL = {
    "base": Student(),
    "twin": Student(of="base"),
    "peer": Student(),
    "small": Student(width=24),
    "large": Student(width=128, coverage=0.9, errors=0.04),
}


@dataclass(frozen=True)
class WorldPoint:
    """One world, the pool of models trained on it, and every detector on every ordered pair of them."""

    entities: int = 400
    relations: int = 2
    answers: int = 24  # of a relation
    misconceptions: float = 0.07  # share of the facts that every corpus tells wrongly
    zipf: float = 0.7
    steps: int = 400
    batch: int = 160
    lr: float = 3e-3
    layers: int = 2
    m: int = 10
    budgets: tuple[float, ...] = BUDGETS
    oracle_steps: int = 100
    width_factor: int = 1
    device: str = "cpu"
    seed: int = 0

    @property
    def facts(self) -> int:
        return self.entities * self.relations

    @property
    def vocabulary(self) -> int:
        return self.entities + self.relations + PHRASES + self.relations * self.answers


@dataclass(frozen=True)
class World:
    """Facts in a random order. `truth` and `myth` are numbers of answers; `myth` is what errors say."""

    prompt: Int[Tensor, "fact 2"]
    truth: Int[np.ndarray, " fact"]
    myth: Int[np.ndarray, " fact"]
    common: Float[np.ndarray, " fact"]  # 1 for a misconception that every corpus shares
    frequency: Float[np.ndarray, " fact"]


def make_world(point: WorldPoint) -> World:
    generator = np.random.default_rng([1, point.seed])
    entity, relation = np.divmod(generator.permutation(point.facts), point.relations)
    truth = generator.integers(point.answers, size=point.facts)
    myth = (truth + generator.integers(1, point.answers, size=point.facts)) % point.answers
    common = (generator.random(point.facts) < point.misconceptions).astype(float)
    prompt = torch.tensor(np.stack([entity, point.entities + relation], 1))
    return World(prompt, truth, myth, common, (1.0 + entity) ** -point.zipf)


@dataclass(frozen=True)
class Corpus:
    """What a model reads: the answer that is told for each fact, and whether the fact is told at all."""

    told: Int[np.ndarray, " fact"]
    covered: Float[np.ndarray, " fact"]


def make_corpora(point: WorldPoint, world: World) -> dict[str, Corpus]:
    found: dict[str, Corpus] = {}
    for number, (name, student) in enumerate(POOL.items()):
        generator = np.random.default_rng([2, point.seed, number])
        own = generator.random(point.facts) < student.errors
        other = (world.truth + generator.integers(1, point.answers, size=point.facts)) % point.answers
        told = np.where(world.common > 0, world.myth, np.where(own, other, world.truth))
        covered = (generator.random(point.facts) < student.coverage).astype(float)
        if student.of:
            kept = generator.random(point.facts) >= student.redrawn
            told = np.where(kept, found[student.of].told, told)
            covered = np.where(kept, found[student.of].covered, covered)
        found[name] = Corpus(told, covered)
    return found


def sentences(
    point: WorldPoint, world: World, corpus: Corpus, streams: Streams
) -> Int[Tensor, "member batch 4"]:
    """A batch of sentences: facts by their frequency, phrases by lot."""
    cumulative = torch.tensor((world.frequency * corpus.covered).cumsum()).float().to(streams.device)
    prompt, told = world.prompt.to(streams.device), torch.tensor(corpus.told, device=streams.device)
    uniform = streams.uniform(point.batch) * cumulative[-1]
    fact = torch.searchsorted(cumulative, uniform).clamp(max=point.facts - 1)
    phrase = streams.integers(PHRASES, point.batch) + point.entities + point.relations
    answer = answer_tokens(point, prompt[fact][..., 1], told[fact])
    return torch.cat([prompt[fact], phrase[..., None], answer[..., None]], dim=-1)


def answer_tokens(
    point: WorldPoint, relation: Int[Tensor, "*any"], answer: Int[Tensor, "*any"]
) -> Int[Tensor, "*any"]:
    """Token of an answer: each relation has answers of its own."""
    number = relation - point.entities
    return point.entities + point.relations + PHRASES + number * point.answers + answer


def trained(point: WorldPoint, world: World, corpus: Corpus, student: Student, seed: int) -> Transformer:
    """One model of the pool, after `steps` of next-token prediction on its corpus."""
    config = TransformerConfig(
        point.vocabulary, SENTENCE, point.layers, n_heads=4, d_model=point.width_factor * student.width
    )
    model = seeded_networks(lambda: Transformer(config), [seed], point.device)

    def objective(model: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        tokens = sentences(point, world, corpus, streams)
        logits = model(tokens)[:, :, 1:-1]  # the phrase and the answer are to be told
        losses = F.cross_entropy(logits.flatten(0, 2), tokens[:, :, 2:].flatten(), reduction="none")
        return losses.view(1, -1).mean(1)

    settings = TrainConfig(steps=point.steps, lr=point.lr, schedule="cosine", warmup=20, weight_decay=0.01)
    train(model, objective, settings, Streams([seed], point.device))
    return model.single.eval()


@torch.no_grad()
def sampled(
    model: Transformer, prompt: Int[Tensor, "fact 2"], m: int, seed: int, temperature: float = 1.0
) -> Int[Tensor, "fact m 2"]:
    """Phrase and answer tokens drawn m times for each prompt; the likeliest at temperature 0."""
    device = model.token.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    tokens = prompt.to(device).repeat_interleave(m, 0)
    for _ in range(SENTENCE - prompt.shape[1]):
        logits = model(tokens)[:, -1]
        if temperature:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        else:
            chosen = logits.argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, chosen], 1)
    return tokens[:, 2:].view(len(prompt), m, 2).cpu()


def run_worlds(points: Sequence[WorldPoint]) -> list[dict]:
    """Train a pool in each world and judge every detector on every ordered pair, a model with itself included."""
    return [measured(point) for point in points]


def measured(point: WorldPoint) -> dict:
    world = make_world(point)
    corpora = make_corpora(point, world)
    models = {
        name: trained(point, world, corpora[name], student, 1000 * point.seed + number)
        for number, (name, student) in enumerate(POOL.items())
    }
    start = time.perf_counter()
    drawn = {
        name: [sampled(model, world.prompt, point.m, 2 * number + turn).numpy() for turn in (0, 1)]
        for number, (name, model) in enumerate(models.items())
    }
    seconds = (time.perf_counter() - start) / (2 * len(models) * point.facts)
    first = point.entities + point.relations + PHRASES
    truth = first + (world.prompt[:, 1].numpy() - point.entities) * point.answers + world.truth
    rows, shown = [], {}
    for target, model in models.items():
        greedy = sampled(model, world.prompt, 1, 0, temperature=0.0).numpy()[:, 0, 1]
        wrong = greedy != truth
        halves = np.arange(point.facts) < point.facts // 2
        rows += own_rows(point, target, drawn[target][0], greedy, wrong, halves)
        for verifier in models:
            said = drawn[verifier][int(verifier == target)][..., 1]  # a model with itself: a second draw
            given = class_evidence(drawn[target][0][..., 1], said, greedy)
            rows += pair_rows(point, target, verifier, given, wrong, halves)
            if (target, verifier) == ("base", "large"):
                shown = scatter(given, wrong)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    parameters = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    return (
        columns
        | shown
        | {
            "model": list(models),
            "parameters": list(parameters.values()),
            "seconds_a_question": seconds,
            "wrong_both": agreement(models, world, truth),
        }
    )


def own_rows(
    point: WorldPoint,
    target: str,
    drawn: np.ndarray,
    greedy: np.ndarray,
    wrong: np.ndarray,
    halves: np.ndarray,
) -> list[dict]:
    """Detectors that need no verifier, on meanings, and the plainest one on whole strings as well."""
    given = class_evidence(drawn[..., 1], None, greedy)
    detectors: dict[str, Detector] = {name: SelfConsistency(statistic=name) for name in OF_SAMPLES}
    detectors |= {"self-check": SelfCheck(), "self oracle": GraphOracle(steps=point.oracle_steps)}
    rows = [judged(target, "", name, 0.0, d, given, wrong, halves) for name, d in detectors.items()]
    strings = class_evidence(drawn[..., 0] * 10_000 + drawn[..., 1])
    return [*rows, judged(target, "", "pairwise, strings", 0.0, SelfConsistency(), strings, wrong, halves)]


def pair_rows(
    point: WorldPoint, target: str, verifier: str, given: Evidence, wrong: np.ndarray, halves: np.ndarray
) -> list[dict]:
    always: dict[str, Detector] = {
        "cross distance": CrossConsistency(),
        "MMD": CrossConsistency(mmd=True),
        "cross oracle": GraphOracle(cross=True, steps=point.oracle_steps),
    }
    rows = [judged(target, verifier, name, 1.0, d, given, wrong, halves) for name, d in always.items()]
    for budget in point.budgets:
        rules: dict[str, Detector] = {
            "interval": TwoStage(budget=budget),
            "value": Cascade(budget=budget),
            "random": Cascade(budget=budget, route="random"),
            "planned": Cascade(budget=budget, slope=1.0),
        }
        rows += [judged(target, verifier, name, budget, d, given, wrong, halves) for name, d in rules.items()]
    return rows


def judged(
    target: str, verifier: str, name: str, budget: float, detector: Detector, given: Evidence, wrong: np.ndarray,
    halves: np.ndarray,
) -> dict:  # fmt: skip
    """Fit on one half of the facts, measure on the other."""
    fit, test = np.flatnonzero(halves), np.flatnonzero(~halves)
    found = detector.fit(given.of(fit), wrong[fit]).score(given.of(test))
    sides = metrics.masses(wrong[test])
    return {
        "target": target,
        "verifier": verifier,
        "detector": name,
        "budget": budget,
        "auroc": round(metrics.auroc(found.risk, *sides), 5),
        "auarc": round(metrics.auarc(found.risk, *sides), 5),
        "error": round(metrics.least_error(found.risk, *sides), 5),
        "asked": round(float(found.asked.mean()), 5),
        "wrong": round(float(wrong[test].mean()), 5),
    }


def scatter(given: Evidence, wrong: np.ndarray, questions: int = 400) -> dict:
    """Both distances and labels of some questions, for figures."""
    own = SelfConsistency().score(given).risk
    cross = CrossConsistency().score(given).risk
    return {
        "own_distance": np.round(own[-questions:], 3).tolist(),
        "cross_distance": np.round(cross[-questions:], 3).tolist(),
        "is_wrong": wrong[-questions:].astype(int).tolist(),
    }


def agreement(models: dict[str, Transformer], world: World, truth: np.ndarray) -> list[list[float]]:
    """Of the wrong answers of each model, the share that each other model gives in the same words."""
    said = {
        name: sampled(model, world.prompt, 1, 0, temperature=0.0).numpy()[:, 0, 1]
        for name, model in models.items()
    }
    return [[round(float((said[b] == said[a])[said[a] != truth].mean()), 4) for b in models] for a in models]
