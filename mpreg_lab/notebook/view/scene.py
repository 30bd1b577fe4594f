"""The picture of a run, less its states: which boxes there are, what is written in them, where they are.

It depends on the plans of the steps alone, so it is computed once a run.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord, StepPlan, StepRecord

from .folding import FOLD_ABOVE, boxes, edges_between, folds
from .format import line
from .graph_layout import Box, Direction, Route, Vertex, layout
from .text_size import BOLD, shorten, text_width

__all__ = ["LABEL_PX", "SUBLABEL_PX", "Node", "Scene", "homes", "members", "scene"]

LABEL_PX = 13.0
SUBLABEL_PX = 11.0
TEXT_LEFT = 28.0
"""px from the left border to the text: the mark stands there."""
_TEXT_RIGHT = 11.0
_TEXT_MAX = 200.0
_UNFOLD = 20.0
"""px for the sign by which a page opens a fold."""
_WIDTH_MIN = 84.0
_HEIGHT = 44.0


class Node(msgspec.Struct, frozen=True):
    """One box: a step, or several that are folded.

    Attributes:
        name: Of the step or the fold.
        label: The name as it is written in the box: cut to fit, harmless. Of alike steps, that of their function.
        sublabel: Function and resources, the same way. Of alike steps, the first and the last one.
        group: The fan-out of the step, or which was folded; None if there is none.
        steps: Those that it stands for.
    """

    name: str
    label: str
    sublabel: str
    box: Box
    group: str | None
    steps: tuple[StepName, ...]

    @property
    def size(self) -> int:
        """How many steps it stands for."""
        return len(self.steps)


class Scene(msgspec.Struct, frozen=True):
    """From (0, 0) to (width, height), in px; nodes in the order of the steps."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Route, ...]
    direction: Direction = "down"


def scene(record: RunRecord, *, folded: Collection[str] | None = None, direction: Direction = "down") -> Scene:
    """Place the steps of a run.

    Args:
        folded: Names of folds to show as one box each. None: all if there are very many steps, else none.
            One stays open where folding it would close a circle.
    """
    home = homes(record, folded)
    inside: dict[str, list[StepPlan]] = {}
    for name, step in record.steps.items():
        inside.setdefault(home[name], []).append(step.plan)
    group_of = {step: group.name for group in record.groups for step in group.steps}
    fan_outs = {group.name for group in record.groups}
    texts = {name: _texts(name, plans, name in fan_outs) for name, plans in inside.items()}
    widths = _widths(record, texts, {name for name, plans in inside.items() if len(plans) > 1})
    vertices = [Vertex(name, widths[name], _HEIGHT) for name in inside]
    drawing = layout(vertices, edges_between(record, home), direction=direction)
    nodes = tuple(
        Node(
            box.name,
            *texts[box.name],
            box,
            group_of.get(inside[box.name][0].name),
            tuple(plan.name for plan in inside[box.name]),
        )
        for box in drawing.boxes
    )
    return Scene(drawing.width, drawing.height, nodes, drawing.routes, direction)


def homes(record: RunRecord, folded: Collection[str] | None) -> dict[StepName, str]:
    """For each step the name of its box, where these folds are closed; None: all if there are very many steps."""
    if folded is None:
        return boxes(record, folds(record) if len(record.steps) > FOLD_ABOVE else ())
    return boxes(record, [fold for fold in folds(record) if fold.name in folded])


def members(node: Node, record: RunRecord) -> tuple[StepRecord, ...]:
    """The steps that a node stands for."""
    return tuple(record.steps[name] for name in node.steps if name in record.steps)


def _texts(name: str, plans: list[StepPlan], fan_out: bool) -> tuple[str, str]:
    """Label and sublabel."""
    functions = list(dict.fromkeys(plan.function for plan in plans))
    resources = list(dict.fromkeys(resource for plan in plans for resource in plan.resources))
    below = ", ".join(functions[:3]) + (" @ " + ", ".join(resources[:3]) if resources else "")
    times = f" \N{MULTIPLICATION SIGN}{len(plans)}" if len(plans) > 1 else ""
    if len(plans) > 1 and not fan_out:
        name, below = functions[0] if len(functions) == 1 else "steps", name
    label = shorten(line(name, 500), _TEXT_MAX - _label_width(times), LABEL_PX * BOLD)
    return label + times, shorten(line(below, 500), _TEXT_MAX, SUBLABEL_PX)


def _label_width(label: str) -> float:
    return text_width(label, LABEL_PX * BOLD)


def _widths(record: RunRecord, texts: dict[str, tuple[str, str]], folded: Collection[str]) -> dict[str, float]:
    """Room for the texts; the same for all steps of a group."""
    widths: dict[str, float] = {}
    for name, (label, sublabel) in texts.items():
        text = max(_label_width(label), text_width(sublabel, SUBLABEL_PX))
        unfold = _UNFOLD if name in folded else 0.0
        widths[name] = max(_WIDTH_MIN, math.ceil(TEXT_LEFT + text + unfold + _TEXT_RIGHT))
    for group in record.groups:
        steps = [name for name in group.steps if name in widths]
        widths |= dict.fromkeys(steps, max((widths[name] for name in steps), default=0.0))
    return widths
