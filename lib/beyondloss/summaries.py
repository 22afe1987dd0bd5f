"""What the command line tells of chapters and claims, kept until what it is made from changes.

A chapter imports torch, which takes seconds; what the book has and what became of its claims changes seldom.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyondloss.experiment.experiment import SCALES
from beyondloss.experiment.paths import journal, root

if TYPE_CHECKING:
    from beyondloss.experiment import Chapter, Verdict

PRINTED = ("chapter", "claim", "scale", "verdict", "effect", "low", "high", "seeds", "criterion")


def chapters() -> list[dict[str, Any]]:
    """One row a chapter: experiments, claims and costs."""
    from beyondloss import catalogue

    return kept("chapters", lambda: [_chapter(chapter) for chapter in catalogue.chapters()])


def claims(name: str | None, scales: list[str]) -> list[dict[str, Any]]:
    """One row a claim and scale, of one chapter or of all; PRINTED says which of it is for JSON."""
    from beyondloss import catalogue

    def judged() -> list[dict[str, Any]]:
        asked = [catalogue.chapter(name)] if name else catalogue.chapters()
        return [row for chapter in asked for scale in scales for row in _claims(chapter, scale)]

    return kept("-".join(["claims", name or "all", *scales]), judged)


def _chapter(chapter: Chapter) -> dict[str, Any]:
    return {
        "chapter": chapter.number,
        "slug": chapter.slug,
        "title": chapter.title,
        "experiments": [e.name for e in chapter.experiments],
        "claims": [claim.id for claim in chapter.claims],
        "cost": {scale: _cost(chapter, scale) for scale in SCALES},
    }


def _cost(chapter: Chapter, scale: str) -> dict[str, Any]:
    """The cost of what a reader computes at `scale`, then experiment by experiment, the stored ones too."""
    each = {e.name: {**vars(e.cost[scale]), "stored": scale in e.stored} for e in chapter.at(scale)}
    return {**vars(chapter.reader_cost(scale)), "experiments": each}


def _claims(chapter: Chapter, scale: str) -> list[dict[str, Any]]:
    from beyondloss.experiment import verdicts

    return [_claim(chapter, verdict) for verdict in verdicts(chapter, scale)]


def _claim(chapter: Chapter, verdict: Verdict) -> dict[str, Any]:
    from beyondloss.site.generated import sentence

    numbers = {name: getattr(verdict, name) for name in ("effect", "low", "high")}
    return {
        "chapter": chapter.number,
        "claim": verdict.claim.id,
        "scale": verdict.scale,
        "verdict": verdict.verdict,
        **{name: x if x is not None and math.isfinite(x) else None for name, x in numbers.items()},
        "seeds": verdict.seeds,
        "criterion": verdict.claim.criterion,
        "statement": verdict.claim.statement,
        "said": sentence(verdict),
    }


# Keeping ---------------------------------------------------------------------------------------------------


def kept(question: str, answer: Callable[[], Any]) -> Any:
    """`answer()`, plain JSON; the one given before where neither code nor results have changed since."""
    path = journal() / "answers" / f"{hashlib.sha256(question.encode()).hexdigest()[:16]}.json"
    now = _state()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["state"] == now:
            return known["answer"]
    except (OSError, ValueError, LookupError, TypeError):
        pass  # never asked, or damaged: asked again
    new = answer()
    _write(path, {"state": now, "answer": new})
    return new


def _state() -> str:
    """Digest of names, sizes and times of the package's sources, of the committed results and of the journal."""
    folders = [(Path(__file__).parent, "**/*.py"), (journal(), "*/*/*.json")]
    if checkout := root():
        folders.append((checkout / "data" / "results", "*/*.json"))
    files = sorted(path for folder, pattern in folders for path in folder.glob(pattern))
    seen = [(str(path), stat.st_size, stat.st_mtime_ns) for path in files for stat in [path.stat()]]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _write(path: Path, content: Any) -> None:
    """Write beside its place and rename; a full or read-only disk must not stop an answer."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
