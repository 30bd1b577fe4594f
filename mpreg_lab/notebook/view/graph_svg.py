"""A run as a picture that needs nothing else: static SVG, for saved notebooks and files."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from itertools import pairwise

from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

from ._routing import Point
from .format import counted, line, plain
from .graph_layout import Box, Direction, Route
from .palette import MARK_PATH, PALETTE
from .scene import LABEL_PX, SUBLABEL_PX, TEXT_LEFT, Node, Scene, members

__all__ = ["curve", "data_uri", "group_status", "svg"]

MARGIN = 12.0
ARROW = 8.0
ROUND = 7.0
_EDGE = "#8791a0"
_URGENT = (
    StepStatus.FAILED,
    StepStatus.RETRYING,
    StepStatus.RUNNING,
    StepStatus.QUEUED,
    StepStatus.WAITING,
    StepStatus.CANCELLED,
    StepStatus.SKIPPED,
    StepStatus.DONE,
    StepStatus.REUSED,
    StepStatus.CACHED,
)
_BAR = (
    StepStatus.DONE,
    StepStatus.REUSED,
    StepStatus.CACHED,
    StepStatus.FAILED,
    StepStatus.CANCELLED,
    StepStatus.SKIPPED,
    StepStatus.RETRYING,
    StepStatus.RUNNING,
    StepStatus.QUEUED,
    StepStatus.WAITING,
)
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}"
    f".l{{font-size:{LABEL_PX:g}px;font-weight:600}}.s{{font-size:{SUBLABEL_PX:g}px;opacity:.8}}"
    f".e{{fill:none;stroke:{_EDGE};stroke-width:1.5;stroke-linecap:round;marker-end:url(#a)}}"
    ".m{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}"
    ".waiting,.skipped{stroke-dasharray:4 3}.w{stroke-dasharray:4 4;opacity:.7}"
)


def svg(scene: Scene, record: RunRecord | None, *, title: str = "Workflow") -> str:
    """A standalone SVG document, coloured by the states in the record; None: as if nothing had begun.

    It shows no time, node or id: the same states give the same text.
    """
    width, height = _number(scene.width + 2 * MARGIN), _number(scene.height + 2 * MARGIN)
    steps = {node.name: members(node, record) if record else () for node in scene.nodes}
    waits = {name: ' class="e w"' if _unfinished(some) else ' class="e"' for name, some in steps.items()}
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d" '
        f'width="{width}" height="{height}" viewBox="{-MARGIN:g} {-MARGIN:g} {width} {height}">',
        f'<title id="t">{_text(title)}</title><desc id="d">{_text(_description(scene, steps))}</desc>',
        f"<style>{_STYLE}{_colours(steps.values())}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 .5L7.5 4L0 7.5Z" fill="{_EDGE}"/></marker></defs>',
        *(f'<path{waits[route.source]} d="{curve(route, scene.direction)}"/>' for route in scene.edges),
        *(_node(node, steps[node.name]) for node in scene.nodes),
        "</svg>",
    ]
    return "\n".join(parts)


def _colours(boxes: Iterable[tuple[StepRecord, ...]]) -> str:
    """The rules of the states that are there: each picture is stored with its own."""
    counts = [Counter(step.status for step in steps) for steps in boxes]
    seen = {group_status(count) for count in counts}.union(*counts)
    return "".join(
        f".{status}{{fill:{c.light.fill};stroke:{c.light.stroke}}}.{status}-t{{fill:{c.light.text}}}"
        f".{status}-m{{stroke:{c.light.stroke}}}.{status}-b{{fill:{c.light.stroke}}}"
        for status, c in PALETTE.items()
        if status in seen
    )


def data_uri(svg: str) -> str:
    """For the `src` of an `<img>`."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def curve(route: Route, direction: Direction = "down") -> str:
    """The `d` of an SVG path along the route: lines with rounded corners, S-curves where a piece is aslant."""
    points = route.points
    parts = [f"M{_at(points[0])}"]
    for i, (start, end) in enumerate(pairwise(points), 2):
        following = points[i] if i < len(points) else None
        if not _straight(start, end):
            # The arrowhead takes its direction from the last pixels.
            parts.append(_s_curve(start, end, direction, ARROW if following is None else 0.0))
        elif following and _straight(end, following) and not _straight(start, following):
            radius = min(ROUND, math.dist(start, end) / 2, math.dist(end, following) / 2)
            parts.append(f"L{_at(_towards(end, start, radius))}Q{_at(end)} {_at(_towards(end, following, radius))}")
        else:
            parts.append(f"L{_at(end)}")
    return "".join(parts)


