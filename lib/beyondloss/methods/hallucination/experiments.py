"""The experiments of chapter 10 and their sizes at each scale."""

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.hallucination.generator import GeneratorPoint, run_generator
from beyondloss.methods.hallucination.models import TUNED, ModelsPoint, run_models
from beyondloss.methods.hallucination.worlds import WorldPoint, run_worlds
from beyondloss.models.language import SMOLLM2

CONFIDENT, VERIFIER_ERROR = Axis(0.05, 0.3, 0.6), Axis(0.1, 0.35)

GENERATOR = Experiment(
    name="generator",
    title="Class model: exact oracles, exact frontiers and fitted rules",
    point=GeneratorPoint,
    run=run_generator,
    presets={
        "smoke": {"confident": Axis(0.05, 0.3), "m": 4, "classes": 3, "calibration": 100, "seed": Axis(0, 1)},
        "quick": {"confident": CONFIDENT, "verifier_error": VERIFIER_ERROR, "seed": Axis(*range(5))},
        "full": {
            "confident": Axis(0.05, 0.3, 0.6),
            "shared": Axis(0.0, 0.3, 0.6),
            "verifier_error": Axis(0.05, 0.1, 0.2, 0.35),
            "m": Axis(5, 10),
            "seed": Axis(*range(20)),
        },
    },
    cost={"smoke": Cost(8), "quick": Cost(60, memory_gb=2), "full": Cost(3600, memory_gb=4)},
    tolerance={"gcn_self": 0.02, "gcn_cross": 0.02},
)

WORLDS = Experiment(
    name="worlds",
    title="Small language models trained on a known world: every detector on 25 pairs",
    point=WorldPoint,
    run=run_worlds,
    presets={
        "smoke": {
            "entities": 30,
            "answers": 2,
            "steps": 5,
            "batch": 16,
            "m": 4,
            "budgets": (0.5, 1.0),
            "oracle_steps": 5,
            "seed": Axis(0, 1),
        },
        "quick": {"seed": Axis(*range(5))},
        "full": {
            "entities": 20_000,
            "answers": 200,
            "steps": 30_000,
            "batch": 2048,
            "lr": 1e-3,
            "layers": 4,
            "width_factor": 4,
            "oracle_steps": 300,
            "device": "cuda",
            "seed": Axis(*range(10)),
        },
    },
    cost={
        "smoke": Cost(15),
        "quick": Cost(190, memory_gb=2),
        "full": Cost(10 * 3600, gpus=1, memory_gb=16, hardware="one H100"),
    },
    together=1,
    tolerance={
        "auroc": 0.1,
        "auarc": 0.1,
        "error": 0.5,
        "asked": 0.5,
        "wrong": 0.2,
        "seconds_a_question": 1e3,
    }
    | {"wrong_both": 1.0, "own_distance": 1e3, "cross_distance": 1e3, "is_wrong": 1e3},
)

TARGETS = (f"{SMOLLM2} as dialogue", f"{SMOLLM2} as statement")
LARGE = (
    "Qwen/Qwen2.5-7B-Instruct@a09a35458c702b33eeacc393d103063234e8bc28 as chat",
    "meta-llama/Llama-3.1-8B-Instruct@0e9e39f249a16976918f6564b8830bc894c89659 as chat",
    "mistralai/Mistral-7B-Instruct-v0.3@e0bc86c23ce5aae1db576c8cca6f06f1f73af2db as chat",
    "google/gemma-2-9b-it@11c9b309abf73637e4b6f9a3fa1e92e615547819 as chat",
)
SMALL = "Qwen/Qwen2.5-1.5B-Instruct@989aa7980e4cf806f80c7fef2b1adb7bc71aa306 as chat"

MODELS = Experiment(
    name="models",
    title="SmolLM2-135M on capitals and elements; at full scale pairs of 7B on three question sets",
    point=ModelsPoint,
    run=run_models,
    presets={
        "smoke": {"target": Axis(*TARGETS), "verifier": TARGETS[0], "questions": 8, "m": 2},
        "quick": {
            "target": Axis(*TARGETS),
            "verifier": Axis(*TARGETS, f"{TUNED} as dialogue"),
            "kernel": Axis("equality", "embedding"),
        },
        "full": {
            "target": Axis(SMALL, *LARGE),
            "verifier": Axis(*LARGE),
            "data": Axis("TriviaQA", "Natural Questions", "SQuAD"),
            "kernel": "entailment",
            "questions": 1400,
            "tokens": 16,
            "batch": 32,
            "seed": Axis(*range(5)),
        },
    },
    cost={
        "smoke": Cost(60, memory_gb=3),
        "quick": Cost(900, memory_gb=4, disk_gb=2),
        "full": Cost(40 * 3600, gpus=1, memory_gb=64, disk_gb=100, hardware="one H100"),
    },
    stored=frozenset({"smoke", "quick"}),
    together=1,
    tolerance={"target_seconds": 1e3, "verifier_seconds": 1e3},
)
