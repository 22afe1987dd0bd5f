"""A small transformer, pretrained on one arithmetic mixture and fine-tuned on another (chapter 2, section 9).

An example is [task, a, b, c, d, =] with digits modulo a prime; the answer is read off the last position. The tasks
of the second mixture are new; two of them are rare, and one of these is an operation that pretraining did not show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from beyondloss.methods.simplicity_bias.late_examples import early_set, late_set, upsampled
from beyondloss.models import Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import History, Streams, TrainConfig, seeded_networks, train

TASKS: dict[str, Callable] = {  # the number of a task is its place here
    "a": lambda a, b, c, d: a,
    "a + b": lambda a, b, c, d: a + b,
    "a b": lambda a, b, c, d: a * b,
    "c + d": lambda a, b, c, d: c + d,
    "d": lambda a, b, c, d: d,
    "b + c": lambda a, b, c, d: b + c,
    "b - d": lambda a, b, c, d: b - d,
    "b c": lambda a, b, c, d: b * c,
}
PRETRAINING = {"a": 0.25, "a + b": 0.25, "a b": 0.25, "c + d": 0.25}
FINE_TUNING = {"d": 0.4, "b + c": 0.3, "b - d": 0.15, "b c": 0.15}
HARD = ("b - d", "b c")

DATA = (
    "as given",
    "late x2",
    "random x2",
    "early x2",
    "hard tasks x2",
    "late varied",
    "random varied",
    "longer",
    "twice as long",
)
ARMS = {  # name -> (optimizer, data); SAM is around AdamW, and twice as long is its equal in gradients
    f"{optimizer}, {data}": (optimizer, data)
    for optimizer, choice in {"adamw": DATA, "muon": DATA[:-1], "sam": DATA[:2]}.items()
    for data in choice
}


@dataclass(frozen=True)
class ArithmeticPoint:
    """Fine-tune one pretrained transformer. `lr = 0` stands for the rate that was tuned for its arm."""

    arm: Literal[*ARMS]
    lr: float = 0.0
    rho: float = 0.05  # of SAM; its authors' default
    prime: int = 5
    layers: int = 2
    heads: int = 4
    width: int = 32
    pretraining_steps: int = 800
    examples: int = 1250
    steps: int = 600
    batch: int = 32
    proxy: float = 0.45  # share of the steps that the proxy pass takes
    share: float = 0.3  # of the examples that are called late
    weight_decay: float = 0.1
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self):
        if self.lr < 0 or self.rho < 0:
            raise ValueError("lr and rho must not be negative")
        if not 0 < self.share < 1 or not 0 < self.proxy <= 1:
            raise ValueError("share must lie in (0, 1) and proxy in (0, 1]")

    @property
    def optimizer(self) -> str:
        return ARMS[self.arm][0]

    @property
    def data(self) -> str:
        return ARMS[self.arm][1]

    @property
    def seen_again(self) -> str:
        """Which examples stand twice: "late", "random", "early", "hard tasks", or "" for none."""
        which, _, how = self.data.rpartition(" ")
        return which if how in ("x2", "varied") else ""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples of one seed: tokens, answers and the number of each example's task."""

    tokens: Int[Tensor, "example 6"]
    answers: Int[Tensor, " example"]
    tasks: Int[Tensor, " example"]

    def rows(self, index: Int[np.ndarray, " row"] | Int[Tensor, " row"]) -> "Examples":
        index = torch.as_tensor(index)
        return Examples(self.tokens[index], self.answers[index], self.tasks[index])


def vocabulary(prime: int) -> int:
    return prime + len(TASKS) + 1


def make_examples(task: str, digits: Int[Tensor, "example 4"], prime: int) -> Examples:
    """Pose one task on given digits."""
    number = list(TASKS).index(task)
    kind, equals = (torch.full((len(digits), 1), prime + i) for i in (number, len(TASKS)))
    answers = TASKS[task](*digits.T) % prime
    return Examples(torch.cat([kind, digits, equals], 1), answers, torch.full((len(digits),), number))


