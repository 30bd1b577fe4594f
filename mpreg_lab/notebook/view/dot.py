"""A run in the language of Graphviz."""

from __future__ import annotations

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord

from .format import line
from .palette import MARK, PALETTE

__all__ = ["dot"]


def dot(record: RunRecord) -> str:
    """The dependency graph with states, a fan-out as a cluster of nodes."""
    ids = {name: f"s{i}" for i, name in enumerate(record.steps)}
    lines = [
        f"digraph {_quoted(record.name or 'workflow')} {{",
        '  graph [bgcolor="transparent", fontname="Helvetica"];',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [color="#8791a0"];',
    ]
    inside: set[StepName] = set()
    for i, group in enumerate(record.groups):
        members = [name for name in group.steps if name in ids and name not in inside]
        inside.update(members)
        lines += [f"  subgraph cluster_{i} {{", f'    label={_quoted(group.name)}; color="#8791a0"; style=rounded;']
        lines += [*(f"  {_node(name, ids, record)}" for name in members), "  }"]
    lines += [_node(name, ids, record) for name in record.steps if name not in inside]
    for step in record.steps.values():
        lines += [f"  {ids[need]} -> {ids[step.name]};" for need in step.plan.needs if need in ids]
    return "\n".join([*lines, "}"]) + "\n"


def _node(name: StepName, ids: dict[StepName, str], record: RunRecord) -> str:
    step = record.steps[name]
    shade = PALETTE[step.status].light
    # \n is a line break only here: in what users wrote every backslash is doubled.
    label = f'"{_escaped(f"{MARK[step.status]} {name}")}\\n{_escaped(step.plan.function)}"'
    return (
        f"  {ids[name]} [label={label}, tooltip={_quoted(step.status)}, "
        f'fillcolor="{shade.fill}", color="{shade.stroke}", fontcolor="{shade.text}"];'
    )


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    # & too: Graphviz reads the entities of HTML in every label.
    return line(text, 80).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
