"""The command `beyondloss`: what the book has, running and building it, and what became of the claims.

Bad input gets one line and exit status 2 before any work starts; failed points or cells a summary and 1.
Heavy imports stay inside the commands, so that `list` and `claims` answer at once.
"""

from __future__ import annotations

import ast
import errno
import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beyondloss import summaries
from beyondloss.experiment.errors import BadInput, Failed, choose
from beyondloss.experiment.experiment import SCALES, duration

if TYPE_CHECKING:
    from beyondloss.experiment.sweep import VerifyReport

app = typer.Typer(
    help="Beyond the Loss, an executable research book.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC)
ELSEWHERE = "BEYONDLOSS_STORE names another folder for points, BEYONDLOSS_BUILD one for what is built"

UsageError = typer.BadParameter.__base__  # click's own, or the one that newer versions of typer carry

ChapterName = Annotated[str, typer.Argument(metavar="CHAPTER", help="number or name: 3, masked_diffusion")]
Scale = Annotated[str, typer.Option(help=" | ".join(SCALES))]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Only = Annotated[str | None, typer.Option(help="one experiment, or several with commas between")]
Engine = Annotated[str, typer.Option(help="local | ray")]


def say(line: str) -> None:
    print(line, flush=True)


# What there is ---------------------------------------------------------------------------------------------


@app.command("list")
def list_chapters(as_json: Json = False) -> None:
    """Chapters, their claims, and what they cost at each scale."""
    rows = summaries.chapters()
    if as_json:
        for row in rows:
            del row["title"]
        return print(json.dumps(rows, indent=1))
    for row in rows:
        say(f"{row['chapter']:>2}  {row['slug']}: {row['title']}")
        say(f"    experiments: {', '.join(row['experiments'])}; claims: {', '.join(row['claims'])}")
        for scale, cost in row["cost"].items():
            gpus = f", {cost['gpus']} GPU" if cost["gpus"] else ""
            need = f"{duration(cost['seconds'])}, {cost['memory_gb']:g} GB{gpus}, {cost['hardware']}"
            say(f"    {scale:<6} {need}")


@app.command()
def claims(
    chapter: Annotated[
        str | None, typer.Argument(metavar="[CHAPTER]", help="all chapters without it")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="quick and full without it")] = None,
    tests: Annotated[bool, typer.Option("--tests", help="the tests under each claim, too")] = False,
    as_json: Json = False,
) -> None:
    """What the papers claim and what became of it, from stored points; nothing is computed."""
    rows = summaries.claims(chapter, [choose("scale", scale, SCALES)] if scale else ["quick", "full"])
    if as_json:
        return print(json.dumps(rows, indent=1))
    for (number, at), group in groupby(rows, key=lambda row: (row["chapter"], row["scale"])):
        say(f"Chapter {number}, {at} scale")
        claims_in_words(list(group), tests)


def claims_in_words(rows: list[dict], tests: bool) -> None:
    """Say the claims of one chapter at one scale, and the `tests` under them if asked."""
    for row in rows:
        say(f"  {row['claim']:<5} {row['statement']}")
        say(f"        {row['verdict']} ({row['summary']})")
        for test in row["tests"] if tests else []:
            say(f"        {test['test']:<6} {test['said']}")
            mark = "Ours. " if test["role"] == "ours" else ""
            say(f"               {mark}{test['statement']}")


# Running ---------------------------------------------------------------------------------------------------


