"""Digests of a point's configuration and of the code that measures it.

The code digest covers the top-level definitions that a function reaches by their names, in whatever modules of
`beyondloss` (or of the function's own top-level package) they stand: functions, classes with all their methods, and
module-level values, with what their base classes, decorators, defaults and annotations name in turn. A definition
counts as its syntax tree, and a name in it as what it stands for. So a comment, a docstring, a new definition that
nothing reaches, another alias in an import, or a move to another module leaves a stored point current; another
definition under the same name does not. Of other packages only the dotted names count.

Names cannot always be followed. A whole module counts, with all that it imports,

- where it is used as a value (`getattr(module, name)`, `vars(module)`, `show(module)`), or where it is asked for a
  name that it does not bind (also of one with `__getattr__`, or that says `from other import *`);
- where it says `globals()`, `eval` or `exec`; where it says `import_module`, every module of its package.

A top-level statement that does more than bind names (a call, a loop, `x.attribute = …`, a definition under a decorator
of these packages, which may register it) counts with every name of its module. Not followed are attributes of objects
(a method is reached with its class, so name the class), annotations in quotes, and modules that are imported for what
they do and not for a name.
"""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from beyondloss.experiment import syntax
from beyondloss.experiment.errors import BadInput
from beyondloss.experiment.syntax import Dotted, Scope, Statement, short

# moves points and does not make them: an edit here must not cost a day of GPU time
EXEMPT = "beyondloss.experiment"
WHOLE, EFFECTS = "*", "!"  # in place of a name: all of a module; its statements that do more than bind names
CELLS = "__main__"  # a notebook's cells
DYNAMIC = {"globals", "eval", "exec"}
LOADERS = {"__import__", "importlib.import_module"}


class Node(NamedTuple):
    """A definition, by its place."""

    module: str
    name: str


Edge = tuple[Node | None, str]  # a definition with the attributes taken of it, or the name of something else


def config_digest(experiment: str, point: Any) -> str:
    """Key of a point: 16 hex digits over the experiment's name and every field."""
    return short([experiment, dataclasses.asdict(point)])


def code_digest(*code: Any, exempt: str = EXEMPT) -> str:
    """16 hex digits over all that `code` reaches: functions, classes, "module:name", or "module" for a whole one.

    Raises BadInput where one has no source file.
    """
    return Reach.of(*code, exempt=exempt).digest


def sources(*code: Any, exempt: str = EXEMPT) -> dict[str, Path]:
    """Modules of the definitions that `code` reaches and those through which they are imported, with their files."""
    return Reach.of(*code, exempt=exempt).sources


def edited_since(moment: float | int, *code: Any) -> bool:
    """Whether a source of `code` was written after `moment` (Unix time): what was loaded then is not what it says."""
    return any(path.stat().st_mtime > moment for path in sources(*code).values())


