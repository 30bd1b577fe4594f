"""The scene of a run as plain JSON for a widget: everything that stays the same while the run goes on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import RunRecord, StepStatus

from .arguments import Argument, arguments
from .charts_svg import ink_on
from .folding import folds
from .format import line
from .graph_svg import curve
from .palette import MARK_PATH, PALETTE, Colours, function_colours
from .scene import TEXT_LEFT, Node, Scene, members, scene

__all__ = ["page_scene", "picture"]

_PAGE_PX = 900
_SMALL_STEPS = 40
"""Boxes; more of them are not tried both ways."""
_ARGUMENT_CHARS = 100_000
"""About how many characters of arguments are sent, of all steps together."""
_AROUND, _ABOVE = 8.0, 19.0
"""px from the boxes of an open fan-out to the frame around them."""


class PictureNode(msgspec.Struct, frozen=True):
    """A box; `steps` are the indices of those that it stands for."""

    name: str
    label: str
    sublabel: str
    x: float
    y: float
    width: float
    height: float
    steps: list[int]


class PictureEdge(msgspec.Struct, frozen=True):
    """An arrow: the `d` of its SVG path, and the indices of its nodes."""

    path: str
    source: int
    target: int


class PictureFold(msgspec.Struct, frozen=True):
    """Steps that can be shown as one box.

    Attributes:
        label: Its name, and of how many steps.
        steps: Indices.
        closed: Whether they are one box now.
        frame: x, y, width and height around their boxes; None if they are closed, or other boxes stand among them.
    """

    name: str
    label: str
    steps: list[int]
    closed: bool
    frame: tuple[float, float, float, float] | None


class PictureStep(msgspec.Struct, frozen=True):
    """The plan of a step: `key` is its name, `name` how that is written, `needs` are indices of steps."""

    key: str
    name: str
    function: str
    resources: list[str]
    needs: list[int]
    colour: str
    ink: str
    arguments: tuple[Argument, ...]


class Picture(msgspec.Struct, frozen=True):
    """What a widget draws once.

    Attributes:
        text_left: px from the left border of a box to its text.
        order: Indices of nodes as a person reads them: none before one that it needs.
        folds: In the order of their first steps.
    """

    width: float
    height: float
    text_left: float
    nodes: list[PictureNode]
    edges: list[PictureEdge]
    order: list[int]
    folds: list[PictureFold]
    steps: list[PictureStep]
    marks: dict[StepStatus, str]
    palette: dict[StepStatus, Colours]


def page_scene(record: RunRecord, folded: Collection[str] | None = None) -> Scene:
    """The scene, running to the right if that fits on the page of a notebook and is flatter, else down."""
    down = scene(record, folded=folded)
    if len(down.nodes) > _SMALL_STEPS:
        return down
    right = scene(record, folded=folded, direction="right")
    return right if right.width <= _PAGE_PX and right.height < down.height else down


def picture(
    record: RunRecord, workflow: Workflow | None = None, folded: Collection[str] | None = None
) -> dict[str, Any]:
    """A Picture of the run, as plain JSON.

    Args:
        workflow: What runs; its steps have arguments. None: they are not known.
        folded: Names of the folds that are closed. None: all if there are very many steps, else none.
    """
    drawn = page_scene(record, folded)
    index = {name: i for i, name in enumerate(record.steps)}
    node_index = {node.name: i for i, node in enumerate(drawn.nodes)}
    values: dict[str, Any] = msgspec.to_builtins(
        Picture(
            width=drawn.width,
            height=drawn.height,
            text_left=TEXT_LEFT,
            nodes=[_node(node, [index[step.name] for step in members(node, record)]) for node in drawn.nodes],
            edges=[
                PictureEdge(curve(route, drawn.direction), node_index[route.source], node_index[route.target])
                for route in drawn.edges
            ],
            order=_reading_order(drawn),
            folds=_folds(record, drawn, index),
            steps=_steps(record, index, workflow),
            marks=MARK_PATH,
            palette=PALETTE,
        )
    )
    return values


def _reading_order(drawn: Scene) -> list[int]:
    def place(i: int) -> tuple[float, float]:
        box = drawn.nodes[i].box
        return (box.y, box.x) if drawn.direction == "down" else (box.x, box.y)

    return sorted(range(len(drawn.nodes)), key=place)


def _folds(record: RunRecord, drawn: Scene, index: dict[StepName, int]) -> list[PictureFold]:
    node_of = {step: node for node in drawn.nodes for step in node.steps}
    shown = []
    for fold in folds(record):
        nodes = list({node_of[step].name: node_of[step] for step in fold.steps}.values())
        closed = len(nodes) == 1
        label = f"{line(fold.name, 60)} \N{MULTIPLICATION SIGN}{len(fold.steps)}"
        frame = None if closed else _frame(nodes, drawn)
        shown.append(PictureFold(fold.name, label, [index[step] for step in fold.steps], closed, frame))
    return shown


def _frame(nodes: list[Node], drawn: Scene) -> tuple[float, float, float, float] | None:
    # Above the boxes is where their clocks are.
    left, top = min(n.box.x for n in nodes) - _AROUND, min(n.box.y for n in nodes) - _ABOVE
    right = max(n.box.x + n.box.width for n in nodes) + _AROUND
    bottom = max(n.box.y + n.box.height for n in nodes) + _AROUND
    inside = {node.name for node in nodes}
    for node in drawn.nodes:
        box = node.box
        apart = box.x > right or box.x + box.width < left or box.y > bottom or box.y + box.height < top
        if node.name not in inside and not apart:
            return None
    return left, top, right - left, bottom - top


def _node(node: Node, steps: list[int]) -> PictureNode:
    box = node.box
    return PictureNode(line(node.name), node.label, node.sublabel, box.x, box.y, box.width, box.height, steps)


def _steps(record: RunRecord, index: dict[StepName, int], workflow: Workflow | None) -> list[PictureStep]:
    limit = max(20, min(160, _ARGUMENT_CHARS // max(1, len(record.steps))))
    written = {step.name: arguments(step, index, limit) for step in workflow.steps} if workflow else {}
    plans = [step.plan for step in record.steps.values()]
    colours = function_colours(plan.function for plan in plans)
    return [
        PictureStep(
            plan.name,
            line(plan.name, 200),
            plan.function,
            [line(resource) for resource in plan.resources],
            [index[need] for need in plan.needs if need in index],
            colours[plan.function],
            ink_on(colours[plan.function]),
            written.get(plan.name, ()),
        )
        for plan in plans
    ]
