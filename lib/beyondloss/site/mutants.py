"""The table of `make mutants`, as a page of the book shows it."""

import json
from collections import Counter
from pathlib import Path

from beyondloss.experiment.paths import root


def mutants_table(_to_root: str) -> str:
    """How many mutants each part of the library had and how many the tests killed; then every one of them."""
    path = root() / "data" / "results" / "mutants.json"
    if not path.exists():
        return "*Not measured yet: see tests/mutants.*"
    tried = json.loads(path.read_text(encoding="utf-8"))["mutants"]
    rooms = Counter(mutant["room"] for mutant in tried)
    killed = Counter(mutant["room"] for mutant in tried if mutant["outcome"] == "killed")
    dates = sorted({mutant["tried"] for mutant in tried})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    lines = [
        f"Tried {when}: **{killed.total()} of {len(tried)}** mutants were killed.",
        "",
        "| Part of the library | Mutants | Killed |",
        "|---|---|---|",
        *(f"| `{room}` | {rooms[room]} | {killed[room]} |" for room in sorted(rooms)),
    ]
    if survivors := [mutant for mutant in tried if mutant["outcome"] != "killed"]:
        lines += ["", "What survived, and why:", "", *map(_survivor, survivors)]
    lines += _without_one({mutant["file"] for mutant in tried}, root() / "lib" / "beyondloss")
    folded = ["", "<details><summary>Every mutant, and the test that noticed it</summary>", ""]
    return "\n".join([*lines, *folded, *_every(tried), "", "</details>"])


def _without_one(files: set[str], library: Path) -> list[str]:
    """The modules and scripts in which no mutant was tried: of them the table says nothing. By part, folded."""
    parts: dict[str, list[str]] = {}
    for path in sorted(library.rglob("*")):
        file = path.relative_to(library)
        if path.suffix in (".py", ".mjs") and path.name != "__init__.py" and file.as_posix() not in files:
            depth = 2 if file.parts[0] == "methods" else 1
            part = "/".join(file.parts[:-1][:depth]) or "command line"
            inside = file.relative_to(part) if part != "command line" else file
            parts.setdefault(part, []).append(
                f"`{inside.with_suffix('') if path.suffix == '.py' else inside}`"
            )
    if not parts:
        return []
    total = sum(map(len, parts.values()))
    listed = [f"- `{part}`: {', '.join(names)}" for part, names in parts.items()]
    return [
        "",
        f"<details><summary>{total} modules without a mutant yet</summary>",
        "",
        *listed,
        "",
        "</details>",
    ]


def _survivor(mutant: dict) -> str:
    reason = mutant["why"] or "no test notices it yet"
    return f"- `{mutant['file']}`: {_code(mutant['old'])} → {_code(mutant['new'])}: {reason}"


def _every(tried: list[dict]) -> list[str]:
    """A list, file by file: the line, its mutant under it, and what noticed it. Columns would break code into bits."""
    lines = []
    for file in dict.fromkeys(mutant["file"] for mutant in tried):
        lines += [f"`{file}`", ""]
        lines += map(_mutant, (mutant for mutant in tried if mutant["file"] == file))
        lines.append("")
    return lines[:-1]


def _mutant(mutant: dict) -> str:
    old, new = _code(mutant["old"]), _code(mutant["new"])
    noticed = f"noticed by {_code(mutant['by'])}" if mutant["by"] else mutant["outcome"]
    return f"- {old}<br>{new}<br><small>{noticed}</small>"


def _code(text: str) -> str:
    """Code in a line of Markdown, which may hold a mark of code itself."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
