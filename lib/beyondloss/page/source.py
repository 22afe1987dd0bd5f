"""Show the library's own source in a page, so that the text cannot drift from the code.

The output is HTML with the classes of Pygments, which the static site colours in light and in dark (and gives a copy
button); a few rules of its own map them to JupyterLab's editor colours, and nothing is loaded. The caption names the
file but no line, so that an edit elsewhere in the file leaves the committed output alone.
"""

from __future__ import annotations

import functools
import html
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import beyondloss
from beyondloss.page import carried

_LIBRARY = Path(beyondloss.__file__).parent.parent


# JupyterLab knows no Pygments classes. Its own variables follow its theme; the site never matches these rules.
_STYLE = "".join(
    f".jp-OutputArea .bl-source :is({classes}){{color:var(--jp-mirror-editor-{name}-color)}}"
    for name, classes in {
        "keyword": ".k,.kn,.kd,.kc,.ow",
        "def": ".nf,.nc,.fm",
        "builtin": ".nb,.bp,.ne",
        "string": ".s1,.s2,.sd,.sa,.se,.si,.sr",
        "comment": ".c1,.cm",
        "number": ".mi,.mf,.mh",
        "meta": ".nd",
        "operator": ".o",
    }.items()
)


class Source:
    """The source of some objects, as a notebook output: `text/html`, and `text/plain` for a terminal."""

    def __init__(self, *objects: object):
        if not objects:
            raise TypeError("show() takes at least one function, class or module")
        code = [_source(thing) for thing in objects]
        self.shown = [_place(thing) for thing in objects]
        self.excerpts = tuple(zip(code, map(_origin, self.shown), strict=True))

    def _repr_html_(self) -> str:
        return f"<style>{_STYLE}</style>" + "".join(_html(*excerpt) for excerpt in self.excerpts)

    def _repr_mimebundle_(self, **_: object) -> tuple[dict, dict]:
        """The places of what is shown, of which the site makes links; HTML and text come as for any object."""
        return {}, carried.metadata("source", "", shown=self.shown)

    def __repr__(self) -> str:
        return "\n\n".join(
            f"# defined in {origin.replace('`', '')}\n{code}" for code, origin in self.excerpts
        )


def show(*objects: Callable | type | object) -> Source:
    """Display the source of functions, methods, classes or modules, docstrings included.

    Raises TypeError for an object that has no source, such as a number or a built-in function.
    """
    return Source(*objects)


def _unwrap(thing: object) -> object:
    """What was written with `def` or `class`: without decorators, bindings, properties, partial arguments."""
    if isinstance(thing, property):
        thing = thing.fget
    elif isinstance(thing, functools.cached_property):
        thing = thing.func
    while isinstance(thing, functools.partial):
        thing = thing.func
    return inspect.unwrap(thing) if callable(thing) else thing


def _source(thing: object) -> str:
    try:
        return textwrap.dedent(inspect.getsource(_unwrap(thing))).rstrip()
    except (TypeError, OSError):
        raise TypeError(
            f"{thing!r} has no Python source to show: give a function, a class or a module, not a value"
        ) from None


def _origin(place: Mapping[str, str]) -> str:
    """A place in Markdown: `lib/beyondloss/methods/xmas.py` (`select`)."""
    file = f"`{place['file']}`" if place["file"] else "this notebook"
    return f"{file} (`{place['name']}`)" if place["name"] else file


def _place(thing: object) -> dict[str, str]:
    """File, module and name of what stands in the library; of the rest only the file, of a notebook's cells nothing."""
    inner = _unwrap(thing)
    file = Path(inspect.getsourcefile(inner) or "")
    if not file.is_relative_to(_LIBRARY):
        in_a_cell = getattr(inner, "__module__", "") == "__main__"
        return {"file": "" if in_a_cell else file.name, "module": "", "name": ""}
    path = file.relative_to(_LIBRARY)
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    name = "" if inspect.ismodule(inner) else inner.__qualname__
    return {"file": (Path("lib") / path).as_posix(), "module": module, "name": name}


def _html(code: str, origin: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    coloured = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    caption = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(origin))
    return (
        f'<div class="bl-source"><div class="highlight-python notranslate"><div class="highlight"><pre>{coloured}</pre>'
        f"</div></div><p>Defined in {caption}</p></div>"
    )
