"""Fine-tuning language models on mathematics, with more of what they learn late (chapter 2, section 11).

What is verified: a tiny model and small data in the published formats go through all of this in the tests, and
SmolLM2-135M went through it on generated problems. What is not: no weights and no data of the hub were loaded here, and
no number of the book comes from them.

Cost, predicted at 40% of an H100's bfloat16 peak and not measured: Phi-2 (2.8B parameters, all trained) takes about 10
minutes for 700 steps of 32 problems of 384 tokens, as long again for answering GSM8K's 1,319 test problems, and 56 GB.
SAM doubles the first, a proxy pass adds 45% of it.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.data import Answered, completions, problems
from beyondloss.data.hub import spec_of
from beyondloss.data.problems import Problem, ProblemSet, final_answer
from beyondloss.methods.simplicity_bias.late_examples import early_set, late_set, upsampled
from beyondloss.models import Ensemble
from beyondloss.models.generation import Sampling, generate
from beyondloss.models.language import load
from beyondloss.trainers import AnswerLosses, History, Streams, TrainConfig, seeded_networks, train
from beyondloss.trainers.fine_tuning import answer_objective, losses_of_all

PINNED = {  # what the name of a model stands for where a point names no revision
    "Qwen/Qwen3-0.6B-Base": "da87bfb608c14b7cf20ba1ce41287e8de496c0cd",
    "meta-llama/Llama-3.2-1B": "4e20de362430cd3b72f300e6b0f18e50e7166e08",
    "google/gemma-3-1b-pt": "fcf18a2a879aab110ca39f8bffbccd5d49d8eb29",
    "microsoft/phi-2": "810d367871c1d460086d9f82db8696f2e0a0fcd0",
}
OPTIMIZERS = ("adamw", "muon", "sam")
DATA = ("as given", "late x2", "random x2", "early x2", "longer")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class LanguageModelPoint:
    """Fine-tune one language model on one set of problems. `model` is a name on the hub, a local folder, or SMOLLM2.

    `origin` names the data set where it is not the usual one. `trained_layers` counts from the last; 0 trains all.
    """

    model: str
    data: Literal[*DATA] = "as given"
    optimizer: Literal[*OPTIMIZERS] = "adamw"
    problems: Literal["gsm8k", "math", "generated"] = "gsm8k"
    revision: str | None = None
    origin: str = ""
    origin_revision: str | None = None
    lr: float = 1e-5
    rho: float = 0.05
    steps: int = 700
    batch: int = 32
    context: int = 384
    proxy: float = 0.45
    share: float = 0.3
    weight_decay: float = 0.1
    trained_layers: int = 0
    generated: int = 2000  # problems, where they are generated
    tested: int = 2000  # problems on which the loss is measured, at most
    answered: int = 2000  # of these, problems that the model answers for the exact match, at most
    answer_tokens: int = 256
    precision: Literal[*PRECISIONS] = "bfloat16"  # of the passes in training; weights stay float32
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "context", "answer_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def gsm8k(point: LanguageModelPoint) -> ProblemSet:
    return problems.gsm8k(spec_of(point.origin, point.origin_revision) or problems.GSM8K)


def competition(point: LanguageModelPoint) -> ProblemSet:
    return problems.competition(spec_of(point.origin, point.origin_revision) or problems.MATH)


def generated(point: LanguageModelPoint) -> ProblemSet:
    return problems.generated(point.generated, point.tested, point.seed)


SOURCES = {"gsm8k": gsm8k, "math": competition, "generated": generated}


class LanguageModel(AnswerLosses):
    """A causal language model with its tokenizer, of which `trained_layers` blocks from the last are trained.

    All weights are where `trained_layers` is 0.
    """

    def __init__(self, network: nn.Module, tokenizer: Any, trained_layers: int = 0):
        super().__init__(network)
        self.tokenizer, self.trained_layers = tokenizer, trained_layers
        if trained_layers:
            network.requires_grad_(False)
            self.trained_part.layers.requires_grad_(True)

    @property
    def trained_part(self) -> nn.Module:
        """The decoder, without the blocks that are not trained; it shares its weights with the whole."""
        whole = self.network.get_decoder()
        part = copy(whole)
        part._modules = whole._modules | {"layers": whole.layers[-self.trained_layers :]}
        return part

    def hidden_states(
        self, tokens: Int[Tensor, "row time"], **inputs: Tensor
    ) -> Float[Tensor, "row time width"]:
        if not self.trained_layers:
            return super().hidden_states(tokens, **inputs)
        return self.trained_part(**inputs, use_cache=False).last_hidden_state

    @torch.no_grad()
    def entering(self, tokens: Int[Tensor, "row time"]) -> Float[Tensor, "row time width"]:
        """What the blocks below the trained ones make of tokens."""
        states = self.network.get_decoder()(input_ids=tokens, use_cache=False, output_hidden_states=True)
        return states.hidden_states[-1 - self.trained_layers]

    def prepared(self, data: Answered) -> Answered:
        """Rows with what enters the trained part, which does not change in training: it is made once."""
        if not self.trained_layers:
            return data
        ends = [int(row.nonzero().max()) + 1 for row in data.answer]  # what is behind is never read
        states = [self.entering(row[None, :end])[0] for row, end in zip(data.tokens, ends, strict=True)]
        filled = [F.pad(state, (0, 0, 0, data.tokens.shape[1] - len(state))) for state in states]
        return replace(data, inputs={"inputs_embeds": torch.stack(filled)})


def load_language_model(point: LanguageModelPoint) -> LanguageModel:
    """The model of a point in float32. Raises HubError."""
    loaded = load(spec_of(point.model, point.revision or PINNED.get(point.model)), device=device())
    return LanguageModel(*loaded, point.trained_layers)


def laid_out(problems: Sequence[Problem], tokenizer: Any, context: int) -> Answered:
    """Prompt and solution of each problem in `context` tokens, the end token after it; long solutions are cut."""
    return completions([(problem.prompt, f" {problem.solution}") for problem in problems], tokenizer, context)


def fine_tune(
    model: Ensemble, data: Answered, rows: np.ndarray, point: LanguageModelPoint, steps: int, evaluate=None, every=0
) -> History:  # fmt: skip
    device = data.tokens.device
    config = TrainConfig(
        steps=steps,
        lr=point.lr,
        optimizer="muon" if point.optimizer == "muon" else "adamw",
        rho=point.rho if point.optimizer == "sam" else 0.0,
        schedule="cosine",
        warmup=steps // 20,
        weight_decay=point.weight_decay,
        evaluate_every=every,
        precision=point.precision,
    )
    repeated = torch.as_tensor(rows, device=device)  # rows that are seen twice as often stand there twice

    def choose(streams: Streams) -> Int[Tensor, " row"]:
        return repeated[streams.integers(len(repeated), point.batch)][0]

    # of a part of the network little has to be held: there nothing is computed again to save memory
    objective = answer_objective(data, choose, recompute=not point.trained_layers)
    return train(model, objective, config, Streams([point.seed], device), evaluate)


def chosen_rows(point: LanguageModelPoint, count: int) -> np.ndarray:
    """The problems that are seen twice as often: by a proxy pass from the same weights, at random, or none."""
    if point.data == "random x2":
        return np.random.default_rng(point.seed).permutation(count)[: round(point.share * count)]
    if point.data not in ("late x2", "early x2"):
        return np.array([], dtype=int)
    select = late_set if point.data == "late x2" else early_set
    return select(proxy_losses(replace(point, data="as given")), point.share)


@lru_cache(maxsize=8)
def proxy_losses(point: LanguageModelPoint) -> Float[np.ndarray, "checkpoint problem"]:
    """Loss of every problem at three checkpoints of a short pass; points that differ in the data alone share it."""
    steps = max(3, round(point.proxy * point.steps))
    ready = ready_for(cache_key(point))
    measure = lambda model: {"losses": [losses_of_all(model, ready.train).tolist()]}  # noqa: E731
    every = np.arange(len(ready.train))
    history = fine_tune(start(point), ready.train, every, point, steps, measure, steps // 3)
    return np.array([row["losses"][0] for row in history.rows[:3]])


def exact_match(model: LanguageModel, problems: Sequence[Problem], answer_tokens: int) -> float:
    """Share of problems whose greedy answer is the right one, letter by letter after `final_answer`."""
    prompts = [problem.prompt for problem in problems]
    written = generate(model.network, model.tokenizer, prompts, Sampling(answer_tokens))
    said = [final_answer(samples[0].text) for samples in written]
    return sum(a == problem.answer for a, problem in zip(said, problems, strict=True)) / len(problems)


@dataclass(frozen=True, eq=False)
class Ready:
    """Problems of one seed, as one model reads them, and how that model does on them untrained."""

    train: Answered
    held_out: Answered
    answered: list[Problem]
    origin: str
    before: float


def start(point: LanguageModelPoint) -> Ensemble:
    """The model of a point with its published weights."""
    make = partial(load_language_model, point)
    return seeded_networks(make, [point.seed], device())


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def reduced(point: LanguageModelPoint) -> torch.autocast:
    """The precision of the point, for passes outside the training loop."""
    return torch.autocast(device(), torch.bfloat16, enabled=point.precision == "bfloat16")


def cache_key(point: LanguageModelPoint) -> LanguageModelPoint:
    """The point that stands for all with its model, problems and seed."""
    plain = LanguageModelPoint(point.model)
    how = ("data", "optimizer", "lr", "rho", "steps", "batch", "proxy", "share", "weight_decay")
    return replace(point, **{name: getattr(plain, name) for name in how})


@lru_cache(maxsize=8)
def ready_for(point: LanguageModelPoint) -> Ready:
    """What training and test need, made once for all points with the same `cache_key`."""
    problem_set, model = SOURCES[point.problems](point), start(point).single
    test = problem_set.test[: point.tested]
    with reduced(point):
        train, held_out = (
            model.prepared(laid_out(part, model.tokenizer, point.context).to(device()))
            for part in (problem_set.train, test)
        )
    before = exact_match(model, test[: point.answered], point.answer_tokens)
    return Ready(train, held_out, test[: point.answered], problem_set.origin, before)


def run_language_model(points: Sequence[LanguageModelPoint]) -> list[dict]:
    """Measure points one after the other: exact match and loss on test problems, before and after."""
    return [measured(point) for point in points]


def measured(point: LanguageModelPoint) -> dict:
    ready = ready_for(cache_key(point))
    chosen = chosen_rows(point, len(ready.train))
    steps = round(point.steps * (1 + point.proxy if point.data == "longer" else 1))
    model = start(point)
    history = fine_tune(model, ready.train, upsampled(len(ready.train), chosen), point, steps)
    model.eval()
    with reduced(point):
        test_loss = float(np.mean(losses_of_all(model, ready.held_out).tolist()))
    return {
        "exact_match_before": ready.before,
        "exact_match": exact_match(model.single, ready.answered, point.answer_tokens),
        "test_loss": test_loss,
        "doubled": len(chosen),
        "problems_from": ready.origin,
        "diverged_at": history.diverged_at[0],
    }
