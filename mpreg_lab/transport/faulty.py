"""A network that misbehaves on purpose: connections whose frames are delayed, dropped, doubled, reordered or cut.

The end that dials is wrapped, and treats the frames of both directions. While all is well a frame passes through at
once; a connection gets a queue of its own only when something was done to its link.
"""

from __future__ import annotations

import asyncio
import math
import random
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum

import msgspec

from mpreg_lab.errors import ConnectError, ConnectionLostError
from mpreg_lab.protocol.messages import Message
from mpreg_lab.types import Frame

from .base import OPEN_TIMEOUT_S, Connection

__all__ = ["Cable", "FaultyConnection", "LinkFaults", "Network", "Wiring"]


class Cable(StrEnum):
    """Whether anything gets through."""

    WHOLE = "whole"
    BROKEN = "broken"
    """Connections end at once, and none can be opened."""
    DEAD = "dead"
    """Frames vanish and nobody is told, as behind a router that fails."""


class LinkFaults(msgspec.Struct, frozen=True):
    """What happens to frames on their way from one end to another. Shares are between 0 and 1."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """At most so much is added to the delay; the order stays."""
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """The share of frames that later ones overtake."""
    reorder_s: float = 0.05
    """How long those are held back."""
    cable: Cable = Cable.WHOLE


class Wiring(msgspec.Struct, frozen=True):
    """All that a network does to frames: enough for another one to do the same."""

    links: tuple[tuple[str, str, LinkFaults], ...] = ()
    """Source, target, and what happens to frames from the one to the other."""
    seed: int = 0
    seeded: int = 0
    """Counts how often chance began anew."""


_CALM = LinkFaults()
_SETTLED_S = 0.5


class Network:
    """What is wrong between whom. Used on one loop."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], LinkFaults] = {}
        self._dice: dict[tuple[str, str], random.Random] = {}
        self._seed = 0
        self._seeded = 0
        self._torn: list[FaultyConnection] = []
        self._connections: weakref.WeakSet[FaultyConnection] = weakref.WeakSet()
        self.on_change: Callable[[], object] = lambda: None
        """Called when something was done to a link."""

    def seed(self, seed: int) -> None:
        """Throw the dice of every link anew, from here on the same for the same seed."""
        self._seed = seed
        self._seeded += 1
        self._dice.clear()

    def faults(self, source: str, target: str) -> LinkFaults:
        """What happens to frames from one to the other."""
        return self._links.get((source, target), _CALM)

    @property
    def faulty(self) -> dict[tuple[str, str], LinkFaults]:
        """The directions of links to which something was done."""
        return dict(self._links)

    def change(self, source: str, target: str, faults: LinkFaults) -> None:
        """From now on, treat frames from one to the other so."""
        before = self.faults(source, target)
        if faults == _CALM:
            self._links.pop((source, target), None)
        else:
            self._links[source, target] = faults
        self.on_change()
        for connection in list(self._connections):
            # A stream that has a hole cannot go on.
            torn = before.cable is Cable.DEAD is not faults.cable
            if {connection.ours, connection.theirs} == {source, target} and (torn or faults.cable is Cable.BROKEN):
                connection.abort()
                self._torn.append(connection)

    @property
    def wiring(self) -> Wiring:
        """What is wrong between whom, as a value."""
        links = tuple((*ends, faults) for ends, faults in self._links.items())
        return Wiring(links, self._seed, self._seeded)

    def rewire(self, wiring: Wiring) -> None:
        """Do what another network does."""
        if wiring.seeded != self._seeded:
            self.seed(wiring.seed)
            self._seeded = wiring.seeded
        wanted = {(source, target): faults for source, target, faults in wiring.links}
        for link in self._links.keys() | wanted.keys():
            self.change(*link, wanted.get(link, _CALM))

    async def settled(self) -> None:
        """Wait until everybody knows of the connections that were cut, at most a moment."""
        torn, self._torn = self._torn, []
        waiting = [asyncio.ensure_future(connection.ended.wait()) for connection in torn]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=_SETTLED_S)
            for future in late:
                future.cancel()

    def heal(self, a: str = "", b: str = "") -> None:
        """End all faults between two ends; with one alone those of all its links, without any all."""
        for source, target in list(self._links):
            if {a, b} - {""} <= {source, target}:
                self.change(source, target, _CALM)

    def dice(self, source: str, target: str) -> random.Random:
        """What decides about frames from one to the other."""
        if (source, target) not in self._dice:
            self._dice[source, target] = random.Random(f"{self._seed} {source} {target}")
        return self._dice[source, target]

    async def dial(self, ours: str, theirs: str, dial: Callable[[], Awaitable[Connection]]) -> Connection:
        """Open a connection and treat its frames as the link's faults say.

        Raises:
            ConnectError: If the link is cut.
        """
        self._check(ours, theirs)
        if Cable.DEAD in self._cables(ours, theirs):
            await asyncio.sleep(OPEN_TIMEOUT_S)
            raise ConnectError(f"{theirs} does not answer {ours}: the link is cut") from TimeoutError()
        connection = FaultyConnection(await dial(), self, ours, theirs)
        try:
            self._check(ours, theirs)
        except ConnectError:
            # Cut while it was opened: healing would not end it, and its greeting would be lost without a trace.
            connection.abort()
            raise
        self._connections.add(connection)
        return connection

    def _check(self, ours: str, theirs: str) -> None:
        if Cable.BROKEN in self._cables(ours, theirs):
            # With a cause: who is told that nobody listens takes the node for dead.
            raise ConnectError(f"the link from {ours} to {theirs} is cut") from OSError("the network is unreachable")

    def _cables(self, ours: str, theirs: str) -> set[Cable]:
        return {self.faults(ours, theirs).cable, self.faults(theirs, ours).cable}


