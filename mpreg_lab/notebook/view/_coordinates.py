"""Coordinates along the layers: long edges straight, parents in the middle of their children.

Brandes and Köpf, "Fast and simple horizontal coordinate assignment" (2001): vertices are aligned with the median of
their neighbours in four ways (from above or below, leaning left or right), and take the mean of the two middle
results. Blocks are compacted by longest paths in the graph of blocks, which knows the widths of the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ._layering import Edge, Layered
from ._ordering import HUGE, Order

__all__ = ["centres"]


def centres(graph: Layered, order: Order, reach: Sequence[float], loose: set[Edge]) -> list[float]:
    """The middle of each vertex and dummy.

    Args:
        graph: The graph.
        order: Of its layers.
        reach: Half the width of each, and of the gap it needs.
        loose: Pieces that need not be straight.
    """
    trunks = graph.trunks(graph.up), graph.trunks(graph.down)
    places = [0] * len(graph.layer)
    for layer in order:
        for i, vertex in enumerate(layer):
            places[vertex] = i
    barred = _barred(graph, order, places, trunks[0])
    barred.update(loose, ((v, u) for u, v in loose))
    results = []
    ways = ((order, graph.up, trunks), (order[::-1], graph.down, trunks[::-1]))
    # From above only, for the very large: half the cost.
    for layers, fixed, (near, far) in ways if len(reach) < HUGE else ways[:1]:
        medians = _medians(fixed, places, near, far)
        for sign in (1, -1):
            rows = [row[::sign] for row in layers]
            root = _roots(rows, medians, places, barred, sign)
            results.append([sign * x for x in _compacted(rows, root, reach)])
    return _balanced(results)


def _barred(graph: Layered, order: Order, places: list[int], trunk: list[int | None]) -> set[Edge]:
    """Pieces that cross a piece between two dummies: the long edge will be straight, not they. Both ways round."""
    barred: set[Edge] = set()
    for upper, lower in pairwise(order):
        left, waiting = 0, []
        for vertex in lower:
            waiting.append(vertex)
            above = trunk[vertex]
            if above is None and vertex != lower[-1]:
                continue
            right = len(upper) - 1 if above is None else places[above]
            for v in waiting:
                if trunk[v] is None:
                    crossing = [u for u in graph.up[v] if not left <= places[u] <= right]
                    barred.update((u, v) for u in crossing)
                    barred.update((v, u) for u in crossing)
            left, waiting = right, []
    return barred


def _medians(
    fixed: list[list[int]], places: list[int], near: list[int | None], far: list[int | None]
) -> list[list[int]]:
    """The neighbours, one or two, that each node would best be in line with; a dummy with the next of its edge only.

    Args:
        near: The dummy that a dummy continues on the fixed side. far: On the other side.
    """
    medians: list[list[int]] = []
    for node, others in enumerate(fixed):
        trunk = near[node]
        line = [trunk] if trunk is not None else sorted(others, key=places.__getitem__)
        half = (len(line) - 1) // 2
        medians.append([v for v in line[half : len(line) - half] if far[v] is None or far[v] == node])
    return medians


def _roots(rows: Order, medians: list[list[int]], places: list[int], barred: set[Edge], sign: int) -> list[int]:
    """For each node the first of its block: the nodes that will stand in one line."""
    root = list(range(len(medians)))
    for row in rows[1:]:
        free = -1 if sign > 0 else len(medians)
        for node in row:
            for other in medians[node][::sign]:
                if (places[other] - free) * sign > 0 and (other, node) not in barred:
                    root[node] = root[other]
                    free = places[other]
                    break
    return root


def _compacted(rows: Order, root: list[int], reach: Sequence[float]) -> list[float]:
    """Each block as far left as it can go, then as near to its right neighbours as these leave room."""
    after: dict[int, list[tuple[int, float]]] = {block: [] for block in dict.fromkeys(root)}
    before = dict.fromkeys(after, 0)
    for row in rows:
        for a, b in pairwise(row):
            link = (root[b], reach[a] + reach[b])
            links = after[root[a]]
            if not links or links[-1] != link:  # long edges run side by side for many rows
                links.append(link)
                before[link[0]] += 1
    x = dict.fromkeys(after, 0.0)
    line = [block for block in after if not before[block]]
    for block in line:
        for other, gap in after[block]:
            x[other] = max(x[other], x[block] + gap)
            before[other] -= 1
            if not before[other]:
                line.append(other)
    for block in reversed(line):
        if after[block]:
            x[block] = min([x[other] - gap for other, gap in after[block]])
    return [x[block] for block in root]


def _balanced(results: list[list[float]]) -> list[float]:
    """Put them side by side at the narrowest one, and take the mean of the middle two."""
    narrow = min(results, key=lambda xs: max(xs) - min(xs))
    left, right = min(narrow), max(narrow)
    aligned = []
    for i, xs in enumerate(results):
        shift = left - min(xs) if i % 2 == 0 else right - max(xs)
        aligned.append([x + shift for x in xs])
    half = len(results) // 2
    return [sum(sorted(ways)[half - 1 : half + 1]) / 2 for ways in zip(*aligned, strict=True)]
