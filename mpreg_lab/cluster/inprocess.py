"""Nodes in this process. They talk by reference or over real sockets; each also listens for clients from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

from mpreg_lab.errors import ClusterError
from mpreg_lab.node.functions import Function
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.faulty import Network
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource
from mpreg_lab.workflow.record import FaultNote

from .fault_actions import CLIENT
from .opening import Doorway, dialler, open_node
from .spec import NodeSpec

__all__ = ["InProcessHandle", "InProcessLauncher", "TransportName"]

TransportName = Literal["memory", "ws"]


class InProcessHandle:
    """A node on this process's loop thread."""

    log = ""
    pausable = False
    paused = False

    def __init__(self, spec: NodeSpec, node: Node, listener: Listener, launcher: InProcessLauncher) -> None:
        self.spec = spec
        self.node = node
        self.alive = True
        self._listener = listener
        self._launcher = launcher

    @property
    def member(self) -> Member:
        """How the node describes itself."""
        return self.node.member

    async def register(self, function: Function, *, name: FunctionName, resources: Iterable[Resource] = ()) -> None:
        """Have the node offer a function, and wait until all nodes have heard."""
        self.node.register(function, name=name, resources=resources)
        await self.node.announce()

    async def unregister(self, name: FunctionName) -> None:
        """Have the node offer the function no more, and wait until all nodes have heard."""
        self.node.unregister(name)
        await self.node.announce()

    async def join(self, seed: Member) -> None:
        """Have the node enter the cluster of another one."""
        await self.node.join(await self._launcher.dial(self.spec.name, seed))

    async def befell(self, fault: FaultNote) -> None:
        """Have the node take note of a fault."""
        self.node.befell(fault)

    async def stop(self) -> None:
        """End the node and close its door."""
        await self._close()
        await self.node.stop()

    async def kill(self) -> None:
        """Cut all its connections."""
        await self._close()
        self.node.kill()

    def pause(self) -> None:
        """Nodes of one process cannot be halted one by one."""
        raise ClusterError(
            f"node {self.spec.name!r} lives in this process and cannot be paused by itself. "
            "Give nodes processes of their own: LocalCluster(3, processes=True)"
        )

    def resume(self) -> None:
        """It was never paused."""

    def join_threads(self, timeout_s: float) -> None:
        """Wait until its threads have ended, at most so long."""
        self.node.join_threads(timeout_s)

    async def _close(self) -> None:
        if self.alive:
            self.alive = False
            self._launcher.forget(self.node)
            await self._listener.close()


class InProcessLauncher:
    """Starts nodes on the running loop.

    Args:
        door: How clients and nodes from outside reach the nodes.
        transport: How the nodes talk to each other.

    Attributes:
        network: What is wrong between nodes, and between them and the client of this process.
    """

    def __init__(self, cluster_id: ClusterId, *, door: Doorway, transport: TransportName) -> None:
        self._cluster_id = cluster_id
        self._door = door
        self._transport = transport
        self.network = Network()
        self._dial_url = dialler(door.token, door.tls)
        self._nodes: dict[NodeName, Node] = {}

    async def start(self, spec: NodeSpec, *, url: str | None = None, guests: bool | None = None) -> InProcessHandle:
        """Start a node.

        Args:
            url: Where it listens. None: at any port of the door. guests: Whether who shows no token comes in to it.
                None: as the door says.
        """
        node, listener = await open_node(
            spec,
            self._cluster_id,
            partial(self.dial, spec.name),
            token=self._door.token,
            guests=self._door.guests if guests is None else guests,
            tls=self._door.tls,
            url=self._door.url if url is None else url,
            when_asked=self._transport == "memory",
        )
        self._nodes[spec.name] = node
        return InProcessHandle(spec, node, listener, self)

    async def introduce(self, handles: Sequence[InProcessHandle]) -> None:
        """Give every node the list of all."""
        members = [handle.member for handle in handles]
        for handle in handles:
            handle.node.learn(members)

    async def rewire(self, _: Iterable[InProcessHandle]) -> None:
        """Wait until the connections that were cut have ended: all nodes are on the same network."""
        await self.network.settled()

    async def connect(self, handle: InProcessHandle) -> Connection:
        """A connection for a client of this process."""
        return await self.dial(CLIENT, handle.member)

    async def look(self, member: Member) -> Connection:
        """A connection for somebody who only looks on, which no fault reaches."""
        node = self._nodes.get(member.name)
        return await self._dial_url(member) if node is None else _joined(node)

    async def dial(self, ours: str, member: Member) -> Connection:
        """A connection from a node, or a client, to a node, whether it lives here or not."""
        return await self.network.dial(ours, member.name, partial(self._dial, member))

    async def _dial(self, member: Member) -> Connection:
        node = self._nodes.get(member.name)
        if node is None or self._transport == "ws":
            return await self._dial_url(member)
        return _joined(node)

    def forget(self, node: Node) -> None:
        """The node has ended: nobody reaches it any more."""
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]


def _joined(node: Node) -> Connection:
    """A connection by reference to a node of this process."""
    ours, theirs = MemoryConnection.pair("a client or node", node.name)
    node.accept(theirs)
    return ours
