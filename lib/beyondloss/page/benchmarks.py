"""The table of `make bench`, as a page of the book shows it."""

import json
from itertools import groupby

from beyondloss.experiment.paths import root


def benchmarks_table(_to_root: str) -> str:
    """Steps a second as last measured, with quartiles; ratios with their 95% interval."""
    path = root() / "data" / "results" / "benchmarks.json"
    if not path.exists():
        return "*Not measured yet: `make bench`.*"
    measured = json.loads(path.read_text(encoding="utf-8"))
    machine = measured["machine"]
    lines = [
        f"Measured on {machine['device']}, threads: {machine['threads']}, torch {machine['torch']}, "
        f"{machine['date']}.",
        "",
        "| Task and way | Steps a second | Quartiles | The first is faster by |",
        "|---|---|---|---|",
    ]
    for task, rows in groupby(measured["rows"], key=lambda row: row["task"]):
        lines.append(f"| **{task}** | | | |")
        lines += [_line(row, first=i == 0) for i, row in enumerate(rows)]
    return "\n".join(lines)


def _line(row: dict, first: bool) -> str:
    ratio = "" if first else f"{row['first_is_faster_by']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    quartiles = f"{row['quarter']:.3g} to {row['three_quarters']:.3g}"
    return f"| {row['way']} | {row['steps_per_second']:.3g} | {quartiles} | {ratio} |"
