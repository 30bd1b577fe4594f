"""The rules of the tree, and what breaks them: module texts in, violations out. No module is imported."""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGE = "mpreg_lab"

LEVELS = {
    "errors": 0,
    "types": 0,
    "lending": 0,
    "step_context": 0,
    "loop_thread": 0,
    "workflow": 1,
    "protocol": 2,
    "transport": 3,
    "engine": 3,
    "node": 4,
    "client": 4,
    "cluster": 5,
    "notebook": 6,
    "testing": 6,
    "examples": 7,
    "cli": 7,
    "__main__": 7,
    "__init__": 7,
}
"""A unit (what stands directly below the package) may import units of lower levels, and itself."""

BASE = {"errors", "lending", "types"}
"""Everybody may import these, their neighbours too: loop_thread raises errors of ours."""

ALSO = {
    *(("cli", "examples"), ("cli", "__init__"), ("__main__", "cli")),
    *(("examples", "__init__"), ("__init__", "cli"), ("__init__", "examples")),
}
"""Level 7 wires things: who may import whom on that level."""

EVERYWHERE = {"msgspec"}
"""Libraries that everything from level 1 up may import."""

LIBRARIES = {
    "anywidget": ("notebook",),
    "cloudpickle": ("protocol.payload",),
    "comm": ("notebook",),
    "dask": ("engine.dask",),
    "distributed": ("engine.dask",),
    "hypothesis": ("testing",),
    "ipykernel": ("notebook",),
    "ipywidgets": ("notebook",),
    "IPython": ("notebook",),
    "jupyter_client": ("notebook",),
    "marshal": (),
    "matplotlib": ("notebook",),
    "nest_asyncio2": ("notebook.pump",),
    "numpy": ("examples.ml_inference", "notebook", "testing"),
    "pandas": ("notebook",),
    "pickle": ("protocol.identity", "protocol.payload"),
    "psutil": ("examples.monitoring",),
    "pytest": ("testing",),
    "pytest_asyncio": ("testing",),
    "shelve": (),
    "sklearn": ("examples.ml_inference",),
    "tblib": ("protocol",),
    "tornado": ("notebook.pump",),
    "traitlets": ("notebook",),
    "websockets": ("transport.websocket",),
    "zmq": ("notebook.pump",),
}
"""Library -> the parts of the package that may import it. One that is not here may be imported by nobody."""

PURE = (
    "workflow",
    "protocol",
    "node.router",
    "node.membership",
    "node._beliefs",
    "node._roster",
    "node._rumours",
    "node._timers",
    "notebook.view",
    "client.status",
)
IMPURE_LIBRARIES = {
    "asyncio",
    "concurrent",
    "multiprocessing",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
}

SEES_ONLY = {
    "notebook.view": (
        "notebook.view",
        "workflow.record",
        "workflow.faults",
        "workflow.legible",
        "workflow.model",
        "client.status",
        "types",
    ),
    "notebook.widgets": (
        "notebook.widgets",
        "notebook.view",
        "workflow.record",
        "workflow.model",
        "client.status",
        "types",
    ),
    "examples": ("__init__", "examples"),
}
"""A part -> the only parts of the package that it knows. A record has fields of types of workflow.model."""


