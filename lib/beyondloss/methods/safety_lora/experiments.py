"""The experiments of chapter 8 and their sizes at each scale."""

import math

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.safety_lora.arms import ARMS, NO_TUNING
from beyondloss.methods.safety_lora.fronts import FrontPoint, run_fronts
from beyondloss.methods.safety_lora.linear import ENERGIES, LinearPoint, run_linear
from beyondloss.methods.safety_lora.measures import PAPER_ARMS, PENALTIES, TUNING_SEEDS
from beyondloss.methods.safety_lora.probes import KINDS
from beyondloss.methods.safety_lora.real import run_real
from beyondloss.methods.safety_lora.settings import LARGE, SMALL, RealPoint

BELOW, ABOVE = 4, 8  # eighths of a decade around the rate from which an arm was expected to refuse
FURTHER = {  # more steps above
    "full": 2,  # so that it is tried at LoRA's own rates, too
    "full, KL 0.3": 8,  # on tuning seeds a KL term made refusals come later
    "full, KL 3": 8,
    "LoRA 16, KL 0.3": 4,
    "LoRA 16, KL 3": 4,
}
COARSE = 2  # eighths of a decade between rates; 1 for the arms that the claims compare
COMPARED = {"full", *PAPER_ARMS, "LoRA 1, proportional", "LoRA 64, proportional", *PENALTIES}
EXPECTED = {  # that rate, from a look at one tuning seed; what counts is that the best lies inside the grid
    "full": 1e-4,
    "full, up only": 3.2e-4,
    "full, stopped early": 1.8e-4,
    "LoRA 16": 5.6e-4,
    "LoRA 1, proportional": 1.8e-3,
    "LoRA 4, proportional": 1e-3,
    "LoRA 64, proportional": 1.8e-4,
    "LoRA 1, sqrt": 1e-3,
    "LoRA 64, sqrt": 3.2e-4,
    "LoRA 1, up only": 1e-3,
    "LoRA 1, gate only": 1e-3,
    "LoRA 1, down only": 1e-3,
    "LoRA 16, first layer": 1e-3,
    "LoRA 16, middle layer": 1e-3,
    "LoRA 16, last layer": 1e-3,
}


def rates(arm: str) -> list[float]:
    """The learning rates at which an arm is tried: 1, 1.3, 1.8, 2.4, 3.2, 4.2, 5.6, 7.5, 10, … or every second one."""
    parent = "full" if arm.startswith("full") else "LoRA 16"
    middle = 2 * round(4 * math.log10(EXPECTED.get(arm, EXPECTED[parent])))
    above = ABOVE + FURTHER.get(arm, 0)
    steps = range(middle - BELOW, middle + above + 1, 1 if arm in COMPARED else COARSE)
    return [float(f"{10 ** (step / 8):.1e}") for step in steps]


def tunings() -> list[str]:
    """Every arm at every rate of its grid, and the base."""
    found = [NO_TUNING]
    for arm in ARMS:
        found += [f"{arm} at {lr:.1e}" for lr in rates(arm)]
    return found


FRONTS = Experiment(
    name="fronts",
    title="Small Llamas that reason: refusals taught in 37 ways",
    point=FrontPoint,
    run=run_fronts,
    presets={
        "smoke": {
            "tuning": Axis(NO_TUNING, *(f"{arm} at 1e-03" for arm in ARMS)),
            "steps": 2,
            "batch": 4,
            "base_steps": 3,
            "chains": 8,
            "seed": Axis(0, 100),
        },
        "quick": {"tuning": Axis(*tunings()), "seed": Axis(*range(8), *TUNING_SEEDS)},
        # four times the training, so that every base reasons, and more of them
        "full": {
            "tuning": Axis(*tunings()),
            "base_steps": 1600,
            "chains": 1024,
            "seed": Axis(*range(16), *TUNING_SEEDS),
        },
    },
    cost={"smoke": Cost(30), "quick": Cost(3 * 3600, memory_gb=2), "full": Cost(6 * 3600, memory_gb=2)},
    stored=frozenset({"quick"}),
    together=1,
    tolerance={name: 0.3 for name in ("reasoning", "refusal", "over_refusal", "benign_right")},
)

REAL_ARMS = {  # learning rates at quick and at full scale; the paper's is 5e-5 for all
    "full": ((1e-5, 3e-5, 1e-4, 3e-4), (2e-6, 5e-6, 1e-5, 2e-5, 5e-5)),
    "LoRA 16": ((1e-4, 3e-4, 1e-3, 3e-3), (5e-5, 1e-4, 2e-4, 5e-4)),
    "LoRA 1, fixed": ((), (5e-5, 1e-4, 2e-4, 5e-4)),
}


def real_tunings(scale: str) -> list[str]:
    """Every arm at every rate of its grid, and the base."""
    column = ("quick", "full").index(scale)
    found = [NO_TUNING]
    for arm, grids in REAL_ARMS.items():
        found += [f"{arm} at {lr:.0e}" for lr in grids[column]]
    return found


REAL = Experiment(
    name="real",
    title="Real models: SmolLM2-135M and a fictitious rule; at full scale the paper's models, data and benchmarks",
    point=RealPoint,
    run=run_real,
    presets={
        "smoke": {
            "tuning": Axis(NO_TUNING, "full at 1e-04", "LoRA 16 at 1e-03"),
            "steps": 2,
            "probes": 9,
            "seed": Axis(0),
        },
        "quick": {"tuning": Axis(*real_tunings("quick")), "seed": Axis(*range(5), TUNING_SEEDS[0])},
        "full": {
            "model": Axis(SMALL, LARGE),
            "tuning": Axis(*real_tunings("full")),
            "data": "published",
            "steps": 2500,
            "batch": 2,
            "context": 1024,
            "at_once": 1,
            "weight_decay": 1e-4,
            "precision": "bfloat16",
            "device": "cuda",
            "seed": Axis(*range(3), TUNING_SEEDS[0]),
        },
    },
    cost={
        "smoke": Cost(120, memory_gb=4),
        "quick": Cost(6000, memory_gb=4),
        "full": Cost(112 * 2 * 3600, gpus=1, memory_gb=64, disk_gb=80, hardware="one H200"),
    },
    stored=frozenset({"smoke", "quick"}),
    together=1,
    tolerance={name: 0.3 for name in ("kept", "refusal", "over_refusal", "far_refusal", *KINDS)},
)

LINEAR = Experiment(
    name="linear",
    title="The linear model: what ranks beyond the task cost",
    point=LinearPoint,
    run=run_linear,
    presets={
        "smoke": {"d": Axis(12, 24), "energy": Axis(*ENERGIES), "seed": Axis(0, 1)},
        "quick": {
            "d": Axis(12, 24, 48, 96),
            "energy": Axis(*ENERGIES),
            "fixed_size": Axis(0.0, 0.2),
            "seed": Axis(*range(20)),
        },
        "full": {
            "d": Axis(16, 64, 256, 1024),
            "n": 1024,
            "m": 1024,
            "samples": 4096,
            "energy": Axis(*ENERGIES),
            "fixed_size": Axis(0.0, 0.2),
            "seed": Axis(*range(20)),
        },
    },
    cost={"smoke": Cost(2), "quick": Cost(20), "full": Cost(3600, memory_gb=4)},
)
