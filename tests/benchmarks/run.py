"""Training steps a second, against other implementations of the same network and against seeds one after another.

python tests/benchmarks/run.py [--threads N] [--rounds N]    prints a table and writes data/results/benchmarks.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from nanogpt import NanoGPT
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from beyondloss.models import MLP, Ensemble, Transformer, TransformerConfig
from beyondloss.models.gpt2 import load_gpt2
from beyondloss.trainers import Objective, Streams, TrainConfig, seeded_networks
from beyondloss.trainers.config import make_optimizer
from beyondloss.trainers.loop import backward, clip_each_member

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results" / "benchmarks.json"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SETTINGS = TrainConfig(steps=1, lr=1e-3, weight_decay=0.1)
SEEDS = range(5)

SIZES = {  # name -> network, batch, steps a turn
    "tiny: 2 layers, d = 64, T = 64, batch 32": (TransformerConfig(96, 64, 2, 4, 64), 32, 4),
    "small: 6 layers, d = 192, T = 128, batch 8": (TransformerConfig(96, 128, 6, 6, 192), 8, 1),
}
PARITY = TransformerConfig(vocab_size=3, context=13, n_layers=2, n_heads=4, d_model=32, bidirectional=True)

Step = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """One way to train one thing: steps a second, and how many times as fast the first way of its task is."""

    task: str
    way: str
    steps_per_second: float
    quarter: float  # a quarter of the turns were slower than this, a quarter faster than the next
    three_quarters: float
    first_is_faster_by: float
    low: float  # 95% interval of that ratio
    high: float


class Logits(nn.Module):
    """GPT-2 of `transformers` as a map from tokens to logits."""

    def __init__(self, gpt2: GPT2LMHeadModel):
        super().__init__()
        self.gpt2 = gpt2

    def forward(self, tokens: Tensor) -> Tensor:
        return self.gpt2(input_ids=tokens, use_cache=False).logits


def gpt2(config: TransformerConfig) -> GPT2LMHeadModel:
    """Hugging Face's GPT-2 of these sizes with the fastest of its settings that compute the same."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context,
            n_embd=config.d_model,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            activation_function="gelu",
            attn_implementation="sdpa",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def same_network(config: TransformerConfig) -> dict[str, nn.Module]:
    """One network in three implementations, and the proof that it is one."""
    theirs = gpt2(config)
    ours = load_gpt2(theirs)
    ways = {
        "Beyond the Loss": ours,
        "nanoGPT's formulation": NanoGPT(ours),
        "transformers' GPT-2": Logits(theirs),
    }
    text = torch.randint(config.vocab_size, (2, config.context))
    for network in ways.values():
        torch.testing.assert_close(network(text), ours(text), atol=1e-4, rtol=0)
    return {way: network.to(DEVICE) for way, network in ways.items()}


def next_token_objective(vocabulary: int, batch: int, time: int) -> Objective:
    def objective(model: Ensemble, streams: Streams) -> Tensor:
        text = streams.integers(vocabulary, batch, time + 1)
        logits = model(text[..., :-1])
        losses = F.cross_entropy(logits.flatten(0, 2), text[..., 1:].flatten(), reduction="none")
        return losses.view(model.members, -1).mean(1)

    return objective


def regression(inputs: int, batch: int) -> Objective:
    def objective(model: Ensemble, streams: Streams) -> Tensor:
        x = streams.uniform(batch, inputs)
        return (model(x) - x[..., :1]).square().mean((1, 2))

    return objective


def training_step(model: Ensemble, objective: Objective, seeds: Sequence[int]) -> Step:
    """One step of the book's training loop."""
    optimizer, streams = make_optimizer(model, SETTINGS), Streams(seeds, DEVICE)
    autocast = torch.autocast(DEVICE, torch.bfloat16, enabled=False)

    def step() -> None:
        optimizer.zero_grad()
        backward(objective, model, streams, 1, autocast)
        clip_each_member(model, SETTINGS.clip)
        optimizer.step()

    return step


