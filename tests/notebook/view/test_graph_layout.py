"""What makes a drawing good, measured: no overlaps, few crossings, straight where it can be."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpreg_lab.notebook.view._layering import layered, layers
from mpreg_lab.notebook.view._ordering import crossings, ordered
from mpreg_lab.notebook.view.graph_layout import ROW_LIMIT_PX, Box, Direction, Layout, Vertex, layout

Edges = list[tuple[str, str]]


def draw(edges: Edges, *lone: str, direction: Direction = "down", width: float = 100) -> Layout:
    names = dict.fromkeys([*(name for edge in edges for name in edge), *lone])
    return layout([Vertex(name, width, 40) for name in names], edges, direction=direction)


def box(drawing: Layout, name: str) -> Box:
    return next(b for b in drawing.boxes if b.name == name)


def middle(drawing: Layout, name: str) -> float:
    b = box(drawing, name)
    return b.x + b.width / 2


def fewest_crossings(edges: Edges) -> int:
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    links = sorted({(names.index(a), names.index(b)) for a, b in edges})
    graph = layered(layers(len(names), links), links)
    return crossings(graph, ordered(graph))


def assert_sound(drawing: Layout, direction: Direction = "down") -> None:
    """No boxes overlap, routes lead from border to border, forwards, and through no box."""
    boxes = {b.name: b for b in drawing.boxes}
    along = 1 if direction == "down" else 0
    for b in drawing.boxes:
        assert -0.1 <= b.x <= b.x + b.width <= drawing.width + 0.2
        assert -0.1 <= b.y <= b.y + b.height <= drawing.height + 0.2
    for a, b in combinations(drawing.boxes, 2):
        assert apart(a, b), f"{a.name} and {b.name} overlap"
    for route in drawing.routes:
        source, target = boxes[route.source], boxes[route.target]
        assert source.layer < target.layer
        assert route.points[0] == pytest.approx(port(source, direction, 1.0), abs=0.2)
        assert route.points[-1] == pytest.approx(port(target, direction, 0.0), abs=0.2)
        for p, q in pairwise(route.points):
            assert p[along] <= q[along]
            for b in drawing.boxes:
                assert not through(b, p, q), f"{route.source} -> {route.target} runs through {b.name}"


def apart(a: Box, b: Box) -> bool:
    return (
        a.x + a.width <= b.x + 0.2
        or b.x + b.width <= a.x + 0.2
        or a.y + a.height <= b.y + 0.2
        or b.y + b.height <= a.y + 0.2
    )


def port(b: Box, direction: Direction, part: float) -> tuple[float, float]:
    if direction == "down":
        return b.x + b.width / 2, b.y + b.height * part
    return b.x + b.width * part, b.y + b.height / 2


def through(b: Box, p: tuple[float, float], q: tuple[float, float]) -> bool:
    """Whether the rectangle around the piece, in which an S-curve stays, meets the inside of the box."""
    (x, y), (x_, y_) = p, q
    return (
        min(x, x_) < b.x + b.width - 0.3
        and max(x, x_) > b.x + 0.3
        and min(y, y_) < b.y + b.height - 0.3
        and max(y, y_) > b.y + 0.3
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Vertex], Edges]:
    count = draw(st.integers(0, 24))
    size = st.integers(10, 300)
    vertices = [Vertex(f"v{i}", draw(size), draw(st.integers(10, 80))) for i in range(count)]
    pair = st.tuples(st.integers(0, max(0, count - 1)), st.integers(0, max(0, count - 1)))
    pairs = draw(st.lists(pair, max_size=50)) if count else []
    return vertices, [(f"v{min(p)}", f"v{max(p)}") for p in pairs if p[0] != p[1]]


@given(graphs(), st.sampled_from(["down", "right"]))
@settings(max_examples=200, deadline=None)
def test_any_graph_is_drawn_soundly(graph, direction):
    vertices, edges = graph

    drawing = layout(vertices, edges, direction=direction)

    assert [b.name for b in drawing.boxes] == [v.name for v in vertices]
    assert {(r.source, r.target) for r in drawing.routes} == set(edges)
    assert_sound(drawing, direction)


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_edges_does_not_matter(graph, random):
    vertices, edges = graph
    shuffled = [*edges, *edges[:3]]
    random.shuffle(shuffled)

    assert layout(vertices, shuffled) == layout(vertices, edges)


@given(graphs())
@settings(max_examples=50, deadline=None)
def test_right_is_down_turned(graph):
    vertices, edges = graph
    turned = [Vertex(v.name, v.height, v.width) for v in vertices]

    right, down = layout(turned, edges, direction="right"), layout(vertices, edges)

    assert [(b.y, b.x) for b in right.boxes] == [(b.x, b.y) for b in down.boxes]


def test_an_empty_graph_is_empty():
    assert layout([], []) == Layout(0.0, 0.0, (), ())


def test_a_chain_is_straight():
    drawing = draw([("a", "b"), ("b", "c"), ("c", "d")])

    assert len({middle(drawing, name) for name in "abcd"}) == 1
    assert all(len(route.points) == 2 for route in drawing.routes)


def test_boxes_of_a_chain_stand_in_line_whatever_their_width():
    drawing = layout([Vertex("a", 50, 40), Vertex("b", 210, 60), Vertex("c", 120, 30)], [("a", "b"), ("b", "c")])

    assert len({middle(drawing, name) for name in "abc"}) == 1


def test_a_diamond_is_symmetric():
    drawing = draw([("a", "l"), ("a", "r"), ("l", "z"), ("r", "z")])

    centre = middle(drawing, "a")
    assert middle(drawing, "z") == centre
    assert centre - middle(drawing, "l") == pytest.approx(middle(drawing, "r") - centre)
    assert middle(drawing, "l") < middle(drawing, "r")


def test_a_parent_stands_in_the_middle_of_its_children_and_keeps_their_order():
    drawing = draw([("root", f"leaf{i}") for i in range(7)])

    middles = [middle(drawing, f"leaf{i}") for i in range(7)]
    assert middles == sorted(middles)
    assert middle(drawing, "root") == pytest.approx(middles[3])


def test_a_long_edge_is_straight_past_the_layers_between():
    drawing = draw([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "e")])

    long = next(r for r in drawing.routes if (r.source, r.target) == ("a", "e"))
    assert len(long.points) == 4
    assert long.points[1][0] == long.points[2][0]


def test_a_step_stands_just_above_the_only_one_that_needs_it():
    drawing = draw([("a", "b"), ("b", "c"), ("c", "d"), ("config", "d"), ("key", "config")])

    assert box(drawing, "config").layer == 2
    assert box(drawing, "key").layer == 1


def test_a_whole_part_moves_to_the_one_that_needs_it():
    chain = [(f"c{i}", f"c{i + 1}") for i in range(6)]
    drawing = draw([*chain, ("s", "x"), ("s", "y"), ("x", "z"), ("y", "z"), ("z", "c6")])

    assert [box(drawing, name).layer for name in "sxyz"] == [3, 4, 4, 5]


def binary_tree(depth: int) -> Edges:
    return [(f"n{i}", f"n{child}") for i in range(1, 2**depth) for child in (2 * i, 2 * i + 1)]


def test_trees_have_no_crossings():
    tree = binary_tree(4)

    assert fewest_crossings(tree) == 0
    assert fewest_crossings([(b, a) for a, b in tree]) == 0
    # The same tree with its leaves listed in a bad order.
    assert fewest_crossings(sorted(tree, key=lambda edge: edge[1][::-1])) == 0


def test_a_ladder_has_no_crossings():
    sides = [(f"{side}{i}", f"{side}{i + 1}") for i in range(6) for side in "lr"]
    rungs = [(f"l{i}", f"r{i + 1}") for i in range(6)]

    assert fewest_crossings(sides + rungs) == 0


@pytest.mark.parametrize(("upper", "lower"), [(2, 2), (3, 3), (3, 4), (4, 4)])
def test_a_complete_bipartite_graph_has_just_the_crossings_that_it_must(upper, lower):
    edges = [(f"a{i}", f"b{j}") for i in range(upper) for j in range(lower)]

    assert fewest_crossings(edges) == upper * (upper - 1) * lower * (lower - 1) // 4


def test_a_reversed_matching_is_untangled():
    down = [(f"a{i}", f"b{9 - i}") for i in range(10)]
    spine = [(f"a{i}", f"b{8 - i}") for i in range(9)]

    assert fewest_crossings(down + spine) == 0


def test_a_fan_out_of_100_is_wrapped_into_rows_that_fit_the_page():
    leaves = [f"leaf{i}" for i in range(100)]
    drawing = draw([("root", leaf) for leaf in leaves] + [(leaf, "join") for leaf in leaves])

    assert_sound(drawing)
    assert drawing.width <= ROW_LIMIT_PX * 1.1
    rows: dict[float, list[str]] = {}
    for leaf in leaves:
        rows.setdefault(box(drawing, leaf).y, []).append(leaf)
    assert max(map(len, rows.values())) - min(map(len, rows.values())) <= 1
    assert [leaf for y in sorted(rows) for leaf in rows[y]] == leaves


def test_what_follows_a_wrapped_step_stays_below_it():
    edges = [("s", f"a{i}") for i in range(40)] + [(f"a{i}", f"b{i}") for i in range(40)]
    drawing = draw([*edges, *((f"b{i}", "join") for i in range(40))])

    assert_sound(drawing)
    for i in range(40):
        assert box(drawing, f"b{i}").layer == box(drawing, f"a{i}").layer + 1
        assert middle(drawing, f"a{i}") == middle(drawing, f"b{i}")


def test_two_wide_layers_that_hang_together_are_wrapped_too():
    edges = [(f"a{i}", f"b{j}") for i in range(30) for j in (i, (i + 1) % 30, (i * 7) % 30)]
    drawing = draw(edges)

    assert_sound(drawing)


def test_components_stand_side_by_side_and_lone_boxes_in_a_grid_behind():
    drawing = draw([("a", "b"), ("x", "y")], *(f"lone{i}" for i in range(30)))

    assert_sound(drawing)
    assert box(drawing, "a").y == box(drawing, "x").y == 0
    assert middle(drawing, "a") < middle(drawing, "x") < middle(drawing, "lone0")
    assert drawing.width <= ROW_LIMIT_PX * 1.1
    assert len({b.y for b in drawing.boxes if b.name.startswith("lone")}) > 2


def test_a_hundred_small_components_do_not_make_one_row():
    drawing = draw([(f"a{i}", f"b{i}") for i in range(100)])

    assert_sound(drawing)
    assert drawing.width <= ROW_LIMIT_PX


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("a", "a")], "cycle"),
        ([("a", "b"), ("b", "a")], "cycle"),
        ([("a", "b"), ("b", "c"), ("c", "b")], "cycle"),
        ([("a", "nobody")], "'nobody'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        layout([Vertex(name, 10, 10) for name in "abc"], edges)


def test_two_vertices_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        layout([Vertex("a", 10, 10), Vertex("a", 10, 10)], [])


def test_a_chain_of_5000_needs_no_recursion():
    drawing = draw([(f"n{i}", f"n{i + 1}") for i in range(5000)])

    assert len({b.x for b in drawing.boxes}) == 1


def test_a_graph_of_5000_steps_is_drawn():
    edges = [(f"n{i}", f"n{i + step}") for i in range(5000) for step in (1 + i * 7 % 13, 1 + i * 11 % 40)]

    drawing = draw(edges)

    assert len(drawing.routes) == len(set(edges))
