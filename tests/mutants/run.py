"""Break the library in one line, many times, and see whether the tests notice. `make mutants` calls it.

python tests/mutants/run.py [--only TEXT] [--again] [--workers N]

Each mutant of `mutants.toml` replaces one piece of text in one file of a copy of the library, and the tests that it
names run against that copy, until the first that fails. A mutant that no test notices survived: a test is missing, or
the line is. In the end the tests that noticed something run once against the library as it is. The outcomes are
written to data/results/mutants.json, which the book shows. Run it by hand, not in `make test`: see README.md.
"""

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path("lib/beyondloss")
PUBLISHED = ROOT / "data" / "results" / "mutants.json"
COPIED = ("lib", "tests")  # what a mutant may change, and what runs it; all else is linked
# seconds of processor that the tests of one mutant may take: more is an endless loop, and noticed
LIMIT = 300
PATIENCE = 1800  # seconds that they may take at all
KILLED, SURVIVED, BROKEN = "killed", "survived", "error"


@dataclass(frozen=True)
class Mutant:
    """One change: in `file` (below lib/beyondloss) the text `old`, which stands there once, becomes `new`.

    tests: arguments of pytest that name the tests of its room. why: why one that survives may.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str = ""

    @property
    def room(self) -> str:
        """The part of the library: `methods/hallucination`, `trainers`, …"""
        parts = Path(self.file).parts
        return "/".join(parts[: 2 if parts[0] == "methods" else 1]) if len(parts) > 1 else "command line"

    @property
    def name(self) -> str:
        """File and change on one line."""
        return f"{self.file}: {one_line(self.old)} -> {one_line(self.new)}"


def one_line(text: str) -> str:
    return " ".join(text.split())


def mutants() -> list[Mutant]:
    """The list; the tests of a group stand at its head."""
    groups = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))["group"]
    return [
        Mutant(
            **{"tests": tuple(group["tests"])} | {k: tuple(v) if k == "tests" else v for k, v in one.items()}
        )
        for group in groups
        for one in group["mutant"]
    ]


def mistakes(found: list[Mutant]) -> list[str]:
    """What is wrong with the list itself: a text that does not stand in its file exactly once, or changes nothing."""
    said = []
    for mutant in found:
        path = ROOT / LIBRARY / mutant.file
        times = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
        if times != 1 or mutant.old == mutant.new:
            said.append(
                f"{mutant.name}: its text stands {times} times in the file" if times != 1 else mutant.name
            )
    doubles = [name for name, times in Counter(m.name for m in found).items() if times > 1]
    return said + [f"{name}: twice in the list" for name in doubles]


def copied(folder: Path) -> Path:
    """A checkout in `folder`: library and tests copied, everything else linked."""
    for entry in ROOT.iterdir():
        if entry.name in COPIED:
            shutil.copytree(entry, folder / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif entry.name not in ("_build", ".store"):
            (folder / entry.name).symlink_to(entry)
    return folder


def preload() -> None:
    """Import what takes long and is not ours, once: every mutant starts from a copy of this process."""
    for name in ("matplotlib.pyplot", "pandas", "scipy.stats", "sklearn.linear_model", "transformers"):
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


def test_status(checkout: Path, tests: tuple[str, ...], log: Path) -> int:
    """pytest's exit status for some tests of a checkout, in a process of its own. -9 where it took too long."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    import resource

    status = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        signal.alarm(PATIENCE)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.setsid()
        os.chdir(checkout)
        sys.path[:] = [
            str(checkout / "lib"),
            *(p for p in sys.path if Path(p) not in (ROOT / "lib", Path(__file__).parent)),
        ]
        sys.dont_write_bytecode = True  # two mutants of one file may have its size and its second
        store = tempfile.mkdtemp(dir=checkout.parent)
        os.environ |= {
            "PYTHONPATH": str(checkout / "lib"), "BEYONDLOSS_STORE": store, "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "--jaxtyping-packages=beyondloss,typechecker.strict"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was preloaded
        status = int(pytest.main([*options, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def outcome(mutant: Mutant, checkout: Path, log: Path) -> tuple[str, str]:
    """What became of a mutant, and the test that noticed it."""
    path = checkout / LIBRARY / mutant.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        status = test_status(checkout, mutant.tests, log)
    finally:
        path.write_text(whole, encoding="utf-8")
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if status == 0:
        return SURVIVED, ""
    if status in (1, 2):
        return KILLED, noticed_by(text)
    if status == -signal.SIGALRM:
        return BROKEN, "its tests took half an hour: they wait for something, or the machine is busy"
    if status < 0:
        return KILLED, "the time limit"
    return (
        BROKEN,
        f"pytest ended with {status}: {text.strip().splitlines()[-1] if text.strip() else 'no output'}",
    )


def noticed_by(log: str) -> str:
    """The test that failed, by the address that pytest gives it."""
    for line in log.splitlines():
        kind, _, rest = line.partition(" ")
        if kind in ("FAILED", "ERROR") and rest.startswith("tests/"):
            return rest.split(" - ")[0]
    return "the import"


def measured(part: list[tuple[int, Mutant]], folder: Path, out: int) -> None:
    """Try some mutants one after the other; write one line of JSON each."""
    checkout = folder / "checkout"
    checkout.mkdir(parents=True)
    copied(checkout)
    for number, mutant in part:
        start = time.monotonic()
        verdict, by = outcome(mutant, checkout, folder / "log.txt")
        line = json.dumps([number, verdict, by, round(time.monotonic() - start, 1)]) + "\n"
        os.write(out, line.encode())


def side_by_side(found: list[Mutant], workers: int, folder: Path) -> list[tuple[str, str]]:
    """Outcome of each mutant, in order."""
    reading, writing = os.pipe()
    for worker in range(workers):
        if not os.fork():
            os.close(reading)
            measured(list(enumerate(found))[worker::workers], folder / str(worker), writing)
            os._exit(0)
    os.close(writing)
    outcomes: dict[int, tuple[str, str]] = {}
    with os.fdopen(reading) as lines:
        for line in lines:
            number, verdict, by, seconds = json.loads(line)
            outcomes[number] = verdict, by
            print(
                f"{len(outcomes):3}/{len(found)} {verdict:<8} {seconds:5.0f} s  {found[number].name[:120]}",
                flush=True,
            )
    return [outcomes.get(i, (BROKEN, "its process ended")) for i in range(len(found))]


def published(found: list[Mutant], outcomes: list[tuple[str, str]], every: list[Mutant]) -> dict:
    """What the book shows: every mutant of the list that was tried now or before, in the order of the list."""
    rows = known()
    for mutant, (verdict, by) in zip(found, outcomes, strict=True):
        rows[key(mutant)] = {
            "room": mutant.room,
            **dict(zip(("file", "old", "new"), key(mutant), strict=True)),
            "outcome": verdict,
            "by": by.rpartition("::")[2],
            "why": mutant.why,
            "tried": f"{datetime.now(UTC):%Y-%m-%d}",
        }
    return {"mutants": [rows[key(mutant)] for mutant in every if key(mutant) in rows]}


def known() -> dict[tuple[str, str, str], dict]:
    """The outcomes that are published, by the mutant's file and texts."""
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["mutants"] if PUBLISHED.exists() else []
    return {(row["file"], row["old"], row["new"]): row for row in rows}


def key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, one_line(mutant.old), one_line(mutant.new)


def main() -> int:
    """Try all mutants, or those that are asked for; 1 where fewer than nine in ten are killed, 2 for a wrong list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants with this text in file, old or new text")
    parser.add_argument(
        "--again", action="store_true", help="mutants that survived last time, or were not tried"
    )
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    every = mutants()
    done = {name for name, row in known().items() if row["outcome"] == KILLED} if given.again else set()
    found = [m for m in every if given.only in m.name and key(m) not in done]
    if wrong := mistakes(every):
        print("The list does not fit the library any more:", *wrong, sep="\n  ", file=sys.stderr)
        return 2
    preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        whole = folder / "as-it-is"
        whole.mkdir()
        copied(whole)
        outcomes = side_by_side(found, given.workers, folder)
        # what noticed a mutant must have nothing to say of the library as it is
        noticed = tuple(dict.fromkeys(by for _, by in outcomes if "::" in by))
        if noticed and test_status(whole, noticed, folder / "log.txt"):
            print(
                (folder / "log.txt").read_text(), "\nthis test fails without a mutant, too", file=sys.stderr
            )
            return 2
    counts = Counter(verdict for verdict, _ in outcomes)
    for mutant, (verdict, by) in zip(found, outcomes, strict=True):
        if verdict != KILLED:
            print(f"{verdict}: {mutant.name} {by or mutant.why}")
    print(
        f"{counts[KILLED]} of {len(found)} killed, {counts[SURVIVED]} survived, {counts[BROKEN]} could not be tried"
    )
    text = json.dumps(published(found, outcomes, every), ensure_ascii=False, indent=1)
    PUBLISHED.write_text(text + "\n", encoding="utf-8")
    return int(counts[KILLED] < 0.9 * len(found))


if __name__ == "__main__":
    sys.exit(main())