def _s_curve(start: Point, end: Point, direction: Direction, tail: float) -> str:
    (x, y), (x_, y_) = start, end
    if direction == "down":
        middle, stop = (y + y_ - tail) / 2, (x_, y_ - tail)
        handles = (x, middle), (x_, middle)
    else:
        middle, stop = (x + x_ - tail) / 2, (x_ - tail, y_)
        handles = (middle, y), (middle, y_)
    return f"C{_at(handles[0])} {_at(handles[1])} {_at(stop)}" + (f"L{_at(end)}" if tail else "")


def _straight(a: Point, b: Point) -> bool:
    return a[0] == b[0] or a[1] == b[1]


def _towards(a: Point, b: Point, step: float) -> Point:
    """The point at that distance from a on the way to b."""
    part = step / math.dist(a, b)
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _at(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _node(node: Node, steps: tuple[StepRecord, ...]) -> str:
    box, counts = node.box, Counter(step.status for step in steps)
    status = group_status(counts)
    left, middle = box.x + TEXT_LEFT, box.y + box.height / 2
    mark = f"translate({_at((box.x + 8, middle - 8))})"
    return "".join(
        [
            f"<g><title>{_text(_tooltip(node, steps))}</title>",
            _rect(status, box.x + 4, box.y + 4, box.width, box.height, ROUND) if node.size > 1 else "",
            _rect(status, box.x, box.y, box.width, box.height, ROUND),
            f'<path class="m {status}-m" transform="{mark}" d="{MARK_PATH[status]}"/>',
            f'<text class="l {status}-t" x="{_number(left)}" y="{_number(middle - 3)}">{_text(node.label)}</text>',
            f'<text class="s {status}-t" x="{_number(left)}" y="{_number(middle + 13)}">{_text(node.sublabel)}</text>',
            _progress(box, counts) if node.size > 1 and counts else "",
            "</g>",
        ]
    )


def _unfinished(steps: tuple[StepRecord, ...]) -> bool:
    """Whether those that need these steps do not have what they wait for."""
    return any(not step.status.succeeded for step in steps)


def _rect(kind: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
    return f'<rect class="{kind}" {place} rx="{radius:g}"/>'


def group_status(counts: Counter[StepStatus]) -> StepStatus:
    """The state in which a box of several steps is shown; one of which some have ended is running."""
    status = next((status for status in _URGENT if counts[status]), StepStatus.WAITING)
    begun = any(status.ended for status in counts)
    return StepStatus.RUNNING if begun and status in (StepStatus.QUEUED, StepStatus.WAITING) else status


def _progress(box: Box, counts: Counter[StepStatus]) -> str:
    """A bar along the lower border: a piece for each state."""
    left, room, parts = box.x + 8, box.width - 16, []
    for status in _BAR:
        width = room * counts[status] / counts.total()
        if width:
            parts.append(_rect(f"{status}-b", left, box.y + box.height - 4.5, width, 3, 0))
        left += width
    return "".join(parts)


def _tooltip(node: Node, steps: tuple[StepRecord, ...]) -> str:
    if len(steps) != 1:
        return f"{line(node.name, 500)}: {_states(steps)}" if steps else line(node.name, 500)
    step = steps[0]
    where = f" @ {', '.join(step.plan.resources)}" if step.plan.resources else ""
    return line(f"{node.name}: {step.plan.function}{where}, {step.status}", 500)


def _description(scene: Scene, steps: dict[str, tuple[StepRecord, ...]]) -> str:
    total = sum(node.size for node in scene.nodes)
    every = [step for some in steps.values() for step in some]
    text = f"Dependency graph of {counted(total, 'step')}"
    return f"{text}: {_states(every)}" if every else text


def _states(steps: Iterable[StepRecord]) -> str:
    counts = Counter(step.status for step in steps)
    return ", ".join(f"{counts[status]} {status}" for status in StepStatus if counts[status])


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", plain(text)))