@app.command()
def run(
    chapter: ChapterName,
    scale: Scale = "quick",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="a setting, as a Python literal"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="0:5, or a number of seeds")] = None,
    only: Only = None,
    engine: Engine = "local",
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="compute all points anew; those of stored experiments with --stored"),
    ] = False,
    stored: Annotated[
        bool,
        typer.Option("--stored", help="compute what readers get from the store, too"),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="go on with less than the predicted need")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="write the points to data/results")] = False,
) -> None:
    """Measure a chapter's points, then execute its notebook from them."""
    from beyondloss import catalogue
    from beyondloss.experiment import Store
    from beyondloss.site import build, notebook
    from beyondloss.site.refresh import measure

    found = catalogue.chapter(chapter)
    names = only.split(",") if only else None
    overrides = dict(map(_setting, settings or []))
    cfg = found.preset(scale, only=names, seeds=seeds, overrides=overrides)
    choose("engine", engine, ["local", "ray"])
    source = build.checkout() / "notebooks" / f"{found.name}.ipynb"
    given = {"scale": scale, "only": names, "seeds": seeds, "engine": engine, "overrides": overrides}
    notebook.check_parameters(notebook.read(source), given)
    if engine == "local":  # what a cluster has, the cluster knows
        cfg.check_resources(force, stored=stored)
    say(repr(cfg))
    dear = stored or (force and scale == "full")
    measure(cfg, engine=engine, fresh=fresh, compute_stored=dear, force=force, progress=True)
    if publish:
        say(f"published: {Store(found.slug, scale).publish(found.at(scale))}")
    target = build.executed_path(source, scale)
    say(f"{source.stem} ({scale}): executing")
    notebook.execute(source, target, given)
    say(f"{source.stem} ({scale}): executed, {target}")


