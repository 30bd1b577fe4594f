"""Watching a cluster that was launched here: what its nodes say, what their launcher knows, and faults on links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mpreg_lab.client.status import ClusterStatus, FunctionStatus, Life, LinkFault, NodeStatus
from mpreg_lab.client.watching import StatusWatch
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.faulty import Cable, LinkFaults, Network
from mpreg_lab.types import NodeName

from .base import Handle, Launcher
from .faults import CLIENT

__all__ = ["ClusterWatch"]


class ClusterWatch(StatusWatch):
    """Watches the nodes behind these handles, now and whenever there are others, and those that joined from elsewhere.

    Args:
        polite: Names of nodes that were stopped, not killed.
    """

    def __init__(
        self,
        name: str,
        launcher: Launcher[Any],
        handles: Sequence[Handle],
        polite: set[NodeName],
    ) -> None:
        super().__init__(launcher.look)
        self._name = name
        self._handles = handles
        self._network = launcher.network
        self._polite = polite
        self._network.on_change = self.changed

    def members(self) -> Iterable[Member]:
        """Those that live; a halted one stays, so that it goes on where it was."""
        return (handle.member for handle in self._handles if handle.alive)

    def status(self) -> ClusterStatus:
        """How the cluster is."""
        own = [self._status_of(handle) for handle in tuple(self._handles)]
        return ClusterStatus(
            name=self._name,
            kind="LocalCluster",
            running=not self.closed,
            nodes=(*own, *self.strangers({node.name for node in own})),
            faults=tuple(_link_faults(self._network)),
            can_change=not self.closed,
            can_pause=not self.closed and any(handle.pausable for handle in self._handles),
            can_fault=not self.closed,
        )

    def _status_of(self, handle: Handle) -> NodeStatus:
        member = handle.member
        if handle.alive:
            said = self.heard(member)
            life = Life.PAUSED if handle.paused else Life.ALIVE
        else:
            said = None
            life = Life.STOPPED if member.name in self._polite else Life.DEAD
        if said is not None:
            return msgspec.structs.replace(said, life=life)
        return NodeStatus(
            name=member.name,
            life=life,
            resources=member.resources,
            functions=tuple(FunctionStatus(info.name, info.signature) for info in member.functions),
            slots=member.slots,
        )


def _link_faults(network: Network) -> Iterable[LinkFault]:
    """Both directions of a link as one: faults on purpose are done to both."""
    of_link: dict[frozenset[str], list[LinkFaults]] = {}
    for ends, faults in network.faulty.items():
        of_link.setdefault(frozenset(ends), []).append(faults)
    for link, each in of_link.items():
        a, b = sorted(link, key=lambda end: (end == CLIENT, end))
        yield LinkFault(
            a,
            b,
            cut=any(faults.cable is not Cable.WHOLE for faults in each),
            silent=any(faults.cable is Cable.DEAD for faults in each),
            delay_s=max(faults.delay_s for faults in each),
            jitter_s=max(faults.jitter_s for faults in each),
            drop=max(faults.drop for faults in each),
            duplicate=max(faults.duplicate for faults in each),
            reorder=max(faults.reorder for faults in each),
        )
