"""From chapters to the site: execute what is out of date, stage executed copies, render with warnings as errors.

Everything made lies under `_build` (`BEYONDLOSS_BUILD` names another folder): `executed/<scale>` notebooks,
`stage/<scale>` what Sphinx reads, `site/<scale>` the site, `site/<scale>.log` what Sphinx said, `launch` notebooks that
install the book.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nbformat import NotebookNode

from beyondloss.experiment.errors import BadInput, Failed, choose
from beyondloss.experiment.experiment import SCALES
from beyondloss.experiment.paths import root
from beyondloss.site import notebook
from beyondloss.site.chapters import NOWHERE, Place
from beyondloss.site.generated import filled

STAGED = ("_config.yml", "_toc.yml", "book")
Say = Callable[[str], None]


class BuildFailed(Failed):
    """Chapters failed or the site has warnings; the message is the whole summary."""


def checkout() -> Path:
    """The root of the book. Raises BadInput where the package is installed without it."""
    here = root()
    if here is None or not (here / "_toc.yml").is_file():
        raise BadInput(
            "no checkout of the book here: clone it and pip install -e it, or set BEYONDLOSS_ROOT to it"
        )
    return here


def chapter_notebooks() -> list[Path]:
    """The committed notebooks, in order."""
    return sorted((checkout() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def built() -> Path:
    """Folder of everything that is made: `BEYONDLOSS_BUILD`, or `_build` of the checkout."""
    return Path(os.environ.get("BEYONDLOSS_BUILD") or checkout() / "_build").resolve()


def executed_path(source: Path, scale: str) -> Path:
    return built() / "executed" / scale / source.name


def site_path(scale: str) -> Path:
    return built() / "site" / scale


# Executing -------------------------------------------------------------------------------------------------


def is_current(source: Path, scale: str) -> bool:
    """Whether the executed copy of a chapter at `scale` is younger than all that it comes from."""
    nb = notebook.read(source)
    given = notebook.changed(nb, {"scale": scale})
    try:
        copy = notebook.read(executed_path(source, scale))
    except BadInput:  # never executed, or damaged: it is made again
        return False
    return not notebook.outdated(copy, notebook.stamp(nb, notebook.slug(source), given))


def executed(source: Path, scale: str) -> NotebookNode:
    """The chapter as it stands now, with the outputs of its executed copy."""
    return notebook.with_outputs(notebook.read(source), notebook.read(executed_path(source, scale)))


def execute_chapters(sources: Iterable[Path], scale: str, force: bool = False, say: Say = print) -> None:
    """Execute the chapters whose copies are out of date, all of them with `force`.

    A chapter that fails does not stop the others; then BuildFailed says which failed, at which cell, and why.
    """
    failures = []
    for source in sources:
        if not force and is_current(source, scale):
            say(f"{source.stem} ({scale}): current")
            continue
        say(f"{source.stem} ({scale}): executing")
        start = time.monotonic()
        try:
            notebook.execute(source, executed_path(source, scale), {"scale": scale})
            say(f"{source.stem} ({scale}): executed in {time.monotonic() - start:.0f} s")
        except notebook.CellFailed as failure:
            say(f"{source.stem} ({scale}): failed")
            failures.append(str(failure))
    if failures:
        raise BuildFailed("\n\n".join(failures))


# Rendering -------------------------------------------------------------------------------------------------


def build(scale: str = "quick", force: bool = False, say: Say = print, place: Place = NOWHERE) -> Path:
    """Make the site of `scale`, to stand at `place`, where something of it has changed; return its index page.

    A site that fails to render leaves the one before it in place.
    """
    choose("scale", scale, SCALES)
    sources = chapter_notebooks()
    execute_chapters(sources, scale, force, say)
    stage = _stage(sources, scale, place)
    site = site_path(scale)
    digest = _digest_of(stage)
    index = site / "index.html"
    seal = site.with_suffix(".digest")
    if force or not index.is_file() or not seal.is_file() or seal.read_text() != digest:
        say(f"site ({scale}): rendering")
        start = time.monotonic()
        seal.unlink(missing_ok=True)
        _render(stage, site)
        seal.write_text(digest)
        say(f"site ({scale}): rendered in {time.monotonic() - start:.0f} s")
    else:
        say(f"site ({scale}): current")
    return index


def _stage(sources: list[Path], scale: str, place: Place = NOWHERE) -> Path:
    """Lay out what Sphinx reads: pages with their generated parts made anew, and the executed notebooks."""
    from beyondloss.site import stage as site_stage

    here = checkout()
    stage = built() / "stage" / scale
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for name in STAGED:
        copy = shutil.copytree if (here / name).is_dir() else shutil.copy2
        copy(here / name, stage / name)
    for page in (stage / "book").glob("*.md"):
        page.write_text(filled(page, stage), encoding="utf-8")
    (stage / "notebooks").mkdir()
    for source in sources:
        executed = notebook.read(executed_path(source, scale))
        notebook.write(
            notebook.with_outputs(notebook.read(source), executed), stage / "notebooks" / source.name
        )
    site_stage.dress(stage, here, scale, place, letters=built() / "fonts")
    if place.launchers:
        site_stage.launch(here, built() / "launch", place)
    return stage


def _digest_of(stage: Path) -> str:
    """Digest of all that decides how the site looks: the staged files, this package, the versions installed."""
    digest = hashlib.sha256()
    inputs = sorted(p for p in stage.rglob("*") if p.is_file())
    makers = sorted(Path(__file__).parents[1].rglob("*.py"))  # of the whole library: the reference shows it
    for path in [*inputs, *makers, checkout() / "constraints.txt"]:
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def check_links(scale: str, say: Say = print) -> Path:
    """Ask for every address outside the book that its pages name, with Sphinx's own `linkcheck`; return the list.

    Raises BuildFailed naming those that do not answer.
    """
    choose("scale", scale, SCALES)
    execute_chapters(chapter_notebooks(), scale, say=say)
    stage = _stage(chapter_notebooks(), scale)
    log = site_path(scale).with_suffix(".links.log")
    _jupyter_book(stage, log, "--builder", "custom", "--custom-builder", "linkcheck")
    found = stage / "_build" / "linkcheck" / "output.json"
    rows = (
        [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
        if found.is_file()
        else []
    )
    asked = [row for row in rows if row["uri"].startswith("http")]
    if not asked:
        raise BuildFailed(f"no link was checked; all of it: {log}")
    listed = log.with_suffix(".json")
    listed.write_text(json.dumps(asked, indent=1), encoding="utf-8")
    say(f"{len({row['uri'] for row in asked})} addresses outside the book: {listed}")
    broken = sorted(
        {f"{row['uri']} ({row['filename']}): {row['info']}" for row in asked if row["status"] == "broken"}
    )
    if broken:
        raise BuildFailed("\n".join([f"{len(broken)} links lead nowhere:", *broken]))
    return listed


def _render(stage: Path, site: Path) -> None:
    """Run jupyter-book in a fresh environment, every warning an error, and put what it made in place of `site`."""
    log = site.with_suffix(".log")
    failed = _jupyter_book(stage, log, "-W", "-n", "--keep-going")
    html = stage / "_build" / "html"
    # jupyter-book 2 knows none of our files, builds nothing and exits 0
    if failed or not (html / "index.html").is_file():
        raise BuildFailed(f"the site does not render without warnings:\n{_warnings(log)}\nAll of it: {log}")
    _trim_mathjax(html / "_static" / "mathjax")
    shutil.rmtree(site, ignore_errors=True)
    html.rename(site)


def _jupyter_book(stage: Path, log: Path, *flags: str) -> int:
    """The exit status of jupyter-book on the staged book; what it says goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = "from jupyter_book.cli.main import main; main()"
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, "-c", command, "build", ".", "--all", *flags],
            check=False,
            cwd=stage,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
        )
    return done.returncode


def _warnings(log: Path) -> str:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8")).splitlines()
    told = [line for line in lines if re.search(r"WARNING|ERROR|Error|Exception", line)]
    return "\n".join(told or lines[-20:])


def _trim_mathjax(folder: Path) -> None:
    """Keep of MathJax what a page may ask for: the one script, its fonts, and TeX extensions loaded on demand."""
    kept = ("tex-chtml.js", "output/chtml/fonts/woff-v2/", "input/tex/extensions/")
    for path in folder.rglob("*"):
        if path.is_file() and not path.relative_to(folder).as_posix().startswith(kept):
            path.unlink()
