"""What the command line tells of chapters and claims, kept until what it is made from changes.

A chapter imports torch, which takes seconds; what the book has and what became of its claims changes seldom.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyondloss.experiment.experiment import SCALES
from beyondloss.experiment.paths import data, journal

if TYPE_CHECKING:
    from beyondloss.experiment import Chapter, Effect, Finding, Verdict


def chapters() -> list[dict[str, Any]]:
    """One row a chapter: experiments, claims and costs."""
    from beyondloss import catalogue

    return kept("chapters", lambda: [_chapter(chapter) for chapter in catalogue.chapters()])


def claims(name: str | None, scales: list[str]) -> list[dict[str, Any]]:
    """One row a paper's claim and scale, of one chapter or of all: its verdict, and the tests under it."""
    from beyondloss import catalogue

    def judged() -> list[dict[str, Any]]:
        asked = [catalogue.chapter(name)] if name else catalogue.chapters()
        rows = []
        for chapter, scale in product(asked, scales):
            rows += _claims(chapter, scale)
        return rows

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
    from beyondloss.experiment import findings

    return [_claim(chapter, finding) for finding in findings(chapter, scale)]


def _claim(chapter: Chapter, finding: Finding) -> dict[str, Any]:
    from beyondloss.page.cards import tally

    return {
        "chapter": chapter.number,
        "claim": finding.claim.id,
        "scale": finding.scale,
        "statement": finding.claim.statement,
        "verdict": finding.verdict,
        "summary": tally(finding),
        "tests": [_test(verdict) for verdict in finding.tests],
    }


def _test(verdict: Verdict) -> dict[str, Any]:
    from beyondloss.page.cards import sentence

    claim, control = verdict.claim, verdict.claim.precondition
    return {
        "test": claim.id,
        "role": claim.role,
        "statement": claim.statement,
        "criterion": claim.criterion,
        "margin": claim.margin,
        "verdict": verdict.verdict,
        "effect": _numbers(verdict.effect),
        "p": verdict.p,
        "p_holm": verdict.adjusted,
        "survives": verdict.survives,
        "precondition": control and {"criterion": control.criterion, "effect": _numbers(verdict.control)},
        "note": verdict.note,
        "said": sentence(verdict),
    }


def _numbers(effect: Effect | None) -> dict[str, Any] | None:
    """An effect as plain JSON, which has no infinity: null for an interval without bounds."""
    if effect is None:
        return None
    numbers = {name: getattr(effect, name) for name in ("value", "low", "high")}
    finite = {name: x if math.isfinite(x) else None for name, x in numbers.items()}
    return {**finite, "unit": effect.unit, "seeds": effect.seeds, "interval": effect.interval}


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
    if numbers := data():
        folders.append((numbers / "results", "*/*.json"))
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
