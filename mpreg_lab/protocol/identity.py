"""What makes two calls the same: the code of the function, and the values of its arguments. Pickles, never unpickles.

A function is its code and what that uses: defaults, captured variables, global variables and the functions and classes
of its own module that it names. Of variables only constants count by value, such as numbers and text: a list that the
function appends to must not make another function of it.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import pickle
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["UnstableValueError", "call_key", "function_identity"]

Function = Callable[..., Any]

_CONSTANTS = (type(None), bool, int, float, complex, str, bytes)
_STORES = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"))
_known: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""As a function was when it was first asked for: what it does to its own variables does not make it another one."""


class UnstableValueError(TypeError):
    """A value cannot be told from others like it."""


def call_key(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], apart: Iterable[str] = ()) -> str:
    """A text that equal calls of equal functions have, and no others.

    Args:
        apart: What else makes calls differ.

    Raises:
        UnstableValueError: If an argument cannot be told from others: names it.
    """
    found = hashlib.blake2b(function_identity(function).encode(), digest_size=20)
    for word in apart:
        found.update(f"{len(word)}:{word}".encode(errors="surrogatepass"))
    named = [*((f"argument {i}", value) for i, value in enumerate(args, 1)), *sorted(kwargs.items())]
    for name, value in named:
        found.update(f"|{name}=".encode(errors="surrogatepass"))
        found.update(_value(value, name))
    return found.hexdigest()


def function_identity(function: Function) -> str:
    """A text that functions of the same code have, in every process; where that code stands does not count."""
    try:
        return _known[function]
    except (KeyError, TypeError):
        found = _Identity(getattr(function, "__module__", None)).of(function)
    try:
        return _known.setdefault(function, found)
    except TypeError:  # it cannot be referred to weakly, or has no hash
        return found


# --- functions ----------------------------------------------------------------------------------------------------


class _Identity:
    """Walks through a function and what it uses, of its own module."""

    def __init__(self, module: str | None) -> None:
        self._module = module
        self._hash = hashlib.blake2b(digest_size=20)
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # what was seen must not give its id to something else

    def of(self, value: Any) -> str:
        self._add(value)
        return self._hash.hexdigest()

    def _note(self, *words: object) -> None:
        for word in words:
            text = word if isinstance(word, bytes) else str(word).encode(errors="surrogatepass")
            self._hash.update(b"%d:" % len(text))
            self._hash.update(text)

    def _add(self, value: Any) -> None:
        if id(value) in self._seen:
            self._note("again", self._seen[id(value)])
            return
        if not isinstance(value, _CONSTANTS):
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
        match value:
            case FunctionType():
                self._function(value)
            case MethodType():
                self._note("method", type(value.__self__).__qualname__)
                self._add(value.__func__)
            case functools.partial():
                self._note("partial", len(value.args), *value.keywords)
                for part in (value.func, *value.args, *value.keywords.values()):
                    self._add(part)
            case type():
                self._class(value)
            case ModuleType():
                self._note("module", value.__name__)
            case CodeType():
                self._code(value)
            case tuple() if type(value) is tuple:
                self._note("tuple", len(value))
                for item in value:
                    self._add(item)
            case frozenset() if type(value) is frozenset:
                self._note("frozenset", *sorted(map(repr, value)))
            case BuiltinFunctionType():
                self._note("builtin", value.__module__, value.__qualname__)
            case _:
                self._other(value)

    def _other(self, value: Any) -> None:
        kind = type(value)
        if kind in _CONSTANTS:
            self._note(kind.__name__, repr(value))
        else:
            self._note("object")
            self._add(kind)

    def _function(self, function: FunctionType) -> None:
        if function.__module__ != self._module:
            self._note("function", function.__module__, function.__qualname__)
            return
        self._note("function")
        code = function.__code__
        self._code(code)
        for default in (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())):
            self._add(default)
        stored = _stored(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._variable(name, _content(cell), stored)
        names = {name for each in _codes(code) for name in each.co_names}
        for name in sorted(names & function.__globals__.keys()):
            self._variable(name, function.__globals__[name], stored)
        if hasattr(function, "__wrapped__"):
            self._add(function.__wrapped__)

    def _variable(self, name: str, value: Any, stored: frozenset[str]) -> None:
        if name not in stored and not name.startswith("__"):
            self._note(name)
            self._add(value)

    def _class(self, kind: type) -> None:
        self._note("class", kind.__module__, kind.__qualname__)
        if kind.__module__ == self._module:
            for name, value in sorted(vars(kind).items()):
                if isinstance(value, staticmethod | classmethod):
                    value = value.__func__
                if isinstance(value, FunctionType) or (type(value) in _CONSTANTS and not name.startswith("__")):
                    self._note(name)
                    self._add(value)

    def _code(self, code: CodeType) -> None:
        self._note("code", code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._note(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        self._note(getattr(code, "co_exceptiontable", b""))
        for constant in code.co_consts:
            self._add(constant)


def _codes(code: CodeType) -> Iterable[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _stored(code: CodeType) -> frozenset[str]:
    """The variables from outside that the function sets itself."""
    found = (i for each in _codes(code) for i in dis.get_instructions(each) if i.opname in _STORES)
    return frozenset(str(instruction.argval) for instruction in found)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


# --- values -------------------------------------------------------------------------------------------------------


class _Sink:
    """A file that keeps the digest of what is written."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=20)

    def write(self, chunk: Any) -> int:
        self.hash.update(chunk)
        return len(chunk)


class _Hasher(pickle.Pickler):
    """Pickles for the digest alone: arrays by their bytes, functions and classes by what they are."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, 5)
        # Without a memo: equal values are equal however often the same object stands in them.
        self.fast = True

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return tuple, (("function", function_identity(value)),)
        if isinstance(value, type) and value.__module__ != "builtins":
            # Of a library the name is enough: its classes go by reference.
            module = "__main__" if value.__module__ == "__main__" else None
            return tuple, (("class", _Identity(module).of(value)),)
        if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and not value.dtype.hasobject:
            data = hashlib.blake2b(value.tobytes(), digest_size=20).digest()
            return tuple, (("array", value.dtype.str, value.dtype.descr, value.shape, data),)
        return NotImplemented


def _value(value: Any, name: str) -> bytes:
    sink = _Sink()
    try:
        _Hasher(sink).dump(value)
    except Exception as exc:
        raise UnstableValueError(f"{name} is a value of type {type(value).__qualname__}, which has no digest") from exc
    return sink.hash.digest()
