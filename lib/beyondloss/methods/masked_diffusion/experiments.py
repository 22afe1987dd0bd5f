"""The experiments of chapter 3 and their sizes at each scale."""

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.masked_diffusion.grokking import OBJECTIVES, GrokkingPoint, run_grokking
from beyondloss.methods.masked_diffusion.landscape import LandscapePoint, run_landscape
from beyondloss.methods.masked_diffusion.language import TENTHS, LanguagePoint, run_language
from beyondloss.methods.masked_diffusion.llada import LladaPoint, run_llada
from beyondloss.methods.masked_diffusion.window import ARMS, WindowPoint, run_window

SHARES = Axis(0.0, 0.05, 0.2, 0.5, 0.75, 0.9, 0.99)
SEEDS = Axis(*range(5))
WINDOWS = Axis(
    "[0, 1]",
    "[0, 1], unweighted",
    "[0, 1], stratified",
    "[0.15, 0.25]",
    "[0.45, 0.55]",
    "[0.75, 0.85]",
    "[0.2, 0.8]",
)

LANDSCAPE = Experiment(
    name="landscape",
    title="The two regimes by enumeration, and the energy landscape of the features",
    point=LandscapePoint,
    run=run_landscape,
    presets={
        "smoke": {"width": Axis(64, 160), "noise_share": Axis(0.0, 0.5), "seed": Axis(0, 1)},
        "quick": {"width": Axis(64, 120, 160, 200, 320), "noise_share": SHARES, "seed": Axis(*range(8))},
        "full": {
            "n": 6,
            "width": Axis(64, 400, 520, 640, 1024),
            "noise_share": SHARES,
            "seed": Axis(*range(8)),
        },
    },
    cost={"smoke": Cost(2), "quick": Cost(20), "full": Cost(600, memory_gb=2)},
    tolerance={
        "identity_error": 100.0,
        "gradient_error": 100.0,
        "pull": 1.0,
    },  # rounding errors vary with the machine
)

WINDOW = Experiment(
    name="window",
    title="Two-layer networks on parity under eleven laws of the mask rate",
    point=WindowPoint,
    run=run_window,
    presets={
        "smoke": {
            "arm": Axis(*ARMS),
            "lr": Axis(0.2, 0.8),
            "n": 8,
            "k": 2,
            "samples": 64,
            "hidden": 32,
            "steps": 40,
            "held_out": 64,
            "evaluate_every": 10,
            "seed": Axis(0, 1),
        },
        "quick": {"arm": Axis(*ARMS), "lr": Axis(0.2, 0.8, 1.6), "steps": 5000, "seed": SEEDS},
        "full": {
            "arm": Axis(*ARMS),
            "lr": Axis(0.2, 0.8, 1.6),
            "n": 20,
            "k": 6,
            "samples": 20_000,
            "hidden": 2048,
            "steps": 100_000,
            "batch": 512,
            "device": "cuda",
            "seed": Axis(*range(8)),
        },
    },
    cost={
        "smoke": Cost(10),
        "quick": Cost(150),
        "full": Cost(3600, gpus=1, memory_gb=8, hardware="one H100"),
    },
    together=8,
    tolerance={"steps_to_90": 0.25, "final_accuracy": 0.1, "accuracy": 0.25, "step": 0.25},
)

