"""The code of an earlier commit, measuring on this machine: what `verify` compares with where rounding differs."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beyondloss.experiment import paths
from beyondloss.experiment.engines import THREADS, Inline, Job, Outcome
from beyondloss.experiment.errors import BadInput
from beyondloss.experiment.experiment import Experiment
from beyondloss.experiment.resources import cores

# for a Python that imports the earlier code; the answer goes to a file, since `run` may print
DIGEST = """
from beyondloss.experiment import BadInput, code_digest
try:
    answer = code_digest(f"{module}:{run}", f"{home}:{kind}")
except BadInput:  # it knows digests of whole modules only
    answer = code_digest(module)
"""
MEASURE = """
from beyondloss.experiment.store import plain
point = getattr(importlib.import_module(home), kind)
found = getattr(importlib.import_module(module), run)([point(**config) for config in configs])
answer = [{name: plain(value) for name, value in metrics.items()} for metrics in found]
"""
FRAME = """
import importlib, json, pickle, sys
globals().update(pickle.load(sys.stdin.buffer))
{}
with open(sys.argv[1], "w") as file:
    json.dump(answer, file)
"""


@contextmanager
def files_of(commit: str) -> Iterator[Path]:
    """A folder with the files of the checkout at `commit`, removed afterwards. BadInput where there is none."""
    if paths.root() is None:
        raise BadInput("an earlier commit is found in a checkout of the book: set BEYONDLOSS_ROOT to it")
    archive = subprocess.run(
        ["git", "-C", str(paths.root()), "archive", "--format=tar", "--end-of-options", commit],
        capture_output=True,
        check=False,
    )
    complaint = archive.stderr.decode(errors="replace")
    if "dubious ownership" in complaint:
        raise BadInput(
            f"git does not trust {paths.root()}, which belongs to another user: "
            f"git config --global --add safe.directory {paths.root()}"
        )
    if archive.returncode:
        raise BadInput(f"commit {commit!r} is none of this checkout: see `git log --oneline`")
    with tempfile.TemporaryDirectory(prefix="beyondloss-") as folder:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # known from Python 3.11.4 on
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, **safely)
        yield Path(folder)


class Earlier(Inline):
    """Measures with the code in the folder `files`, in `size` processes at a time, each of which measures one job."""

    def __init__(self, files: Path, size: int = 1):
        self.files, self.size = files, size
        self.pool = ThreadPoolExecutor(size)
        self.processes: list[subprocess.Popen] = []

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
        self.pool.shutdown(cancel_futures=True)

    def start(self, job: Job) -> Future:
        return self.pool.submit(self._measure, job)

    def ended(self, handles: list[Future]) -> Iterable[Future]:
        return wait(handles, return_when=FIRST_COMPLETED).done

    def outcome(self, handle: Future) -> Outcome:
        return handle.result()

    def code_digest(self, experiment: Experiment) -> str | None:
        """The digest, made by the code there, of what measures the experiment there; None where nothing did."""
        return self._ask(DIGEST, **_names(experiment.run, experiment.point))[0]

    def _measure(self, job: Job) -> Outcome:
        configs = [asdict(point) for point in job.points]
        answer, complaint = self._ask(MEASURE, **_names(job.run, type(job.points[0])), configs=configs)
        return Outcome(answer, failure=complaint)

    def _ask(self, script: str, **names: Any) -> tuple[Any, str]:
        """The `answer` that `script` comes to in the earlier code, or None and its traceback."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [sys.executable, "-c", FRAME.format(script), file.name]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            with subprocess.Popen(command, env=self._environment(), cwd=self.files, **pipes) as process:
                self.processes.append(process)
                complaint = process.communicate(pickle.dumps(names))[1].decode(errors="replace")
            return (json.load(file), "") if process.returncode == 0 else (None, complaint)

    def _environment(self) -> dict[str, str]:
        """That of today's engine, but for where it imports from: what lies in the checkout comes from `files`."""
        here = paths.root()
        ours = [path for path in map(Path, filter(None, sys.path)) if path.resolve().is_relative_to(here)]
        theirs = [str(self.files / path.resolve().relative_to(here)) for path in ours]
        imports = os.pathsep.join([*theirs, os.environ.get("PYTHONPATH", "")])
        # as many threads as in a process of `Local`, for the same rounding
        threads = dict.fromkeys(THREADS, str(max(1, cores() // self.size))) if self.size > 1 else {}
        return os.environ | threads | {"PYTHONPATH": imports, "BEYONDLOSS_ROOT": str(self.files)}


def _names(run: Callable, point: type) -> dict[str, str]:
    """Where a Python that has imported neither finds `run` and the class of its points."""
    return {"home": point.__module__, "kind": point.__name__, "module": run.__module__, "run": run.__name__}
