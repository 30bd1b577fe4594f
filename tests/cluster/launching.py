"""The ways to run nodes: what is promised of a cluster is promised of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpreg_lab import LocalCluster

__all__ = ["WAYS", "launched"]

WAYS = ["memory", "ws", "processes"]


def launched(nodes: Mapping[str, Sequence[str]], way: str) -> LocalCluster:
    """A cluster whose nodes talk by reference, over websockets, or from processes of their own."""
    if way == "processes":
        return LocalCluster(nodes, processes=True)
    return LocalCluster(nodes, transport="ws" if way == "ws" else "memory")
