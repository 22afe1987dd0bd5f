"""What one file of source says, statement by statement: the code digest follows its names from file to file.

A top-level statement is reduced to its syntax tree, in which a dotted name that comes from outside the statement is a
mark only, and to the list of these names. So where a definition stands, and how it is imported, is no part of it.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# differ between Python versions, or say nothing about what the code does
SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
IMPORTS = (ast.Import, ast.ImportFrom)
BRANCHES = (ast.If, ast.Try, ast.TryStar)
# statements that do nothing but bind names, where their targets are names
BINDING = (*DEFINITIONS, *IMPORTS, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass)

Dotted = tuple[str, ...]
Target = tuple[str, Dotted]  # a module, and the attributes of it that an import takes


@dataclass(frozen=True)
class Statement:
    """A top-level statement. `effect`: whether it does more than bind names."""

    tree: str  # digest
    references: tuple[Dotted, ...]  # to what is not bound inside it, in order
    decorators: tuple[Dotted, ...]
    imports: dict[str, list[Target]]  # inside it, in functions too
    effect: bool
    text: str  # as it is written, comments and all


@dataclass(frozen=True)
class Scope:
    """The top level of a module: its statements in order, and what they and its imports bind.

    An import of everything from a module has the name "*".
    """

    statements: list[Statement] = field(default_factory=list)
    bindings: dict[str, list[Statement]] = field(default_factory=dict)
    imports: dict[str, list[Target]] = field(default_factory=dict)


def file_of(module: str) -> Path | None:
    """Source of `module`, found without importing it (its top-level package alone is looked up)."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # __main__ of a notebook
        return None
    if spec is None or not (spec.origin or "").endswith(".py"):
        return None
    if not inner:
        return Path(spec.origin)
    path = Path(spec.origin).parent.joinpath(*inner)
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def package(top: str) -> list[str]:
    """The modules of a top-level package, itself first."""
    path = file_of(top)
    if path is None or path.name != "__init__.py":
        return [top]
    files = sorted(path.parent.rglob("*.py"))
    names = [".".join([top, *file.relative_to(path.parent).with_suffix("").parts]) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def read(path: Path, package: str) -> Scope:
    """The file at `path`, whose relative imports start from `package`. Read again only where it has changed."""
    stat = path.stat()
    return _read(path, package, stat.st_mtime_ns, stat.st_size)


@cache
def _read(path: Path, package: str, mtime: int, size: int) -> Scope:
    return parse(path.read_text(encoding="utf-8"), package)


def parse(text: str, package: str = "") -> Scope:
    """The scope of a module, or of a notebook's cells, with this text."""
    scope, lines = Scope(), text.split("\n")
    for node in ast.parse(text).body:
        outside = [leaf for leaf in _leaves(node) if isinstance(leaf, IMPORTS)]
        _add(scope.imports, _targets(outside, package))
        if not isinstance(node, IMPORTS) and not _is_text(node):
            names = _stored([node])
            # what a branch imports depends on the branch, but for one that is there for type checkers alone
            if outside and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                names |= {name for name, _ in _targets(outside, package)}
            statement = _statement(node, lines, package)
            scope.statements.append(statement)
            for name in names:
                scope.bindings.setdefault(name, []).append(statement)
    return scope


def _statement(node: ast.stmt, lines: list[str], package: str) -> Statement:
    references: list[Dotted] = []
    tree = _canonical(node, frozenset(), references)
    wrappers = getattr(node, "decorator_list", [])
    decorators = [_dotted(w.func if isinstance(w, ast.Call) else w) for w in wrappers]
    imports: dict[str, list[Target]] = {}
    _add(imports, _targets(_inside(node, IMPORTS), package))
    first = min([node, *wrappers], key=lambda n: n.lineno).lineno
    return Statement(
        short([tree]),
        tuple(references),
        tuple(filter(None, decorators)),
        imports,
        effect=not all(_only_binds(leaf) for leaf in _leaves(node)),
        text="\n".join(lines[first - 1 : node.end_lineno]),
    )


def short(value: Any) -> str:
    """16 hex digits over a value of lists, texts and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


# The tree of a statement ------------------------------------------------------------------------------------


def _canonical(node: Any, hidden: frozenset[str], references: list[Dotted]) -> Any:
    """Nested lists that say the same for the same code under every Python from 3.11 on, without docstrings and imports.

    hidden: names that a function around `node` binds. Every other name goes to `references` and leaves a mark.
    """
    if isinstance(node, list):
        kept = [item for item in node if not _is_text(item) and not isinstance(item, IMPORTS)]
        return [_canonical(item, hidden, references) for item in kept]
    if not isinstance(node, ast.AST):
        return ascii(node)
    dotted = _dotted(node)
    if dotted and dotted[0] not in hidden:
        references.append(dotted)
        return "@"
    if isinstance(node, ast.Global):
        references.extend((name,) for name in node.names)
    said: list = [type(node).__name__]
    if isinstance(node, COMPREHENSIONS):  # the first iterable is evaluated outside
        said.append(_canonical(node.generators[0].iter, hidden, references))
    inside = hidden | _bound(node)
    for name, value in ast.iter_fields(node):
        if name not in SKIPPED and value not in (None, []):
            # defaults, annotations and decorators of a function are evaluated outside of it
            around = hidden if isinstance(node, FUNCTIONS) and name != "body" else inside
            said.append([name, _canonical(value, around, references)])
    return said


def _dotted(node: ast.AST) -> Dotted:
    """("np", "linalg", "norm") of np.linalg.norm; () of what is no dotted name, or is assigned to."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return (node.id, *attributes) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ()


def _is_text(node: Any) -> bool:
    """Whether a statement is nothing but text: a docstring."""
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


# The names that it binds ------------------------------------------------------------------------------------


def _bound(node: ast.AST) -> set[str]:
    """Names that a function or comprehension binds for what is inside it. A class hides nothing from its methods."""
    if isinstance(node, COMPREHENSIONS):
        return _stored([generator.target for generator in node.generators])
    if not isinstance(node, FUNCTIONS):
        return set()
    arguments = {child.arg for child in ast.iter_child_nodes(node.args) if isinstance(child, ast.arg)}
    body = node.body if isinstance(node.body, list) else [node.body]
    # names of the module all the same, and names that an import inside the function binds, are followed
    followed = {name for inner in _inside(node, ast.Global) for name in inner.names}
    followed |= {name for name, _ in _targets(_inside(node, IMPORTS), "")}
    return (arguments | _stored(body)) - followed


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that `nodes` bind by other ways than an import, not counting what is inside functions and classes."""
    names: set[str | None] = set()
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (*DEFINITIONS, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping):
            names.add(node.rest)
        if isinstance(node, COMPREHENSIONS):
            queue += [inner.target for inner in _inside(node, ast.NamedExpr)]
        elif not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            queue += ast.iter_child_nodes(node)
    return {name for name in names if name}


def _inside(node: ast.AST, kinds: Any) -> list:
    return [inner for inner in ast.walk(node) if isinstance(inner, kinds)]


def _leaves(node: ast.AST) -> list[ast.stmt]:
    """The statements of a conditional or a `try`; any other statement itself."""
    if not isinstance(node, (*BRANCHES, ast.ExceptHandler)):
        return [node] if isinstance(node, ast.stmt) else []
    return [leaf for child in ast.iter_child_nodes(node) for leaf in _leaves(child)]


def _only_binds(leaf: ast.stmt) -> bool:
    targets = getattr(leaf, "targets", [getattr(leaf, "target", None)])
    parts = [part for target in targets if target for part in ast.walk(target)]
    plain = all(isinstance(part, (ast.Name, ast.Tuple, ast.List, ast.Starred, ast.Store)) for part in parts)
    return _is_text(leaf) or isinstance(leaf, BINDING) and plain


# Imports ----------------------------------------------------------------------------------------------------


def _add(imports: dict[str, list[Target]], targets: Iterable[tuple[str, Target]]) -> None:
    for name, target in targets:
        known = imports.setdefault(name, [])
        if target not in known:
            known.append(target)


def _targets(nodes: Iterable[ast.Import | ast.ImportFrom], package: str) -> list[tuple[str, Target]]:
    """Name and target of all that `nodes`, of a module of `package`, import."""
    found: list[tuple[str, Target]] = []
    for node in nodes:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                attributes = () if alias.name == "*" else (alias.name,)
                found.append((alias.asname or alias.name, (_base(node, package), attributes)))
            elif alias.asname:
                found.append((alias.asname, (alias.name, ())))
            else:  # `import a.b` binds a
                top = alias.name.partition(".")[0]
                found.append((top, (top, ())))
    return found


def _base(node: ast.ImportFrom, package: str) -> str:
    """Absolute name of the module that `node`, a statement of a module of `package`, imports from."""
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, node.module] if node.module else above)
