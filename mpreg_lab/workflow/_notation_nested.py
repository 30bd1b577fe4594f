"""Calls inside the arguments of a step: they run in the notebook, which surprises if the cluster has that function."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from itertools import count
from typing import NamedTuple

from ._notation_lines import free_names
from ._notation_source import Source

__all__ = ["Nested", "nested_calls"]


class Nested(NamedTuple):
    """A call inside a line of a step.

    Attributes:
        function: As it is called: `score`, `pkg.score`.
        root: The name that the notebook must have for it.
        line: From 1.
        text: The call.
        advice: The lines that make it a step of its own.
    """

    function: str
    root: str
    line: int
    text: str
    advice: tuple[str, ...]


def nested_calls(
    source: Source, statement: ast.Assign, taken: Collection[str], reads: Callable[[str], bool]
) -> Iterator[Nested]:
    """The calls inside a line that run in the notebook, those inside lambdas left aside.

    Args:
        taken: Names of steps.
        reads: Whether a text is in the notation.
    """
    outside = {id(name) for name in free_names(statement.value)}
    for call in _calls(statement.value):
        parts = _dotted(call.func)
        if parts is None or id(parts[0]) not in outside:
            continue
        function = ".".join([parts[0].id, *parts[1:]])
        step = next(name for n in count(1) if (name := f"{function.rpartition('.')[2]}_{n}") not in taken)
        text = source.segment(call)
        advice = _advice(source, statement, call, step)
        yield Nested(function, parts[0].id, call.lineno, text, advice if reads("\n".join(advice)) else advice[:1])


def _advice(source: Source, statement: ast.Assign, call: ast.Call, step: str) -> tuple[str, ...]:
    """The call as a step, and the line with that step in its place, which only sometimes is in the notation."""
    text = source.segment(call)
    if isinstance(statement.value, ast.ListComp) and _loop_variables(statement.value) & {
        n.id for n in free_names(call)
    }:
        loops = " ".join(ast.unparse(loop).strip() for loop in statement.value.generators)
        return (f"{step} = [{text} {loops}]",)
    replaced = re.sub(rf"(?<![\w.]){re.escape(text)}", step, source.segment(statement), count=1)
    return (f"{step} = {text}", replaced)


def _loop_variables(fan_out: ast.ListComp) -> set[str]:
    targets = (node for loop in fan_out.generators for node in ast.walk(loop.target))
    return {node.id for node in targets if isinstance(node, ast.Name)}


def _calls(value: ast.expr) -> Iterator[ast.Call]:
    """Not the step's own call, nor those that are options."""
    if isinstance(value, ast.ListComp):
        yield from _calls(value.elt)
        return
    call = value
    while isinstance(call, ast.BinOp):
        call = call.left
    if isinstance(call, ast.Call):
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            yield from _inside(argument)


def _inside(node: ast.AST) -> Iterator[ast.Call]:
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _inside(child)


def _dotted(func: ast.expr) -> tuple[ast.Name, *tuple[str, ...]] | None:
    parts: list[str] = []
    while isinstance(func, ast.Attribute):
        parts.append(func.attr)
        func = func.value
    return (func, *reversed(parts)) if isinstance(func, ast.Name) else None
