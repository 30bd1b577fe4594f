"""Where the boxes and arrows of a graph go: layers, few crossings, straight long edges.

The method is Sugiyama's, in the form of Gansner, Koutsofios, North and Vo, "A technique for drawing directed graphs"
(1993): layers (`_layering`), an order in each layer (`_ordering`), coordinates (`_coordinates`), routes (here).
Same input, same output; the order of the edges does not matter, that of the vertices breaks ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from ._coordinates import centres
from ._layering import Edge, components, layered, layers, topological, wrapped
from ._ordering import ordered
from ._routing import Point, fans, routing
from ._tightening import tightened

__all__ = ["Box", "Direction", "Layout", "Route", "Vertex", "layout"]

Direction = Literal["down", "right"]
Size = tuple[float, float]

ROW_LIMIT_PX = 1600.0
"""A layer, and a row of components, is broken into several rows beyond this: readable on a 13 inch screen."""


class Vertex(msgspec.Struct, frozen=True):
    """What is to be placed; sizes in px."""

    name: str
    width: float
    height: float


class Box(msgspec.Struct, frozen=True):
    """A placed vertex: x and y are its top left corner, in px.

    Attributes:
        layer: Counted within its connected component; every edge leads to a higher one.
    """

    name: str
    x: float
    y: float
    width: float
    height: float
    layer: int


class Route(msgspec.Struct, frozen=True):
    """An edge: points from the border of source to the border of target, in px.

    A piece between two points either runs straight along the direction of the layout, past a layer, or lies between
    two layers. There it may be drawn as a line or as an S-curve with tangents in that direction: neither hits a box.
    Edges of one source, or of one target, share their way past layers.
    """

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


class Layout(msgspec.Struct, frozen=True):
    """A drawing from (0, 0) to (width, height), in px; boxes in the order of the vertices."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]


def layout(
    vertices: Sequence[Vertex],
    edges: Sequence[tuple[str, str]],
    *,
    gap_x: float = 20.0,
    gap_y: float = 40.0,
    direction: Direction = "down",
) -> Layout:
    """Place an acyclic graph; an edge given twice counts once.

    Args:
        gap_x: px between neighbours in a layer.
        gap_y: px between layers, at least; wide fans get more. Both are turned with the direction.

    Raises:
        ValueError: If a name is double, an edge names no vertex, or edges form a cycle.
    """
    links = _links([vertex.name for vertex in vertices], edges)
    turn = direction == "right"
    sizes = [(v.height, v.width) if turn else (v.width, v.height) for v in vertices]
    parts, lone = [], []
    for members, inner in _links_by_part(len(vertices), links):
        if inner:
            parts.append(_part(members, inner, sizes, gap_x, gap_y))
        else:
            lone += members
    if lone:
        parts.append(_grid(lone, sizes, gap_x, max((part.width for part in parts), default=0.0)))
    return _drawn(vertices, _packed(parts, 2 * gap_x, gap_y), turn=turn)


class _Part(msgspec.Struct, frozen=True):
    """A piece of the drawing, in numbers of vertices; layers run down.

    Attributes:
        places: Vertex to x and y of its top left corner, and its layer.
    """

    width: float
    height: float
    places: dict[int, tuple[float, float, int]]
    routes: dict[Edge, tuple[Point, ...]]