GROKKING = Experiment(
    name="grokking",
    title="One transformer on parity: sample size, weight decay and six objectives",
    point=GrokkingPoint,
    run=run_grokking,
    presets={
        "smoke": {
            "objective": Axis(*OBJECTIVES),
            "samples": Axis(32, 64),
            "weight_decay": Axis(0.0, 0.3),
            "n": 8,
            "k": 2,
            "layers": 1,
            "width": 16,
            "steps": 12,
            "batch": 16,
            "held_out": 64,
            "evaluate_every": 4,
            "seed": Axis(0, 1),
        },
        "quick": {
            "objective": Axis(*OBJECTIVES),
            "samples": Axis(40, 100, 250),
            "weight_decay": Axis(0.0, 0.3),
            "n": 10,
            "held_out": 500,
            "lr": 3e-3,
            "steps": 2500,
            "seed": SEEDS,
        },
        "full": {
            "objective": Axis(*OBJECTIVES),
            "samples": Axis(2_000, 5_000, 10_000, 20_000),
            "weight_decay": Axis(0.0, 0.1),
            "n": 20,
            "k": 6,
            "layers": 4,
            "heads": 8,
            "width": 256,
            "steps": 50_000,
            "batch": 512,
            "lr": 1e-3,
            "warmup": 500,
            "held_out": 5_000,
            "evaluate_every": 250,
            "precision": "bfloat16",
            "device": "cuda",
            "seed": SEEDS,
        },
    },
    cost={
        "smoke": Cost(15),
        "quick": Cost(1500, memory_gb=2),
        "full": Cost(240 * 1500, gpus=1, memory_gb=8, hardware="one H100"),
    },
    stored=frozenset({"quick"}),
    together=1,  # side by side these transformers are no faster on a CPU
    tolerance={name: 0.5 for name in ("memorised_at", "generalised_at", "step")}
    | {name: 0.2 for name in ("final_train", "final_held_out", "train_accuracy", "held_out_accuracy")},
)

LANGUAGE = Experiment(
    name="language",
    title="A small masked-diffusion language model under seven laws of the mask rate",
    point=LanguagePoint,
    run=run_language,
    presets={
        "smoke": {
            "arm": WINDOWS,
            "layers": 1,
            "width": 16,
            "context": 16,
            "steps": 3,
            "batch": 4,
            "evaluated": 4,
            "denoising_steps": 4,
            "seed": Axis(0, 1),
        },
        "quick": {"arm": WINDOWS, "batch": 16, "steps": 400, "seed": SEEDS},
        "full": {
            "arm": Axis(
                "[0, 1]", "[0, 1], unweighted", "[0, 1], stratified", "[0.45, 0.55]", "[0.2, 0.8]", *TENTHS
            ),
            "text": "wikitext-103",
            "layers": 8,
            "heads": 8,
            "width": 512,
            "context": 256,
            "steps": 30_000,
            "batch": 128,
            "lr": 6e-4,
            "warmup": 1000,
            "weight_decay": 0.1,
            "evaluated": 1024,
            "denoising_steps": 64,
            "precision": "bfloat16",
            "compile": True,
            "device": "cuda",
            "seed": SEEDS,
        },
    },
    cost={
        "smoke": Cost(8),
        "quick": Cost(150, memory_gb=2),
        "full": Cost(75 * 6000, gpus=1, memory_gb=24, disk_gb=4, hardware="one H100"),
    },
    together=1,
    tolerance={"bound": 0.02, "cross_entropy": 0.05},
)

LONGER = Experiment(
    name="longer",
    title="The same language model, trained on five times the text, at two learning rates",
    point=LanguagePoint,
    run=run_language,
    presets={
        "smoke": LANGUAGE.presets["smoke"] | {"arm": Axis("[0, 1]", "[0.45, 0.55]"), "steps": 4},
        "quick": {
            "arm": Axis("[0, 1]", "[0, 1], stratified", "[0.45, 0.55]"),
            "lr": Axis(3e-3, 6e-3),
            "batch": 32,
            "steps": 1000,
            "seed": SEEDS,
        },
        "full": LANGUAGE.presets["full"]
        | {
            "arm": Axis("[0, 1]", "[0, 1], stratified", "[0.45, 0.55]"),
            "lr": Axis(6e-4, 1e-3),
            "steps": 100_000,
        },
    },
    cost={
        "smoke": Cost(4),
        "quick": Cost(700, memory_gb=2),
        "full": Cost(30 * 20_000, gpus=1, memory_gb=24, disk_gb=4, hardware="one H100"),
    },
    stored=frozenset({"quick"}),
    together=1,
    tolerance={"bound": 0.02, "cross_entropy": 0.05},
)

LLADA = Experiment(
    name="llada",
    title="Fine-tuning LLaDA-8B under three windows",
    point=LladaPoint,
    run=run_llada,
    presets={
        "full": {
            "window": Axis((0.0, 1.0), (0.45, 0.55), (0.5, 1.0)),
            "seed": Axis(0, 1, 2),
        },
    },
    cost={"full": Cost(9 * 10 * 3600, gpus=1, memory_gb=64, disk_gb=40, hardware="one H200")},
    together=1,
)
