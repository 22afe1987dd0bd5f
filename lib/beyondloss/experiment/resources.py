"""What an experiment is predicted to take, and what this machine has."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from beyondloss.experiment import paths
from beyondloss.experiment.errors import NotEnough


@dataclass(frozen=True)
class Cost:
    """What one experiment is predicted to take at one scale, on `hardware`.

    `gpus` is what one group of seeds holds at a time; the other numbers are for the whole experiment.
    """

    seconds: float | int
    memory_gb: float | int = 1
    gpus: int = 0
    disk_gb: float | int = 0
    hardware: str = "2 CPU cores"

    def check(self, what: str) -> None:
        """Raise NotEnough if this machine has less than `what` is predicted to need."""
        here = Cost(0, memory_gb(), gpus_here() if self.gpus else 0, disk_gb())
        if here.gpus < self.gpus or here.memory_gb < self.memory_gb or here.disk_gb < self.disk_gb:
            raise NotEnough(
                f"{what} is predicted to need {self._amounts()}; here are {here._amounts()}. Use the stored points, "
                "a smaller scale or a larger machine, or go on with --force (force=True)."
            )

    def _amounts(self) -> str:
        gpus = f"{self.gpus} GPU" + ("" if self.gpus == 1 else "s")
        return f"{gpus}, {self.memory_gb:.3g} GB of memory and {self.disk_gb:.3g} GB of disk"


def gpus_here() -> int:
    """How many GPUs torch sees on this machine."""
    import torch

    return torch.cuda.device_count()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> float:
    """Memory of this machine, or of its container or batch job where that is less."""
    import psutil

    return min([psutil.virtual_memory().total, *memory_limits()]) / 1e9


def memory_limits(own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that the control groups of this process allow it, its own group's and those above, of version 1 and 2.

    own: what the kernel says of the process, a line "number:controllers:path" a hierarchy.
    """
    limits = []
    for line in own.read_text().splitlines() if own.is_file() else []:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, name = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        # in a container the path may be the host's: the groups that exist here are those above it
        for folder in (group, *group.parents):
            if folder.is_relative_to(top) and (folder / name).is_file():
                limits.append((folder / name).read_text().strip())
    return [int(limit) for limit in limits if limit.isdigit()]


def disk_gb() -> float:
    """Free disk where the journal lies or will lie."""
    folder = paths.journal()
    return shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free / 1e9
