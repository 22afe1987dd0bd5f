"""Docstrings name the equations and theorems of their chapter; every name must be a label of one."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(?:eq\.|theorem|proposition) ([a-z]{2}-[a-z-]+)")


def chapter_text() -> str:
    books = [json.loads(path.read_text()) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    return "\n".join("".join(cell["source"]) for book in books for cell in book["cells"])


def labels_in_the_library() -> list[tuple[str, str]]:
    files = sorted((ROOT / "lib").rglob("*.py"))
    return [(file.name, label) for file in files for label in NAMED.findall(file.read_text())]


def test_the_library_names_labels():
    assert len(labels_in_the_library()) > 8


@pytest.mark.parametrize("file, label", labels_in_the_library())
def test_label_exists_in_the_chapter(file, label):
    assert re.search(rf"\$\$ \({label}\)|:label: {label}\b", chapter_text()), f"{file} names {label}"
