"""Where the nodes of a cluster stand and how its links run: names in, positions out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec

from .format import line
from .text_size import BOLD, shorten, text_width

__all__ = ["ON_CIRCLE", "ClusterScene", "Line", "Rect", "Spot", "arrow", "cluster_scene", "label_spots"]

ON_CIRCLE = 12
"""So many nodes stand on a circle, with their links between them; more stand in rows, where links would hide them."""

LABEL_PX = 13.0
SUBLABEL_PX = 11.0
TEXT_LEFT = 28.0
WIDTH, HEIGHT = 164.0, 48.0
TEXT_ROOM = WIDTH - TEXT_LEFT - 10.0
_COLUMNS = 5
_GAP = 16.0
_BEND = 34.0
_CLEAR = 5.0
_PILL_HEIGHT = 17.0

Point = tuple[float, float]


class Rect(msgspec.Struct, frozen=True):
    """x and y are its top left corner, in px."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Rect) -> bool:
        """Whether the two have a point in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


class Spot(msgspec.Struct, frozen=True):
    """One node: its name, the name as it is written, and where its box is."""

    name: str
    label: str
    box: Rect

    @property
    def middle(self) -> Point:
        """The middle of its box."""
        return self.box.x + self.box.width / 2, self.box.y + self.box.height / 2


class Line(msgspec.Struct, frozen=True):
    """The link between two nodes, given by their positions in the scene: from border to border."""

    a: int
    b: int
    start: Point
    end: Point


class ClusterScene(msgspec.Struct, frozen=True):
    """From (0, 0) to (width, height), in px; nodes in the order of their names, no lines if they stand in rows."""

    width: float
    height: float
    nodes: tuple[Spot, ...]
    lines: tuple[Line, ...]


def cluster_scene(names: Sequence[str]) -> ClusterScene:
    """Place nodes: up to twelve on an ellipse, the first at the top, the others clockwise; more of them in rows."""
    corners = _on_ellipse(len(names)) if len(names) <= ON_CIRCLE else _in_rows(len(names))
    nodes = tuple(
        Spot(name, shorten(line(name, 200), TEXT_ROOM, LABEL_PX * BOLD), Rect(x, y, WIDTH, HEIGHT))
        for name, (x, y) in zip(names, corners, strict=True)
    )
    width = max((spot.box.x for spot in nodes), default=0.0) + WIDTH
    height = max((spot.box.y for spot in nodes), default=0.0) + HEIGHT
    return ClusterScene(width, height, nodes, _lines(nodes) if len(names) <= ON_CIRCLE else ())


def arrow(a: Spot, b: Spot) -> str:
    """The `d` of an SVG path from one node to another, bent to its left: there and back do not lie on each other."""
    (x, y), (x_, y_) = a.middle, b.middle
    length = math.dist((x, y), (x_, y_)) or 1.0
    bend = (x + x_) / 2 + _BEND * (y_ - y) / length, (y + y_) / 2 - _BEND * (x_ - x) / length
    start, end = _border(a.box, bend, _CLEAR), _border(b.box, bend, _CLEAR)
    return f"M{_at(start)}Q{_at(bend)} {_at(end)}"


def label_spots(scene: ClusterScene, labels: Sequence[str]) -> list[Rect]:
    """For each line, where its label stands: on the line, beside other labels and the nodes as far as there is room.

    Args:
        labels: One for each line of the scene; an empty one takes no room.
    """
    taken = [spot.box for spot in scene.nodes]
    found = []
    for link, label in zip(scene.lines, labels, strict=True):
        width = text_width(label, SUBLABEL_PX) + 12 if label else 0.0
        tried = [_pill(link, share, width) for share in (0.5, 0.36, 0.64, 0.25, 0.75, 0.18, 0.82)]
        box = next((pill for pill in tried if not any(map(pill.meets, taken))), tried[0])
        if label:
            taken.append(box)
        found.append(box)
    return found


def _on_ellipse(count: int) -> list[Point]:
    if count == 1:
        return [(0.0, 0.0)]
    # Two side by side; otherwise the first at the top.
    first = math.pi if count == 2 else -math.pi / 2
    right, down = 130.0 + 21.0 * count, min(190.0, 64.0 + 12.0 * count)
    turns = [first + 2 * math.pi * i / count for i in range(count)]
    points = [(right * math.cos(turn), down * math.sin(turn)) for turn in turns]
    left, top = min(x for x, _ in points), min(y for _, y in points)
    return [(round(x - left, 1), round(y - top, 1)) for x, y in points]


def _in_rows(count: int) -> list[Point]:
    places = (divmod(i, _COLUMNS) for i in range(count))
    return [(column * (WIDTH + _GAP), row * (HEIGHT + _GAP)) for row, column in places]


def _lines(nodes: Sequence[Spot]) -> tuple[Line, ...]:
    pairs = combinations(range(len(nodes)), 2)
    return tuple(
        Line(a, b, _border(nodes[a].box, nodes[b].middle), _border(nodes[b].box, nodes[a].middle)) for a, b in pairs
    )


def _border(box: Rect, towards: Point, clear: float = 0.0) -> Point:
    """Where the way from the middle of a box to a point leaves the box, or so many px further."""
    x, y = box.x + box.width / 2, box.y + box.height / 2
    right, down = towards[0] - x, towards[1] - y
    shares = [
        (box.width / 2 + clear) / abs(right) if right else math.inf,
        (box.height / 2 + clear) / abs(down) if down else math.inf,
    ]
    share = min(1.0, *shares)
    return x + right * share, y + down * share


def _pill(link: Line, share: float, width: float) -> Rect:
    (x, y), (x_, y_) = link.start, link.end
    return Rect(x + (x_ - x) * share - width / 2, y + (y_ - y) * share - _PILL_HEIGHT / 2, width, _PILL_HEIGHT)


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
