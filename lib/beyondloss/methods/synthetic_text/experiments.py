"""The experiments of chapter 7 and their sizes at each scale."""

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.synthetic_text.arms import ARMS, ZERO_SHOT
from beyondloss.methods.synthetic_text.reviews import PUBLISHED
from beyondloss.methods.synthetic_text.sets import run_texts
from beyondloss.methods.synthetic_text.settings import LLAMA, PHI, TUNING_SEEDS, TextPoint
from beyondloss.methods.synthetic_text.world import WORLD

REAL = tuple(arm for arm in ARMS if arm.startswith("real"))
WRITTEN = tuple(arm for arm in ARMS if arm.startswith(("generated, temperature", "generated from examples")))
CHOSEN = tuple(arm for arm in ARMS if arm.startswith("generated, chosen"))


def with_rhos(*rhos: float, of: tuple[str, ...] = ("GRADMM",)) -> tuple[str, ...]:
    """Arms of GRADMM at two values of rho, as many as others have temperatures."""
    return tuple(f"{name}, rho {rho:g}" for name in of for rho in rhos)


VARIANTS = ("GRADMM", "GRADMM by squares", "GRADMM without perplexity", "GRADMM from noise")
IN_WORLD = (
    ZERO_SHOT,
    "random tokens",
    *WRITTEN,
    *CHOSEN,
    *REAL,
    *with_rhos(0.01, 0.1, of=VARIANTS),
    "embeddings",
)
ON_REVIEWS = (ZERO_SHOT, "random tokens", *WRITTEN, *REAL, *with_rhos(1e-4, 1e-3))
PAPER_ARMS = (
    *(ZERO_SHOT, *WRITTEN, *CHOSEN, *REAL),
    *with_rhos(1e-4, 1e-3),
    "GRADMM as published",
    "GRADMM with privacy",
)

SMALL_WORLD = {
    "model": WORLD,
    "data": WORLD,
    "tuned": "all",
    "rates": (3e-4, 1e-3, 3e-3),
    "steps": (15, 30, 60),
    "outer": 10,
    "inner": 10,
    "step": 0.03,
    "nearest": 10,
    "shots": 1,  # as in the documents that the models have read
}
ACCURACIES = dict.fromkeys(("accuracy", "loss", "real_loss", "attack", "distance", "distance_of_tested"), 0.3)

WORLDS = Experiment(
    name="world",
    title="A small world: models that know reviews, and films that are judged otherwise; all weights tuned",
    point=TextPoint,
    run=run_texts,
    presets={
        "smoke": SMALL_WORLD
        | {
            "arm": Axis(
                ZERO_SHOT,
                *("random tokens", "generated, temperature 1", "generated from examples, temperature 1"),
                *("generated, chosen, temperature 1", "real, random", "real, gradient", "real, all"),
                *("GRADMM, rho 0.1", "GRADMM from noise, rho 0.1", "embeddings"),
            ),
            **{"per_label": 2, "real": 4, "tested": 4, "base_steps": 2, "outer": 1, "inner": 1},
            **{"rates": (1e-3,), "steps": (2,)},
            "seed": Axis(0, TUNING_SEEDS[0]),
        },
        "quick": SMALL_WORLD | {"arm": Axis(*IN_WORLD), "seed": Axis(*range(5), *TUNING_SEEDS)},
    },
    cost={"smoke": Cost(20), "quick": Cost(1200, memory_gb=2)},
    stored=frozenset({"quick"}),
    together=1,
    tolerance=ACCURACIES | {"made_seconds": 10.0},
)

REVIEWS = Experiment(
    name="reviews",
    title="Film reviews: SmolLM2-135M, its head tuned; at full scale the paper's models and data, all weights tuned",
    point=TextPoint,
    run=run_texts,
    presets={
        "smoke": {
            "arm": Axis(ZERO_SHOT, "real, random", "GRADMM, rho 0.001"),
            **{"per_label": 2, "real": 2, "tested": 4, "outer": 1, "inner": 1, "steps": (2,)},
            "seed": Axis(0),
        },
        "quick": {"arm": Axis(*ON_REVIEWS), "seed": Axis(*range(5), *TUNING_SEEDS[:2])},
        "full": {
            "arm": Axis(*PAPER_ARMS),
            "model": PHI,
            "data": Axis(*PUBLISHED),
            **{"per_label": 50, "real": 100, "tested": 400, "longest": 48, "outer": 30, "inner": 50},
            "tuned": "all",
            "rates": (7e-6, 1e-5, 1.5e-5),
            "steps": (50, 100, 150, 200),
            "another": LLAMA,
            "precision": "bfloat16",
            "device": "cuda",
            "seed": Axis(*range(3), TUNING_SEEDS[0]),
        },
    },
    cost={
        "smoke": Cost(90, memory_gb=4),
        "quick": Cost(2800, memory_gb=4),
        "full": Cost(256 * 3600, gpus=1, memory_gb=64, disk_gb=40, hardware="one H200"),
    },
    stored=frozenset({"smoke", "quick"}),
    together=1,
    tolerance=ACCURACIES | {"made_seconds": 10.0},
)