@dataclass(frozen=True)
class Module:
    """One module of the package: its name below the package ("client.sync"), where it is, and its text."""

    name: str
    path: str
    text: str

    @property
    def unit(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def package(self) -> str:
        """The package in whose folder it stands, "" for the outermost."""
        if self.name == "__init__":
            return ""
        return self.name if self.is_package else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        target: The module: "workflow.model" for one of ours, "asyncio" for another. "__init__" is the facade.
        ours: Whether it is one of ours.
        name: What is taken from there; None for the module itself.
        for_types: Whether it stands under `if TYPE_CHECKING`, where it loads nothing.
    """

    line: int
    target: str
    ours: bool
    name: str | None = None
    for_types: bool = False

    @property
    def library(self) -> str | None:
        """The library that it comes from; None if it is ours."""
        return None if self.ours else self.target.partition(".")[0]


Tree = Mapping[str, Module]
"""Name -> module, of a whole package."""

Needs = Mapping[str, Sequence[Import]]
"""Name of a module -> what it imports."""


def read_tree(root: Path) -> Tree:
    """All modules below the folder of the package."""
    paths = sorted(root.rglob("*.py"))
    return tree_of({path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths})


def tree_of(texts: Mapping[str, str]) -> Tree:
    """A package made of these files: "client/sync.py" -> its text."""
    found = {}
    for path, text in texts.items():
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found[name] = Module(name, f"{PACKAGE}/{path}", text)
    return found


def violations(tree: Tree) -> list[str]:
    """Every import that breaks a rule, as "file:line: what is wrong"."""
    needs = {module.name: tuple(imports(module, tree)) for module in tree.values()}
    found = {
        (tree[name].path, imported.line, problem)
        for name, needed in needs.items()
        for imported in needed
        for problem in _problems(tree[name], imported, tree, needs)
    }
    return [f"{path}:{line}: {problem}" for path, line, problem in sorted(found)]


def imports(module: Module, tree: Tree) -> Iterator[Import]:
    """What the module imports, anywhere in its text: in functions and under TYPE_CHECKING too."""
    text = ast.parse(module.text, module.path)
    for_types = {id(node) for block in ast.walk(text) if _is_for_types(block) for node in ast.walk(block)}
    for node in ast.walk(text):
        for imported in _imports(node, module, tree):
            yield replace(imported, for_types=id(node) in for_types)


def _imports(node: ast.AST, module: Module, tree: Tree) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (_import(node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(module, node)
        for alias in node.names:
            inner = _import(node.lineno, f"{base}.{alias.name}")
            if inner.ours and (inner.target in tree or inner.target in LEVELS):
                yield inner
            else:
                yield replace(_import(node.lineno, base), name=alias.name)
    elif isinstance(node, ast.Call) and (name := _dynamic_import(node)):
        yield _import(node.lineno, name)


def _problems(module: Module, imported: Import, tree: Tree, needs: Needs) -> Iterator[str]:
    yield from _private_problems(module, imported, tree)
    yield from _inner_problems(module, imported) if imported.ours else _library_problems(module, imported)
    if imported.ours and _is_pure(module.name) and (way := _way_to_impurity(imported.target, needs)):
        yield f"{module.name} is pure, but imports {' -> '.join(way)}"


def _inner_problems(module: Module, imported: Import) -> Iterator[str]:
    unit, other = module.unit, imported.target.partition(".")[0]
    for stranger in sorted({unit, other} - LEVELS.keys()):
        yield f"{stranger} has no level: say in LEVELS where it belongs"
        return
    if unit != other and other not in BASE and (unit, other) not in ALSO and LEVELS[other] >= LEVELS[unit]:
        yield f"{unit} (level {LEVELS[unit]}) must not import {other} (level {LEVELS[other]})"
    for part, known in SEES_ONLY.items():
        if _inside(module.name, part) and not any(_inside(imported.target, one) for one in known):
            yield f"{part} knows only {', '.join(known)}; not {imported.target}"


def _library_problems(module: Module, imported: Import) -> Iterator[str]:
    library = imported.library or ""
    if library in LIBRARIES:
        # A hint may name a type of any library of ours: who reads it needs to know, and it loads nothing.
        if not imported.for_types and not any(_inside(module.name, part) for part in LIBRARIES[library]):
            yield f"{library} may be imported by {', '.join(LIBRARIES[library]) or 'nobody'}; not by {module.name}"
    elif library in EVERYWHERE:
        if LEVELS.get(module.unit, 0) < 1:
            yield f"{library} may be imported from level 1 up; not by {module.name}"
    elif library not in sys.stdlib_module_names:
        yield f"{library} is no library of ours: say in LIBRARIES who may import it"
    if library in IMPURE_LIBRARIES and _is_pure(module.name):
        yield f"{module.name} is pure and must not import {library}"


def _private_problems(module: Module, imported: Import, tree: Tree) -> Iterator[str]:
    """A name with an underscore belongs to the package in whose folder it is written."""
    path = [*imported.target.split("."), *([imported.name] if imported.name else [])]
    for depth, name in enumerate(path):
        if not name.startswith("_") or name.startswith("__"):
            continue
        holder = tree.get(".".join(path[:depth]))
        if not imported.ours or (holder is not None and not _inside(module.package, holder.package)):
            yield f"{'.'.join(path)} is private to its package"
            return


def _way_to_impurity(start: str, needs: Needs) -> list[str] | None:
    """The shortest chain of modules from `start` to a library that waits or looks at a clock; None if there is none."""
    ways, seen = deque([[start]]), {start}
    while ways:
        way = ways.popleft()
        for imported in needs.get(way[-1], ()):
            if imported.library in IMPURE_LIBRARIES:
                return [*way, imported.library]
            # The facade finds its names when they are asked for: to import it is to import nothing.
            if imported.ours and imported.target not in seen | {"__init__"}:
                seen.add(imported.target)
                ways.append([*way, imported.target])
    return None


def _import(line: int, name: str) -> Import:
    ours = name == PACKAGE or name.startswith(f"{PACKAGE}.")
    return Import(line, (name[len(PACKAGE) + 1 :] or "__init__") if ours else name, ours)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """The full name of the module after `from`."""
    if not node.level:
        return node.module or ""
    package = [PACKAGE, *(module.package.split(".") if module.package else [])]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def _dynamic_import(call: ast.Call) -> str | None:
    """The name in import_module("name"); None if it is no such call, or the name is computed."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("import_module", "__import__") or not call.args:
        return None
    argument = call.args[0]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _is_for_types(node: ast.AST) -> bool:
    """Whether it is an `if TYPE_CHECKING` without an else."""
    return isinstance(node, ast.If) and not node.orelse and "TYPE_CHECKING" in ast.unparse(node.test).split(".")


def _is_pure(name: str) -> bool:
    return any(_inside(name, part) for part in PURE)


def _inside(name: str, part: str) -> bool:
    return not part or name == part or name.startswith(f"{part}.")
