"""One call in the whole package unpickles: whoever adds a second one adds a second door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "mpreg_lab"
UNPICKLERS = {"load", "loads", "Unpickler", "_Unpickler", "_loads", "_load", "read_pickle"}
LIBRARIES = {
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "pandas",
    "pickle",
    "pickletools",
    "shelve",
    "torch",
}


def unpickling(tree: ast.AST) -> Iterator[int]:
    """The lines that unpickle, or that get hold of something that does."""
    aliases = set(LIBRARIES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {name.asname for name in node.names if name.name in LIBRARIES and name.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in LIBRARIES:
            if any(name.name in (*UNPICKLERS, "*") for name in node.names):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in aliases and node.attr in UNPICKLERS:
                yield node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            yield from (node.lineno for argument in node.args[:1] if getattr(argument, "id", "") in aliases)


def test_there_is_exactly_one_call_that_unpickles():
    found = [
        f"{path.relative_to(ROOT)}: {path.read_text(encoding='utf-8').splitlines()[line - 1].strip().partition('(')[0]}"
        for path in sorted(ROOT.rglob("*.py"))
        for line in unpickling(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == ["protocol/payload.py: return pickle.loads"]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.loads(x)",
        "import pickle as p\nf = p.load",
        "from pickle import loads",
        "from pickle import *",
        "import cloudpickle\ncloudpickle.loads(x)",
        "import pickle\npickle.Unpickler(x)",
        "import pickle\ngetattr(pickle, 'lo' + 'ads')",
        "import pandas as pd\npd.read_pickle(x)",
    ],
)
def test_another_one_would_be_found(code):
    assert len(list(unpickling(ast.parse(code)))) == 1
