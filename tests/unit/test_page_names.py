"""What a notebook imports from beyondloss.page: loaded late, and yet part of what its outputs depend on."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import beyondloss.page
from beyondloss.experiment import syntax
from beyondloss.experiment.paths import root
from beyondloss.site import notebook

PAGE = Path(beyondloss.page.__file__).parent


@pytest.mark.parametrize("name", beyondloss.page.__all__)
def test_every_name_is_there(name):
    assert getattr(beyondloss.page, name) is not None


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="'Explroer'"):
        beyondloss.page.Explroer  # noqa: B018


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, beyondloss.page; print({'matplotlib', 'ipywidgets', 'seaborn'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_imports_that_the_stamp_follows_are_what_a_notebook_gets():
    followed = syntax.read(PAGE / "__init__.py", "beyondloss.page").imports
    assert {name for name in followed if name in beyondloss.page.__all__} == set(beyondloss.page.__all__)
    for name in beyondloss.page.__all__:
        [(module, attributes)] = followed[name]
        assert attributes == (name,)
        assert getattr(import_module(module), name) is getattr(beyondloss.page, name)


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Replaces text in a file of a copy of the page's package, which the digests are made of from now on."""
    copy, file_of = tmp_path / "page", syntax.file_of
    shutil.copytree(PAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def of_the_copy(module):
        path = file_of(module)
        return copy / path.relative_to(PAGE) if path and path.is_relative_to(PAGE) else path

    def replace(file, before, after):
        text = (copy / file).read_text()
        assert before in text
        (copy / file).write_text(text.replace(before, after, 1))

    monkeypatch.setattr(syntax, "file_of", of_the_copy)
    return replace


def chapter_3():
    return notebook.read(root() / "notebooks" / "03_masked_diffusion.ipynb")


LINES = "from beyondloss import page\npage.label_lines(ax)"


@pytest.mark.parametrize(
    ("file", "before", "after", "stale"),
    [
        ("cards.py", "def claims_table(", "def unused():\n    return 1\n\n\ndef claims_table(", False),
        ("theme.py", "def log_axes(", "def log_axes(*, other=1, ", False),  # asked for by other cells
        ("carried.py", 'KEY = "beyondloss"', 'KEY = "other"', False),
        ("theme.py", "1.25 * fontsize", "1.5 * fontsize", True),  # in label_lines
        ("theme.py", "isotonic_regression(positions", "f(positions", True),  # in what that reaches
    ],
)
def test_the_stamp_takes_of_the_page_what_cells_reach(edit, file, before, after, stale):
    then = notebook._library_digest(LINES)
    edit(file, before, after)
    assert (notebook._library_digest(LINES) != then) == stale


def test_a_chapter_is_stale_after_an_edit_of_what_it_reaches_and_of_nothing_else(edit):
    then = notebook.stamp(chapter_3(), "masked_diffusion")
    for file in ("cards.py", "theme.py", "explorer/marks.py", "missing.py"):
        edit(file, "\n\n\ndef ", "\n\n\ndef unused():\n    return 1\n\n\ndef ")
    assert notebook.stamp(chapter_3(), "masked_diffusion") == then
    edit("cards.py", "def claims_table(", "def claims_table(*, other=1, ")
    assert notebook.stamp(chapter_3(), "masked_diffusion").library != then.library
