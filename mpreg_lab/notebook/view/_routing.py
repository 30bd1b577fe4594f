"""Where edges run: through the gaps between the layers, and straight past the layers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from ._layering import Edge, Layered
from ._ordering import Order

__all__ = ["Fans", "Point", "Routing", "fans", "routing"]

Point = tuple[float, float]

Fans = tuple[list[list[Edge]], list[list[Edge]]]
"""Those that come together in one node, and those that spread from one."""

FAN_FROM = 4
"""Pieces at one node make a fan."""

TRACK_PX = 10.0


class Routing(msgspec.Struct, frozen=True):
    """What is needed to route an edge.

    Attributes:
        x: The middle of each vertex and dummy.
        rows: Top and bottom of each layer.
        heights: Of the vertices.
        bus: For pieces on a horizontal line, its y.
    """

    graph: Layered
    x: Sequence[float]
    rows: list[Point]
    heights: Sequence[float]
    bus: dict[Edge, float]

    def top(self, vertex: int) -> float:
        """The upper border of a vertex, which stands in the middle of its layer."""
        top, bottom = self.rows[self.graph.layer[vertex]]
        return round((top + bottom - self.heights[vertex]) / 2, 1)

    def route(self, edge: Edge) -> tuple[Point, ...]:
        """From the middle of the lower border to the middle of the upper one."""
        source, target = edge
        points = [(self.x[source], self.top(source) + self.heights[source])]
        chain = (source, *self.graph.path[edge], target)
        for a, b in pairwise(chain):
            if self.x[a] == self.x[b]:
                continue
            points.append((self.x[a], self.rows[self.graph.layer[a]][1]))
            if (a, b) in self.bus:
                points += [(self.x[a], self.bus[a, b]), (self.x[b], self.bus[a, b])]
            points.append((self.x[b], self.rows[self.graph.layer[b]][0]))
        points.append((self.x[target], self.top(target)))
        return _without_needless(points)


def fans(graph: Layered, order: Order, wrapped: set[int]) -> list[Fans]:
    """Below each layer, the pieces that share a horizontal line: wide fans that come together, and that spread.

    Args:
        graph: The graph.
        order: Of its layers.
        wrapped: Layers that are rows of a layer which was too wide: there are fans at these alone.
    """
    result: list[Fans] = []
    taken: set[Edge] = set()
    for level, nodes in enumerate(order):
        both: Fans = ([], [])
        if wrapped & {level, level + 1} and level + 1 < len(order):
            into = [[(u, v) for u in graph.up[v]] for v in order[level + 1] if len(graph.up[v]) >= FAN_FROM]
            out = [[(u, v) for v in graph.down[u]] for u in nodes if len(graph.down[u]) >= FAN_FROM]
            for found, candidates in zip(both, (into, out), strict=True):
                for pieces in candidates:
                    fan = [piece for piece in pieces if piece not in taken and min(piece) < graph.real]
                    if len(fan) >= FAN_FROM:
                        found.append(fan)
                        taken.update(fan)
        result.append(both)
    return result


def routing(
    graph: Layered, order: Order, x: Sequence[float], heights: Sequence[float], gap: float, lines: list[Fans]
) -> Routing:
    """Place the layers: `gap` px apart, and more where edges go far sideways, so that they are not too flat."""
    rows: list[Point] = []
    bus: dict[Edge, float] = {}
    top = 0.0
    for nodes, both in zip(order, lines, strict=True):
        bottom = round(top + max((heights[v] for v in nodes if v < graph.real), default=0.0), 1)
        rows.append((top, bottom))
        tracks = _tracks(both, x)
        bus |= {piece: bottom + (track + 1.5) * TRACK_PX for piece, track in tracks.items()}
        curved = (abs(x[v] - x[u]) for u in nodes for v in graph.down[u] if (u, v) not in tracks)
        stretch = min(1.5 * gap, max(0.0, max(curved, default=0.0) - 3 * gap) * 0.08)
        needed = (max(tracks.values()) + 3.5) * TRACK_PX if tracks else 0.0
        top = round(bottom + max(gap + stretch, needed), 1)
    return Routing(graph, x, rows, heights, bus)


def _tracks(both: Fans, x: Sequence[float]) -> dict[Edge, int]:
    """For each piece of a fan the number of its line, counted from above.

    Fans that come together lie above those that spread: the other way round they would cross.
    """
    tracks: dict[Edge, int] = {}
    first = 0
    for some in both:
        ends: list[float] = []
        for fan in some:
            xs = [x[node] for piece in fan for node in piece]
            track = next((i for i, end in enumerate(ends) if end + TRACK_PX < min(xs)), len(ends))
            ends[track : track + 1] = [max(xs)]
            tracks |= dict.fromkeys(fan, first + track)
        first += len(ends)
    return tracks


def _without_needless(points: Sequence[Point]) -> tuple[Point, ...]:
    """Less those between two others on one vertical or horizontal line, and less repetitions."""
    kept: list[Point] = []
    for point in dict.fromkeys(points):
        while len(kept) > 1 and any(kept[-2][axis] == kept[-1][axis] == point[axis] for axis in (0, 1)):
            kept.pop()
        kept.append(point)
    return tuple(kept)
