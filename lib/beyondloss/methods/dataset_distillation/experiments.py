"""The experiments of chapter 6 and their sizes at each scale."""

from beyondloss.experiment import Axis, Cost, Experiment
from beyondloss.methods.dataset_distillation.settings import OPTIMISED, TUNED_AT
from beyondloss.methods.dataset_distillation.tuning import TuningPoint, run_tuning

SEEDS = Axis(*range(6))
TINY = {
    "steps": 6,
    "teacher_steps": 6,
    "iterations": 2,
    "real_batch": 4,
    "rounds": 2,
    "lrs": (0.03, 0.1),
    "width": 4,
}
ONE_GPU = {"width": 128, "device": "cuda", "batch": 256, "real_batch": 256, "validation": 50}

TUNING = Experiment(
    name="tuning",
    title="The image learning rate of every method, on validation images of seeds that nothing else uses",
    point=TuningPoint,
    run=run_tuning,
    presets={
        "smoke": {"method": Axis("DM", "MTT"), "place": Axis(0, 1), "seed": Axis(100, 101)} | TINY,
        "quick": {
            "method": Axis(*OPTIMISED),
            "place": Axis(0, 1, 2),
            "per_class": Axis(*TUNED_AT),
            "rounds": 1,
            "seed": Axis(100, 101, 102),
        },
    },
    cost={"smoke": Cost(2), "quick": Cost(200)},
    stored=frozenset({"quick"}),
    tolerance={"validated": 0.1},
)