def split_digits(prime: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """All digit quadruples in random order: three fifths to train on, a fifth to tune on, a fifth to test on."""
    everything = torch.cartesian_prod(*[torch.arange(prime)] * 4)
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    train_end, tune_end = (int(share * len(everything)) for share in (0.6, 0.8))
    return tuple(everything[part] for part in order.tensor_split([train_end, tune_end]))


def mixture(
    shares: dict[str, float], digits: Int[Tensor, "quadruple 4"], prime: int, count: int, seed: int
) -> Examples:
    """`count` examples in the given shares of tasks; a task's digits are drawn without replacement while they last."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for task, share in shares.items():
        wanted = round(share * count)
        orders = [torch.randperm(len(digits), generator=generator) for _ in range(1 + wanted // len(digits))]
        parts.append(make_examples(task, digits[torch.cat(orders)[:wanted]], prime))
    return joined(*parts)


def joined(*parts: Examples) -> Examples:
    return Examples(
        *(torch.cat([getattr(p, name) for p in parts]) for name in ("tokens", "answers", "tasks"))
    )


def network_config(point: ArithmeticPoint) -> TransformerConfig:
    return TransformerConfig(vocabulary(point.prime), 6, point.layers, point.heads, point.width)


def answer_losses(
    model: Ensemble, tokens: Int[Tensor, "member batch 6"], answers: Int[Tensor, "member batch"]
) -> Float[Tensor, "member batch"]:
    """Cross-entropy of the answers, in nats."""
    logits = model(tokens)[:, :, -1].float()
    return F.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view_as(answers)


def stacked(data: Sequence[Examples], device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and answers of all members."""
    return tuple(torch.stack([getattr(d, name) for d in data]).to(device) for name in ("tokens", "answers"))


def fit(
    model: Ensemble,
    data: Sequence[Examples],
    config: TrainConfig,
    batch: int,
    streams: Streams,
    evaluate: Callable[[Ensemble], dict[str, list]] | None = None,
) -> History:
    """Train each member on batches of its own examples."""
    device = streams.device
    tokens, answers = stacked(data, device)
    member = torch.arange(len(data), device=device)[:, None]

    def objective(forward: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        rows = streams.integers(tokens.shape[1], batch)
        return answer_losses(forward, tokens[member, rows], answers[member, rows]).mean(-1)

    return train(model, objective, config, streams, evaluate)


@torch.no_grad()
def accuracy_by_task(
    network: Transformer, digits: Int[Tensor, "quadruple 4"], tasks: Sequence[str], prime: int
) -> list[float]:
    """Share of right answers on all the digits, a task at a time; only digits count as answers."""
    device = next(network.parameters()).device

    def accuracy(task: str) -> float:
        examples = make_examples(task, digits, prime)
        logits = network(examples.tokens.to(device))[:, -1, :prime]
        return (logits.argmax(-1).cpu() == examples.answers).float().mean().item()

    return [accuracy(task) for task in tasks]


def overall(by_task: Sequence[float]) -> float:
    """Accuracy on the fine-tuning mixture."""
    return float(np.dot(by_task, list(FINE_TUNING.values())))


@cache
def pretrained(recipe: ArithmeticPoint) -> dict[str, Tensor]:
    """Weights after the pretraining of a seed, the same for every optimizer and data; `recipe` says only that much."""
    digits, _, _ = split_digits(recipe.prime, recipe.seed)
    data = mixture(PRETRAINING, digits, recipe.prime, 4 * len(digits), recipe.seed)
    model = seeded_networks(lambda: Transformer(network_config(recipe)), [recipe.seed], recipe.device)
    config = TrainConfig(
        steps=recipe.pretraining_steps, lr=3e-3, schedule="cosine", warmup=50, weight_decay=0.1
    )
    fit(model, [data], config, 64, Streams([recipe.seed], recipe.device))
    return {name: weight.detach().clone() for name, weight in model.single.state_dict().items()}


def pretraining_recipe(point: ArithmeticPoint, seed: int) -> ArithmeticPoint:
    kept = ("prime", "layers", "heads", "width", "pretraining_steps", "device")
    return ArithmeticPoint("adamw, as given", seed=seed, **{name: getattr(point, name) for name in kept})


def start(point: ArithmeticPoint, seeds: Sequence[int]) -> Ensemble:
    """The pretrained networks of the seeds."""
    model = seeded_networks(lambda: Transformer(network_config(point)), seeds, point.device)
    for network, seed in zip(model.networks, seeds, strict=True):
        network.load_state_dict(pretrained(pretraining_recipe(point, seed)))
    return model


def train_config(point: ArithmeticPoint, steps: int) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        lr=point.lr,
        optimizer="muon" if point.optimizer == "muon" else "adamw",
        rho=point.rho if point.optimizer == "sam" else 0.0,
        schedule="cosine",
        warmup=min(20, steps // 4),
        weight_decay=point.weight_decay,
        evaluate_every=max(1, steps // 10),
    )


def proxy_losses(
    point: ArithmeticPoint, data: Sequence[Examples], seeds: Sequence[int]
) -> Float[np.ndarray, "member checkpoint example"]:
    """Loss of every example at three checkpoints of a short pass from the same pretrained weights."""
    steps = max(3, round(point.proxy * point.steps))
    config = replace(train_config(point, steps), evaluate_every=steps // 3)
    model = start(point, seeds)
    tokens, answers = stacked(data, point.device)

    def evaluate(forward: Ensemble) -> dict[str, list]:
        return {"losses": answer_losses(forward, tokens, answers).tolist()}

    history = fit(model, data, config, point.batch, Streams(seeds, point.device), evaluate)
    return np.array([row["losses"] for row in history.rows[:3]]).swapaxes(0, 1)


def chosen_rows(point: ArithmeticPoint, data: Sequence[Examples], seeds: Sequence[int]) -> list[np.ndarray]:
    """The examples that stand twice in the data set of each seed; none where it is as given."""
    count = len(data[0].answers)
    if point.seen_again == "random":
        return [np.random.default_rng([3, s]).permutation(count)[: round(point.share * count)] for s in seeds]
    if point.seen_again == "hard tasks":
        hard = torch.tensor([list(TASKS).index(task) for task in HARD])
        return [np.flatnonzero(torch.isin(d.tasks, hard).numpy()) for d in data]
    if point.seen_again in ("late", "early"):
        select = late_set if point.seen_again == "late" else early_set
        return [select(losses, point.share) for losses in proxy_losses(point, data, seeds)]
    return [np.array([], dtype=int) for _ in data]


def varied(examples: Examples, digits: Int[Tensor, "quadruple 4"], seed: int) -> Examples:
    """Each example on another of the quadruples that agrees in the digits its task reads: the answer stays."""
    generator = torch.Generator().manual_seed(seed)
    tokens = examples.tokens.clone()
    for number, task in enumerate(TASKS):
        rows = torch.nonzero(examples.tasks == number).flatten()
        read = [i for i, name in enumerate("abcd") if name in task]
        agrees = (tokens[rows][:, None, [1 + i for i in read]] == digits[None][..., read]).all(-1)
        if len(rows):
            tokens[rows, 1:5] = digits[torch.multinomial(agrees.float(), 1, generator=generator)[:, 0]]
    return Examples(tokens, examples.answers, examples.tasks)


def enlarged(
    point: ArithmeticPoint, data: Examples, chosen: np.ndarray, digits: Int[Tensor, "quadruple 4"], seed: int
) -> Examples:
    """The data with the chosen examples a second time: as they are, or on other digits."""
    if point.data.endswith("varied"):
        return joined(data, varied(data.rows(chosen), digits, seed))
    return data.rows(upsampled(len(data.answers), chosen))


def run_arithmetic(points: Sequence[ArithmeticPoint]) -> list[dict]:
    """Measure points that differ in the seed alone: accuracy on unseen digits by task, and what was called late."""
    point, seeds = points[0], [p.seed for p in points]
    splits = [split_digits(point.prime, seed) for seed in seeds]
    data = [
        mixture(FINE_TUNING, s[0], point.prime, point.examples, seed)
        for s, seed in zip(splits, seeds, strict=True)
    ]
    chosen = chosen_rows(point, data, seeds)
    lengths = {"longer": 1 + point.proxy, "twice as long": 2.0}  # longer by the cost of the proxy pass
    steps = round(point.steps * lengths.get(point.data, 1.0))
    model = start(point, seeds)

    def evaluate(forward: Ensemble) -> dict[str, list]:
        rows = zip(forward.networks, splits, strict=True)
        return {"by_task": [accuracy_by_task(n, s[2], tuple(FINE_TUNING), point.prime) for n, s in rows]}

    made = [
        enlarged(point, d, c, s[0], seed) for d, c, s, seed in zip(data, chosen, splits, seeds, strict=True)
    ]
    streams = Streams(seeds, point.device)
    history = fit(model, made, train_config(point, steps), point.batch, streams, evaluate)
    model.eval()
    tuning = [
        overall(accuracy_by_task(n, s[1], tuple(FINE_TUNING), point.prime))
        for n, s in zip(model.networks, splits, strict=True)
    ]
    return [
        describe(history, member, data[member], chosen[member], tuning[member])
        for member in range(len(points))
    ]


def describe(history: History, member: int, data: Examples, chosen: np.ndarray, tuning: float) -> dict:
    curve = history.of(member)
    by_task = curve.get("by_task", [])
    numbers = [list(TASKS).index(task) for task in FINE_TUNING]
    doubled = data.tasks[torch.as_tensor(chosen, dtype=torch.long)]
    return {
        "accuracy": overall(by_task[-1]) if by_task else None,
        "tuning_accuracy": tuning,
        "by_task": by_task[-1] if by_task else None,
        "doubled_by_task": [int((doubled == n).sum()) for n in numbers],
        "step": curve["step"],
        "curve": [round(overall(accuracies), 4) for accuracies in by_task],
        "diverged_at": history.diverged_at[member],
    }
