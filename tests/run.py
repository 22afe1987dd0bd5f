"""Run the tests stage by stage, all of them or those named; say how long each took. `make test` calls it.

python tests/run.py [STAGE …]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest"]
BIN = Path(sys.executable).parent

STAGES = {
    "lint": [[BIN / "ruff", "check"], [BIN / "ruff", "format", "--check", "--quiet"]],
    "imports": [[BIN / "lint-imports", "--no-cache"]],
    "unit": [
        [*PYTEST, "tests/unit", "--numprocesses=2", "--jaxtyping-packages=beyondloss,typechecker.strict"]
    ],
    "faults": [[*PYTEST, "tests/faults"]],
    "notebooks": [[*PYTEST, "tests/notebooks"]],
    "site": [[BIN / "beyondloss", "build"]],
    "browser": [[*PYTEST, "tests/browser", "--numprocesses=2"]],
}


def run(stage: str) -> bool:
    """Whether every command of the stage succeeded. Points measured by tests go to a store of their own."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="beyondloss-") as folder:
        if stage != "site":
            environment["BEYONDLOSS_STORE"] = folder
        return all(
            [
                subprocess.run(
                    command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
                ).returncode
                == 0
                for command in STAGES[stage]
            ]
        )


def main(names: list[str]) -> int:
    if unknown := set(names) - set(STAGES):
        print(f"no stage {', '.join(sorted(unknown))}; there are: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    rows = []
    for stage in names or STAGES:
        print(f"\n--- {stage}", flush=True)
        start = time.monotonic()
        rows.append((stage, "passed" if run(stage) else "FAILED", time.monotonic() - start))
    print("\nstage      result  seconds")
    for stage, result, seconds in [*rows, ("all", "", sum(row[2] for row in rows))]:
        print(f"{stage:<10} {result:<7} {seconds:7.0f}")
    return int(any(result == "FAILED" for _, result, _ in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
