"""Labels of the chapters: one thing each, each with its target in the notebook that links it, where JupyterLab looks.

Docstrings name the equations and theorems of their chapter; every name must be a label of one.
"""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from beyondloss.site import notebook

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(?:eq\.|theorem|proposition|lemma) ([a-z]{2}-[a-z-]+)")


LABELS = re.compile(r"\$\$ \(([\w-]+)\)|^:label: ([\w-]+)$|^\(([\w-]+)\)=$", re.MULTILINE)
LINKS = re.compile(r"\{(?:eq|prf:ref|ref)\}`(?:[^`<]*<)?([\w-]+)>?`|\]\(#([\w-]+)\)")
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def prose(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@each_chapter
def test_no_label_stands_for_two_things(path):
    labels = ["".join(found) for found in LABELS.findall(prose(path))]
    assert len(labels) > 5 and [label for label in labels if labels.count(label) > 1] == []


@each_chapter
def test_every_link_has_its_target_in_the_same_notebook(path):
    """JupyterLab knows one notebook at a time."""
    text = prose(path)
    labels = {"".join(found) for found in LABELS.findall(text)}
    linked = {"".join(found) for found in LINKS.findall(text)}
    assert linked and linked <= labels


@each_chapter
def test_jupyterlab_numbers_within_the_chapter(path):
    first = "".join(json.loads(path.read_text())["cells"][0]["source"])
    begin = notebook.numbering(int(path.name[:2]))
    assert first.startswith(begin), f"the first cell of {path.name} has to begin with\n{begin}"
    assert first == begin + notebook.without_numbering(first) and first[len(begin) :].startswith("# ")
    front = yaml.safe_load(begin.split("---\n")[1])
    assert front["numbering"] == {"enumerator": f"{int(path.name[:2])}.%s"}
    assert MarkdownIt("commonmark").render(begin).replace("<hr />", "").strip().startswith("<!--")


@cache
def text_of_the_chapters() -> str:
    chapters = sorted((ROOT / "notebooks").glob("*.ipynb"))
    cells = [cell for chapter in chapters for cell in json.loads(chapter.read_text())["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells)


def without_notebook(file: Path) -> bool:
    """Whether it belongs to a method whose chapter is not written yet."""
    methods = ROOT / "lib/beyondloss/methods"
    if methods not in file.parents or file.parent == methods:
        return False
    slug = file.relative_to(methods).parts[0]
    return not any(path.stem.endswith(f"_{slug}") for path in CHAPTERS)


def labels_in_the_library() -> list[tuple[str, str]]:
    files = [file for file in sorted((ROOT / "lib").rglob("*.py")) if not without_notebook(file)]
    return [(file.name, label) for file in files for label in NAMED.findall(file.read_text())]


def test_the_library_names_labels():
    assert len(labels_in_the_library()) > 8


@pytest.mark.parametrize("file, label", labels_in_the_library())
def test_label_exists_in_a_chapter(file, label):
    assert re.search(rf"\$\$ \({label}\)|:label: {label}\b", text_of_the_chapters()), f"{file} names {label}"
