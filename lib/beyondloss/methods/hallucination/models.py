"""Real language models on real questions, the same code from 135M parameters on a CPU to pairs of 7B on a GPU.

At quick scale: SmolLM2-135M-Instruct, asked in two styles, and a twin of it that was tuned on half of the facts; the
questions are made from tables of libraries. At full scale: pairs of instruction-tuned models on TriviaQA, Natural
Questions and SQuAD, without their passages. Predicted, not measured, at full scale: 1,400 questions with 10 samples of
16 tokens take about 10 minutes a model of 7B on one H100, the entailment of 1,400 x 190 pairs as long again.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.nn import functional as F

from beyondloss.experiment import code_digest, journal
from beyondloss.methods.hallucination import asking, kernels, metrics, questions
from beyondloss.methods.hallucination.asking import Reply, ReplyCache, Request
from beyondloss.methods.hallucination.detectors import (
    Cascade,
    CrossConsistency,
    Detector,
    SelfCheck,
    SelfConsistency,
    TwoStage,
)
from beyondloss.methods.hallucination.evidence import Evidence, evidence
from beyondloss.methods.hallucination.scores import OF_SAMPLES
from beyondloss.models import Ensemble
from beyondloss.models.language import MINILM, SMOLLM2, load
from beyondloss.trainers import Streams, TrainConfig, train

TUNED = f"{SMOLLM2}, tuned"
STYLES = ("chat", "dialogue", "statement")
KERNELS = ("equality", "embedding", "entailment")
DATA = ("tables", *questions.SETS)
BUDGETS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
FOLDS, RESAMPLES = 5, 500
BRIEFLY = "Answer with the answer alone, in a few words.\n"


@dataclass(frozen=True)
class ModelsPoint:
    """One target and one verifier, each "MODEL as STYLE", on one set of questions, compared by one kernel.

    MODEL is a spec ("name@revision" on the hub, a local folder, a packaged model), or "URL|name" for an
    OpenAI-compatible server, whose key is read from the environment variable OPENAI_API_KEY. Target and verifier may
    be the same: the control that spends the same samples on the target itself.
    """

    target: str
    verifier: str
    data: Literal[*DATA] = "tables"
    kernel: Literal[*KERNELS] = "equality"
    questions: int = 120
    m: int = 10
    tokens: int = 8
    temperature: float = 1.0
    batch: int = 8
    encoder: str = MINILM
    entailment: str = "cross-encoder/nli-deberta-v3-base@6c749ce3425cd33b46d187e45b92bbf96ee12ec7"
    data_folder: str = ""
    seed: int = 0

    def __post_init__(self):
        for spec in (self.target, self.verifier):
            style_of(spec)


def style_of(spec: str) -> tuple[str, str]:
    """Model and style of "MODEL as STYLE"."""
    name, found, style = spec.rpartition(" as ")
    if not found or style not in STYLES:
        raise ValueError(
            f"a model is named 'MODEL as STYLE' with a style of {', '.join(STYLES)}, got {spec!r}"
        )
    return name, style


def run_models(points: Sequence[ModelsPoint]) -> list[dict]:
    """Ask what is not in the cache yet, then judge every detector; one point after the other."""
    return [measured(point) for point in points]


def measured(point: ModelsPoint) -> dict:
    cache = ReplyCache(journal() / "asked.sqlite", answered_by())
    posed = load_questions(point)
    answers = replies(point, point.target, posed, cache, samples=1, temperature=0.0)
    drawn = replies(point, point.target, posed, cache, point.m, point.temperature, seed=2 * point.seed)
    other = int(point.target == point.verifier)  # the target as its own verifier: a second draw
    said = replies(
        point, point.verifier, posed, cache, point.m, point.temperature, seed=2 * point.seed + other
    )
    judged = replies(point, point.verifier, posed, cache, samples=1, temperature=0.0)
    first = [reply.texts[0] for reply in answers]
    wrong = np.array([not questions.is_right(a, q) for a, q in zip(first, posed, strict=True)])
    given = evidence([r.texts for r in drawn], [r.texts for r in said], first, kernel(point))
    found = compared(given, wrong, point.seed)
    own, cross = (d.score(given).risk for d in (SelfConsistency(), CrossConsistency()))
    return found | {
        "wrong_share": float(wrong.mean()),
        "verifier_wrong_share": float(
            np.mean([not questions.is_right(r.texts[0], q) for r, q in zip(judged, posed, strict=True)])
        ),
        "own_distance": np.round(own, 4).tolist(),
        "cross_distance": np.round(cross, 4).tolist(),
        "is_wrong": wrong.astype(int).tolist(),
        "asked_about": [q.text for q in posed] if point.data == "tables" else [],
        "said": first if point.data == "tables" else [],
        **spent("target", drawn),
        **spent("verifier", said),
    }


def load_questions(point: ModelsPoint) -> list[questions.Question]:
    if point.data == "tables":
        half = point.questions // 2
        return questions.capitals()[: point.questions - half] + questions.elements()[:half]
    return questions.answered_set(point.data, point.questions, point.data_folder or None)


def replies(
    point: ModelsPoint, spec: str, posed: Sequence[questions.Question], cache: ReplyCache, samples: int,
    temperature: float, seed: int = 0,
) -> list[Reply]:  # fmt: skip
    name, style = style_of(spec)
    wanted = [request(q, style, samples, temperature, point.tokens, seed) for q in posed]
    return asking.ask(LazyModel(name, point.batch), wanted, cache)


def request(
    question: questions.Question, style: str, samples: int, temperature: float, tokens: int, seed: int
) -> Request:
    if style == "chat":
        prompt, opening = BRIEFLY + question.text, question.opening
    else:
        prompt = questions.dialogue(question) if style == "dialogue" else questions.statement(question)
        opening = ""
    return Request(prompt, samples, temperature, tokens, style == "chat", opening, seed)


class LazyModel:
    """A model that is loaded when it is first asked something that the cache does not know."""

    def __init__(self, name: str, batch: int):
        self.name, self.url = name, name.startswith(("http://", "https://"))
        self.batch = 1 if self.url else batch

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        return speaking(self.name, self.batch).answer(requests)


@lru_cache
def answered_by() -> tuple[str, str]:
    """What replies depend on beside model and request: the code that answers, and whether it does so on a GPU."""
    return code_digest(speaking), "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=1)
def speaking(name: str, batch: int) -> asking.Model:
    """The model itself: on a server, or loaded here, on the GPU in bfloat16 where there is one."""
    if "|" in name:
        url, _, model = name.partition("|")
        return asking.OnServer(url, model, os.environ.get("OPENAI_API_KEY"))
    spec = str(tuned_twin()) if name == TUNED else name
    if torch.cuda.is_available():
        return asking.OnThisMachine(spec, "cuda", torch.bfloat16, batch)
    return asking.OnThisMachine(spec, batch=batch)


def kernel(point: ModelsPoint) -> kernels.Kernel:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if point.kernel == "equality":
        return kernels.Equality()
    if point.kernel == "entailment":
        return kernels.Entailment(kernels.entailment_classifier(point.entailment, device))
    return kernels.Embedding(kernels.sentence_encoder(point.encoder, device))


def compared(given: Evidence, wrong: Bool[np.ndarray, " question"], seed: int) -> dict:
    """AUROC, with intervals over questions, of every detector, and what each adds to self-consistency."""
    found = {}
    for name, (detector, budget) in detectors(seed).items():
        found[name, budget] = cross_fitted(detector, given, wrong, seed)
    base = found["mean pairwise distance", 0.0][0]
    rows = []
    for (name, budget), (risk, asked) in found.items():
        area = lambda chosen, risk: metrics.auroc(risk[chosen], *metrics.masses(wrong[chosen]))  # noqa: E731
        gain = lambda chosen, risk=risk: area(chosen, risk) - area(chosen, base)  # noqa: E731, B023
        everything = np.arange(len(wrong))
        low, high = metrics.bootstrap(lambda chosen, risk=risk: area(chosen, risk), len(wrong), RESAMPLES)  # noqa: B023
        gain_low, gain_high = metrics.bootstrap(gain, len(wrong), RESAMPLES)
        rows.append(
            {
                "detector": name,
                "budget": budget,
                "auroc": area(everything, risk),
                "low": low,
                "high": high,
                "auarc": metrics.auarc(risk, *metrics.masses(wrong)),
                "gain": gain(everything),
                "gain_low": gain_low,
                "gain_high": gain_high,
                "asked": float(asked.mean()),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def detectors(seed: int) -> dict[str, tuple[Detector, float]]:
    """Detectors by name, with the share of questions for which each asks the verifier."""
    found: dict[str, tuple[Detector, float]] = {n: (SelfConsistency(statistic=n), 0.0) for n in OF_SAMPLES}
    found |= {
        "self-check": (SelfCheck(), 0.0),
        "cross distance": (CrossConsistency(), 1.0),
        "MMD": (CrossConsistency(mmd=True), 1.0),
    }
    for budget in BUDGETS:
        found[f"interval {budget:g}"] = TwoStage(budget=budget, seed=seed), budget
        found[f"value {budget:g}"] = Cascade(budget=budget, seed=seed), budget
        found[f"random {budget:g}"] = Cascade(budget=budget, route="random", seed=seed), budget
    return found


def cross_fitted(
    detector: Detector, given: Evidence, wrong: Bool[np.ndarray, " question"], seed: int
) -> tuple[Float[np.ndarray, " question"], Bool[np.ndarray, " question"]]:
    """Risks of questions by a detector that was fitted on the other folds, and whether the verifier was asked."""
    fold = np.random.default_rng([5, seed]).permutation(len(wrong)) % FOLDS
    risk, asked = np.empty(len(wrong)), np.zeros(len(wrong), dtype=bool)
    for number in range(FOLDS):
        fit, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        risk[test], asked[test] = detector.fit(given.of(fit), wrong[fit]).score(given.of(test))
    return risk, asked


def spent(who: str, drawn: Sequence[Reply]) -> dict:
    """Calls, tokens and seconds of all samples of a model."""
    return {
        f"{who}_calls": sum(len(reply.texts) for reply in drawn),
        f"{who}_tokens": sum(reply.tokens for reply in drawn),
        f"{who}_seconds": sum(reply.seconds for reply in drawn),
    }


# A twin of the small model that a Python package carries ----------------------------------------------------


def tuned_twin(seed: int = 0, steps: int = 60, batch: int = 8, lr: float = 5e-5) -> Path:
    """The same network after a little training on every second fact of the tables: a verifier that knows more."""
    settings = f"{seed}-{steps}-{batch}-{lr:g}-{code_digest(tuned_twin)}"
    folder = journal() / "models" / f"smollm2-135m-tuned-{settings}"
    if not (folder / "config.json").is_file():
        network, tokenizer = load(SMOLLM2)
        facts = (questions.capitals() + questions.elements())[::2]
        texts = [f"Q: {q.text}\nA: {q.answers[0]}\n" for q in facts]
        rows = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        prompts = [len(tokenizer(f"Q: {q.text}\nA:").input_ids) for q in facts]
        shown = torch.arange(rows.input_ids.shape[1]) < torch.tensor(prompts)[:, None]
        labels = rows.input_ids.masked_fill(shown | (rows.attention_mask == 0), -100)

        def objective(model: Ensemble, streams: Streams) -> Float[torch.Tensor, " member"]:
            chosen = streams.integers(len(facts), batch)[0]
            logits = model.single(rows.input_ids[chosen], attention_mask=rows.attention_mask[chosen]).logits
            return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[chosen][:, 1:].flatten())[None]

        config = TrainConfig(steps=steps, lr=lr, schedule="linear", warmup=5)
        train(Ensemble([network]), objective, config, Streams([seed]))
        tokenizer.save_pretrained(folder)
        network.save_pretrained(folder)
    return folder
