"""Lays out for Sphinx what the site has beside its pages: openings, captions, data files, the library's reference."""

from __future__ import annotations

import base64
import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from beyondloss import catalogue
from beyondloss.experiment import Chapter
from beyondloss.page.explorer import skeleton
from beyondloss.site import chapters, extras, fonts, library, notebook
from beyondloss.site.chapters import Place
from beyondloss.site.figures import Figure, caption, carried_by, figures, put_explorer

EXTRA = "extra"  # copied to the root of the site as it is


def dress(stage: Path, here: Path, scale: str, place: Place, letters: Path) -> None:
    """Complete the staged book at `stage`, from the checkout `here`; `letters` keeps the pages' fonts."""
    extra = stage / EXTRA
    extra.mkdir()
    _configure(stage / "_config.yml", place)
    static = stage / "book" / "_static"
    static.mkdir(parents=True, exist_ok=True)
    fonts.write(static / "fonts", letters)
    (static / "explorer.js").write_text(skeleton.SCRIPT, encoding="utf-8")
    (static / "explorer.css").write_text(skeleton.STYLE, encoding="utf-8")
    (extra / "404.html").write_text(extras.not_found(place.url), encoding="utf-8")
    written = {chapter.name: chapter for chapter in catalogue.chapters()}
    for path in sorted((stage / "notebooks").glob("*.ipynb")):
        if chapter := written.get(path.stem):  # a notebook of the reader's own stays as it is
            nb = notebook.read(path)
            _dress_chapter(chapter, nb, here, extra / "data" / chapter.slug, scale, place)
            extras.link_card(
                extra / "cards" / f"{chapter.name}.png", chapter.title, f"Chapter {chapter.number}"
            )
            notebook.write(nb, path)
    if (here / "CHANGELOG.md").is_file():
        shutil.copy2(here / "CHANGELOG.md", stage)  # a page includes it
    if (stage / "book" / "library.md").is_file():
        (stage / "book" / "api").mkdir()
        for name, text in library.pages().items():
            (stage / "book" / "api" / name).write_text(text, encoding="utf-8")
        extras.link_card(extra / "cards" / "book.png", "Beyond the Loss", "An executable research book")


def launch(here: Path, target: Path, place: Place) -> None:
    """Copies of the committed notebooks that begin by installing the package from `place`, for Colab."""
    shutil.rmtree(target, ignore_errors=True)
    install = f'%pip install -q "beyondloss @ git+{place.repository}@{place.branch}"'
    for path in sorted((here / "notebooks").glob("*.ipynb")):
        nb = notebook.read(path)
        cell = notebook.nbformat.v4.new_code_cell(install, id="install")
        first = next(i for i, cell in enumerate(nb.cells) if cell.cell_type == "code")
        nb.cells.insert(first, cell)
        notebook.write(nb, target / "notebooks" / path.name)


def _configure(path: Path, place: Place) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    sphinx = config.setdefault("sphinx", {}).setdefault("config", {})
    sphinx["html_extra_path"] = [EXTRA]
    sphinx["html_css_files"] = [*sphinx.get("html_css_files", []), "explorer.css"]
    sphinx["html_js_files"] = [*sphinx.get("html_js_files", []), ["explorer.js", {"defer": "defer"}]]
    if place.url:
        config.setdefault("html", {})["baseurl"] = sphinx["html_baseurl"] = place.url
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _dress_chapter(
    chapter: Chapter, nb: NotebookNode, here: Path, data: Path, scale: str, place: Place
) -> None:
    """Captions, opening and links to the source, into `nb`; pictures, numbers and results, into `data`."""
    data.mkdir(parents=True)
    files = f"../data/{chapter.slug}/"
    drawn = figures(chapter, nb)
    _write_data(drawn, data)
    results = here / "data" / "results" / chapter.slug / f"{scale}.json"
    if results.is_file():
        shutil.copy2(results, data / results.name)
    for figure in drawn:
        script = put_explorer(figure, f"{files}{figure.name}.js") if figure.explorer else None
        if script:
            (data / f"{figure.name}.js").write_text(script, encoding="utf-8")
    # outputs are dicts, which cannot be keys: a figure's own output is told by its identity
    captions = {id(figure.output): caption(figure, files) for figure in drawn}
    for cell in nb.cells:
        if "outputs" in cell:
            cell.outputs = _dress_outputs(cell.outputs, captions)
    opening = chapters.opening(chapter, drawn, scale, place, here)
    nb.cells[0].source = chapters.insert(notebook.without_numbering(nb.cells[0].source), opening)
    notebook.without_data(nb)


def _dress_outputs(outputs: list[NotebookNode], captions: Mapping[int, NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell, links and headings mended, each figure's caption after it."""
    dressed = []
    for output in outputs:
        _link_sources(output)
        _name_headings(output.get("data", {}))
        dressed.append(output)
        if id(output) in captions:
            dressed.append(captions[id(output)])
    return dressed


def _write_data(drawn: list[Figure], data: Path) -> None:
    """Each figure's numbers, all of them in one archive, and the picture of the opening."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for figure in drawn:
            if figure.csv:
                (data / f"{figure.name}.csv").write_text(figure.csv, encoding="utf-8")
                # a fixed date: the same numbers make the same archive
                archive.writestr(zipfile.ZipInfo(f"{figure.name}.csv", (1980, 1, 1, 0, 0, 0)), figure.csv)
    (data / "figures.zip").write_bytes(packed.getvalue())
    if shown := chapters.opening_figure(drawn):
        (data / f"{shown.name}.png").write_bytes(base64.b64decode(shown.png))


def _link_sources(output: NotebookNode) -> None:
    """Make "Defined in" of a shown source lead to the reference and to the whole file; give the source an anchor."""
    shown = carried_by(output).get("shown", [])
    if not shown:
        return
    page = BeautifulSoup(output.data["text/html"], "html.parser")
    for line, place in zip(page.select(".bl-source > p"), shown, strict=True):
        if place["module"]:
            line.clear()
            line.append(BeautifulSoup(_defined_in(**place), "html.parser"))
    output.data["text/html"] = str(page)


def _defined_in(module: str, name: str, file: str) -> str:
    whole = f'<a href="../_modules/{module.replace(".", "/")}.html"><code>{file}</code></a>'
    if not name:
        return f"Defined in {whole}"
    to = library.address(module, name)
    linked = f'<a href="{to}"><code>{name}</code></a>' if to else f"<code>{name}</code>"
    return f'<span id="source-{name}"></span>Defined in {whole} ({linked})'


def _name_headings(data: NotebookNode) -> None:
    """A heading of a pandas table over its index is empty: no heading, for who has the table read aloud."""
    if "dataframe" in data.get("text/html", ""):
        data["text/html"] = data["text/html"].replace("<th></th>", "<td></td>")