class FaultyConnection(Connection):
    """The dialling end of a connection.

    Args:
        ours: The name of who dialled.
        theirs: The name of who was dialled.
    """

    def __init__(self, inner: Connection, network: Network, ours: str, theirs: str) -> None:
        self.carries_objects = inner.carries_objects
        self.trusted = inner.trusted
        self.peer_name = inner.peer_name
        self.max_frame_bytes = inner.max_frame_bytes
        self.ours, self.theirs = ours, theirs
        self.ended = asyncio.Event()
        """Whether who reads has come to the end."""
        self._inner = inner
        self._out = _Way(network, ours, theirs, inner.send)
        self._in = _Way(network, theirs, ours, self._put)
        self._inbox: deque[Frame | Message] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def send(self, frame: Frame | Message) -> None:
        self._out.take(frame)

    async def __aiter__(self) -> AsyncIterator[Frame | Message]:
        try:
            async for frame in self._frames():
                yield frame
        finally:
            self.ended.set()

    async def _frames(self) -> AsyncIterator[Frame | Message]:
        frames = self._inner.__aiter__()
        async for frame in frames:
            if not self._in.calm:
                self._in.take(frame)
                break
            self._in.begun = True
            yield frame
        else:
            return
        # Read on beside: a frame is delayed from when it came, not from when the one before was taken.
        pump = asyncio.get_running_loop().create_task(self._pump(frames), name=f"mpreg delays {self.peer_name}")
        try:
            while True:
                while self._inbox:
                    yield self._inbox.popleft()
                if pump.done():
                    pump.result()
                    return
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        finally:
            pump.cancel()

    @property
    def pending_bytes(self) -> int:
        return self._inner.pending_bytes

    async def drained(self) -> None:
        await self._inner.drained()

    async def close(self) -> None:
        await self._out.emptied()
        await self._inner.close()

    def abort(self) -> None:
        self._out.drop_all()
        self._in.drop_all()
        self._inner.abort()

    async def _pump(self, frames: AsyncIterator[Frame | Message]) -> None:
        try:
            async for frame in frames:
                self._in.take(frame)
            await self._in.emptied()
        except ConnectionLostError:
            self._in.drop_all()
            raise
        finally:
            # Once this task counts as done.
            asyncio.get_running_loop().call_soon(self._wake)

    def _put(self, frame: Frame | Message) -> None:
        self._inbox.append(frame)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Way:
    """One direction of one connection."""

    def __init__(self, network: Network, source: str, target: str, deliver: Callable[[Frame | Message], None]) -> None:
        self._network, self._source, self._target = network, source, target
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._last_s = 0.0
        self._under_way: set[asyncio.TimerHandle] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.begun = False

    @property
    def calm(self) -> bool:
        """Whether a frame passes through at once."""
        return not self._under_way and self._network.faults(self._source, self._target) is _CALM

    def take(self, frame: Frame | Message) -> None:
        """Deliver a frame now, later, twice or never."""
        begun, self.begun = self.begun, True
        if self.calm:
            self._deliver(frame)
            return
        faults = self._network.faults(self._source, self._target)
        if faults.cable is not Cable.WHOLE:
            return
        dice = self._network.dice(self._source, self._target)
        dropped, doubled, overtaken = (dice.random() < s for s in (faults.drop, faults.duplicate, faults.reorder))
        jitter_s = dice.uniform(0.0, faults.jitter_s)
        # A greeting always comes through: a connection without one never opened, and that is what a cut is for.
        if not begun:
            dropped = doubled = overtaken = False
        if dropped:
            return
        due_s = self._loop.time() + faults.delay_s + jitter_s
        for _ in range(2 if doubled else 1):
            self._deliver_at(due_s + faults.reorder_s if overtaken else self._in_order_s(due_s), frame)

    async def emptied(self) -> None:
        """Wait until nothing is under way."""
        await self._empty.wait()

    def drop_all(self) -> None:
        """What is under way never arrives."""
        for timer in self._under_way:
            timer.cancel()
        self._under_way.clear()
        self._empty.set()

    def _in_order_s(self, due_s: float) -> float:
        self._last_s = max(due_s, math.nextafter(self._last_s, math.inf))
        return self._last_s

    def _deliver_at(self, due_s: float, frame: Frame | Message) -> None:
        if due_s <= self._loop.time() and not self._under_way:
            self._deliver(frame)
            return

        def arrive() -> None:
            self._under_way.discard(timer)
            self._deliver(frame)
            if not self._under_way:
                self._empty.set()

        timer = self._loop.call_at(due_s, arrive)
        self._under_way.add(timer)
        self._empty.clear()
