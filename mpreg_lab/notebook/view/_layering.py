"""Which layer a vertex is in, and the dummies by which long edges pass the layers between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from math import ceil
from typing import TypeVar

import msgspec

__all__ = ["Edge", "Layered", "components", "layered", "layers", "neighbours", "topological", "wrapped"]

Edge = tuple[int, int]
T = TypeVar("T")


class Layered(msgspec.Struct, frozen=True):
    """A graph whose edges all join neighbouring layers: long ones are cut in pieces by dummies.

    Attributes:
        real: Numbers below this are vertices, the others dummies.
        layer: Of each vertex and dummy.
        up: The neighbours in the layer before. down: In the layer after.
        path: For each edge of the graph, the dummies from its source to its target.
    """

    real: int
    layer: list[int]
    up: list[list[int]]
    down: list[list[int]]
    path: dict[Edge, tuple[int, ...]]

    def trunks(self, sides: list[list[int]]) -> list[int | None]:
        """For each dummy the one that it must stay in line with on that side (`up` or `down`), if there is one."""
        trunks: list[int | None] = [None] * len(self.layer)
        for dummy in range(self.real, len(self.layer)):
            trunks[dummy] = next((other for other in sides[dummy] if other >= self.real), None)
        return trunks


def topological(count: int, edges: Sequence[Edge]) -> list[int]:
    """Sources first.

    Raises:
        ValueError: If there is a cycle.
    """
    _, down = neighbours(count, edges)
    missing = [0] * count
    for _, target in edges:
        missing[target] += 1
    order = [v for v in range(count) if not missing[v]]
    for vertex in order:
        for target in down[vertex]:
            missing[target] -= 1
            if not missing[target]:
                order.append(target)
    if len(order) < count:
        raise ValueError("the edges form a cycle")
    return order


def neighbours(count: int, edges: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    """For each vertex those before it, and those after it."""
    up: list[list[int]] = [[] for _ in range(count)]
    down: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        down[source].append(target)
        up[target].append(source)
    return up, down


def components(count: int, edges: Sequence[Edge]) -> list[list[int]]:
    """The connected parts, each sorted, in the order of their first vertices."""
    up, down = neighbours(count, edges)
    seen = [False] * count
    parts = []
    for first in range(count):
        if seen[first]:
            continue
        seen[first] = True
        part = [first]
        for vertex in part:
            for other in (*up[vertex], *down[vertex]):
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        parts.append(sorted(part))
    return parts


def layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """A layer for each vertex, from 0: above all that need it, with edges as short as local moves can make them."""
    order = topological(count, edges)
    up, down = neighbours(count, edges)
    layer = [0] * count
    for vertex in order:
        layer[vertex] = max((layer[u] + 1 for u in up[vertex]), default=0)
    for _ in range(8):
        before = list(layer)
        _settle(order, up, down, layer)
        _pull_together(count, edges, layer)
        if layer == before:
            break
    low = min(layer, default=0)
    return [n - low for n in layer]


def _settle(order: list[int], up: list[list[int]], down: list[list[int]], layer: list[int]) -> None:
    """Move each vertex to the side on which it has more edges; on a tie, to its consumers."""
    for vertex in reversed(order):
        if down[vertex] and len(down[vertex]) >= len(up[vertex]):
            layer[vertex] = min(layer[v] for v in down[vertex]) - 1
    for vertex in order:
        if len(up[vertex]) > len(down[vertex]):
            layer[vertex] = max(layer[u] for u in up[vertex]) + 1


def _pull_together(count: int, edges: Sequence[Edge], layer: list[int]) -> None:
    """Move clusters, vertices joined by edges of length 1, down as a whole where that shortens more edges."""
    while slack := [edge for edge in edges if layer[edge[1]] - layer[edge[0]] > 1]:
        cluster = _clusters(count, [e for e in edges if layer[e[1]] - layer[e[0]] == 1])
        gain = [0] * count
        room = [count] * count
        for source, target in slack:
            a, b = cluster[source], cluster[target]
            if a != b:
                gain[a], gain[b] = gain[a] + 1, gain[b] - 1
                room[a] = min(room[a], layer[target] - layer[source] - 1)
        if max(gain) <= 0:
            return
        # All at once: who moves down gives those above only more room, and each gain counts by itself.
        for vertex in range(count):
            if gain[cluster[vertex]] > 0:
                layer[vertex] += room[cluster[vertex]]


def _clusters(count: int, edges: Sequence[Edge]) -> list[int]:
    number = [0] * count
    for i, part in enumerate(components(count, edges)):
        for vertex in part:
            number[vertex] = i
    return number


def wrapped(
    layer: Sequence[int], edges: Sequence[Edge], widths: Sequence[float], limit: float
) -> tuple[list[int], set[int]]:
    """Break layers that are wider than the limit into rows, each a layer of its own.

    Where several such layers follow each other, what is connected stays together: not first all rows of the one layer
    and then all of the next, but bands.

    Returns:
        The layer of each vertex, and the layers that are such rows.
    """
    total = [0.0] * (max(layer, default=-1) + 1)
    for vertex, n in enumerate(layer):
        total[n] += widths[vertex]
    new = [0] * len(layer)
    rows: set[int] = set()
    first = 0
    for wide, run in groupby(range(len(total)), lambda n: total[n] > limit):
        here = list(run)
        inside = [v for v in range(len(layer)) if here[0] <= layer[v] <= here[-1]]
        place = _bands(inside, layer, edges, widths, limit) if wide else {v: layer[v] - here[0] for v in inside}
        for vertex, row in place.items():
            new[vertex] = first + row
        count = max(place.values()) + 1
        if wide:
            rows.update(range(first, first + count))
        first += count
    return new, rows


def _bands(
    run: list[int], layer: Sequence[int], edges: Sequence[Edge], widths: Sequence[float], limit: float
) -> dict[int, int]:
    """The rows for vertices of wide layers that follow each other."""
    number = {vertex: i for i, vertex in enumerate(run)}
    links = [(number[a], number[b]) for a, b in edges if a in number and b in number]
    units = [[run[i] for i in part] for part in components(len(run), links)]
    levels = sorted({layer[v] for v in run})
    if any(sum(widths[v] for v in unit if layer[v] == n) > limit for unit in units for n in levels):
        units = []  # too much hangs together: layer by layer, then
    place: dict[int, int] = {}
    if units:
        widest = max(sum(widths[v] for v in run if layer[v] == n) for n in levels)
        for unit, band in _shared_out(units, [sum(widths[v] for v in unit) for unit in units], ceil(widest / limit)):
            place |= {v: band * len(levels) + layer[v] - levels[0] for v in unit}
        return place
    first = 0
    for n in levels:
        members = [v for v in run if layer[v] == n]
        count = ceil(sum(widths[v] for v in members) / limit)
        place |= {v: first + row for v, row in _shared_out(members, [widths[v] for v in members], count)}
        first += count
    return place


def _shared_out(items: Sequence[T], widths: Sequence[float], count: int) -> Iterator[tuple[T, int]]:
    """Each item with the number of its row, of `count` rows of about the same width."""
    total, done = sum(widths), 0.0
    for item, width in zip(items, widths, strict=True):
        yield item, int(count * (done + width / 2) / total)
        done += width


def layered(layer: Sequence[int], edges: Sequence[Edge]) -> Layered:
    """Cut the long edges. Edges of one source share their dummies, or those of one target where it has more of them."""
    long = [(s, t) for s, t in edges if layer[t] - layer[s] > 1]
    out, into = [0] * len(layer), [0] * len(layer)
    for source, target in long:
        out[source] += 1
        into[target] += 1
    levels = list(layer)
    dummies: dict[tuple[bool, int, int], int] = {}
    path: dict[Edge, tuple[int, ...]] = dict.fromkeys(edges, ())
    for source, target in long:
        by_source = out[source] >= into[target]
        stops = []
        for level in range(layer[source] + 1, layer[target]):
            key = (by_source, source if by_source else target, level)
            if key not in dummies:
                dummies[key] = len(levels)
                levels.append(level)
            stops.append(dummies[key])
        path[source, target] = tuple(stops)
    pieces: dict[Edge, None] = {}
    for (source, target), between in path.items():
        pieces.update(dict.fromkeys(pairwise((source, *between, target))))
    up, down = neighbours(len(levels), sorted(pieces))
    return Layered(len(layer), levels, up, down, path)
