"""The scene of a run as plain JSON for a widget: everything that stays the same while the run goes on."""

from __future__ import annotations

from typing import Any

import msgspec

from mpreg_lab.workflow.record import RunRecord, StepStatus

from .charts_svg import ink_on
from .format import line
from .graph_svg import curve
from .palette import MARK_PATH, PALETTE, Colours, function_colours
from .scene import TEXT_LEFT, Node, Scene, members, scene

__all__ = ["page_scene", "picture"]

_PAGE_PX = 900
_SMALL_STEPS = 40


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


class PictureStep(msgspec.Struct, frozen=True):
    """The plan of a step: `key` is its name, `name` how that is written, `needs` are indices of steps."""

    key: str
    name: str
    function: str
    resources: list[str]
    needs: list[int]
    colour: str
    ink: str


class Picture(msgspec.Struct, frozen=True):
    """What a widget draws once.

    Attributes:
        text_left: px from the left border of a box to its text.
    """

    width: float
    height: float
    text_left: float
    nodes: list[PictureNode]
    edges: list[PictureEdge]
    steps: list[PictureStep]
    marks: dict[StepStatus, str]
    palette: dict[StepStatus, Colours]


def page_scene(record: RunRecord) -> Scene:
    """The scene, running to the right if that fits on the page of a notebook and is flatter, else down."""
    down = scene(record)
    if len(record.steps) > _SMALL_STEPS:
        return down
    right = scene(record, direction="right")
    return right if right.width <= _PAGE_PX and right.height < down.height else down


def picture(record: RunRecord) -> dict[str, Any]:
    """A Picture of the run, as plain JSON."""
    drawn = page_scene(record)
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
            steps=_steps(record, index),
            marks=MARK_PATH,
            palette=PALETTE,
        )
    )
    return values


def _node(node: Node, steps: list[int]) -> PictureNode:
    box = node.box
    return PictureNode(line(node.name), node.label, node.sublabel, box.x, box.y, box.width, box.height, steps)


def _steps(record: RunRecord, index: dict[Any, int]) -> list[PictureStep]:
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
        )
        for plan in plans
    ]
