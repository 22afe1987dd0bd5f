"""Source display: the library's own text, coloured, with a caption that stays."""

import functools
import html
import re

import pytest

from beyondloss.page import source, theme
from beyondloss.page.source import show


class Sample:
    """A class with members of every kind."""

    @property
    def size(self):
        """Its size."""
        return 1

    @functools.cached_property
    def area(self):
        return 2

    def method(self):
        return "</script><b>"


@functools.cache
def decorated():
    return "decorated"


def text(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page._repr_html_().replace("<style>", "<style ", 1)))


def test_functions_of_the_library_name_their_file_but_no_line():
    shown = show(theme.spread)
    assert "Defined in <code>lib/beyondloss/page/theme.py</code> (<code>spread</code>)" in shown._repr_html_()
    assert not re.search(r"theme\.py\W+\d", repr(shown))
    assert "Move `positions` as little as possible" in repr(shown)  # the docstring is kept


def test_the_site_gets_the_places_and_parses_no_caption():
    _, metadata = show(theme.spread, Sample.method)._repr_mimebundle_()
    spread, method = metadata["beyondloss"]["shown"]
    assert spread == {
        "file": "lib/beyondloss/page/theme.py", "module": "beyondloss.page.theme", "name": "spread",
    }  # fmt: skip
    assert method["module"] == ""


def test_a_module_is_shown_whole():
    shown = show(source)
    assert "Defined in <code>lib/beyondloss/page/source.py</code></p>" in shown._repr_html_()


def test_several_objects_are_shown_in_order():
    shown = repr(show(theme.colour, theme.on_dark))
    assert shown.index("def colour") < shown.index("def on_dark")


@pytest.mark.parametrize(
    ("thing", "first"),
    [
        (Sample, "class Sample:"),
        (Sample.method, "def method"),
        (Sample().method, "def method"),
        (Sample.size, "@property"),
        (Sample.__dict__["area"], "@functools.cached_property"),
        (decorated, "@functools.cache"),
        (functools.partial(decorated), "@functools.cache"),
    ],
)
def test_whatever_was_written_with_def_or_class_is_shown_without_its_indent(thing, first):
    assert repr(show(thing)).splitlines()[1].startswith(first)


def test_code_cannot_end_the_page():
    assert "</script><b>" not in show(Sample)._repr_html_()


@pytest.mark.parametrize("thing", [3, "text", len, None])
def test_values_have_no_source(thing):
    with pytest.raises(TypeError, match="no Python source to show"):
        show(thing)


def test_show_needs_something_to_show():
    with pytest.raises(TypeError, match="at least one"):
        show()
