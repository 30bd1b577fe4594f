"""A workflow as text in the notation: the way back."""

from __future__ import annotations

import keyword
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from mpreg_lab.errors import WorkflowError

from .model import Attr, Group, Ref, Step, Workflow

__all__ = ["to_notation"]

_DEFAULTS = {"()", "0", "0.0", "None", "False"}
"""Texts of options that are not set."""


def to_notation(workflow: Workflow) -> str:
    """Text from which `parse_workflow` makes the workflow again.

    Arguments may be references, None, booleans, numbers, strings, bytes, and lists, tuples, sets and dicts of them. The
    members of a fan-out may differ in values, but in references only if those run through another fan-out.

    Raises:
        WorkflowError: If the notation has no words for something in it.
    """
    steps = {step.name: step for step in workflow.steps}
    names: set[str] = {*steps} | {group.name for group in workflow.groups}
    group_of = {name: group for group in workflow.groups for name in group.steps}
    waiting = list(workflow.groups)
    lines = []

    def write_group() -> None:
        group = waiting.pop(0)
        lines.append(f"{_plain(group.name)} = {_fan_out(group, [steps[s] for s in group.steps], workflow, names)}")

    for step in workflow.steps:
        if step.name not in group_of:
            lines.append(f"{_plain(step.name)} = {_call(step, [_text(value) for value in _values(step)], names)}")
        while group_of.get(step.name) in waiting:  # with the empty fan-outs before it, which have no steps
            write_group()
    while waiting:
        write_group()
    if workflow.returns is not None:
        lines.append(", ".join(workflow.returns) or "()")
    return "\n".join(lines) + "\n"


def _values(step: Step) -> list[Any]:
    """All that may differ between the members of a fan-out, in the order in which `_call` takes it."""
    resources: Any = tuple(sorted(step.resources))
    resources = resources[0] if len(resources) == 1 else resources
    options = (step.retries, step.backoff_s, step.timeout_s, step.wait_for_s, step.cache, step.cache_ttl_s, step.node)
    return [*step.args, *step.kwargs.values(), resources, *options]


def _call(step: Step, texts: Sequence[str], names: set[str]) -> str:
    root, *fields = step.function.split(".")
    if not all(map(_is_name, (root, *fields))) or (fields and root in names):
        raise WorkflowError(
            f"the notation cannot call {step.function!r}: it is no plain or dotted name", step=step.name
        )
    *arguments, resources, retries, backoff, timeout, wait_for, cache, ttl, node = texts
    positional = len(step.args)
    keywords = (
        f"{key}={text}" if _is_name(key) else f"**{{{key!r}: {text}}}"
        for key, text in zip(step.kwargs, arguments[positional:], strict=True)
    )
    call = f"{step.function}({', '.join([*arguments[:positional], *keywords])})"
    if resources not in _DEFAULTS:
        call += f" @ {resources}"
    if backoff not in _DEFAULTS:
        call += f" | retry({retries}, backoff={backoff})"
    elif retries not in _DEFAULTS:
        call += f" | retry({retries})"
    if timeout not in _DEFAULTS:
        call += f" | timeout({timeout})"
    if wait_for not in _DEFAULTS:
        call += f" | wait_for({wait_for})"
    if cache not in _DEFAULTS:
        call += " | cache()" if ttl in _DEFAULTS else f" | cache(ttl={ttl})"
    if node not in _DEFAULTS:
        call += f" | on({node})"
    return call


def _fan_out(group: Group, members: Sequence[Step], workflow: Workflow, names: set[str]) -> str:
    if not members:
        return f"[{group.name}() for {_fresh('_', names)} in ()]"
    first = members[0]
    for i, step in enumerate(members):
        if step.name != f"{group.name}[{i}]" or _shape(step) != _shape(first):
            raise _unlike(group, step)
    columns = list(zip(*map(_values, members), strict=True))
    texts = [[_text(value) for value in column] for column in columns]
    call = [column[0] for column in texts]
    varying = [i for i, column in enumerate(texts) if len(set(column)) > 1]
    taken = {*names, first.function.split(".")[0]}
    if not varying:
        return f"[{_call(first, call, names)} for {_fresh('_', taken)} in [None] * {len(members)}]"
    variables = [_fresh(f"x{n}", taken) for n in range(len(varying))]
    for i, variable in zip(varying, variables, strict=True):
        call[i] = variable
    iterable = _tuples([texts[i] for i in varying])
    if any(_has_reference(value) for i in varying for value in columns[i]):
        run = _run_through(columns[varying[0]], workflow) if len(varying) == 1 else None
        if run is None:
            raise _unlike(group, members[1])
        iterable, path = run
        call[varying[0]] += path
    return f"[{_call(first, call, names)} for {', '.join(variables)} in {iterable}]"


def _shape(step: Step) -> tuple[object, ...]:
    return step.function, len(step.args), tuple(step.kwargs)


def _tuples(columns: Sequence[Sequence[str]]) -> str:
    rows = (", ".join(row) for row in zip(*columns, strict=True))
    return f"[{', '.join(rows if len(columns) == 1 else (f'({row})' for row in rows))}]"


def _run_through(values: Sequence[Any], workflow: Workflow) -> tuple[str, str] | None:
    """The fan-out whose members these are, one by one, and the part of each that is meant."""
    if any(type(value) is not Ref or value.path != values[0].path for value in values):
        return None
    steps = tuple(ref.step for ref in values)
    name = next((group.name for group in workflow.groups if group.steps == steps), None)
    return (name, _path(values[0])) if name else None


def _has_reference(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_reference, value.values()))
    if isinstance(value, (list, tuple, set)):
        return any(map(_has_reference, value))
    return type(value) is Ref


def _text(value: Any) -> str:
    if value is None or type(value) in (bool, int, str, bytes):
        return repr(value)
    if type(value) is float:
        # Python has no literals for these, but reads a number that is too large as infinity.
        return (
            repr(value) if math.isfinite(value) else "1e999 - 1e999" if value != value else f"{'-' * (value < 0)}1e999"
        )
    if type(value) is Ref:
        return value.step + _path(value)
    if type(value) is dict:
        return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"
    if type(value) not in (list, tuple, set):
        raise WorkflowError(f"a {type(value).__name__} cannot be written in the notation. Pass it in a variable")
    items = ", ".join(map(_text, value))
    if type(value) is list:
        return f"[{items}]"
    if type(value) is set:
        return f"{{{items or '*()'}}}"
    return f"({items},)" if len(value) == 1 else f"({items})"


def _path(ref: Ref) -> str:
    return "".join(f".{_plain(part.name)}" if isinstance(part, Attr) else f"[{part!r}]" for part in ref.path)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _plain(name: str) -> str:
    if not _is_name(name):
        raise WorkflowError(f"the notation needs plain names, and {name!r} is none. Rename it")
    return name


def _is_name(text: str) -> bool:
    # Python normalises the names that it reads.
    return text.isidentifier() and not keyword.iskeyword(text) and unicodedata.normalize("NFKC", text) == text


def _unlike(group: Group, step: Step) -> WorkflowError:
    return WorkflowError(
        f"the fan-out {group.name!r} cannot be written as one line: {step.name!r} is not like its first step",
        step=step.name,
    )
