"""An experiment without torch that writes down each point that it measures, so that tests can count them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beyondloss.experiment import (
    Axis,
    Chapter,
    Claim,
    Cost,
    Experiment,
    Paper,
    checkpoint_folder,
    paired_interval,
    paper_claims,
)


@dataclass(frozen=True)
class Point:
    """One toy measurement; `mood` is what becomes of it."""

    k: int = 2
    rate: float = 0.5
    mood: Literal["well", "fails", "dies", "diverges", "exits"] = "well"
    window: tuple[float, float] = (0.0, 1.0)
    pause: float = 0.0
    note: str | None = None
    seed: int = 0

    def __post_init__(self):
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")


def run(points):
    """Measure the toy: its score grows with k, rate and seed."""
    return [_measured(point) for point in points]


def _measured(point):
    _write_down(point)
    time.sleep(point.pause)
    if point.mood == "fails":
        raise RuntimeError(f"this toy fails at seed {point.seed}")
    if point.mood == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.mood == "exits":
        raise SystemExit("this toy leaves")
    if point.mood == "diverges":
        return {"score": float("nan"), "curve": [1.0, float("inf")], "diverged_at": 7}
    return {"score": score(point), "curve": [score(point), None], "verdict": "fine", "diverged_at": None}


def score(point):
    """What a point must come to."""
    return point.k + point.rate / 3 + point.seed / 7


def _write_down(point):
    line = f"{os.getppid()} {os.getpid()} {point.k} {point.seed}\n"
    with Path(os.environ["TOY_LOG"]).open("a") as log:
        log.write(line)


def threads(points):
    """What the process was told of threads."""
    return [{"threads": os.environ.get("OMP_NUM_THREADS")} for _ in points]


def checkpointed(points):
    """Fails half-way the first time, and says whether it found what it had left."""
    half = checkpoint_folder() and checkpoint_folder() / "half"
    resumed = half is not None and half.exists()
    if half and not resumed:
        half.parent.mkdir(parents=True)
        half.touch()
        raise RuntimeError("stopped half-way")
    return [{"resumed": resumed} for _ in points]


def measured():
    """Points that were measured so far: (parent process, process, k, seed) each."""
    log = Path(os.environ["TOY_LOG"])
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


TOY = Experiment(
    name="toy",
    title="A toy",
    point=Point,
    run=run,
    presets={
        "smoke": {"k": Axis(2, 3), "seed": Axis(0, 1, 2)},
        # 120 groups of 4 seeds: more than 20 interrupted sweeps can measure
        "quick": {"k": Axis(*range(1, 121)), "seed": Axis(*range(4)), "pause": 0.03},
        "full": {"seed": Axis(0, 1)},
    },
    cost={"smoke": Cost(6), "quick": Cost(6), "full": Cost(3600, memory_gb=1, gpus=99, hardware="99 GPUs")},
    tolerance={"score": 1e-3},
)
DEAR = Experiment(
    name="dear",
    title="A dear toy",
    point=Point,
    run=run,
    presets={"smoke": {"seed": Axis(0, 1)}, "quick": {}, "full": {}},
    cost={scale: Cost(100, memory_gb=2) for scale in ("smoke", "quick", "full")},
    stored=frozenset({"smoke"}),
)
CHAPTER = Chapter(
    number=3,
    slug="toy",
    title="Toys",
    paper=Paper("On toys", "A. Maker", "0000.00000", 2025),
    experiments=(TOY, DEAR),
    claims=paper_claims(
        {"3.1": "Toys are good.", "3.2": "Dear toys are good.", "3.3": "Toys make sense."},
        (
            Claim(
                "3.1a", "Toys score.", "mean above 1", "toy", lambda t: paired_interval(t.score), margin=1.0
            ),
            Claim("3.2a", "Dear toys score.", "mean above 0", "dear", lambda t: paired_interval(t.score)),
            Claim("3.3a", "Toys add up.", "proof", by="proof"),
        ),
    ),
)