def _setting(text: str) -> tuple[str, Any]:
    """`steps=200` as ("steps", 200); a value that is no Python literal is taken as a word."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"--set takes NAME=VALUE, not {text!r}")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (SyntaxError, ValueError):
        return name.strip(), value.strip()


@app.command()
def verify(
    chapter: ChapterName,
    scale: Scale = "quick",
    only: Only = None,
    share: Annotated[float, typer.Option(help="share of the points to compute again")] = 0.1,
    seed: Annotated[int, typer.Option(help="which points are drawn")] = 0,
    most: Annotated[int | None, typer.Option(help="seeds to compute of each drawn group, at most")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="compare with what its code measures on this machine")
    ] = None,
) -> None:
    """Compute some of the stored points again and compare; where all agree, the rest count as current."""
    from beyondloss import catalogue

    if not 0 < share <= 1:
        raise BadInput(f"--share is a number above 0 and at most 1, not {share:g}")
    if most is not None and most < 1:
        raise BadInput(f"--most is a number of seeds from 1 on, not {most}")
    cfg = catalogue.chapter(chapter).preset(scale, only=only.split(",") if only else None)
    from beyondloss.experiment import verify as verify_plan

    agree = True
    for plan in cfg.computed:
        report = verify_plan(plan, share=share, seed=seed, most=most, against=against)
        _tell(report)
        agree &= report.ok
    if not agree:
        raise typer.Exit(1)


def _tell(report: VerifyReport) -> None:
    agree = "all agree" if report.ok else f"{len(report.disagreements)} numbers differ"
    restamped = f", {report.restamped} points counted as current again" if report.restamped else ""
    name = f"{report.experiment} ({report.scale})"
    say(f"{name}: {report.checked} of {report.stored} points measured again, {agree}{restamped}")
    source = f"at {report.against}" if report.against else "stored"
    for point, metric, before, measured in report.disagreements:
        say(f"  {metric}: {source} {before}, measured {measured}, at {point}")


# Building --------------------------------------------------------------------------------------------------


@app.command()
def build(
    scale: Scale = "quick",
    force: Annotated[bool, typer.Option("--force", help="execute and render what is current, too")] = False,
    url: Annotated[str, typer.Option(help="where the site will stand: canonical links and a site map")] = "",
    repository: Annotated[str, typer.Option(help="of the book, on GitHub: links to Binder and Colab")] = "",
) -> None:
    """Execute the chapters that are out of date and render the site."""
    from beyondloss.site import build as pages
    from beyondloss.site.chapters import Place

    index = pages.build(scale, force=force, say=say, place=Place(url, repository))
    say(f"The book is at {index}")


@app.command()
def figure(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="as under the figure: 3.7")],
    scale: Scale = "quick",
) -> None:
    """Make a figure of the book again, from stored points: its picture and its data, into the current folder."""
    from beyondloss import catalogue
    from beyondloss.site import build as pages
    from beyondloss.site import notebook
    from beyondloss.site.figures import figures

    chapter = catalogue.chapter(number.partition(".")[0])
    source = pages.checkout() / "notebooks" / f"{chapter.name}.ipynb"
    committed = [found.number for found in figures(chapter, notebook.read(source))]
    choose(f"figure of chapter {chapter.number}", number, committed)
    pages.execute_chapters([source], choose("scale", scale, SCALES), say=say)
    drawn = {found.number: found for found in figures(chapter, pages.executed(source, scale))}
    for written in drawn[choose(f"figure of chapter {chapter.number}", number, drawn)].write():
        say(f"{written}: written")


@app.command()
def pdf(scale: Scale = "quick") -> None:
    """Print the built site as one PDF, with a table of contents and page numbers."""
    from beyondloss.site.build import site_path

    try:
        from beyondloss.site.pdf import print_book
    except ImportError as error:
        raise BadInput(f"printing needs {error.name}: pip install -e '.[pdf]'") from None
    say(f"The book is at {print_book(site_path(choose('scale', scale, SCALES)), say)}")


@app.command()
def links(scale: Scale = "quick") -> None:
    """Ask for every address outside the book that it links to, and list them; needs a network."""
    from beyondloss.site import build as pages

    say(f"All answer: {pages.check_links(choose('scale', scale, SCALES), say)}")


@app.command()
def notebooks(
    check: Annotated[
        bool,
        typer.Option("--check", help="only say what is out of date; exit status 1 if any"),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="execute current ones, too")] = False,
) -> None:
    """Refresh what is committed and was made: quick-scale outputs, results, generated parts of pages."""
    from beyondloss.site import refresh

    stale = refresh.stale(force)
    for path, reasons in stale.items():
        say(f"{path}: out of date ({', '.join(reasons)})")
    if check and stale:
        raise typer.Exit(1)
    if not check:
        refresh.refresh(force, say)


@app.command()
def serve(
    scale: Scale = "quick",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8000,
) -> None:
    """Show the built site on this machine."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from beyondloss.site.build import site_path

    if not 0 <= port <= 65535:
        raise BadInput(f"--port is a number from 0 to 65535, not {port}")
    site = site_path(choose("scale", scale, SCALES))
    if not (site / "index.html").is_file():
        raise BadInput(f"no site at scale {scale} yet: make it with `beyondloss build --scale {scale}`")
    try:
        server = ThreadingHTTPServer(
            ("127.0.0.1", port), partial(SimpleHTTPRequestHandler, directory=str(site))
        )
    except OSError as error:
        raise BadInput(f"port {port} is not free ({error.strerror}); name another with --port") from error
    say(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
    server.serve_forever()


@app.command()
def lab(
    chapter: Annotated[str | None, typer.Argument(metavar="[CHAPTER]")] = None,
    options: Annotated[list[str] | None, typer.Argument(metavar="[-- OPTIONS OF JUPYTERLAB]")] = None,
) -> None:
    """Open JupyterLab on the notebooks; what stands behind -- is for JupyterLab: lab 3 -- --no-browser --ip 0.0.0.0."""
    import os

    from beyondloss import catalogue
    from beyondloss.site.build import checkout

    here = checkout() / "notebooks"
    options = options or []
    if chapter and chapter.startswith("-"):  # no chapter, options only
        chapter, options = None, [chapter, *options]
    page = [str(here / f"{catalogue.chapter(chapter).name}.ipynb")] if chapter else []
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "jupyterlab",
            f"--ServerApp.root_dir={here.parent}",
            *page,
            *options,
        ],
    )


# Starting --------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    try:
        status = app(arguments, prog_name="beyondloss", standalone_mode=False)
    except BadInput as error:
        status = _complain(error, 2)
    except UsageError as error:
        status = _complain(f"{error.format_message()} See: beyondloss --help", 2)
    except Failed as failure:
        status = _complain(failure, 1)
    except OSError as error:
        if error.errno not in UNWRITABLE or not error.filename:
            raise
        status = _complain(f"cannot write {error.filename} ({error.strerror}); {ELSEWHERE}", 1)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status == 130:
        _complain("stopped; what was finished is kept", status)
    sys.exit(status or 0)


def _complain(what: object, status: int) -> int:
    print(f"beyondloss: {what}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
