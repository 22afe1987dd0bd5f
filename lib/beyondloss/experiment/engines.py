"""Where groups of points are measured: in this process, in worker processes, or on a Ray cluster.

An engine draws jobs from an iterator when it has room for one, and yields each with its outcome as it ends.
"""

import importlib.metadata
import multiprocessing
import os
import pickle
import platform
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from beyondloss.experiment.digest import code_digest
from beyondloss.experiment.errors import BadInput, NotEnough
from beyondloss.experiment.resources import cores
from beyondloss.experiment.store import plain

CONNECT = 10  # seconds in which a cluster must answer
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """Points to measure side by side, and the digest that the code must have."""

    run: Callable[[Sequence[Any]], list[dict]]
    points: tuple
    code: str
    folder: Path | None = None  # for checkpoints


@dataclass(frozen=True, eq=False)
class Outcome:
    """Metrics of each point, or the traceback of a failure."""

    metrics: list[dict] | None = None
    seconds: float | int = 0  # of one point
    provenance: dict[str, str] | None = None
    failure: str = ""


_folder: Path | None = None


def checkpoint_folder() -> Path | None:
    """Where the points that are being measured may keep checkpoints; None outside a sweep.

    It is the same folder when a killed sweep goes on with the same code, and is removed once the points are stored.
    """
    return _folder


def checkpoint_file(name: str = "training.pt") -> Path | None:
    """A file in `checkpoint_folder`, to hand to a training loop."""
    return _folder / name if _folder else None


def measure(job: Job) -> Outcome:
    """Measure `job` in this process. What goes wrong in it is an outcome too."""
    global _folder
    _folder = job.folder
    start = time.perf_counter()
    try:
        metrics = [_storable(found) for found in job.run(job.points)]
        seconds = (time.perf_counter() - start) / len(job.points)
        _check(job, metrics)
        return Outcome(metrics, seconds, provenance())
    except Exception:
        return Outcome(failure=traceback.format_exc())
    finally:
        _folder = None


def _storable(metrics: dict) -> dict:
    """Metrics of one point as the numbers, texts and lists that the store takes."""
    return {name: plain(value) for name, value in metrics.items()}


def _check(job: Job, metrics: list[dict]) -> None:
    if len(metrics) != len(job.points):
        raise ValueError(f"`run` gave {len(metrics)} results for {len(job.points)} points")
    if clash := set(vars(job.points[0])) & {name for found in metrics for name in found}:
        raise ValueError(f"metrics are named like fields of the point: {', '.join(sorted(clash))}")


def measure_elsewhere(job: bytes) -> Outcome:
    """Measure a pickled job in a process that has just loaded its code, or loaded it for an earlier job."""
    try:
        job = pickle.loads(job)
        if _digest_when_loaded(job.run, type(job.points[0])) != job.code:
            raise RuntimeError(f"{job.run.__module__} was edited while the sweep was running: run it again")
        return measure(job)
    except BaseException:  # an import that fails, or a point that calls sys.exit
        return Outcome(failure=traceback.format_exc())


_digest_when_loaded = cache(code_digest)


def provenance() -> dict[str, str]:
    """Versions and device of this process. No host name, no path."""
    versions = {name: importlib.metadata.version(name) for name in ("beyondloss", "torch", "numpy")}
    return {"python": platform.python_version(), **versions, "device": device()}


def device() -> str:
    """The GPU if this process has used one, else the processor."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Inline:
    """Measures in this process, one job after the other. The other engines start jobs in other places."""

    size = 1

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *error: object) -> None:
        """Stop what is running; nothing runs here."""

    def measure(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Keep `size` jobs running until there are no more; yield each as it ends."""
        running: dict[Any, Job] = {}
        while True:
            while len(running) < self.size and (job := next(jobs, None)):
                running[self.start(job)] = job
            if not running:
                return
            for handle in self.ended(list(running)):
                yield running.pop(handle), self.outcome(handle)

    def start(self, job: Job) -> Any:
        """Start a job; return a handle of it."""
        return measure(job)

    def ended(self, handles: list) -> Iterable:
        """Wait until one of the jobs ends; return the handles of those that have."""
        return handles

    def outcome(self, handle: Any) -> Outcome:
        """What a job that ended has come to."""
        return handle


