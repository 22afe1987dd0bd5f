"""The experiments of chapter 2 and their sizes at each scale."""

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.simplicity_bias.arithmetic import ARMS, ArithmeticPoint, run_arithmetic
from beyondloss.methods.simplicity_bias.finetuning import run_finetuning
from beyondloss.methods.simplicity_bias.incontext import InContextPoint, run_incontext
from beyondloss.methods.simplicity_bias.language_model import (
    DATA,
    OPTIMIZERS,
    LanguageModelPoint,
    run_language_model,
)
from beyondloss.models.language import SMOLLM2

SEEDS = Axis(*range(16))
RHOS = Axis(0.0, 0.1, 0.2, 0.3, 0.4)
BY_TYPE = Axis("as drawn", "late x2", "late x4", "early x2")
PROXY_AND_RANDOM = Axis("as drawn", "late by proxy x2", "random x2")
ON_A_POOL = Axis("as drawn", "late x2", "late by proxy x2", "late, reweighted x2", "random x2", "early x2")
FEW_STEPS = {"heads": 6, "steps": 40, "budget": 20, "proxy_steps": 10, "kept": 4, "seed": Axis(0, 1)}
WIDE = {
    "spectrum": tuple(round(0.9**i / 8, 6) for i in range(16)),
    "context": 128,
    "heads": 64,
    "steps": 200_000,
    "budget": 20_000,
    "proxy_steps": 5_000,
    "seed": SEEDS,
}

POPULATION = Experiment(
    name="population",
    title="Linear self-attention on the population gradient: SAM against the distribution of queries",
    point=InContextPoint,
    run=run_incontext,
    presets={
        "smoke": FEW_STEPS | {"data": Axis("as drawn", "late x2"), "rho": Axis(0.0, 0.2)},
        "quick": {
            "data": BY_TYPE,
            "rho": RHOS,
            "seed": SEEDS,
        },
        "full": WIDE | {"data": BY_TYPE, "rho": RHOS},
    },
    cost={"smoke": Cost(1), "quick": Cost(20), "full": Cost(20_000, memory_gb=16)},
    together=16,
    tolerance={"log_ratio": 1e-3, "shares": 1e-2, "loss": 1e-3},
)

POOL = Experiment(
    name="pool",
    title="Linear self-attention on a pool of prompts, in batches",
    point=InContextPoint,
    run=run_incontext,
    presets={
        "smoke": FEW_STEPS
        | {
            "data": PROXY_AND_RANDOM,
            "rho": Axis(0.0, 0.2),
            "prompts": 40,
            "batch": 8,
        },
        "quick": {
            "data": ON_A_POOL,
            "rho": Axis(0.0, 0.2),
            "prompts": 512,
            "batch": 32,
            "seed": SEEDS,
        },
        "full": WIDE
        | {
            "data": ON_A_POOL,
            "rho": Axis(0.0, 0.2),
            "prompts": 20_000,
            "batch": 256,
        },
    },
    cost={"smoke": Cost(2), "quick": Cost(60), "full": Cost(100_000, memory_gb=16)},
    together=16,
    tolerance={"log_ratio": 1e-2, "shares": 5e-2, "loss": 1e-2, "learned_at": 1e-2},
)

NOISE = Experiment(
    name="noise",
    title="Few prompts with noisy labels: does less simplicity bias generalise better?",
    point=InContextPoint,
    run=run_incontext,
    presets={
        "smoke": FEW_STEPS
        | {
            "data": PROXY_AND_RANDOM,
            "rho": Axis(0.0, 0.3),
            "prompts": Axis(20, 40),
            "noise": 0.3,
        },
        "quick": {
            "data": PROXY_AND_RANDOM,
            "rho": Axis(0.0, 0.3),
            "prompts": Axis(50, 150, 500),
            "noise": Axis(0.0, 0.3, 1.0),
            "kept": 1,
            "seed": SEEDS,
        },
        "full": WIDE
        | {
            "data": PROXY_AND_RANDOM,
            "rho": Axis(0.0, 0.3),
            "prompts": Axis(500, 2_000, 8_000),
            "noise": Axis(0.0, 0.3, 1.0),
            "kept": 1,
        },
    },
    cost={"smoke": Cost(2), "quick": Cost(60), "full": Cost(200_000, memory_gb=16)},
    together=16,
    tolerance={"log_ratio": 1e-2, "best_loss": 1e-3, "final_loss": 1e-2},
)

BUDGETS = Axis(300, 600)
SMALL = {"width": 16, "pretraining_steps": 4, "examples": 40, "steps": 6, "batch": 8}
LARGE = {
    "prime": 11,
    "layers": 4,
    "heads": 8,
    "width": 256,
    "pretraining_steps": 20_000,
    "examples": 40_000,
    "steps": 10_000,
    "batch": 256,
    "device": "cuda",
}
ACCURACIES = {name: 0.2 for name in ("accuracy", "tuning_accuracy", "by_task", "curve")}