def beside_and_after(make: Callable[[], nn.Module], objective: Objective) -> dict[str, Step]:
    """All seeds side by side, and each by itself; a step is one step of every seed."""
    beside = training_step(seeded_networks(make, SEEDS, DEVICE), objective, SEEDS)
    alone = [training_step(seeded_networks(make, [seed], DEVICE), objective, [seed]) for seed in SEEDS]
    return {
        "five seeds side by side": beside,
        "one after another": lambda: [step() for step in alone] and None,
    }


def turns(ways: dict[str, Step], steps: int, rounds: int) -> dict[str, list[float]]:
    """Steps a second of every turn. Ways take turns, so that whatever else the machine does slows all of them."""
    speeds = {way: [] for way in ways}
    for round_ in range(-2, rounds):  # the first two warm up
        order = list(ways) if round_ % 2 else list(reversed(ways))
        for way in order:
            start = now()
            for _ in range(steps):
                ways[way]()
            if round_ >= 0:
                speeds[way].append(steps / (now() - start))
    return speeds


def now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def summary(task: str, speeds: dict[str, list[float]]) -> list[Row]:
    """Median and quartiles of each way, and the median ratio of the first way to it within a round."""
    first = next(iter(speeds.values()))
    rows = []
    for way, own in speeds.items():
        ratios = sorted(a / b for a, b in zip(first, own, strict=True))
        quartiles = statistics.quantiles(own, n=4)
        rows.append(
            Row(task, way, statistics.median(own), quartiles[0], quartiles[2], *median_interval(ratios))
        )
    return rows


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median of sorted values and its 95% interval from order statistics, which suppose nothing of the noise."""
    count = len(values)
    reach = round(0.98 * count**0.5)
    return (
        statistics.median(values),
        values[max(0, count // 2 - reach)],
        values[min(count - 1, (count - 1) // 2 + reach)],
    )


def measure(rounds: int) -> list[Row]:
    rows = []
    for name, (config, batch, steps) in SIZES.items():
        objective = next_token_objective(config.vocab_size, batch, config.context)
        ways = {way: training_step(Ensemble([n]), objective, [0]) for way, n in same_network(config).items()}
        rows += summary(name, turns(ways, steps, rounds))
    transformers = beside_and_after(lambda: Transformer(PARITY), next_token_objective(3, 16, 13))
    rows += summary("five transformers: 2 layers, d = 32, T = 13, batch 16", turns(transformers, 4, rounds))
    networks = beside_and_after(lambda: MLP(45, 256, 15), regression(45, 64))
    rows += summary("five two-layer networks: 45-256-15, batch 64", turns(networks, 20, rounds))
    return rows


def machine(threads: int | str) -> dict[str, str | int]:
    """What was measured on; no name of a host."""
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else processor()
    return {"device": name, "threads": threads, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "CPU"
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")


def keep(path: Path, measured_on: dict, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Write what was measured beside what other devices measured, in place of what this one did before."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    others = [found for found in known if found["machine"]["device"] != measured_on["device"]]
    found = {"machine": measured_on, "rows": [asdict(row) for row in rows], "notes": list(notes)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*others, found], indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    lines, task = [f"{'':28}{'steps/s':>9}{'quartiles':>19}{'first is faster by (95%)':>27}"], None
    for row in rows:
        if row.task != task:
            lines += ["", row.task]
            task = row.task
        quartiles = f"{row.quarter:.1f} to {row.three_quarters:.1f}"
        ratio = (
            ""
            if row.first_is_faster_by == row.low == 1
            else (f"{row.first_is_faster_by:.3f} ({row.low:.3f} to {row.high:.3f})")
        )
        lines.append(f"  {row.way:26}{row.steps_per_second:9.2f}{quartiles:>19}{ratio:>27}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of the processor (1)")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each implementation (60)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments.rounds)
    print(table(rows))
    keep(RESULTS, machine(arguments.threads), rows)


if __name__ == "__main__":
    main()
