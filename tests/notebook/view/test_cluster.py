"""A cluster as positions, words, plain JSON and saved HTML."""

from __future__ import annotations

import base64
import re
from itertools import combinations
from xml.etree import ElementTree

import msgspec
import pytest

from mpreg_lab.client.status import Belief, ClusterStatus, FunctionStatus, Life, LinkFault, NodeStatus
from mpreg_lab.notebook.view import cluster_picture
from mpreg_lab.notebook.view.cluster_scene import ON_CIRCLE, Rect, arrow, cluster_scene, label_spots
from mpreg_lab.notebook.view.cluster_static import cluster_html, cluster_svg, cluster_text
from mpreg_lab.notebook.view.cluster_words import NODE_MARK, NODE_MARK_PATH, NODE_PALETTE, LinkState, Look, Reading
from tests.hostile import each_hostile


def node(name: str, life: Life = Life.ALIVE, **fields: object) -> NodeStatus:
    given = {"heard": life is not Life.DEAD, "slots": 4, **fields}
    return NodeStatus(name, life, **given)  # type: ignore[arg-type]


def status(*nodes: NodeStatus, **fields: object) -> ClusterStatus:
    given = {"can_change": True, "can_fault": True, **fields}
    return ClusterStatus("lab", "LocalCluster", True, nodes, **given)  # type: ignore[arg-type]


def three(**fields: object) -> ClusterStatus:
    """`a` suspects b and has given up c; b is alive, c dead."""
    a = node("a", beliefs={"b": Belief.SUSPECTED, "c": Belief.LOST}, connected=frozenset({"b"}), running=2, waiting=1)
    return status(a, node("b", resources=("gpu",)), node("c", Life.DEAD), **fields)


# --- positions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [*range(1, 14), 50, 200])
def test_nodes_do_not_lie_on_each_other(count: int):
    scene = cluster_scene([f"node-{i}" for i in range(count)])

    assert len(scene.nodes) == count
    assert not any(one.box.meets(other.box) for one, other in combinations(scene.nodes, 2))
    for spot in scene.nodes:
        assert spot.box.x >= 0
        assert spot.box.y >= 0
        assert spot.box.x + spot.box.width <= scene.width
        assert spot.box.y + spot.box.height <= scene.height


def test_few_nodes_stand_on_a_circle_with_all_links_and_many_in_rows_without():
    few, many = cluster_scene(list("abcd")), cluster_scene([str(i) for i in range(ON_CIRCLE + 1)])

    assert {(line.a, line.b) for line in few.lines} == set(combinations(range(4), 2))
    assert many.lines == ()
    assert [spot.box.y for spot in many.nodes[:6]] == [0.0] * 5 + [64.0]


def test_the_first_node_is_at_the_top_and_two_stand_side_by_side():
    (left, right), (top, *others) = cluster_scene(["a", "b"]).nodes, cluster_scene(list("abc")).nodes

    assert left.box.y == right.box.y
    assert all(top.box.y < other.box.y for other in others)


def test_a_link_goes_from_border_to_border():
    scene = cluster_scene(["a", "b"])
    (line,) = scene.lines

    assert line.start == (scene.nodes[0].box.x + scene.nodes[0].box.width, 24.0)
    assert line.end == (scene.nodes[1].box.x, 24.0)


def test_arrows_there_and_back_are_two():
    a, b = cluster_scene(["a", "b"]).nodes

    assert arrow(a, b) != arrow(b, a)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_labels_of_links_do_not_lie_on_each_other(count: int):
    scene = cluster_scene([str(i) for i in range(count)])
    crossing = [line for line in scene.lines if (line.b - line.a) * 2 == count or count < 4]
    labels = ["200 ms late" if line in crossing else "" for line in scene.lines]

    spots = [spot for spot, label in zip(label_spots(scene, labels), labels, strict=True) if label]

    assert not any(one.meets(other) for one, other in combinations(spots, 2))


def test_rectangles_that_only_touch_do_not_meet():
    assert not Rect(0, 0, 10, 10).meets(Rect(10, 0, 10, 10))
    assert Rect(0, 0, 10, 10).meets(Rect(9, 9, 10, 10))


