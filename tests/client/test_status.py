"""How a node is, from what its launcher knows and what the others think."""

import pytest

from mpreg_lab.client.status import Belief, ClusterStatus, Life, NodeState, NodeStatus


def node(name: str, life: Life = Life.ALIVE, *, heard: bool = True, **beliefs: Belief) -> NodeStatus:
    return NodeStatus(name, life, heard, beliefs=dict(beliefs))  # type: ignore[arg-type]


def status(*nodes: NodeStatus) -> ClusterStatus:
    return ClusterStatus("lab", "LocalCluster", True, nodes)


@pytest.mark.parametrize(
    ("b", "thought", "state"),
    [
        (node("b"), Belief.ALIVE, NodeState.UP),
        (node("b"), Belief.SUSPECTED, NodeState.SUSPECTED),
        (node("b"), Belief.LOST, NodeState.LOST),
        (node("b", Life.PAUSED), Belief.LOST, NodeState.PAUSED),
        (node("b", Life.DEAD, heard=False), Belief.ALIVE, NodeState.DEAD),
        (node("b", Life.STOPPED, heard=False), Belief.LEFT, NodeState.STOPPED),
        (node("b", heard=False), Belief.ALIVE, NodeState.SILENT),
        (node("b", Life.ELSEWHERE, heard=False), Belief.LOST, NodeState.DEAD),
        (node("b", Life.ELSEWHERE, heard=False), Belief.LEFT, NodeState.STOPPED),
        (node("b", Life.ELSEWHERE), Belief.SUSPECTED, NodeState.SUSPECTED),
    ],
)
def test_what_the_launcher_knows_comes_first_then_what_others_think(b: NodeStatus, thought: Belief, state: NodeState):
    assert status(node("a", b=thought), b).state("b") is state


def test_what_a_dead_or_paused_node_thinks_does_not_count():
    nodes = status(
        node("a"),
        node("b", Life.DEAD, a=Belief.LOST),
        node("c", Life.PAUSED, a=Belief.SUSPECTED),
        node("d", heard=False, a=Belief.LOST),
    )

    assert nodes.state("a") is NodeState.UP
    assert nodes.thinking("a", Belief.LOST, Belief.SUSPECTED) == ()


def test_who_thinks_what_of_a_node():
    nodes = status(node("a", c=Belief.SUSPECTED), node("b", c=Belief.LOST), node("c"))

    assert nodes.thinking("c", Belief.SUSPECTED) == ("a",)
    assert nodes.thinking("c", Belief.SUSPECTED, Belief.LOST) == ("a", "b")


def test_a_node_is_lost_when_more_than_half_have_given_it_up():
    nodes = node("a", b=Belief.LOST), node("b"), node("c", b=Belief.ALIVE)

    assert status(*nodes).state("b") is NodeState.SUSPECTED
    assert status(*nodes, node("d", b=Belief.LOST)).state("b") is NodeState.LOST


def test_a_node_that_is_not_there_has_no_state():
    with pytest.raises(KeyError):
        status(node("a")).state("b")


def test_its_text_has_no_address():
    assert repr(status(node("a"), node("b", Life.DEAD))) == "ClusterStatus('lab': a up, b dead)"
    assert repr(ClusterStatus("lab", "LocalCluster", False)) == "ClusterStatus('lab', stopped)"
