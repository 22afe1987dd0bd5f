"""The table of `make bench`, as a page of the book shows it."""

import json
from itertools import groupby

from beyondloss.experiment.paths import root


def benchmarks_table(_to_root: str) -> str:
    """Steps a second as last measured, with quartiles; ratios with their 95% interval."""
    return _table("benchmarks.json")


def students_table(_to_root: str) -> str:
    """The same for the students of chapter 6, and the accuracies that both ways reach."""
    return _table("students.json")


def _table(file: str) -> str:
    path = root() / "data" / "results" / file
    if not path.exists():
        return "*Not measured yet: see tests/benchmarks.*"
    devices = json.loads(path.read_text(encoding="utf-8"))
    return "\n\n".join("\n".join(_measured(**found)) for found in devices)


def _measured(machine: dict, rows: list[dict], notes: list[str]) -> list[str]:
    """One device: what it is, the table, and what else it found."""
    lines = [
        f"Measured on {machine['device']}, threads: {machine['threads']}, torch {machine['torch']}, "
        f"{machine['date']}.",
        "",
        "| Task and way | Steps a second | Quartiles | The first is faster by |",
        "|---|---|---|---|",
    ]
    for task, own in groupby(rows, key=lambda row: row["task"]):
        lines.append(f"| **{task}** | | | |")
        lines += [_line(row, first=i == 0) for i, row in enumerate(own)]
    return [*lines, "", *notes] if notes else lines


def _line(row: dict, first: bool) -> str:
    ratio = "" if first else f"{row['first_is_faster_by']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    quartiles = f"{row['quarter']:.3g} to {row['three_quarters']:.3g}"
    return f"| {row['way']} | {row['steps_per_second']:.3g} | {quartiles} | {ratio} |"