class Local(Inline):
    """Measures in `size` processes of this machine. One that dies takes down its own job only."""

    def __init__(self, size: int):
        self.size = size
        self.context = multiprocessing.get_context("spawn")
        self.theirs, self.lifeline = self.context.Pipe(duplex=False)
        self.idle: list[ProcessPoolExecutor] = []
        self.busy: dict[Future, ProcessPoolExecutor] = {}

    def __exit__(self, *error: object) -> None:
        self.lifeline.close()  # the processes end, as they do when this one dies
        for pool in [*self.idle, *self.busy.values()]:
            pool.shutdown()
        self.theirs.close()

    def start(self, job: Job) -> Future:
        while True:
            pool = self.idle.pop() if self.idle else self._process()
            try:
                with _no_main():
                    future = pool.submit(measure_elsewhere, pickle.dumps(job))
            except BrokenProcessPool:  # it died while it was idle
                continue
            self.busy[future] = pool
            return future

    def ended(self, handles: list[Future]) -> Iterable[Future]:
        return wait(handles, return_when=FIRST_COMPLETED).done

    def outcome(self, handle: Future) -> Outcome:
        pool = self.busy.pop(handle)
        try:
            outcome = handle.result()
        except BrokenProcessPool:
            return Outcome(failure="the worker process was killed (out of memory?)")
        self.idle.append(pool)
        return outcome

    def _process(self) -> ProcessPoolExecutor:
        # one process an executor, because the death of a process breaks the whole of its executor
        arguments = (self.theirs, max(1, cores() // self.size))
        return ProcessPoolExecutor(1, self.context, initializer=_prepare, initargs=arguments)


def _prepare(lifeline: Connection, threads: int) -> None:
    """Set up a worker process, before it loads torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End this process when the other end of `lifeline` closes, also because its process was killed."""
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide `__main__` while a process starts: spawn would run the caller's script once more in each worker."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def answering(address: str) -> None:
    """Raise BadInput where RAY_ADDRESS names a cluster that does not answer; Ray would wait for minutes in silence."""
    if address in ("", "auto", "local") or "://" in address:
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit()):
        raise BadInput(
            f"RAY_ADDRESS={address!r} is no address: it takes host:port, auto, local or ray://host:port"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}): start one there, or unset RAY_ADDRESS"
        ) from error


class OnRay(Inline):
    """Measures on a Ray cluster: the one at RAY_ADDRESS, or one started here. Ray retries jobs of a lost node."""

    def __init__(self, size: int | None, gpus: int):
        try:
            import ray
        except ImportError:
            raise BadInput("engine 'ray' is not installed: pip install -e '.[cluster]'") from None
        if not ray.is_initialized():
            answering(os.environ.get("RAY_ADDRESS", ""))
            try:
                ray.init(log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise BadInput(
                    f"no Ray cluster could be reached or started: {str(error).splitlines()[0]}"
                ) from error
        there = ray.cluster_resources()
        if there.get("GPU", 0) < gpus:
            raise NotEnough(f"a group needs {gpus} GPUs, the Ray cluster has {there.get('GPU', 0):.0f}")
        self.ray = ray
        self.size = size or max(1, int(there["GPU"] // gpus if gpus else there["CPU"]))
        self.task, self.gpus = ray.remote(measure_elsewhere), gpus
        self.running: set = set()

    def __exit__(self, *error: object) -> None:
        for handle in self.running:
            self.ray.cancel(handle, force=True)

    def start(self, job: Job) -> Any:
        # Ray keeps processes for tasks of the same environment: those that loaded other code are not for this one
        environment = {"env_vars": {"BEYONDLOSS_CODE": job.code}}
        task = self.task.options(num_cpus=1, num_gpus=self.gpus, max_retries=3, runtime_env=environment)
        handle = task.remote(pickle.dumps(job))
        self.running.add(handle)
        return handle

    def ended(self, handles: list) -> list:
        return self.ray.wait(handles)[0]

    def outcome(self, handle: Any) -> Outcome:
        self.running.discard(handle)
        try:
            return self.ray.get(handle)
        except self.ray.exceptions.RayError:
            return Outcome(failure=traceback.format_exc())
