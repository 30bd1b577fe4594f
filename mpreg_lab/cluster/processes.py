"""Nodes in processes of their own: pure Python uses all processors, and a node can be killed as a machine can."""

from __future__ import annotations

import asyncio
import secrets
import signal
import ssl
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from mpreg_lab.errors import ClusterError, ClusterSpecError, FunctionError
from mpreg_lab.node.functions import Function
from mpreg_lab.node.links import Dial
from mpreg_lab.protocol.messages import Describe, Described, Member, Message, Register, Unregister
from mpreg_lab.protocol.payload import CannotTravelError, Payload, check_serialisable
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.faulty import Network, Wiring
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, FunctionName, Resource
from mpreg_lab.workflow.record import FaultNote

from .child import Child
from .fault_actions import CLIENT
from .opening import Doorway, dialler
from .orders import Befell, Join, Order, Rewire, SetUp
from .sources import sources_of
from .spec import NodeSpec

__all__ = ["ProcessHandle", "ProcessLauncher"]

_HEEDS_S = 1.0
"""So long a node may take to heed a fault: it may be halted, or a step may hold its interpreter."""


class ProcessHandle:
    """A node in a process of its own."""

    pausable = True

    def __init__(self, spec: NodeSpec, child: Child, member: Member, dial: Dial) -> None:
        self.spec = spec
        self.member = member
        self._child = child
        self._dial = dial
        self._peer: Peer | None = None
        self._missed: list[Order] = []

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether its process has not ended."""
        return self._child.alive

    @property
    def paused(self) -> bool:
        """Whether it was halted with SIGSTOP and did not go on."""
        return self._child.paused

    @property
    def log(self) -> str:
        """The last of what the process printed outside of steps."""
        return self._child.log

    async def register(self, function: Function, *, name: FunctionName, resources: Iterable[Resource] = ()) -> None:
        """Send the node a function, and wait until all nodes have heard of it."""
        try:
            check_serialisable(function, name)
        except CannotTravelError as exc:
            raise FunctionError(
                f"function {name!r} cannot be sent to the process of a node: {exc.path} is {exc.culprit}. "
                "Create such things within the function"
            ) from None
        held, sources = tuple(sorted(resources)), sources_of(function)
        try:
            await self._ask(Register(_unique(), name, Payload.of(function), held, sources))
        except FunctionError:
            # Of a module that is not where nodes look for modules, such as a file that was run.
            await self._ask(Register(_unique(), name, Payload.as_code(function), held, sources))
        await self._look()

    async def unregister(self, name: FunctionName) -> None:
        """Take a function away from the node, and wait until all nodes have heard."""
        await self._ask(Unregister(_unique(), name))
        await self._look()

    async def join(self, seed: Member) -> None:
        """Have the node enter the cluster of another one."""
        await self._child.ask(Join(seed))

    async def befell(self, fault: FaultNote) -> None:
        """Have the node take note of a fault."""
        await self._heed(Befell(fault))

    async def rewire(self, wiring: Wiring) -> None:
        """Have the node do to its links what others do."""
        await self._heed(Rewire(wiring))

    async def stop(self) -> None:
        """End the process: politely, or else by force."""
        await self._hang_up()
        await self._child.stop()

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        await self._child.kill()
        await self._hang_up()

    def pause(self) -> None:
        """SIGSTOP."""
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._child.signal(signal.SIGCONT)
        missed, self._missed = self._missed, []
        for order in missed:
            self._child.tell(order)

    def join_threads(self, timeout_s: float) -> None:
        """Its threads are not in this process."""

    async def _ask(self, message: Message) -> Message:
        if self._child.paused:
            raise ClusterError(f"node {self.spec.name!r} is paused. First: cluster.resume({self.spec.name!r})")
        if self._peer is None or self._peer.closed:
            self._peer = Peer(await self._dial(self.member), _ignore)
        reply: Message = await self._peer.request(message)
        return reply

    async def _heed(self, order: Order) -> None:
        """Have the node do it, and wait a moment for that; one that is paused does it when it goes on."""
        if self._child.paused:
            # Not now: what nobody reads fills the pipe in the end, and then whoever writes would wait.
            self._missed.append(order)
        else:
            await asyncio.wait((self._child.tell(order),), timeout=_HEEDS_S)

    async def _look(self) -> None:
        reply = await self._ask(Describe(_unique()))
        assert isinstance(reply, Described), reply
        self.member = next(member for member in reply.members if member.name == self.spec.name)

    async def _hang_up(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.abort()
            await peer.close()


class ProcessLauncher:
    """Starts nodes in processes of their own; they talk over websockets.

    Args:
        door: How the nodes are reached.

    Attributes:
        network: What is wrong between the nodes, each of which has one of its own that does the same, and between them
            and the client of this process.
    """

    def __init__(self, cluster_id: ClusterId, *, door: Doorway) -> None:
        if isinstance(door.tls, ssl.SSLContext):
            raise ClusterSpecError("nodes in processes of their own need files: tls=Tls(cert=..., key=..., ca=...)")
        self._set_up = partial(
            SetUp, cluster_id=cluster_id, token=door.token, guests=door.guests, url=door.url, tls=door.tls
        )
        self._dial = dialler(door.token, door.tls)
        self.network = Network()

    async def start(self, spec: NodeSpec) -> ProcessHandle:
        """Start a process and wait until its node can be reached.

        Raises:
            ClusterError: If it ends instead; has the last of what it printed.
        """
        child = Child(spec.name)
        async with AsyncExitStack() as unless_it_works:
            unless_it_works.push_async_callback(child.kill)
            await child.open()
            answer = await child.ask(self._set_up(spec, wiring=self.network.wiring))
            unless_it_works.pop_all()
        assert answer.member is not None
        return ProcessHandle(spec, child, answer.member, self._dial)

    async def introduce(self, handles: Sequence[ProcessHandle]) -> None:
        """Have all join the first: one after the other, so that every node lists them in this order."""
        for handle in handles[1:]:
            await handle.join(handles[0].member)

    async def connect(self, handle: ProcessHandle) -> Connection:
        """A connection for a client of this process."""
        return await self.network.dial(CLIENT, handle.spec.name, partial(self._dial, handle.member))

    async def rewire(self, handles: Iterable[ProcessHandle]) -> None:
        """Have the nodes do what the network does, each to the links that it dials."""
        wiring = self.network.wiring
        await asyncio.gather(self.network.settled(), *(h.rewire(wiring) for h in handles if h.alive))

    async def look(self, member: Member) -> Connection:
        """A connection for somebody who only looks on."""
        return await self._dial(member)


def _ignore(_: Peer, message: Message) -> None:
    """A node says nothing here that was not asked for."""


def _unique() -> str:
    return secrets.token_hex(8)