# --- words ----------------------------------------------------------------------------------------------------------


def test_every_look_has_colours_a_mark_and_a_path():
    assert set(Look) == set(NODE_PALETTE) == set(NODE_MARK) == set(NODE_MARK_PATH)
    assert len(set(NODE_MARK.values())) == len(set(NODE_MARK_PATH.values())) == len(Look)


def test_the_headline_counts_nodes_by_state_and_cut_links():
    cut = LinkFault("a", "b", cut=True)

    assert Reading(three(faults=(cut,))).headline == "3 nodes: 1 up, 1 suspected, 1 dead; 1 link cut"
    assert Reading(three()).work == "2 steps running, 1 waiting"
    assert Reading(ClusterStatus("lab", "LocalCluster", False)).headline == "stopped"


def test_each_node_is_told_in_a_few_words():
    reading = Reading(three())

    assert [reading.words(name) for name in reading.nodes] == [
        "a: up, 2 running, 1 waiting",
        "b: suspected, doubted by a",
        "c: dead",
    ]


def test_many_doubters_are_counted():
    others = [node(f"node-{i}", beliefs={"x": Belief.LOST}) for i in range(3)]

    assert Reading(status(*others, node("x"))).line("x") == "given up by 3 nodes"  # type: ignore[arg-type]


def test_a_node_is_slow_if_all_its_links_are():
    slow = [LinkFault("a", "b", delay_s=0.2), LinkFault("b", "c", delay_s=0.3)]
    nodes = node("a"), node("b"), node("c")

    assert Reading(status(*nodes, faults=slow[:1])).looks["b"] is Look.UP  # type: ignore[index]
    reading = Reading(status(*nodes, faults=tuple(slow)))
    assert reading.looks["b"] is Look.SLOW  # type: ignore[index]
    assert reading.line("b") == "idle, 200 ms late"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (LinkFault("a", "b", cut=True), "cut"),
        (LinkFault("a", "b", cut=True, silent=True, delay_s=1), "cut silently"),
        (LinkFault("a", "b", delay_s=0.2), "200 ms late"),
        (LinkFault("a", "b", delay_s=0.5, jitter_s=1), "0.5 to 1.5 s late"),
        (LinkFault("a", "b", drop=0.1, duplicate=0.5, reorder=1), "10% dropped, 50% doubled, 100% overtaken"),
    ],
)
def test_faults_in_words(fault: LinkFault, words: str):
    reading = Reading(status(node("a"), node("b"), faults=(fault,)))

    assert reading.link_words("a", "b") == words  # type: ignore[arg-type]
    assert reading.link_state("b", "a") is (LinkState.CUT if fault.cut else LinkState.FAULTY)  # type: ignore[arg-type]


def test_links_are_connected_closed_or_gone():
    reading = Reading(three())

    assert reading.link_words("b", "a") == "connected"  # type: ignore[arg-type]  # a says so, b does not
    assert reading.link_words("a", "c") == "one end is gone"  # type: ignore[arg-type]
    assert Reading(status(node("a"), node("b"))).link_words("a", "b") == "no connection open"  # type: ignore[arg-type]


def test_doubts_about_nodes_that_are_gone_are_nothing_to_show():
    assert Reading(three()).doubts == [("a", "b", Belief.SUSPECTED)]
    assert Reading(three()).doubts_of("a") == "suspects b"  # type: ignore[arg-type]


# --- plain JSON -----------------------------------------------------------------------------------------------------


def deeds(of: ClusterStatus) -> dict[str, list[str]]:
    nodes = zip(of.nodes, cluster_picture.state(of)["nodes"], strict=True)
    return {node.name: [deed["verb"] for deed in shown["deeds"]] for node, shown in nodes}


def test_what_can_be_done_depends_on_the_node():
    lives = node("a"), node("b", Life.DEAD), node("c", Life.STOPPED), node("d", Life.ELSEWHERE)

    assert deeds(status(*lives)) == {
        "a": ["kill", "stop", "restart", "slow"],
        "b": ["restart"],
        "c": ["restart"],
        "d": [],
    }
    assert deeds(status(node("a"), node("b", Life.PAUSED), can_fault=False, can_pause=True)) == {
        "a": ["kill", "stop", "restart", "pause"],
        "b": ["resume", "kill", "restart"],
    }
    assert deeds(status(node("a"), can_change=False)) == {"a": []}


