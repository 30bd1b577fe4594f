"""Nodes in this process. They talk by reference or over real sockets; each also listens for clients from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mpreg_lab.errors import ConnectError
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId, NodeName

from .spec import NodeSpec

__all__ = ["InProcessHandle", "InProcessLauncher", "TransportName"]

TransportName = Literal["memory", "ws"]


class InProcessHandle:
    """A node on this process's loop thread."""

    def __init__(self, node: Node, listener: Listener) -> None:
        self.node = node
        self._listener = listener

    @property
    def member(self) -> Member:
        """How the node describes itself."""
        return self.node.member

    async def stop(self) -> None:
        """End the node and close its door."""
        await self._listener.close()
        await self.node.stop()


class InProcessLauncher:
    """Starts nodes on the running loop.

    Args:
        token: What clients and nodes from outside must show.
        transport: How the nodes talk to each other.
    """

    def __init__(self, cluster_id: ClusterId, *, token: str | None, transport: TransportName) -> None:
        self._cluster_id = cluster_id
        self._token = token
        self._transport = transport
        self._nodes: dict[NodeName, Node] = {}

    async def start(self, spec: NodeSpec) -> InProcessHandle:
        """Start a node."""
        node = Node(spec.name, spec.resources, cluster_id=self._cluster_id, dial=self._dial, slots=spec.slots)
        listener = transport_for("ws://").listen("ws://127.0.0.1:0", node.accept, token=self._token)
        node.set_url(listener.url)
        await listener.serve()
        self._nodes[spec.name] = node
        return InProcessHandle(node, listener)

    async def introduce(self, handles: Sequence[InProcessHandle]) -> None:
        """Give every node the list of all."""
        members = [handle.member for handle in handles]
        for handle in handles:
            handle.node.learn(members)

    async def connect(self, handle: InProcessHandle) -> Connection:
        """A connection for a client of this process."""
        return await self._dial(handle.member)

    async def _dial(self, member: Member) -> Connection:
        node = self._nodes.get(member.name)
        if node is None or self._transport == "ws":
            if not member.url:
                raise ConnectError(f"node {member.name!r} has no address")
            return await transport_for(member.url).connect(member.url, token=self._token)
        ours, theirs = MemoryConnection.pair("a client or node", member.name)
        node.accept(theirs)
        return ours
