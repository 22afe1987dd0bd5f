"""The letters of the pages: cut from installed fonts, without the reserved name, and named by the style sheet."""

import re
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from beyondloss.experiment import BadInput
from beyondloss.site import fonts

NAMES = (1, 3, 4, 6, 16, 17, 18)  # what a program shows; the notice of copyright stays
STYLE = Path(__file__).parents[2] / "book" / "_static" / "book.css"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    fonts.write(folder / "fonts", folder / "cache")
    return folder / "fonts"


def test_the_style_sheet_asks_for_the_faces_that_are_made(written):
    asked = set(re.findall(r"url\(fonts/([\w-]+\.woff2)\)", STYLE.read_text()))
    assert asked == {path.name for path in written.glob("*.woff2")} == set(fonts.FACES)


def test_a_face_is_small_has_its_letters_and_not_the_reserved_name(written):
    for name in fonts.FACES:
        assert (written / name).stat().st_size < 40_000
        with TTFont(written / name) as font:
            characters = set(font.getBestCmap())
            names = [str(record) for record in font["name"].names if record.nameID in NAMES]
        greek = "" if "italic" in name else "αΩ"
        assert {ord(c) for c in "aZ09é–’" + greek} <= characters, name
        assert not any("Source" in text or "DejaVu" in text for text in names), name
    with TTFont(written / "book-mono.woff2") as font:
        widths = {font["hmtx"][font.getBestCmap()[ord(letter)]][0] for letter in "aW.α"}
    assert len(widths) == 1


def test_each_licence_goes_with_the_letters(written):
    for name in fonts.LICENCES:
        assert "Font" in (written / name).read_text()


def test_a_second_build_cuts_nothing(tmp_path, monkeypatch):
    for name, (package, file) in fonts.FACES.items():
        key = fonts._key(fonts._installed(package, file))
        (tmp_path / f"{key}-{name}").write_bytes(b"cut before")
    monkeypatch.setattr(fonts, "_cut", None)
    fonts.write(tmp_path / "site", tmp_path)
    assert (tmp_path / "site" / "book-sans.woff2").read_bytes() == b"cut before"


def test_a_font_that_is_not_installed_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "FACES", {"a.woff2": ("font_of_nobody", "a.ttf")})
    with pytest.raises(BadInput, match=r"font_of_nobody: pip install -e '\.\[book\]'"):
        fonts.write(tmp_path / "site", tmp_path)
