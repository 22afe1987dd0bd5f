"""What makes a stored point stale, and what does not."""

import ast
import hashlib
import importlib
import itertools
import json

import pytest

from beyondloss.experiment import BadInput, code_digest, config_digest
from beyondloss.experiment.digest import sources
from beyondloss.experiment.syntax import parse

NAMES = (f"digested{i}" for i in itertools.count())
FILES = {
    "__init__.py": '"""A package."""\n',
    "method.py": '"""A method."""\nimport json\nfrom . import inner\nfrom .deep import thing\n\n'
    'def run(points):\n    """Run."""\n    from .late import lately\n    return inner.f(points) + thing\n',
    "inner.py": "def f(x):\n    # a comment\n    return x + 1\n",
    "late.py": "lately = 1\n",
    "unused.py": "z = 1\n",
    "deep/__init__.py": "from .very import thing\n",
    "deep/very.py": "thing = 3\n",
    "deep/other.py": "thing = 4\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A new package on the path: its folder."""
    folder = tmp_path / next(NAMES)
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return folder


def digest(package):
    return code_digest(f"{package.name}.method")


def test_what_a_module_reaches(package):
    reached = {name.removeprefix(f"{package.name}.") for name in sources(f"{package.name}.method")}
    assert reached == {"method", "inner", "late", "deep", "deep.very"}


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("inner.py", "# a comment", "# another comment, longer"),
        ("inner.py", "return x + 1", "return (x +\n            1)  # spread over lines"),
        ("method.py", '"""Run."""', '"""Run it all.\n\n    At length.\n    """'),
        ("method.py", '"""A method."""', ""),
        ("inner.py", "def f(x):", 'def f(x):\n    """New docstring."""'),
        ("deep/very.py", "thing = 3", "\n\n\nthing = 3\n"),
        ("unused.py", "z = 1", "z = 2"),
        ("deep/other.py", "thing = 4", "thing = 5"),
        ("__init__.py", '"""A package."""', "x = 1"),  # nobody takes a name from it
    ],
)
def test_an_edit_that_leaves_the_code_as_it_is_keeps_points(package, file, old, new):
    before = digest(package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert digest(package) == before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("method.py", "inner.f(points)", "inner.f(points * 2)"),
        ("inner.py", "x + 1", "x + 2"),
        ("inner.py", "x + 1", "x + 1.0"),
        ("inner.py", "x + 1", "x - 1"),
        ("late.py", "lately = 1", "lately = True"),
        ("deep/very.py", "thing = 3", "thing = 4"),
        ("deep/__init__.py", "from .very import", "from .other import"),
        ("inner.py", "def f(x):", "def f(x=None):"),
    ],
)
def test_an_edit_of_code_that_a_point_depends_on_makes_it_stale(package, file, old, new):
    before = digest(package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert digest(package) != before


@pytest.mark.parametrize(
    "taken", ["from .very import other", "from {package}.deep.very import thing as other"]
)
def test_a_name_that_a_package_takes_from_a_module_counts_as_the_package(package, taken):
    (package / "deep/__init__.py").write_text(taken.format(package=package.name))
    (package / "method.py").write_text("from .deep import other\n")  # hides the module deep.other
    before = digest(package)
    (package / "deep/very.py").write_text("thing = 4\n")
    assert digest(package) != before


@pytest.mark.parametrize("taken", ["from . import other, very", "from {package}.deep import other, very"])
def test_a_module_that_its_package_lists_counts_as_itself(package, taken):
    (package / "deep/__init__.py").write_text(taken.format(package=package.name))
    (package / "method.py").write_text("from .deep import other\n")
    assert set(sources(f"{package.name}.method")) == {f"{package.name}.{m}" for m in ("method", "deep.other")}


def test_the_pipe_itself_does_not_count_but_the_networks_do(package):
    (package / "method.py").write_text(
        "from beyondloss.experiment import sweep\nfrom beyondloss.models import MLP\n"
    )
    reached = sources(f"{package.name}.method")
    assert any(name.startswith("beyondloss.models") for name in reached)
    assert not any(name.startswith("beyondloss.experiment") for name in reached)


def test_modules_that_import_each_other_end(package):
    (package / "inner.py").write_text("from . import method\n")
    assert digest(package)


SYNTAX = """
@d
async def f(a: T, /, b=1, *c, e: "x" = None, **g) -> None:
    'doc'
    async with a as b, c: yield {**a, 'k': [*c]}
    return f'{a!r:>{b}} \\xe9' 'x' + b'\\xe9' if (n := 1e-07) else ...

class C(B, metaclass=M):
    x: int = 0  # a comment
    match x:
        case [1, *_] | {'a': -1j, **rest} if rest: pass
        case C(y=None): raise E from None
    try: del x[1:2, ...]
    except* (A, B) as e: global z
    finally: lambda *, q: not q < 1 <= 2
"""


def test_the_digest_is_the_same_under_every_python():
    """All sorts of syntax and the digest that they had under Python 3.11."""
    found = [[s.tree, s.references] for s in parse(SYNTAX).statements]
    text = json.dumps(found)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "d6d620a3a3f5532b"


def test_an_experiment_of_a_notebook_cell_is_refused():
    with pytest.raises(BadInput, match="define an experiment in a module"):
        code_digest("no_such_module_anywhere")


def test_a_configuration_has_one_key():
    from toy import Point

    key = config_digest("toy", Point(k=2))
    assert key == config_digest("toy", Point(k=2)) and len(key) == 16
    others = [
        ("yot", Point(k=2)),
        ("toy", Point(k=3)),
        ("toy", Point(window=(0.0, 0.5))),
        ("toy", Point(seed=1)),
    ]
    assert len({key, *(config_digest(*other) for other in others)}) == 5
