"""The order of the vertices in each layer, with few crossings.

Sweeps by barycentre and by median, as in Gansner et al. (1993), section 3, with exchanges of neighbours; crossings are
counted as in Barth, Jünger and Mutzel, "Simple and efficient bilayer cross counting" (2002).
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence

from ._layering import Layered

__all__ = ["HUGE", "Order", "crossings", "ordered"]

Order = list[list[int]]

LARGE = 4_000
HUGE = 50_000
"""Vertices and dummies; beyond these fewer ways to make the picture better are tried."""


def ordered(graph: Layered) -> Order:
    """The vertices and dummies of each layer from left to right."""
    size = len(graph.layer)
    sweeps = max(1 if size > HUGE else 4, min(24, 16_000 // (size + 1)))
    best: Order = []
    fewest = -1
    for before, after in ((graph.up, graph.down), (graph.down, graph.up)):
        order, count = _improved(graph, _walk(graph, before, after), sweeps)
        if fewest < 0 or count < fewest:
            best, fewest = order, count
        if fewest == 0 or size > LARGE:
            break
    return best


def crossings(graph: Layered, order: Order) -> int:
    """How many pairs of edge pieces cross."""
    place = _places(order, len(graph.layer))
    return sum(_crossings(layer, graph.down, place) for layer in order)


def _crossings(layer: Sequence[int], down: Sequence[Sequence[int]], place: Sequence[int]) -> int:
    """Of the pieces from this layer to the next: inversions in the sequence of their lower ends."""
    count = 0
    ends: list[int] = []
    for vertex in layer:
        new = [place[v] for v in down[vertex]]
        total = len(ends)
        for end in new:
            count += total - bisect_right(ends, end)
        for end in new:
            insort(ends, end)
    return count


def _places(order: Order, size: int) -> list[int]:
    place = [0] * size
    for layer in order:
        for i, vertex in enumerate(layer):
            place[vertex] = i
    return place


def _walk(graph: Layered, before: list[list[int]], after: list[list[int]]) -> Order:
    """The order in which a depth-first walk from the vertices with nothing before them comes by: plain for trees."""
    order: Order = [[] for _ in range(max(graph.layer, default=-1) + 1)]
    seen = [False] * len(graph.layer)
    roots = [v for v in range(graph.real) if not before[v]]
    stack = roots[::-1]
    while stack:
        vertex = stack.pop()
        if seen[vertex]:
            continue
        seen[vertex] = True
        order[graph.layer[vertex]].append(vertex)
        stack.extend(reversed(_centred(graph, after[vertex])))
    return order


def _centred(graph: Layered, nodes: Sequence[int]) -> list[int]:
    """Vertices in their order, dummies in the middle of them: the trunk of a wrapped fan-out runs down its middle."""
    real = sorted(v for v in nodes if v < graph.real)
    middle = len(real) // 2
    return [*real[:middle], *sorted(v for v in nodes if v >= graph.real), *real[middle:]]


def _improved(graph: Layered, order: Order, sweeps: int) -> tuple[Order, int]:
    best = [list(layer) for layer in order]
    fewest = crossings(graph, best)
    idle = 0
    for i in range(sweeps):
        if fewest == 0 or idle > 7:
            break
        _sweep(graph, order, downwards=i % 2 == 0, centre=_mean if i % 4 < 2 else _median, flip=i % 8 > 3)
        if len(graph.layer) < LARGE:
            _exchange(graph, order)
        count = crossings(graph, order)
        idle += 1
        if count < fewest:
            best, fewest, idle = [list(layer) for layer in order], count, 0
    return best, fewest


def _sweep(
    graph: Layered, order: Order, *, downwards: bool, centre: Callable[[Sequence[int]], float], flip: bool
) -> None:
    """Sort each layer by the centres of the neighbours in the layer before it; flip: ties in the reverse order."""
    fixed = graph.up if downwards else graph.down
    place = _places(order, len(graph.layer))
    levels: Iterable[int] = range(1, len(order)) if downwards else range(len(order) - 2, -1, -1)
    for level in levels:
        layer = order[level]
        keys: dict[int, float] = {}
        for vertex in layer:
            others = fixed[vertex]
            if others:
                keys[vertex] = place[others[0]] if len(others) == 1 else centre([place[v] for v in others])
        moving = [v for v in layer if v in keys]
        if flip:
            moving.reverse()
        moving.sort(key=keys.__getitem__)
        if len(moving) < len(layer):
            # One without neighbours on that side says nothing about its place: it keeps it.
            rest = iter(moving)
            moving = [next(rest) if v in keys else v for v in layer]
        order[level] = moving
        for i, vertex in enumerate(moving):
            place[vertex] = i


def _mean(places: Sequence[int]) -> float:
    return sum(places) / len(places)


def _median(places: Sequence[int]) -> float:
    """The weighted median of Gansner et al.: of an even number, nearer to the side that is packed more tightly."""
    line = sorted(places)
    middle = len(line) // 2
    if len(line) % 2:
        return line[middle]
    left, right = line[middle - 1] - line[0], line[-1] - line[middle]
    if len(line) == 2 or left + right == 0:
        return (line[middle - 1] + line[middle]) / 2
    return (line[middle - 1] * right + line[middle] * left) / (left + right)


def _exchange(graph: Layered, order: Order) -> None:
    """Swap neighbours as long as that saves crossings."""
    place = _places(order, len(graph.layer))
    for layer in order:
        ends = [_ends(graph, vertex, place) for vertex in layer]
        again = True
        while again:
            again = False
            for i in range(len(layer) - 1):
                (up, down), (up_, down_) = ends[i], ends[i + 1]
                # Only if there are crossings now can there be fewer.
                if (up[-1] > up_[0] or down[-1] > down_[0]) and _saving(up, up_) + _saving(down, down_) > 0:
                    layer[i], layer[i + 1] = layer[i + 1], layer[i]
                    ends[i], ends[i + 1] = ends[i + 1], ends[i]
                    again = True
        for i, vertex in enumerate(layer):
            place[vertex] = i


def _ends(graph: Layered, vertex: int, place: list[int]) -> tuple[list[float], list[float]]:
    """The places of its neighbours, sorted; where it has none, one that crosses nothing."""
    up: list[float] = sorted(place[v] for v in graph.up[vertex])
    down: list[float] = sorted(place[v] for v in graph.down[vertex])
    return up or [math.nan], down or [math.nan]


def _saving(left: Sequence[float], right: Sequence[float]) -> int:
    """Crossings between the edges of two neighbours that a swap of them would save; both sorted."""
    return sum((a > b) - (a < b) for a in left for b in right)
