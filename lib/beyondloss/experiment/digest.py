"""Digests of a point's configuration and of the code that measures it.

The code digest runs over syntax trees, so a comment, a docstring or a reformatted line leaves a stored point
current. It covers a module and all that it imports from `beyondloss` (or from its own top-level package).
"""

import ast
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beyondloss.experiment.errors import BadInput

# moves points and does not make them: an edit here must not cost a day of GPU time
EXEMPT = "beyondloss.experiment"
# differ between Python versions, or say nothing about what the code does
SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}


def config_digest(experiment: str, point: Any) -> str:
    """Key of a point: 16 hex digits over the experiment's name and every field."""
    return _short(json.dumps([experiment, dataclasses.asdict(point)], sort_keys=True, allow_nan=False))


def code_digest(module: str, exempt: str = EXEMPT) -> str:
    """16 hex digits over the code of `module` and of what it imports; BadInput if it has no source file."""
    parts = {name: _parsed(path)[0] for name, path in sources(module, exempt).items()}
    return _short(json.dumps(parts, sort_keys=True))


def sources(module: str, exempt: str = EXEMPT) -> dict[str, Path]:
    """Source files of `module` and, transitively, of what it imports, inside functions too; none of `exempt`."""
    if _file(module) is None:
        raise BadInput(f"{module!r} has no source file: define an experiment in a module, not in a notebook")
    ours = ("beyondloss", module.split(".")[0])
    found: dict[str, Path] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _file(name)
        if path and name not in found and not f"{name}.".startswith(f"{exempt}."):
            found[name] = path
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            reached = [target for node in _parsed(path)[1] for target in _targets(node, package)]
            queue += [target for target in reached if target.split(".")[0] in ours]
    return found


def edited_since(module: str, moment: float | int) -> bool:
    """Whether a source of `module` was written after `moment` (Unix time): what was loaded then is not what it says."""
    return any(path.stat().st_mtime > moment for path in sources(module).values())


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parsed(path: Path) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """Digest and import statements of a source file."""
    stat = path.stat()
    return _parse(path, stat.st_mtime_ns, stat.st_size)


@cache
def _parse(path: Path, mtime: int, size: int) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    tree = ast.parse(path.read_bytes())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return _short(json.dumps(_canonical(tree))), imports


def _canonical(node: Any) -> Any:
    """Nested lists that say the same for the same code under every Python from 3.11 on, without docstrings."""
    if isinstance(node, list):
        return [_canonical(item) for item in node if not _is_text(item)]
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in SKIPPED]
    said = [[name, _canonical(value)] for name, value in fields if value not in (None, [])]
    return [type(node).__name__, said]


def _is_text(node: Any) -> bool:
    """Whether a statement is nothing but text: a docstring."""
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def _targets(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Modules behind an import. A submodule stands for itself, any other name for the module that has it."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        yield from names
        return
    base = _base(node, package)
    for name in names:
        yield f"{base}.{name}" if _is_submodule(base, name) else base


def _base(node: ast.ImportFrom, package: str) -> str:
    """Absolute name of the module that `node`, a statement of a module of `package`, imports from."""
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, node.module] if node.module else above)


def _is_submodule(base: str, name: str) -> bool:
    """Whether `name` of the package `base` is a module, and not what its __init__ takes by that name from one."""
    if not _file(f"{base}.{name}"):
        return False
    home = _file(base)
    taken = [node for node in _parsed(home)[1] if isinstance(node, ast.ImportFrom)] if home else []
    return not any(
        name == (alias.asname or alias.name) and _base(node, base) != base
        for node in taken
        for alias in node.names
    )


def _file(module: str) -> Path | None:
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
