"""`data/MANIFEST` against what is committed and what the loaders say of themselves."""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from beyondloss.data import python_documentation, text
from beyondloss.methods.masked_diffusion import llada
from beyondloss.site import fonts

DATA = Path(__file__).parents[2] / "data"
MANIFEST = tomllib.loads((DATA / "MANIFEST").read_text())


def test_every_file_is_listed_with_its_checksum():
    files = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    files = {name for name in files if name != "MANIFEST" and not name.startswith("results/")}
    listed = {entry["name"]: entry["sha256"] for entry in MANIFEST["committed"]}
    assert {name: hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in files} == listed


def test_nothing_is_binary():
    for path in DATA.rglob("*"):
        assert path.is_dir() or "\0" not in path.read_text(encoding="utf-8")


def test_every_picture_of_the_checkout_is_listed_with_its_checksum_and_small():
    listed = {entry["name"]: entry for entry in MANIFEST["picture"]}
    root = DATA.parent
    git = subprocess.run(
        ["git", "ls-files", "*.png", "*.jpg", "*.pdf"], cwd=root, capture_output=True, text=True, check=False
    )
    assert set(git.stdout.split()) <= set(listed)
    for name, entry in listed.items():
        picture = (root / name).read_bytes()
        assert hashlib.sha256(picture).hexdigest() == entry["sha256"]
        assert entry["origin"] and entry["licence"] and len(picture) < 150_000


def test_entries_are_complete_and_agree_with_the_loaders():
    entries = MANIFEST["committed"] + MANIFEST["loaded"] + MANIFEST["font"]
    assert all(entry["origin"] and entry["licence"] for entry in entries)
    pinned = {
        entry["origin"].split()[2].rstrip(","): entry.get("revision") for entry in MANIFEST["loaded"][1:]
    }
    assert pinned.items() >= dict(spec.split("@") for spec in (text.WIKITEXT, text.GPT2, llada.LLADA)).items()
    assert MANIFEST["loaded"][0]["licence"] == python_documentation().licence


def test_the_documentation_of_a_listed_python_is_the_listed_text():
    listed, version = MANIFEST["loaded"][0]["sha256"], f"CPython {sys.version.split()[0]}"
    if version not in listed:
        pytest.skip(f"the text of {version} is not listed, only that of {', '.join(listed)}")
    assert python_documentation().sha256 == listed[version]


def test_the_fonts_of_the_pages_are_listed():
    used = {package for package, _ in [*fonts.FACES.values(), *fonts.LICENCES.values()]}
    assert used == {entry["name"] for entry in MANIFEST["font"]}


def test_published_numbers_say_where_they_come_from():
    for file in (DATA / "published").glob("*.json"):
        for name, table in json.loads(file.read_text()).items():
            assert set(table) == {"title", "source", "columns", "rows"}, name
            assert table["columns"][-1] == "source"
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), name
            assert {row[-1] for row in table["rows"]} <= {
                "abstract",
                "reading notes",
                "paper",
                "repository",
            }, name
