"""What a launcher is: it starts nodes and hands out something to end them with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection

from .spec import NodeSpec

__all__ = ["Handle", "Launcher"]


class Handle(Protocol):
    """A node that was launched."""

    @property
    def member(self) -> Member:
        """How the node describes itself."""

    async def stop(self) -> None:
        """End the node and wait until it has ended."""


class Launcher(Protocol):
    """Starts nodes. Used on one loop."""

    async def start(self, spec: NodeSpec) -> Handle:
        """Start a node.

        Raises:
            ClusterError: If it does not come up.
        """

    async def introduce(self, handles: Sequence[Handle]) -> None:
        """Make the nodes known to each other."""

    async def connect(self, handle: Handle) -> Connection:
        """A connection for a client of this process."""