TUNING = Experiment(
    name="tuning",
    title="Learning rates of the arithmetic experiment, every arm alike",
    point=ArithmeticPoint,
    run=run_arithmetic,
    presets={
        "smoke": SMALL | {"arm": Axis(*ARMS), "lr": Axis(3e-3, 1e-2), "seed": Axis(100)},
        "quick": {
            "arm": Axis(*ARMS),
            "lr": Axis(1e-3, 3e-3, 1e-2, 3e-2),
            "steps": BUDGETS,
            "seed": Axis(100, 101, 102, 103),
        },
        "full": LARGE | {"arm": Axis(*ARMS), "lr": Axis(3e-4, 1e-3, 3e-3), "seed": Axis(100, 101, 102)},
    },
    cost={
        "smoke": Cost(8),
        "quick": Cost(2000),
        "full": Cost(171 * 900, gpus=1, memory_gb=8, hardware="one H100"),
    },
    stored=frozenset({"quick"}),
    tolerance=ACCURACIES | {"doubled_by_task": 0.2},
)

FINETUNING = Experiment(
    name="finetuning",
    title="A pretrained transformer, fine-tuned on arithmetic with AdamW, Muon and SAM",
    point=ArithmeticPoint,
    run=run_finetuning,
    presets={
        "smoke": SMALL | {"arm": Axis(*ARMS), "seed": Axis(0, 1)},
        "quick": {"arm": Axis(*ARMS), "steps": BUDGETS, "seed": SEEDS},
        "full": LARGE | {"arm": Axis(*ARMS), "seed": Axis(*range(8))},
    },
    cost={
        "smoke": Cost(8),
        "quick": Cost(1500),
        "full": Cost(152 * 900, gpus=1, memory_gb=8, hardware="one H100"),
    },
    stored=frozenset({"quick"}),
    together=16,
    tolerance=ACCURACIES | {"doubled_by_task": 0.2},
)

LANGUAGE_MODEL = Experiment(
    name="language_model",
    title="Four language models fine-tuned on GSM8K and MATH",
    point=LanguageModelPoint,
    run=run_language_model,
    presets={
        "full": {
            "model": Axis(
                "Qwen/Qwen3-0.6B-Base", "meta-llama/Llama-3.2-1B", "google/gemma-3-1b-pt", "microsoft/phi-2"
            ),
            "problems": Axis("gsm8k", "math"),
            "optimizer": Axis(*OPTIMIZERS),
            "data": Axis(*DATA),
            "seed": Axis(0, 1, 2),
        },
    },
    cost={"full": Cost(360 * 1500, gpus=1, memory_gb=32, disk_gb=20, hardware="one H100")},
    together=1,
)

WORD_PROBLEMS = {
    "seed": Axis(*range(3)),  # varies fastest in the grid; `ready_for` keeps what the points of a seed share
    "model": SMOLLM2,
    "problems": "generated",
    "optimizer": Axis("adamw", "muon"),
    "data": Axis("as given", "late x2", "random x2"),
    "lr": 3e-3,  # the best on seed 100 of 3e-4, 1e-3, 3e-3 for both optimizers, and of 1e-2 for AdamW
    "batch": 8,
    "context": 288,
}
SMOLLM2_135M = Experiment(
    name="smollm2",
    title="SmolLM2-135M on generated grade-school mathematics",
    point=LanguageModelPoint,
    run=run_language_model,
    presets={
        "smoke": WORD_PROBLEMS
        | {
            "seed": Axis(0, 1),
            "steps": 3,
            "trained_layers": 1,
            "generated": 8,
            "tested": 4,
            "answer_tokens": 2,
        },
        "quick": WORD_PROBLEMS
        | {
            "steps": 40,
            "trained_layers": 4,
            "generated": 240,
            "tested": 100,
            "answered": 24,
            "answer_tokens": 128,
        },
        "full": WORD_PROBLEMS | {"seed": Axis(*range(5)), "data": Axis(*DATA), "lr": 3e-4},
    },
    cost={
        "smoke": Cost(12 * 20, memory_gb=4),
        "quick": Cost(18 * 200, memory_gb=4),
        "full": Cost(50 * 600, gpus=1, memory_gb=8, hardware="one H100"),
    },
    stored=frozenset({"smoke", "quick", "full"}),  # needs two packages that the book does not install
    together=1,
    tolerance={"test_loss": 0.05, "exact_match": 0.1, "exact_match_before": 0.05},
)
