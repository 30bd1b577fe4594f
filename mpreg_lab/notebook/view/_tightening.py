"""Less empty room in drawings that came out wide: Brandes and Köpf keep as much straight as can be, at any width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

from ._layering import Edge, Layered
from ._ordering import HUGE, Order

__all__ = ["tightened"]

TOO_WIDE = 1.25
"""Times the width of the widest layer, packed."""


def tightened(graph: Layered, order: Order, reach: Sequence[float], x: list[float], loose: set[Edge]) -> list[float]:
    """Pull each vertex to the mean, at last to the median, of its neighbours, as far as those beside it leave room.

    The straight part of a long edge moves as one. What is not too wide stays as it is.
    """
    packed = max(2 * sum(reach[v] for v in layer) for layer in order)
    if max(x) - min(x) <= TOO_WIDE * packed or len(x) > HUGE:
        return x
    x = list(x)
    before, after = _beside(order, reach)
    pairs = [(unit, others) for unit in _units(graph, order, x) if (others := _pulls(graph, unit, loose))]
    for i in range(16):
        for unit, others in reversed(pairs) if i % 2 else pairs:
            places = sorted(x[v] for v in others)
            middle = (len(places) - 1) // 2
            some = places if i < 12 else places[middle : len(places) - middle]
            wanted = sum(some) / len(some)
            low = max((x[before[v][0]] + before[v][1] for v in unit if v in before), default=-inf)
            high = min((x[after[v][0]] - after[v][1] for v in unit if v in after), default=inf)
            if low <= high:
                place = min(max(wanted, low), high)
                for v in unit:
                    x[v] = place
    return x


def _units(graph: Layered, order: Order, x: Sequence[float]) -> list[list[int]]:
    """What moves as one, from above: single vertices and the straight parts of long edges."""
    trunks = graph.trunks(graph.up)
    unit: dict[int, list[int]] = {}
    for layer in order:
        for node in layer:
            above = trunks[node]
            unit[node] = unit[above] if above is not None and abs(x[above] - x[node]) < 0.01 else []
            unit[node].append(node)
    return [nodes for node, nodes in unit.items() if nodes[0] == node]


def _pulls(graph: Layered, unit: list[int], loose: set[Edge]) -> list[int]:
    inside = set(unit)
    above = [u for v in unit for u in graph.up[v] if u not in inside and (u, v) not in loose]
    below = [u for v in unit for u in graph.down[v] if u not in inside and (v, u) not in loose]
    return above + below


def _beside(order: Order, reach: Sequence[float]) -> tuple[dict[int, tuple[int, float]], dict[int, tuple[int, float]]]:
    """For each node the one to its left, and the one to its right, with the distance that it must keep."""
    before, after = {}, {}
    for layer in order:
        for a, b in pairwise(layer):
            before[b], after[a] = (a, reach[a] + reach[b]), (b, reach[a] + reach[b])
    return before, after
