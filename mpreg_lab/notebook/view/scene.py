"""The picture of a run, less its states: which boxes there are, what is written in them, where they are.

It depends on the plans of the steps alone, so it is computed once a run.
"""

from __future__ import annotations

import math

import msgspec

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord, StepPlan, StepRecord

from ._layering import topological
from .format import line
from .graph_layout import Box, Direction, Route, Vertex, layout
from .text_size import BOLD, shorten, text_width

__all__ = ["LABEL_PX", "SUBLABEL_PX", "Node", "Scene", "members", "scene"]

FOLD_ABOVE = 300
"""Steps; a larger run starts with its groups folded."""

LABEL_PX = 13.0
SUBLABEL_PX = 11.0
TEXT_LEFT = 28.0
"""px from the left border to the text: the mark stands there."""
_TEXT_RIGHT = 11.0
_TEXT_MAX = 200.0
_WIDTH_MIN = 84.0
_HEIGHT = 44.0


class Node(msgspec.Struct, frozen=True):
    """One box: a step or a folded group.

    Attributes:
        name: Of the step or the group.
        label: The name as it is written in the box: cut to fit, harmless.
        sublabel: Function and resources, the same way.
        group: The group of the step, or which was folded; None if there is none.
        size: How many steps it stands for; more than 1 in a folded group alone.
    """

    name: str
    label: str
    sublabel: str
    box: Box
    group: str | None
    size: int = 1


class Scene(msgspec.Struct, frozen=True):
    """From (0, 0) to (width, height), in px; nodes in the order of the steps."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Route, ...]
    direction: Direction = "down"


def scene(record: RunRecord, *, folded: frozenset[str] | None = None, direction: Direction = "down") -> Scene:
    """Place the steps of a run.

    Args:
        folded: Names of groups to show as one box each. None: all if there are very many steps, else none.
            A group stays open where folding it would close a circle.
    """
    if folded is None:
        many = len(record.steps) > FOLD_ABOVE
        folded = frozenset(group.name for group in record.groups) if many else frozenset()
    home = _homes(record, folded)
    inside: dict[str, list[StepPlan]] = {}
    for name, step in record.steps.items():
        inside.setdefault(home[name], []).append(step.plan)
    group_of = {step: group.name for group in record.groups for step in group.steps}
    texts = {name: _texts(name, plans) for name, plans in inside.items()}
    widths = _widths(record, texts)
    vertices = [Vertex(name, widths[name], _HEIGHT) for name in inside]
    drawing = layout(vertices, _edges(record, home), direction=direction)
    nodes = tuple(
        Node(box.name, *texts[box.name], box, group_of.get(inside[box.name][0].name), len(inside[box.name]))
        for box in drawing.boxes
    )
    return Scene(drawing.width, drawing.height, nodes, drawing.routes, direction)


def members(node: Node, record: RunRecord) -> tuple[StepRecord, ...]:
    """The steps that a node stands for."""
    if node.name in record.steps:
        return (record.steps[StepName(node.name)],)
    names = next((group.steps for group in record.groups if group.name == node.name), ())
    return tuple(record.steps[name] for name in names if name in record.steps)


def _homes(record: RunRecord, folded: frozenset[str]) -> dict[str, str]:
    """For each step the name of its box: its own, or that of its folded group."""
    home: dict[str, str] = {name: name for name in record.steps}
    wanted: list[dict[str, str]] = []
    for group in record.groups:
        steps = [name for name in group.steps if name in home]
        if group.name in folded and group.name not in home and len(steps) > 1:
            wanted.append(dict.fromkeys(steps, group.name))
    everything = home | {step: name for part in wanted for step, name in part.items()}
    if _acyclic(record, everything):
        return everything
    for part in wanted:
        if _acyclic(record, home | part):
            home |= part
    return home


def _acyclic(record: RunRecord, home: dict[str, str]) -> bool:
    number = {name: i for i, name in enumerate(dict.fromkeys(home.values()))}
    try:
        topological(len(number), [(number[a], number[b]) for a, b in _edges(record, home)])
    except ValueError:
        return False
    return True


def _edges(record: RunRecord, home: dict[str, str]) -> list[tuple[str, str]]:
    """Between boxes, each once; those inside a folded group are not drawn."""
    pairs = (
        (home[need], home[name])
        for name, step in record.steps.items()
        for need in step.plan.needs
        if need in record.steps
    )
    return list(dict.fromkeys((a, b) for a, b in pairs if a != b or a in record.steps))


def _texts(name: str, plans: list[StepPlan]) -> tuple[str, str]:
    """Label and sublabel."""
    functions = list(dict.fromkeys(plan.function for plan in plans))
    resources = list(dict.fromkeys(resource for plan in plans for resource in plan.resources))
    below = ", ".join(functions[:3]) + (" @ " + ", ".join(resources[:3]) if resources else "")
    times = f" \N{MULTIPLICATION SIGN}{len(plans)}" if len(plans) > 1 else ""
    label = shorten(line(name, 500), _TEXT_MAX - _label_width(times), LABEL_PX * BOLD)
    return label + times, shorten(line(below, 500), _TEXT_MAX, SUBLABEL_PX)


def _label_width(label: str) -> float:
    return text_width(label, LABEL_PX * BOLD)


def _widths(record: RunRecord, texts: dict[str, tuple[str, str]]) -> dict[str, float]:
    """Room for the texts; the same for all steps of a group."""
    widths: dict[str, float] = {}
    for name, (label, sublabel) in texts.items():
        text = max(_label_width(label), text_width(sublabel, SUBLABEL_PX))
        widths[name] = max(_WIDTH_MIN, math.ceil(TEXT_LEFT + text + _TEXT_RIGHT))
    for group in record.groups:
        steps = [name for name in group.steps if name in widths]
        widths |= dict.fromkeys(steps, max((widths[name] for name in steps), default=0.0))
    return widths
