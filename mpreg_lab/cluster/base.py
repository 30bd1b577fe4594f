"""What a launcher is: it starts nodes and hands out something to reach and end them with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from mpreg_lab.node.functions import Function
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.faulty import Network
from mpreg_lab.types import FunctionName, Resource
from mpreg_lab.workflow.record import FaultNote

from .spec import NodeSpec

__all__ = ["Handle", "Launcher"]


class Handle(Protocol):
    """A node that was launched. Used on the launcher's loop; `member`, `alive` and `log` from any thread."""

    @property
    def spec(self) -> NodeSpec:
        """What it was launched from: enough to launch it again."""

    @property
    def member(self) -> Member:
        """How the node described itself last."""

    @property
    def alive(self) -> bool:
        """Whether it has not ended, in whatever way."""

    @property
    def pausable(self) -> bool:
        """Whether it can be halted by itself."""

    @property
    def paused(self) -> bool:
        """Whether it was halted and did not go on."""

    @property
    def log(self) -> str:
        """The last of what it printed outside of steps; empty if it shares the terminal with us."""

    async def register(self, function: Function, *, name: FunctionName, resources: Iterable[Resource] = ()) -> None:
        """Have the node offer a function, and wait until all nodes have heard.

        Raises:
            FunctionError: If the function cannot go there.
            ConnectionError: If the node is gone.
        """

    async def unregister(self, name: FunctionName) -> None:
        """Have the node offer the function no more, and wait until all nodes have heard.

        Raises:
            ConnectionError: If the node is gone.
        """

    async def join(self, seed: Member) -> None:
        """Have the node enter the cluster of another one.

        Raises:
            ClusterError: If it cannot.
        """

    async def befell(self, fault: FaultNote) -> None:
        """Have the node take note of a fault, at a time of the loop; does not wait for one that does not answer."""

    async def stop(self) -> None:
        """End the node politely, or else by force, and wait until it has ended. May be called twice."""

    async def kill(self) -> None:
        """End the node as a crash would, and wait until it has ended. May be called twice."""

    def pause(self) -> None:
        """Halt it without ending it, as a machine that hangs.

        Raises:
            ClusterError: If it cannot be halted by itself.
        """

    def resume(self) -> None:
        """Have it go on; nothing happens if it was not paused."""

    def join_threads(self, timeout_s: float) -> None:
        """Wait until its threads in this process have ended, at most so long. For another thread than the loop's."""


H = TypeVar("H", bound=Handle)


class Launcher(Protocol[H]):
    """Starts nodes. Used on one loop."""

    @property
    def network(self) -> Network:
        """What is wrong between nodes, and between them and the client of this process."""

    async def rewire(self, handles: Iterable[H]) -> None:
        """Have the nodes do what the network does now, and wait until the connections that it cuts have ended."""

    async def start(self, spec: NodeSpec) -> H:
        """Start a node.

        Raises:
            ClusterError: If it does not come up.
        """

    async def introduce(self, handles: Sequence[H]) -> None:
        """Make nodes that were just started known to each other."""

    async def connect(self, handle: H) -> Connection:
        """A connection for a client of this process."""

    async def look(self, member: Member) -> Connection:
        """A connection for somebody who only looks on: faults on purpose do not reach it."""