def test_all_of_it_is_json_and_the_scene_changes_only_with_the_nodes():
    before, after = three(), status(node("a"), node("b", running=3), node("c"))
    parts = (cluster_picture.picture, cluster_picture.state, cluster_picture.link_picture, cluster_picture.detail)

    assert all(msgspec.json.decode(msgspec.json.encode(part(before))) == part(before) for part in parts)
    assert cluster_picture.picture(before) == cluster_picture.picture(after)


def test_load_changes_the_state_alone():
    idle = status(node("a", resources=("gpu",)), node("b"))
    busy = status(node("a", resources=("gpu",), running=3, waiting=9), node("b"))

    assert cluster_picture.state(idle) != cluster_picture.state(busy)
    assert cluster_picture.state(busy)["nodes"][0]["share"] == 0.75
    for part in (cluster_picture.picture, cluster_picture.link_picture, cluster_picture.detail):
        assert part(idle) == part(busy)


def test_in_rows_only_links_with_something_to_say_are_told():
    names = [f"n{i}" for i in range(30)]
    nodes = [node(name, connected=frozenset(names) - {name}) for name in names]
    faults = (LinkFault("n1", "n2", cut=True),)

    (link,) = cluster_picture.link_picture(status(*nodes, faults=faults))["links"]

    assert (link["a"], link["b"], link["words"]) == (1, 2, "cut")


# --- saved ----------------------------------------------------------------------------------------------------------


def test_a_saved_cluster_has_headline_picture_and_table_and_nothing_that_comes_and_goes():
    html = cluster_html(three(faults=(LinkFault("a", "b", cut=True),)))

    assert "LocalCluster lab</b>: 3 nodes: 1 up, 1 suspected, 1 dead; 1 link cut" in html
    assert 'alt="Cluster: a up, b suspected, c dead"' in html
    assert "✕ dead" in html
    assert "a to b: cut" in html
    assert "running" not in html
    assert cluster_html(status(node("a"), node("b"))) == cluster_html(
        status(node("a", running=3, connected=frozenset({"b"})), node("b", ended=5))
    )


def test_the_text_of_a_cluster_is_one_line():
    assert cluster_text(three()) == "LocalCluster 'lab', 3 nodes: 1 up, 1 suspected, 1 dead"
    assert cluster_text(ClusterStatus("lab", "LocalCluster", False)) == "LocalCluster 'lab', stopped"
    assert "stopped" in cluster_html(ClusterStatus("lab", "LocalCluster", False))


@each_hostile("name")
def test_hostile_names_are_text(name: str):
    hostile = ClusterStatus(
        name,
        "LocalCluster",
        True,
        (
            node(name, resources=(name,), functions=(FunctionStatus(name, name),)),  # type: ignore[arg-type]
            node("b", beliefs={name: Belief.LOST}),
        ),
        (LinkFault("b", name, cut=True),),
    )

    html = cluster_html(hostile)
    tags = set(re.findall(r"<(/?[a-z]+)", html))
    svg = ElementTree.fromstring(cluster_svg(hostile))
    seen = {element.tag.partition("}")[2] for element in svg.iter()}

    assert tags <= {f"{end}{tag}" for end in ("", "/") for tag in TAGS}
    assert seen == {"svg", "title", "style", "path", "rect", "text", "g"}
    assert "\x1b" not in html + cluster_svg(hostile) + cluster_text(hostile)
    assert "\u202e" not in html + cluster_svg(hostile) + cluster_text(hostile)
    assert msgspec.json.encode(cluster_picture.state(hostile)).find(b"\x1b") == -1


TAGS = ("div", "b", "img", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "small", "link")


def test_the_picture_is_in_the_html():
    found = re.search('base64,([^"]+)"', cluster_html(three()))

    assert found is not None
    assert base64.b64decode(found[1]).decode() == cluster_svg(three())
