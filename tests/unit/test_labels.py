"""Docstrings name the equations and theorems of their chapter; every name must be a label of one."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(?:eq\.|theorem|proposition|lemma) ([a-z]{2}-[a-z-]+)")


@cache
def text_of_the_chapters() -> str:
    chapters = sorted((ROOT / "notebooks").glob("*.ipynb"))
    cells = [cell for chapter in chapters for cell in json.loads(chapter.read_text())["cells"]]
    return "\n".join("".join(cell["source"]) for cell in cells)


def labels_in_the_library() -> list[tuple[str, str]]:
    files = sorted((ROOT / "lib").rglob("*.py"))
    return [(file.name, label) for file in files for label in NAMED.findall(file.read_text())]


def test_the_library_names_labels():
    assert len(labels_in_the_library()) > 8


@pytest.mark.parametrize("file, label", labels_in_the_library())
def test_label_exists_in_a_chapter(file, label):
    assert re.search(rf"\$\$ \({label}\)|:label: {label}\b", text_of_the_chapters()), f"{file} names {label}"
