"""Clusters that a line of a magic launches: a variable holds them, and they live until they are stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mpreg_lab.cluster.local import LocalCluster, running_clusters
from mpreg_lab.errors import MagicError

from .command import Notebook

__all__ = ["start", "stop"]

_started: dict[str, LocalCluster] = {}
"""By name. They live until they are stopped: two of different names may be held by one variable after the other."""


def start(notebook: Notebook, line: str, variable: str, name: str, **how: Any) -> LocalCluster:
    """Launch a cluster and bind a variable to it; one of the same name is stopped, and a line says so.

    Args:
        line: The beginning of a line that does it, for errors: `%mpreg start 3`.
        how: As LocalCluster takes it.

    Raises:
        MagicError: If the variable holds something else.
        ClusterSpecError: If it is described wrongly.
    """
    older = [cluster for cluster in running_clusters() if cluster.name == name]
    held = notebook.names.get(variable)
    if held is not None and not isinstance(held, LocalCluster):
        raise MagicError(
            f"the variable {variable!r} holds a value of type {type(held).__name__}. "
            f"Choose another for the cluster: {line} --as my_cluster"
        )
    cluster = LocalCluster(name=name, **how)
    notebook.names[variable] = _started[name] = cluster
    if older:
        notebook.say(f"The cluster {name!r} that ran before was stopped; its functions went with it.")
    return cluster


def stop(clusters: Iterable[LocalCluster]) -> None:
    """End them."""
    for cluster in clusters:
        cluster.stop()
        _started.pop(cluster.name, None)
