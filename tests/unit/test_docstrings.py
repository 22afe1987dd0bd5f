"""Rooms that readers build on say what every function does."""

import ast
from pathlib import Path

import pytest

import beyondloss

LIBRARY = Path(beyondloss.__file__).parent
FILES = sorted((LIBRARY / "models").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_public_function_and_class_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    named = [
        node for owner in owners for node in owner.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    silent = [node.name for node in named if not node.name.startswith("_") and not ast.get_docstring(node)]
    assert silent == []
