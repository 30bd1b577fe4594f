"""Which cluster a magic means: the one it names, or that of `%mpreg config cluster`, or else the newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.dask import DaskCluster, running_dask_clusters
from mpreg_lab.cluster.local import LocalCluster, find_cluster, running_clusters
from mpreg_lab.errors import MagicError
from mpreg_lab.protocol.messages import Member

from . import settings

__all__ = ["AnyCluster", "any_cluster", "local_cluster", "members"]

AnyCluster = LocalCluster | Client | DaskCluster
"""Whatever takes workflows from a cell."""


def any_cluster(names: Mapping[str, object], wanted: str | None) -> AnyCluster:
    """The cluster that a workflow runs on.

    Args:
        names: The variables of the notebook.
        wanted: A variable, or the name of a cluster. None: the default.

    Raises:
        NoClusterError: If there is none.
        MagicError: If the variable holds something else.
    """
    wanted = wanted or settings.current().cluster
    named = names.get(wanted) if wanted else None
    if isinstance(named, (LocalCluster, Client, DaskCluster)):
        return named
    if named is not None:
        raise MagicError(f"{wanted} is no cluster, but a value of type {type(named).__name__}")
    on_dask = [cluster for cluster in running_dask_clusters() if wanted in (None, cluster.name)]
    if on_dask and not any(wanted in (None, cluster.name) for cluster in running_clusters()):
        return on_dask[-1]
    return find_cluster(wanted)


def local_cluster(names: Mapping[str, object], wanted: str | None) -> LocalCluster:
    """As `any_cluster`, but one whose nodes can be started and stopped from here.

    Raises:
        NoClusterError: If there is none.
        MagicError: If it is none.
    """
    cluster = any_cluster(names, wanted)
    if not isinstance(cluster, LocalCluster):
        raise MagicError(
            f"{wanted or cluster!r} is a {type(cluster).__name__}: its nodes live elsewhere. Name a LocalCluster"
        )
    return cluster


def members(cluster: AnyCluster) -> Iterable[Member]:
    """Its nodes; a cluster elsewhere is asked.

    Raises:
        MpregError: If it does not answer.
    """
    return cluster.members() if isinstance(cluster, Client) else cluster.nodes.values()
