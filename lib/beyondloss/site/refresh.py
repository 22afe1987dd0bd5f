"""Keeping up to date what is committed although a tool made it: results, quick-scale outputs, parts of pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from beyondloss import catalogue
from beyondloss.experiment import Chapter, Config, Plan, Store, sweep
from beyondloss.experiment.errors import SweepFailed
from beyondloss.site import build, generated, notebook

SCALE = "quick"  # of what is committed


def measure(cfg: Config, **how: Any) -> None:
    """Sweep every experiment that `cfg` computes; one that fails does not stop the others."""
    failures = []
    for plan in cfg.computed:
        try:
            sweep(plan, **how)
        except SweepFailed as failure:
            failures.append(str(failure))
    if failures:
        raise SweepFailed("\n\n".join(failures))


def stale(force: bool = False) -> dict[Path, list[str]]:
    """What is out of date and why; with `force` every notebook is listed."""
    here = build.checkout()
    found = {}
    for chapter in catalogue.chapters():
        if missing := sum(_missing(plan) for plan in _own(chapter).computed):
            found[Path("data", "results", chapter.slug, f"{SCALE}.json")] = [
                f"{missing} points missing or stale"
            ]
    for source in build.chapter_notebooks():
        if reasons := notebook.is_stale(source) or (["asked for"] if force else []):
            found[source.relative_to(here)] = reasons
    for page in generated.pages(here):
        if page.read_text(encoding="utf-8") != generated.filled(page, here):
            found[page.relative_to(here)] = ["generated part"]
    return found


def refresh(force: bool = False, say: Callable[[str], None] = print) -> None:
    """Bring everything up to date, in the order in which one thing is made from another."""
    here = build.checkout()
    for chapter in catalogue.chapters():
        cfg = _own(chapter)
        if any(map(_missing, cfg.computed)):
            measure(cfg)
            say(f"{Store(chapter.slug, SCALE).publish(chapter.at(SCALE)).relative_to(here)}: published")
    for source in build.chapter_notebooks():
        if force or notebook.is_stale(source):
            build.execute_chapters([source], SCALE, force, say)
            if build.is_current(source, SCALE):  # unless its code was edited meanwhile
                notebook.write(notebook.without_data(build.executed(source, SCALE)), source)
                notebook.check_size(source)
    for page in generated.pages(here):
        text = generated.filled(page, here)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            say(f"{page.relative_to(here)}: filled")


def _own(chapter: Chapter) -> Config:
    """The chapter's configuration without the experiments whose points readers get from the store."""
    return chapter.preset(SCALE, only=[e.name for e in chapter.at(SCALE) if SCALE not in e.stored])


def _missing(plan: Plan) -> int:
    """How many of the plan's points the committed results lack or have from other code."""
    store = generated.committed(plan)
    found = [store.get(plan.experiment, point) for point in plan.grid]
    return sum(record is None or record.state == "stale" for record in found)
