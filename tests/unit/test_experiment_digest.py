"""What makes a stored point stale, and what does not."""

import importlib
import itertools
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import beyondloss
from beyondloss import catalogue
from beyondloss.experiment import BadInput, code_digest, config_digest, root, syntax
from beyondloss.experiment.digest import Reach, sources
from beyondloss.experiment.syntax import parse, short

NAMES = (f"digested{i}" for i in itertools.count())
FILES = {
    "__init__.py": '"""A package."""\n',
    "method.py": '"""A method."""\nimport json\nfrom . import inner\nfrom .deep import thing\n\n'
    'def run(points):\n    """Run."""\n    from .late import lately\n    return inner.f(points) + thing + lately\n',
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
    return code_digest(f"{package.name}.method:run")


def test_what_a_module_reaches(package):
    reached = {name.removeprefix(f"{package.name}.") for name in sources(f"{package.name}.method:run")}
    assert reached - {package.name} == {"method", "inner", "late", "deep", "deep.very"}


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
    # hides the module deep.other
    (package / "method.py").write_text("from .deep import other\ndef run(points):\n    return other\n")
    before = digest(package)
    (package / "deep/very.py").write_text("thing = 4\n")
    assert digest(package) != before


@pytest.mark.parametrize("taken", ["from . import other, very", "from {package}.deep import other, very"])
def test_a_module_that_its_package_lists_counts_as_itself(package, taken):
    (package / "deep/__init__.py").write_text(taken.format(package=package.name))
    (package / "method.py").write_text("from .deep import other\ndef run(points):\n    return other.thing\n")
    reached = {"method", "deep", "deep.other"}
    assert set(sources(f"{package.name}.method:run")) == {f"{package.name}.{name}" for name in reached}


def test_the_pipe_itself_does_not_count_but_the_networks_do(package):
    (package / "method.py").write_text(
        "from beyondloss.experiment import sweep\nfrom beyondloss.models import MLP\nrun = [sweep, MLP]\n"
    )
    reached = sources(f"{package.name}.method:run")
    assert any(name.startswith("beyondloss.models") for name in reached)
    assert not any(name.startswith("beyondloss.experiment") for name in reached)


def test_modules_that_import_each_other_end(package):
    (package / "inner.py").write_text("from . import method\ndef f(x):\n    return method.run(x)\n")
    before = digest(package)
    (package / "inner.py").write_text("from . import method\ndef f(x):\n    return 1 + method.run(x)\n")
    assert digest(package) != before


def test_an_import_that_leads_in_a_circle_ends(package):
    (package / "inner.py").write_text("from .late import f\n")
    (package / "late.py").write_text("from .inner import f\nlately = 1\n")
    assert digest(package)


# Which names are followed ----------------------------------------------------------------------------------

# what method.py says, and an edit of other.py that must count
REACHED = {
    "under another name": ("from .other import f as g\ndef run(x): return g(x)", "x + 1", "x + 2"),
    "by an import inside": ("def run(x):\n    from .other import f as g\n    return g(x)", "x + 1", "x + 2"),
    "through a module": ("from . import other as o\ndef run(x): return o.f(x)", "x + 1", "x + 2"),
    "through a package": ("import {package}.other\ndef run(x): return {package}.other.f(x)", "x + 1", "x + 2"),
    "method of a base class": ("from .other import C\nclass D(C): pass\ndef run(x): return D().m()", "x * 3", "x * 4"),
    "method of a base class's base": (
        "from .other import D\nclass E(D): pass\ndef run(x): return E().m()", "x * 3", "x * 4"),
    "decorator": ("from .other import d\n@d(3)\ndef run(x): return x", "return w", "return w(1)"),
    "default argument": ("from .other import LAW\ndef run(x, law=LAW): return law(x)", "LAW = f", "LAW = abs"),
    "default argument of its own name": ("from .other import LAW\ndef run(x, LAW=LAW): return LAW", "= f", "= abs"),
    "constant": ("from .other import SIZE\ndef run(x): return SIZE", "SIZE = 2", "SIZE = 3"),
    "added to a constant": ("from .other import SIZE\ndef run(x): return SIZE", "+= 5", "+= 6"),
    "constant of a branch": ("from .other import DEEP\ndef run(x): return DEEP", "DEEP = 7", "DEEP = 8"),
    "table": ("from .other import f\nT = {{'a': f}}\ndef run(x): return T['a'](x)", "x + 1", "x + 2"),
    "annotation": ("from .other import C\nclass P:\n    c: C\ndef run(x): return P", "x * 3", "x * 4"),
    "lambda": ("from .other import f\nrun = lambda x: f(x)", "x + 1", "x + 2"),
    "comprehension over its own name": ("from .other import T\ndef run(x): return [T for T in T]", "'t'", "'u'"),
    "after a comprehension": ("from .other import f\ndef run(x): return [f for f in x], f(x)", "x + 1", "x + 2"),
    "global": ("from .other import f\nG = f\ndef run(x):\n    global G\n    G += x", "x + 1", "x + 2"),
    "everything of a module": ("from .other import *\ndef run(x): return f(x)", "x + 1", "x + 2"),
    "getattr": ("from . import other\ndef run(x): return getattr(other, 'f')(x)", "x + 1", "x + 2"),
    "vars": ("from . import other\ndef run(x): return vars(other)['f'](x)", "x + 1", "x + 2"),
    "module as a value": ("from . import other\ndef run(x): return x.use(other)", "x + 1", "x + 2"),
    "name that it does not bind": ("from . import other\ndef run(x): return other.__dict__['f']", "x + 1", "x + 2"),
    "globals": ("from .other import f\ndef run(x): return globals()['f'](x)", "x + 1", "x + 2"),
    "import_module": (
        "from importlib import import_module\ndef run(x): return import_module('{package}.other').f(x)",
        "x + 1", "x + 2"),
    "call at import": ("from .other import SIZE\ndef run(x): return SIZE", "T.update(u=1)", "T.update(u=2)"),
    "attribute set at import": ("from .other import SIZE\ndef run(x): return SIZE", "f.a = 1", "f.a = 2"),
    "loop at import": ("from .other import SIZE\ndef run(x): return SIZE", "T[i] = i", "T[i] = 2 * i"),
    "registered by a decorator": ("from .other import SIZE\ndef run(x): return SIZE", "x - 9", "x - 8"),
}  # fmt: skip
OTHER = """
def f(x): return x + 1
f.a = 1
def d(n):
    def w(run): return w
    return w
@d(1)
def registered(x): return x - 9
class C:
    def m(self, x=1): return x * 3
class D(C): pass
LAW = f
SIZE = 2
SIZE += 5
if SIZE > 3:
    DEEP = 7
else:
    DEEP = 1
T = ['t']
T.update(u=1)
for i in range(3):
    T[i] = i
"""


@pytest.mark.parametrize("how", REACHED)
def test_a_name_is_followed(package, how):
    text, old, new = REACHED[how]
    (package / "method.py").write_text(text.format(package=package.name))
    (package / "other.py").write_text(OTHER)
    before = digest(package)
    assert old in OTHER
    (package / "other.py").write_text(OTHER.replace(old, new))
    assert digest(package) != before


# of two modules that are equal, one by an edit that no name of the other's leads to
UNREACHED = {
    "argument": "from .other import f\ndef run(f): return f(1)",
    "local variable": "from .other import f\ndef run(x):\n    f = len\n    return f(x)",
    "variable of a function around": "from .other import f\ndef run(f):\n    def g(): return f\n    return g",
    "comprehension": "from .other import f\ndef run(x): return [f for f in x]",
    "exception": "from .other import f\ndef run(x):\n    try: pass\n    except OSError as f: return f",
    "keyword and attribute": "from .other import f\ndef run(x): return x.f(f=1)",
    "import alone": "from .other import f\ndef run(x): return x",
    "for type checkers": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .other import f\ndef run(x: 'f'): return x"),
}  # fmt: skip


@pytest.mark.parametrize("how", UNREACHED)
def test_a_name_that_is_bound_inside_or_not_used_is_not_followed(package, how):
    (package / "method.py").write_text(UNREACHED[how])
    (package / "other.py").write_text("def f(x): return 1\n")
    before = digest(package)
    (package / "other.py").write_text("def f(x): return 2\n")
    assert digest(package) == before


def test_the_place_of_a_definition_and_the_way_to_it_do_not_count(package):
    ways = {
        "method.py": "from .inner import f as g, SIZE\nimport numpy as np\ndef run(x): return np.sum(g(x)) + SIZE\n",
        "inner.py": "SIZE = 2\ndef f(x): return h(x) + SIZE\ndef h(x): return x\n",
    }, {
        "method.py": "from numpy import sum as total\nfrom . import late\n"
        "def run(x):\n    from .deep import elsewhere\n    return total(elsewhere.f(x)) + late.SIZE\n",
        "deep/elsewhere.py": "def unused(): ...\nfrom ..late import *\nfrom ..late import SIZE, h as k\n"
        "def f(x): return k(x) + SIZE\n",
        "late.py": "SIZE: int\ndef h(x): return x\n",
    }  # fmt: skip
    ways[1]["late.py"] = "def h(x): return x\nSIZE = 2\n"
    digests = set()
    for files in ways:
        for name, text in files.items():
            (package / name).write_text(text)
        digests.add(digest(package))
    assert len(digests) == 1


def test_two_functions_that_change_places_count(package):
    """Both are reached before and after, under the same names."""
    text = "from .inner import f as g, h as k\ndef run(x): return g(k(x))\n"
    (package / "inner.py").write_text("def f(x): return a(x)\ndef h(x): return b(x)\na, b = abs, float\n")
    (package / "method.py").write_text(text)
    before = digest(package)
    (package / "method.py").write_text(text.replace("f as g, h as k", "h as g, f as k"))
    assert digest(package) != before


def test_what_is_called_alike_two_names_away_is_told_apart(package):
    (package / "inner.py").write_text("from .late import h\ndef f(x): return h(x)\n")
    (package / "unused.py").write_text("from .deep.other import h\ndef f(x): return h(x)\n")
    (package / "late.py").write_text("def h(x): return 1\n")
    (package / "deep/other.py").write_text("def h(x): return 2\n")
    text = "from . import inner, unused\ndef run(x): return inner.f(x) - unused.f(x)\n"
    (package / "method.py").write_text(text)
    before = digest(package)
    (package / "method.py").write_text(text.replace("inner.f(x) - unused.f(x)", "unused.f(x) - inner.f(x)"))
    assert digest(package) != before


# The book's experiments ------------------------------------------------------------------------------------

EXPERIMENTS = {f"{c.slug}.{e.name}": e for c in catalogue.chapters() for e in c.experiments}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Folder of a copy of the package's sources."""
    here = Path(beyondloss.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(here, tmp_path_factory.mktemp("copy") / "beyondloss", ignore=ignored))


@pytest.fixture
def stale(copied, monkeypatch):
    """Function: file and its new text to the experiments whose points that makes stale, with their number."""
    found = SimpleNamespace(origin=str(copied / "__init__.py"))
    monkeypatch.setattr(syntax, "find_spec", lambda top: found)
    rows = [
        (path.parent.name, point["experiment"])
        for path in sorted((root() / "data/results").glob("*/*.json"))
        for point in json.loads(path.read_text())["points"]
    ]
    points = Counter(f"{slug}.{name}" for slug, name in rows)

    def edited(file, edit):
        before = {name: e.code_digest for name, e in EXPERIMENTS.items()}
        text = (copied / file).read_text()
        try:
            (copied / file).write_text(edit(text))
            after = {name: e.code_digest for name, e in EXPERIMENTS.items()}
        finally:
            (copied / file).write_text(text)
        return {name: points[name] for name in before if before[name] != after[name]}

    return edited


@pytest.mark.parametrize("file", ["data/text.py", "trainers/optimizers.py", "models/transformer.py"])
def test_a_new_function_of_a_shared_module_makes_no_point_stale(stale, file):
    assert stale(file, lambda text: text + "\n\ndef unused(x):\n    return train(x)\n") == {}
    assert stale(file, lambda text: text + "\nprint('imported')\n")  # for they do reach the module


@pytest.mark.parametrize(
    "file, old, new, experiments",
    [
        ("methods/hallucination/generator.py", "TILES = 2", "TILES = 3", {"hallucination.generator"}),
        ("methods/masked_diffusion/window.py", "REACHED = 0.9", "REACHED = 0.8", {"masked_diffusion.window"}),
    ],
)
def test_a_constant_makes_the_points_stale_that_reach_it_and_no_others(stale, file, old, new, experiments):
    found = stale(file, lambda text: text.replace(old, new))
    assert set(found) == experiments and all(found.values())


@pytest.mark.parametrize("name", ["masked_diffusion.landscape", "hallucination.generator"])
def test_all_that_a_run_executes_is_reached(name):
    """An experiment is run at smoke scale under a profiler."""
    experiment = EXPERIMENTS[name]
    group = experiment.groups(experiment.plan("smoke").grid)[0]
    executed = set()
    sys.setprofile(lambda frame, event, argument: executed.add(frame.f_code))
    try:
        experiment.run(group)
    finally:
        sys.setprofile(None)
    folder = Path(beyondloss.__file__).parents[1]
    definitions = set()
    for code in executed:
        path, name = Path(code.co_filename), code.co_qualname.partition(".")[0]
        if path.is_relative_to(folder / "beyondloss") and not name.startswith("<"):  # a lambda of a table
            module = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
            definitions.add((module, name))
    ours = {node for node in definitions if not node[0].startswith("beyondloss.experiment")}
    assert len(ours) > 5 and ours <= set(Reach.of(experiment.run, experiment.point).nodes)


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
    assert short([[s.tree, s.references] for s in parse(SYNTAX).statements]) == "5ff538b08af77b54"


def test_an_experiment_of_a_notebook_cell_is_refused():
    with pytest.raises(BadInput, match="define an experiment in a module"):
        code_digest("no_such_module_anywhere:run")


def test_a_function_that_its_module_does_not_define_is_refused(package):
    with pytest.raises(BadInput, match=r"method defines no 'rnu' at its top level"):
        code_digest(f"{package.name}.method:rnu")


def test_a_function_stands_for_its_name():
    import toy

    assert code_digest(toy.run) == code_digest("toy:run") != code_digest(toy.threads)


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
