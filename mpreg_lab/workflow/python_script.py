"""A workflow as a Python script that runs it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mpreg_lab.errors import WorkflowError

from .model import Attr, Ref, Step, Workflow
from .references import MAX_DEPTH, references

__all__ = ["python_script"]

_OPTIONS = ("retries", "backoff_s", "timeout_s", "node", "wait_for_s", "cache", "cache_ttl_s")


def python_script(workflow: Workflow) -> str:
    """The text of the script; it defines `workflow`, and runs it if it is started by itself.

    Raises:
        WorkflowError: If an argument has no literal in Python: names step and argument.
    """
    uses_group = ["Group, "] if workflow.groups else []
    uses_ref = ["Ref, "] if any(map(references, workflow.steps)) else []
    parts = ["    [", *(f"        {_step(step)}," for step in workflow.steps), "    ],"]
    if workflow.returns is not None:
        parts.append(f"    returns={_tuple(map(repr, workflow.returns))},")
    if workflow.groups:
        groups = (f"Group({g.name!r}, {_tuple(map(repr, g.steps))})" for g in workflow.groups)
        parts.append(f"    groups=[{', '.join(groups)}],")
    if workflow.name:
        parts.append(f"    name={workflow.name!r},")
    return "\n".join(
        [
            '"""A workflow, written by a run of it: python FILE ws://HOST:PORT runs it on that cluster."""',
            "",
            "import sys",
            "",
            f"from mpreg_lab import Client, {''.join(uses_group)}{''.join(uses_ref)}Step, Workflow",
            "",
            "workflow = Workflow(",
            *parts,
            ")",
            "",
            'if __name__ == "__main__":',
            "    with Client(sys.argv[1]) as client:",
            "        print(client.run(workflow).results)",
            "",
        ]
    )


def _step(step: Step) -> str:
    parts = [repr(step.name), repr(step.function)]
    if step.args:
        parts.append(_tuple(_literal(value, step, f"argument {i}") for i, value in enumerate(step.args, 1)))
    if step.kwargs:
        pairs = (f"{key!r}: {_literal(value, step, f'argument {key!r}')}" for key, value in step.kwargs.items())
        parts.append(f"kwargs={{{', '.join(pairs)}}}")
    if step.resources:
        parts.append(f"resources={sorted(step.resources)!r}")
    defaults = Step("x", "f")
    for name in _OPTIONS:
        if (value := getattr(step, name)) != getattr(defaults, name):
            parts.append(f"{name}={_number(value) if isinstance(value, float) else repr(value)}")
    return f"Step({', '.join(parts)})"


def _literal(value: Any, step: Step, argument: str, depth: int = 0) -> str:
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        return _number(value)
    if kind is Ref and not (value.otherwise is not None and any(type(part) is Attr for part in value.path)):
        return _ref(value)
    if kind in (dict, list, tuple, set, frozenset) and depth <= MAX_DEPTH:
        parts = [*value, *value.values()] if kind is dict else value
        texts = [_literal(part, step, argument, depth + 1) for part in parts]
        return _container(kind, texts)
    what = "a loop" if depth > MAX_DEPTH else f"a {kind.__name__}"
    raise WorkflowError(
        f"step {step.name!r}: {argument} of {step.function} has {what} in it, for which Python has no literal. "
        "Have a step of its own load it",
        step=step.name,
    )


def _container(kind: type, items: list[str]) -> str:
    if kind is tuple:
        return _tuple(items)
    if kind is dict:
        half = len(items) // 2
        return f"{{{', '.join(f'{key}: {item}' for key, item in zip(items[:half], items[half:], strict=True))}}}"
    inside = ", ".join(items)
    if kind is list:
        return f"[{inside}]"
    braces = f"{{{inside}}}" if items else ""
    return braces or "set()" if kind is set else f"frozenset({braces})"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def _ref(ref: Ref) -> str:
    if ref.otherwise is not None:
        return f"Ref({ref.step!r}, {ref.path!r}, {ref.otherwise!r})"
    return f"Ref({ref.step!r})" + "".join(f".attr({p.name!r})" if type(p) is Attr else f"[{p!r}]" for p in ref.path)


def _tuple(items: Iterable[str]) -> str:
    texts = list(items)
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
