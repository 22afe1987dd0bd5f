"""Run the tests stage by stage, all of them or those named; say how long each took. `make test` calls it.

python tests/run.py [STAGE …]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest"]
BIN = Path(sys.executable).parent

# The site executes every chapter once; what comes after it looks at what was executed.
STAGES = {
    "lint": [[BIN / "ruff", "check"], [BIN / "ruff", "format", "--check", "--quiet"]],
    "imports": [[BIN / "lint-imports", "--no-cache"]],
    "unit": [
        [*PYTEST, "tests/unit", "--numprocesses=2", "--jaxtyping-packages=beyondloss,typechecker.strict"]
    ],
    "faults": [[*PYTEST, "tests/faults"]],
    "site": [[BIN / "beyondloss", "build"]],
    "notebooks": [[*PYTEST, "tests/notebooks", "--numprocesses=2"]],
    "browser": [[*PYTEST, "tests/browser", "--numprocesses=2"]],
}


def run(stage: str) -> bool:
    """Whether every command of the stage succeeded. Points measured by tests go to a store of their own."""
    environment = dict(os.environ)
    passed = True
    with tempfile.TemporaryDirectory(prefix="beyondloss-") as folder:
        if stage != "site":
            environment["BEYONDLOSS_STORE"] = folder
        for command in STAGES[stage]:
            done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
            passed = passed and done.returncode == 0
    return passed


def processor_seconds() -> float:
    """What all processes that have ended under this one have used, their own children included.

    Servers that a test leaves to themselves, as Ray does, are not among them.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(names: list[str]) -> int:
    if unknown := set(names) - set(STAGES):
        print(f"no stage {', '.join(sorted(unknown))}; there are: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    rows = []
    for stage in names or STAGES:
        print(f"\n--- {stage}", flush=True)
        start, used = time.monotonic(), processor_seconds()
        result = "passed" if run(stage) else "FAILED"
        rows.append((stage, result, time.monotonic() - start, processor_seconds() - used))
    total = ("all", "", sum(row[2] for row in rows), sum(row[3] for row in rows))
    print("\nstage      result  seconds  on a processor")
    for stage, result, seconds, used in [*rows, total]:
        print(f"{stage:<10} {result:<7} {seconds:7.0f}  {used:14.0f}")
    return int(any(result == "FAILED" for _, result, *_ in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
