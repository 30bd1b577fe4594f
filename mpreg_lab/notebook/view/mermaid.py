"""A run as a Mermaid flowchart, for Markdown pages that draw them: GitHub, GitLab, JupyterLab."""

from __future__ import annotations

from collections.abc import Iterable

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord, StepStatus

from .format import line
from .palette import MARK, PALETTE

__all__ = ["mermaid"]

_PLAIN = frozenset(" _.,:=+-/()[]")


def mermaid(record: RunRecord) -> str:
    """The dependency graph with states, a fan-out as a box of its own."""
    ids = {name: f"s{i}" for i, name in enumerate(record.steps)}
    lines = ["flowchart TD"]
    inside: set[StepName] = set()
    for i, group in enumerate(record.groups):
        members = [name for name in group.steps if name in ids and name not in inside]
        inside.update(members)
        if members:
            lines += [
                f'  subgraph g{i}["{_text(group.name)}"]',
                *(f"  {_node(n, ids, record)}" for n in members),
                "  end",
            ]
    lines += [_node(name, ids, record) for name in record.steps if name not in inside]
    for step in record.steps.values():
        lines += [f"  {ids[need]} --> {ids[step.name]}" for need in step.plan.needs if need in ids]
    return "\n".join([*lines, *_classes(record, ids)]) + "\n"


def _node(name: StepName, ids: dict[StepName, str], record: RunRecord) -> str:
    step = record.steps[name]
    label = f"{MARK[step.status]} {_text(name)}<br/>{_text(step.plan.function)}"
    return f'  {ids[name]}["{label}"]'


def _classes(record: RunRecord, ids: dict[StepName, str]) -> Iterable[str]:
    for status in StepStatus:
        members = [ids[name] for name, step in record.steps.items() if step.status is status]
        if members:
            shade = PALETTE[status].light
            yield f"  classDef {status} fill:{shade.fill},stroke:{shade.stroke},color:{shade.text}"
            yield f"  class {','.join(members)} {status}"


def _text(text: str) -> str:
    """A label that says just that: whatever could be markup is written by its number."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in line(text, 80))
