"""Public is what `__all__` says, and all of it is documented."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.architecture.imports import Module, read_tree, tree_of

ROOT = Path(__file__).parents[2] / "mpreg_lab"


def complaints(module: Module) -> Iterator[str]:
    """What is wrong with the exports of a module, as "file:line: what"."""
    tree = ast.parse(module.text, module.path)
    exported = _exports(tree)
    if not ast.get_docstring(tree):
        yield f"{module.path}:1: does not say what it is"
    if exported is None:
        if any(_names(node) for node in tree.body):
            yield f"{module.path}:1: has no __all__"
        return
    if exported != sorted(exported, key=_order):
        yield f"{module.path}:1: __all__ is not sorted: constants, classes, the rest"
    if len(exported) != len(set(exported)):
        yield f"{module.path}:1: __all__ names something twice"
    for node in tree.body:
        if _is_public(node) and not ast.get_docstring(node):
            yield f"{module.path}:{node.lineno}: {node.name} has no docstring"
    bound = {name for node in ast.walk(tree) for name in _names(node)}
    if "__getattr__" not in bound:
        for name in sorted(set(exported) - bound):
            yield f"{module.path}:1: {name} is in __all__, but not in the module"


def _exports(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in _names(node) and node.value is not None:
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def _names(node: ast.AST) -> set[str]:
    """The names that a statement binds."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.ImportFrom(module="__future__"):
            return set()
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.Assign(targets=targets):
            return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


def _is_public(node: ast.stmt) -> TypeGuard[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")


def _order(name: str) -> tuple[int, str]:
    """As ruff sorts `__all__` (RUF022)."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def test_every_module_says_what_is_public_and_documents_it():
    assert [complaint for module in read_tree(ROOT).values() for complaint in complaints(module)] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('__all__ = ["f"]\ndef f(): "Doc."', "mpreg_lab/new.py:1: does not say what it is"),
        ('"""Doc."""\nx = 5', "mpreg_lab/new.py:1: has no __all__"),
        (
            '"""Doc."""\n__all__ = ["b", "A"]\nb = A = 5',
            "mpreg_lab/new.py:1: __all__ is not sorted: constants, classes, the rest",
        ),
        ('"""Doc."""\n__all__ = ["a", "a"]\na = 5', "mpreg_lab/new.py:1: __all__ names something twice"),
        ('"""Doc."""\n__all__ = ["a"]', "mpreg_lab/new.py:1: a is in __all__, but not in the module"),
        ('"""Doc."""\n__all__ = ["f"]\ndef f(): ...', "mpreg_lab/new.py:3: f has no docstring"),
        ('"""Doc."""\n__all__ = ["C"]\n\nclass C: ...', "mpreg_lab/new.py:4: C has no docstring"),
    ],
)
def test_a_wrong_export_is_found_with_file_and_line(text: str, complaint: str):
    assert list(complaints(tree_of({"new.py": text})["new"])) == [complaint]


@pytest.mark.parametrize(
    "text",
    [
        '"""Doc."""',
        '"""Doc."""\n__all__ = ["MAX", "A", "f"]\nMAX = 5\nclass A: "Doc."\nasync def f(): "Doc."\ndef _g(): ...',
        '"""Doc."""\n__all__ = ["A"]\ndef __getattr__(name): ...',
    ],
)
def test_a_right_export_is_left_alone(text: str):
    assert list(complaints(tree_of({"new.py": text})["new"])) == []


def test_the_facade_gives_every_name_that_it_promises():
    facade = importlib.import_module("mpreg_lab")

    missing = [name for name in facade.__all__ if not hasattr(facade, name)]

    assert missing == []
    assert 15 <= len(facade.__all__) <= 32
    assert set(facade.__all__) <= set(dir(facade))
