"""The settings of a point of chapter 8's experiment on real models."""

from dataclasses import dataclass
from typing import Literal

from beyondloss.methods.safety_lora.arms import named
from beyondloss.models.language import SMOLLM2

SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562"
LARGE = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B@916b56a44061fd5cd7d6a8fb632557ed4f724f60"
GUARD = "meta-llama/Llama-Guard-3-8B@7327bd9f6efbbe6101dc6cc4736302b3cbb6e425"
BENCHMARKS = ("hendrycks_math500", "aime24", "gpqa_diamond_cot_zeroshot", "humaneval_instruct")


@dataclass(frozen=True)
class RealPoint:
    """One model, taught refusals by one arm at one learning rate ("ARM at RATE" of `arms`), or "base", not tuned.

    `model`, `guard` are specs of `models.language.load`. `data` "rulebook" teaches the fictitious rule and measures by
    probes; "published" takes the paper's data: `refusals`, `harmful`, `harmless` are data sets of the hub or folders,
    `benchmarks` tasks of lm-eval, which runs HumanEval's answers as programs: use a container.
    """

    model: str = SMOLLM2
    tuning: str = "full at 1e-04"
    data: Literal["rulebook", "published"] = "rulebook"
    steps: int = 16
    batch: int = 4
    context: int = 96
    at_once: int = 4  # rows whose activations are held at a time
    weight_decay: float = 0.0
    probes: int = 330
    refusals: str = "TianshengHuang/DirectRefusal"
    harmful: str = "walledai/StrongREJECT"
    harmless: str = "walledai/XSTest"
    guard: str = GUARD
    benchmarks: tuple[str, ...] = BENCHMARKS
    rows: int = 1000  # refusals that are taught, at most
    asked: int = 1000  # requests of each set, at most
    answer_tokens: int = 2048
    reasoning_tokens: int = 32_768
    limit: int = 0  # problems of each benchmark; 0 takes all
    engine: Literal["vllm", "hf"] = "vllm"
    precision: Literal["float32", "bfloat16"] = "float32"  # of the weights
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self):
        arm = named(self.tuning)[1]
        mixed = arm is not None and arm.extra == "look-alikes" and self.data == "rulebook"
        if arm and ((arm.extra and not mixed) or arm.trained):
            raise ValueError(f"{self.tuning!r} is an arm of the small world alone")
        if min(self.steps, self.batch, self.probes, self.rows, self.asked) < 1:
            raise ValueError("steps, batch, probes, rows and asked must be at least 1")