def _links(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[Edge]:
    number = {name: i for i, name in enumerate(names)}
    if len(number) < len(names):
        raise ValueError("two vertices have one name")
    unknown = sorted({name for edge in edges for name in edge if name not in number})
    if unknown:
        raise ValueError(f"edges name vertices that are not there: {', '.join(map(repr, unknown[:5]))}")
    links = sorted({(number[source], number[target]) for source, target in edges})
    topological(len(names), links)
    return links


def _links_by_part(count: int, links: list[Edge]) -> list[tuple[list[int], list[Edge]]]:
    """The connected parts with their links."""
    parts: list[tuple[list[int], list[Edge]]] = [(part, []) for part in components(count, links)]
    home = {vertex: inner for part, inner in parts for vertex in part}
    for link in links:
        home[link[0]].append(link)
    return parts


def _part(members: list[int], links: list[Edge], sizes: Sequence[Size], gap_x: float, gap_y: float) -> _Part:
    """Lay out one connected part."""
    local = {vertex: i for i, vertex in enumerate(members)}
    edges = [(local[source], local[target]) for source, target in links]
    widths = [sizes[vertex][0] for vertex in members]
    heights = [sizes[vertex][1] for vertex in members]
    layer, rows = wrapped(layers(len(members), edges), edges, [width + gap_x for width in widths], ROW_LIMIT_PX + gap_x)
    graph = layered(layer, edges)
    order = ordered(graph)
    half = [width / 2 for width in widths] + [0.0] * (len(graph.layer) - len(widths))
    reach = [side + gap_x * (0.5 if node < graph.real else 0.25) for node, side in enumerate(half)]
    lines = fans(graph, order, rows)
    loose = {piece for both in lines for some in both for fan in some for piece in fan}
    x = tightened(graph, order, reach, centres(graph, order, reach, loose), loose)
    left = min(middle - side for middle, side in zip(x, half, strict=True))
    x = [round(middle - left, 1) for middle in x]
    routes = routing(graph, order, x, heights, gap_y, lines)
    return _Part(
        max(middle + side for middle, side in zip(x, half, strict=True)),
        routes.rows[-1][1],
        {v: (x[i] - half[i], routes.top(i), graph.layer[i]) for i, v in enumerate(members)},
        {link: routes.route(edge) for link, edge in zip(links, edges, strict=True)},
    )


def _grid(lone: list[int], sizes: Sequence[Size], gap: float, width: float) -> _Part:
    """Rows of vertices without edges, about as wide as the rest, or as a page."""
    cell_x = max(sizes[v][0] for v in lone) + gap
    cell_y = max(sizes[v][1] for v in lone) + gap
    area = len(lone) * cell_x * cell_y
    wanted = min(ROW_LIMIT_PX, max(width, math.sqrt(3 * area)))
    columns = max(1, min(len(lone), int((wanted + gap) // cell_x)))
    places = {v: (i % columns * cell_x, i // columns * cell_y, 0) for i, v in enumerate(lone)}
    return _Part(columns * cell_x - gap, -(-len(lone) // columns) * cell_y - gap, places, {})


def _packed(parts: Sequence[_Part], gap_x: float, gap_y: float) -> _Part:
    """Side by side, in rows of limited width, tops in line."""
    if len(parts) == 1:
        return parts[0]
    widest = max([ROW_LIMIT_PX, *(part.width for part in parts)])
    places, routes = {}, {}
    width = height = left = top = 0.0
    for part in parts:
        if left and left + part.width > widest:
            left, top = 0.0, height + gap_y
        for vertex, (x, y, layer) in part.places.items():
            places[vertex] = (x + left, y + top, layer)
        for link, points in part.routes.items():
            routes[link] = tuple((round(x + left, 1), round(y + top, 1)) for x, y in points)
        width, height = max(width, left + part.width), max(height, top + part.height)
        left += part.width + gap_x
    return _Part(width, height, places, routes)


def _drawn(vertices: Sequence[Vertex], whole: _Part, *, turn: bool) -> Layout:
    """With names, turned if the layers run to the right."""

    def point(x: float, y: float) -> Point:
        return (round(y, 1), round(x, 1)) if turn else (round(x, 1), round(y, 1))

    boxes = []
    for i, vertex in enumerate(vertices):
        x, y, layer = whole.places[i]
        boxes.append(Box(vertex.name, *point(x, y), vertex.width, vertex.height, layer))
    routes = []
    for (source, target), points in sorted(whole.routes.items()):
        turned = tuple((y, x) for x, y in points) if turn else points
        routes.append(Route(vertices[source].name, vertices[target].name, turned))
    return Layout(*point(whole.width, whole.height), tuple(boxes), tuple(routes))
