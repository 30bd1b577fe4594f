"""How a cluster is described: a number, or nodes with their resources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import msgspec

from mpreg_lab.errors import ClusterSpecError
from mpreg_lab.types import NodeName, Resource
from mpreg_lab.workflow.legible import has_half

__all__ = ["MAX_NODES", "NodeSpec", "check_whole", "default_slots", "node_specs"]

MAX_NODES = 200


class NodeSpec(msgspec.Struct, frozen=True):
    """One node to be launched.

    Attributes:
        resources: What it holds. slots: How many sync functions it runs at once.
    """

    name: NodeName
    resources: frozenset[Resource] = frozenset()
    slots: int = 4


def default_slots() -> int:
    """Four, or the number of processors if that is more: steps that wait for something should not wait for a slot."""
    return max(4, os.cpu_count() or 1)


def node_specs(nodes: int | Mapping[str, Iterable[str] | str], slots: int | None = None) -> tuple[NodeSpec, ...]:
    """The nodes that a description stands for.

    Args:
        nodes: How many, or the name of each with its resources.
        slots: How many sync functions each runs at once. None: see `default_slots`.

    Raises:
        ClusterSpecError: If it describes none, too many, or says something else than names.
    """
    count = default_slots() if slots is None else slots
    if not _is_whole(count) or count < 1:
        raise ClusterSpecError(f"slots must be a whole number, 1 or more, not {slots!r:.40}")
    if isinstance(nodes, Mapping):
        specs = tuple(node_spec(name, resources, count) for name, resources in nodes.items())
    elif _is_whole(nodes):
        specs = tuple(NodeSpec(NodeName(f"node-{i + 1}"), slots=count) for i in range(min(nodes, MAX_NODES + 1)))
    else:
        raise ClusterSpecError(
            "a cluster is described by a number of nodes, or by a dict of names and resources such as "
            f"{{'worker': ['gpu']}}, not by {nodes!r:.40}"
        )
    if not 1 <= len(specs) <= MAX_NODES:
        asked = nodes if _is_whole(nodes) else len(specs)
        raise ClusterSpecError(f"a local cluster has 1 to {MAX_NODES} nodes, not {asked}")
    return specs


def node_spec(name: str, resources: Iterable[str] | str, slots: int) -> NodeSpec:
    """One node; raises ClusterSpecError if a name is none."""
    if not isinstance(name, str) or not name:
        raise ClusterSpecError(f"the name of a node must be a non-empty string, not {name!r:.40}")
    check_whole(name, "the name of a node")
    return NodeSpec(NodeName(name), resource_names(resources, f"node {name!r}"), slots)


def resource_names(resources: Iterable[str] | str, owner: str) -> frozenset[Resource]:
    """The names of resources; a single string is one name. Raises ClusterSpecError if something is no name."""
    names = (resources,) if isinstance(resources, str) else resources
    if not isinstance(names, Iterable):
        raise ClusterSpecError(f"the resources of {owner} must be a list of names, not {resources!r:.40}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name:
            raise ClusterSpecError(f"the resources of {owner} must be names, not {name!r:.40}")
        check_whole(name, "the name of a resource")
    return frozenset(Resource(name) for name in found)


def check_whole(name: str, what: str) -> None:
    """Raise ClusterSpecError if half a character is in a name: all nodes are told of it, and no message can hold it."""
    if has_half(name):
        raise ClusterSpecError(f"{what} cannot have half a character in it, as {name!r:.40} has. Leave it out")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
