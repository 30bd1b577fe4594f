from __future__ import annotations

import pytest

from mpreg_lab.cluster.spec import MAX_NODES, default_slots, node_specs
from mpreg_lab.errors import ClusterSpecError


def test_a_number_gives_nodes_with_names_of_their_own():
    assert [(spec.name, spec.resources) for spec in node_specs(3)] == [
        ("node-1", frozenset()),
        ("node-2", frozenset()),
        ("node-3", frozenset()),
    ]


def test_a_dict_gives_each_node_its_resources():
    specs = node_specs({"ingest": ["csv-parser"], "train": ("gpu", "disk", "gpu"), "idle": [], "out": "printer"})

    assert {spec.name: spec.resources for spec in specs} == {
        "ingest": {"csv-parser"},
        "train": {"gpu", "disk"},
        "idle": frozenset(),
        "out": {"printer"},
    }


def test_every_node_has_as_many_slots_as_asked_for():
    assert {spec.slots for spec in node_specs(2, 7)} == {7}
    assert {spec.slots for spec in node_specs(2)} == {default_slots()}
    assert default_slots() >= 4


@pytest.mark.parametrize(
    ("nodes", "slots", "message"),
    [
        (0, None, f"a local cluster has 1 to {MAX_NODES} nodes, not 0"),
        (-3, None, f"a local cluster has 1 to {MAX_NODES} nodes, not -3"),
        ({}, None, f"a local cluster has 1 to {MAX_NODES} nodes, not 0"),
        (MAX_NODES + 1, None, f"a local cluster has 1 to {MAX_NODES} nodes, not {MAX_NODES + 1}"),
        (10**9, None, f"a local cluster has 1 to {MAX_NODES} nodes, not {10**9}"),
        (
            ["a", "b"],
            None,
            "a cluster is described by a number of nodes, or by a dict of names and resources such as "
            "{'worker': ['gpu']}, not by ['a', 'b']",
        ),
        (
            True,
            None,
            "a cluster is described by a number of nodes, or by a dict of names and resources such as "
            "{'worker': ['gpu']}, not by True",
        ),
        ({"": []}, None, "the name of a node must be a non-empty string, not ''"),
        ({1: []}, None, "the name of a node must be a non-empty string, not 1"),
        ({"a": 5}, None, "the resources of node 'a' must be a list of names, not 5"),
        ({"a": None}, None, "the resources of node 'a' must be a list of names, not None"),
        ({"a": ["gpu", 5]}, None, "the resources of node 'a' must be names, not 5"),
        ({"a": [""]}, None, "the resources of node 'a' must be names, not ''"),
        (3, 0, "slots must be a whole number, 1 or more, not 0"),
        (3, 1.5, "slots must be a whole number, 1 or more, not 1.5"),
        (3, True, "slots must be a whole number, 1 or more, not True"),
    ],
    ids=str,
)
def test_a_wrong_description_is_refused_with_its_reason(nodes, slots, message):
    with pytest.raises(ClusterSpecError) as caught:
        node_specs(nodes, slots)
    assert str(caught.value) == message
