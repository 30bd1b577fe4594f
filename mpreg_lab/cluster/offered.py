"""Functions named on a command line: `module`, `module:object` or `file.py`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from mpreg_lab.errors import FunctionError

__all__ = ["Offered", "load_offered"]


class Offered(NamedTuple):
    """What a module offers.

    Attributes:
        functions: Each with the resource that a node must hold for it; "" if any node will do.
    """

    module: ModuleType
    functions: tuple[tuple[Callable[..., Any], str], ...]


def load_offered(name: str) -> Offered:
    """Import a module or run a Python file, and see which functions it offers.

    The object after a colon is a function, a list of functions, or a mapping from resources to functions. Without one
    it is the module's FUNCTIONS, or else all public functions that it defines.

    Raises:
        FunctionError: If it cannot be imported, or has no such functions.
    """
    module_name, _, wanted = name.partition(":")
    module = _load(module_name)
    if not wanted and not hasattr(module, "FUNCTIONS"):
        return Offered(module, tuple((function, "") for function in _public(module)))
    found = getattr(module, wanted or "FUNCTIONS", None)
    functions = tuple(_with_resources(found))
    if not functions or not all(callable(function) for function, _ in functions):
        raise FunctionError(
            f"{name!r} offers no functions: {wanted or 'FUNCTIONS'} must be a function, a list of functions, or a "
            f"mapping from resources to functions, not {found!r:.40}"
        )
    return Offered(module, functions)


def _load(name: str) -> ModuleType:
    try:
        return _run_file(Path(name)) if name.endswith(".py") else _import(name)
    except (ImportError, OSError, SyntaxError, ValueError) as exc:
        raise FunctionError(f"cannot load functions from {name!r}: {exc}") from exc


def _import(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, "")  # a command that was installed does not look into the current folder by itself
    return importlib.import_module(name)


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _with_resources(found: object) -> Iterator[tuple[Any, str]]:
    if isinstance(found, Mapping):
        for resource, functions in found.items():
            yield from ((function, str(resource)) for function in _each(functions))
    else:
        yield from ((function, "") for function in _each(found))


def _each(found: object) -> Iterable[object]:
    return found if isinstance(found, Iterable) else (found,)


def _public(module: ModuleType) -> list[Callable[..., Any]]:
    own = (value for name, value in vars(module).items() if not name.startswith("_") and name != "nodes")
    return [value for value in own if callable(value) and getattr(value, "__module__", "") == module.__name__]
