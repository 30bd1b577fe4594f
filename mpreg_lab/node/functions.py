"""The functions of a node, and what it tells others of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from mpreg_lab.errors import FunctionError
from mpreg_lab.protocol.messages import FunctionInfo, Parameter, ParameterKind
from mpreg_lab.types import FunctionName, Resource
from mpreg_lab.workflow.legible import has_half, whole

__all__ = ["BUILTINS", "Function", "FunctionTable", "call_problem", "function_name"]

Function = Callable[..., Any]


def echo(value: Any) -> Any:
    """Give back the argument."""
    return value


def echos(*values: Any) -> list[Any]:
    """Give back all arguments, as a list."""
    return list(values)


BUILTINS: tuple[Function, ...] = (echo, echos)
"""On every node, as in MPREG."""


class FunctionTable:
    """Functions by name; a name that is registered again is replaced."""

    def __init__(self) -> None:
        self._functions: dict[str, tuple[Function, FunctionInfo, bool]] = {}
        for function in BUILTINS:
            self.register(function)

    def register(
        self, function: Function, *, name: str | None = None, resources: Iterable[Resource] = ()
    ) -> FunctionInfo:
        """Add or replace a function.

        Raises:
            FunctionError: If it cannot be called, or has no name of its own and is given none.
        """
        info = describe(function, function_name(function, name), resources)
        self._functions[info.name] = (function, info, is_async(function))
        return info

    def remove(self, name: str) -> None:
        """Forget a function; nothing happens if there is none of that name."""
        self._functions.pop(name, None)

    def get(self, name: str) -> tuple[Function, bool] | None:
        """The function, and whether calling it gives something to await; None if there is none of that name."""
        entry = self._functions.get(name)
        return None if entry is None else (entry[0], entry[2])

    def infos(self) -> tuple[FunctionInfo, ...]:
        """Descriptions of all functions, in the order in which they were first registered."""
        return tuple(info for _, info, _ in self._functions.values())


def function_name(function: Function, name: str | None = None) -> FunctionName:
    """The name under which a function is registered: `name`, or its own.

    Raises:
        FunctionError: If it cannot be called, or has no name of its own and is given none, or one with half a
            character in it.
    """
    if not callable(function):
        raise FunctionError(f"only something that can be called can be registered, not {function!r:.60}")
    found = name if name is not None else getattr(function, "__name__", "")
    if not isinstance(found, str) or not found or found == "<lambda>":
        kind = "lambda" if found == "<lambda>" else type(function).__name__
        raise FunctionError(f"a {kind} has no name of its own. Give it one: register(..., name='my_function')")
    if has_half(found):
        raise FunctionError(f"the name of a function cannot have half a character in it, as {found!r:.40} has")
    return FunctionName(found)


def describe(function: Function, name: FunctionName, resources: Iterable[Resource] = ()) -> FunctionInfo:
    """What a node tells others of a function."""
    doc = whole(inspect.getdoc(function) or "")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return FunctionInfo(name, tuple(sorted(resources)), None, "(...)", doc)
    parameters = tuple(
        Parameter(
            p.name, ParameterKind(int(p.kind)), p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        )
        for p in signature.parameters.values()
    )
    return FunctionInfo(name, tuple(sorted(resources)), parameters, _readable(signature), doc)


def _readable(signature: inspect.Signature) -> str:
    """The signature without quotation marks around annotations, which `from __future__ import annotations` gives."""

    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    parameters = [p.replace(annotation=bare(p.annotation)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=bare(signature.return_annotation)))


class _Bare(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def is_async(function: Function) -> bool:
    """Whether calling it gives a coroutine: `async def`, also behind functools.partial or as a `__call__`."""
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def call_problem(info: FunctionInfo, positional: int, keywords: Iterable[str]) -> str | None:
    """Why the function cannot be called with so many positional arguments and these keywords; None if it can."""
    if info.parameters is None:
        return None
    takes = [p for p in info.parameters if p.kind <= ParameterKind.POSITIONAL_OR_KEYWORD]
    kinds = {p.kind for p in info.parameters}
    if positional > len(takes) and ParameterKind.VAR_POSITIONAL not in kinds:
        given = f"{positional} positional argument{'' if positional == 1 else 's'} given"
        return f"{given}, it takes {len(takes)}"
    by_position = {p.name for p in takes[:positional]}
    by_name = {p.name for p in info.parameters if p.kind in (1, 3)}
    given_names = set()
    for keyword in keywords:
        if keyword in by_position and keyword in by_name:
            return f"{keyword!r} is given twice, by position and by name"
        if keyword not in by_name and ParameterKind.VAR_KEYWORD not in kinds:
            return f"it has no parameter {keyword!r}"
        given_names.add(keyword)
    missing = [
        p.name
        for p in info.parameters
        if p.required and p.name not in by_position and not (p.name in given_names and p.kind in (1, 3))
    ]
    if missing:
        return f"nothing is given for {', '.join(repr(name) for name in missing)}"
    return None