class Reach:
    """The definitions that code reaches. `nodes`: statements and edges of each; `sources`: module -> file."""

    def __init__(self, exempt: str, packages: set[str], cells: Scope | None = None):
        self.exempt, self.packages = exempt, packages
        self.nodes: dict[Node, tuple[list[Statement], list[list[Edge]]]] = {}
        self.sources: dict[str, Path] = {}
        self.roots: list[Node] = []
        self._scopes: dict[str, Scope | None] = {CELLS: cells}
        self._effects: dict[str, list[Statement]] = {}

    @classmethod
    def of(cls, *code: Any, exempt: str = EXEMPT) -> "Reach":
        """What functions, classes, "module:name" or "module" reach. BadInput where one has no source file."""
        places = [_place(one) for one in code]
        reach = cls(exempt, {"beyondloss", *(_top(module) for module, _ in places)})
        for module, name in places:
            if reach._scope(module) is None:
                what = f"{module!r} has no source file"
                raise BadInput(f"{what}: define an experiment in a module, not in a notebook")
            found, _ = reach._resolve(module, () if name == WHOLE else (name,))
            if found is None or (found.name == WHOLE and name != WHOLE):
                raise BadInput(f"{module} defines no {name!r} at its top level")
            reach._follow(found)
        return reach

    @classmethod
    def of_cells(cls, code: str) -> "Reach":
        """What a notebook with this code reaches in the package, nothing exempt; the cells themselves are no part."""
        reach = cls("", {"beyondloss"}, syntax.parse(code))
        _, named = reach._read(Node(CELLS, WHOLE))
        for root in sorted(
            {found for edges in named for found, _ in edges if found and found.module != CELLS}
        ):
            reach._follow(root)
        return reach

    @cached_property
    def digest(self) -> str:
        """16 hex digits that depend on no definition's place.

        Each round tells definitions apart by those that they name, one step further; the last one separates no more.
        """
        known: dict[Node | None, str] = {None: ""}
        for node, (statements, _) in self.nodes.items():
            # with its name, because one statement may bind several
            known[node] = short([node.name, *(statement.tree for statement in statements)])
        while True:
            finer: dict[Node | None, str] = {None: ""}
            for node, (_, named) in self.nodes.items():
                said = [[known[found], text, len(edges)] for edges in named for found, text in edges]
                finer[node] = short([known[node], said])
            if len(set(finer.values())) == len(set(known.values())):
                return short([[finer[root] for root in self.roots], sorted(set(finer.values()))])
            known = finer

    def _follow(self, root: Node) -> None:
        self.roots.append(root)
        queue = [root]
        while queue:
            node = queue.pop()
            if node not in self.nodes:
                self.nodes[node] = statements, named = self._read(node)
                queue += [found for edges in named for found, _ in edges if found]

    def _read(self, node: Node) -> tuple[list[Statement], list[list[Edge]]]:
        """The statements that make a definition, and what each name in them stands for."""
        module, name = node
        scope = self._scope(module)
        if name == WHOLE:
            statements = scope.statements
            # what cells import counts where they use it
            imported = [] if module == CELLS else sum(scope.imports.values(), [])
        elif name == EFFECTS:
            statements, imported = self._effects_of(module), []
        else:
            statements, imported = scope.bindings.get(name, []), scope.imports.get(name, [])
        named = [[self._resolve(*target)] for target in imported]
        for statement in statements:
            edges = {dotted: self._edges(module, statement, dotted) for dotted in set(statement.references)}
            named += [edges[dotted] for dotted in statement.references]
        if name not in (WHOLE, EFFECTS) and self._effects_of(module):
            named.append([(Node(module, EFFECTS), "")])
        return statements, named

    def _effects_of(self, module: str) -> list[Statement]:
        """The statements of a module that do more than bind names, or have a decorator of these packages."""
        if module not in self._effects:
            self._effects[module] = []
            for statement in self._scope(module).statements:
                decorators = [self._edges(module, statement, dotted) for dotted in statement.decorators]
                if statement.effect or any(found for edges in decorators for found, _ in edges):
                    self._effects[module].append(statement)
        return self._effects[module]

    def _edges(self, module: str, statement: Statement, dotted: Dotted) -> list[Edge]:
        """What a dotted name in a statement of `module` stands for: by an import inside of it, and by the module."""
        scope, (name, *attributes) = self._scope(module), dotted
        text = ".".join(dotted)
        targets = [(base, (*taken, *attributes)) for base, taken in statement.imports.get(name, [])]
        if name in scope.bindings or name in scope.imports:
            targets.append((module, dotted))
        edges = list(dict.fromkeys(self._resolve(*target) for target in targets))
        if not edges:  # a builtin, or what `from other import *` has brought
            stars = scope.imports.get(WHOLE, []) + statement.imports.get(WHOLE, [])
            edges = [(None, text), *(self._resolve(*star) for star in stars)]
        if text in DYNAMIC:
            edges.append((Node(module, WHOLE), ""))
        if any(found is None and text in LOADERS for found, text in edges):
            edges += [self._resolve(each, ()) for each in syntax.package(_top(module))]
        return edges

    def _resolve(self, module: str, dotted: Dotted) -> Edge:
        """The definition behind a dotted name of `module`, through whatever imports, and the attributes left over."""
        seen = set()
        while (module, dotted) not in seen:
            seen.add((module, dotted))
            scope = self._scope(module)
            if scope is None:
                return None, ".".join([module, *dotted])
            if not dotted:
                break
            name, attributes = dotted[0], dotted[1:]
            imported = scope.imports.get(name, [])
            if name in scope.bindings or len(imported) > 1:
                return self._edge(Node(module, name), attributes)
            # in a package, `from . import name` is the module of that name
            if imported and imported != [(module, (name,))]:
                module, dotted = imported[0][0], (*imported[0][1], *attributes)
            elif self._scope(f"{module}.{name}"):
                module, dotted = f"{module}.{name}", attributes
        return self._edge(Node(module, WHOLE), dotted)

    def _edge(self, node: Node, attributes: Dotted) -> Edge:
        """An edge to `node`; to something exempt by its name alone."""
        if self._is_exempt(node.module):
            return None, ".".join([node.name, *attributes])
        return node, ".".join(attributes)

    def _is_exempt(self, module: str) -> bool:
        return f"{module}.".startswith(f"{self.exempt}.")

    def _scope(self, module: str) -> Scope | None:
        """What the file of `module` says; None for one of another package."""
        if module not in self._scopes:
            path = syntax.file_of(module) if _top(module) in self.packages else None
            package = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
            self._scopes[module] = syntax.read(path, package) if path else None
            if path and not self._is_exempt(module):
                self.sources[module] = path
        return self._scopes[module]


def _place(code: Any) -> Node:
    """The top-level definition that a function, a class or "module:name" stands in; of "module" all."""
    place = code if isinstance(code, str) else f"{code.__module__}:{code.__qualname__}"
    module, _, name = place.partition(":")
    return Node(module, name.partition(".")[0] or WHOLE)


def _top(module: str) -> str:
    return module.partition(".")[0]
