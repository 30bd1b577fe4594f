"""What goes on between two nodes when a connection is lost, or much is sent over it. Virtual time, real nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from mpreg_lab.errors import ConnectError, ConnectionLostError, StepNotFinishedError
from mpreg_lab.node.gossip import HEARTBEATS
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Announce, Calls, Fetch, Forget, Member, Message, Welcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.testing.clock import VirtualClock
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.types import ClusterId, NodeName, RunId, StepName

A, B = NodeName("a"), NodeName("b")
RUN, STEP = RunId("r"), StepName("s")
VALUE = Payload.of(42)


class Pair:
    """Node b, which has joined node a; and what befalls the messages that leave either end of a connection."""

    def __init__(self) -> None:
        self.befalls: Callable[[Wire, Any], bool] = lambda _, __: False
        """Whether a message does not arrive."""
        self.nodes = {name: Node(name, cluster_id=ClusterId("lab"), dial=self.dial, slots=1) for name in (A, B)}
        self.wires: list[Wire] = []
        self.dead: set[NodeName] = set()

    async def dial(self, member: Member) -> Connection:
        if member.name in self.dead:
            raise ConnectError("nobody listens there")
        ours, theirs = (Wire(end, self) for end in MemoryConnection.pair())
        self.wires += [ours, theirs]
        self.nodes[member.name].accept(theirs)
        return ours

    async def __aenter__(self) -> Pair:
        await self.b.join(await self.dial(self.a.member))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(node.stop() for name, node in self.nodes.items() if name not in self.dead))

    @property
    def a(self) -> Node:
        return self.nodes[A]

    @property
    def b(self) -> Node:
        return self.nodes[B]

    def kill(self, name: NodeName) -> None:
        self.dead.add(name)
        self.nodes[name].kill()


class Wire(Connection):
    """One end of a connection by reference."""

    carries_objects = True

    def __init__(self, inner: Connection, pair: Pair) -> None:
        self.peer_name = inner.peer_name
        self._inner, self._pair = inner, pair

    def send(self, frame: Any) -> None:
        if not self._pair.befalls(self, frame):
            self._inner.send(frame)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._inner.__aiter__()

    @property
    def pending_bytes(self) -> int:
        return self._inner.pending_bytes

    async def close(self) -> None:
        await self._inner.close()

    def abort(self) -> None:
        self._inner.abort()


def at_first(kind: type[Message], happens: Callable[[Wire, Any], None]) -> Callable[[Wire, Any], bool]:
    """What befalls the first message of a kind, and no other."""
    seen: list[Wire] = []

    def befalls(wire: Wire, message: Any) -> bool:
        if not isinstance(message, kind) or seen:
            return False
        seen.append(wire)
        happens(wire, message)
        return True

    return befalls


def breaks(wire: Wire, _: Any) -> None:
    """The message breaks its connection."""
    wire.abort()


def ends(wire: Wire, message: Any) -> None:
    """The message is the last of its connection, whose end comes with it."""
    wire._inner.send(message)
    with contextlib.suppress(StopIteration):
        wire._inner.close().send(None)


def breaks_at_each(kind: type[Message]) -> Callable[[Wire, Any], bool]:
    """Each message of a kind breaks its connection."""

    def befalls(wire: Wire, message: Any) -> bool:
        if isinstance(message, kind):
            wire.abort()
        return isinstance(message, kind)

    return befalls


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    VirtualClock().run_coroutine(work)


def test_a_result_is_asked_for_again_when_the_connection_was_lost():
    async def scenario() -> None:
        async with Pair() as pair:
            pair.b._calls.values(RUN)[STEP] = VALUE
            pair.befalls = at_first(Fetch, breaks)

            assert await pair.a.fetch(B, RUN, STEP) == VALUE

    in_virtual_time(scenario())


def test_a_connection_that_ends_with_its_greeting_is_no_way_to_a_node():
    async def scenario() -> None:
        async with Pair() as pair:
            pair.b._calls.values(RUN)[STEP] = VALUE
            faults = at_first(Fetch, breaks), at_first(Welcome, ends)
            pair.befalls = lambda wire, message: any(befalls(wire, message) for befalls in faults)

            assert await pair.a.fetch(B, RUN, STEP) == VALUE

    in_virtual_time(scenario())


def test_a_result_is_not_asked_for_any_more_when_its_node_is_dead():
    async def scenario() -> None:
        async with Pair() as pair:
            pair.kill(B)

            with pytest.raises(ConnectionError):
                await pair.a.fetch(B, RUN, STEP)

            assert pair.a.own_members == (pair.a.member,)

    in_virtual_time(scenario())


def test_a_result_is_not_asked_for_without_end_where_only_others_reach_its_node():
    async def scenario() -> None:
        async with Pair() as pair:
            pair.befalls = breaks_at_each(Fetch)
            began_s = asyncio.get_running_loop().time()

            with pytest.raises(ConnectionLostError):
                await pair.a.fetch(B, RUN, STEP)

            assert 5.0 < asyncio.get_running_loop().time() - began_s < 10.0
            assert pair.b.member in pair.a.own_members

    in_virtual_time(scenario())


def test_what_was_made_outlives_a_connection_but_not_the_node_that_wanted_it():
    async def scenario() -> None:
        async with Pair() as pair:
            pair.a.give(B, Calls(RUN, ()))
            pair.b._calls.values(RUN)[STEP] = VALUE
            await pair.a.ask(B, Announce("1", pair.a.member))  # b has taken the calls
            for wire in pair.wires:
                wire.abort()

            assert await pair.a.fetch(B, RUN, STEP) == VALUE

            pair.kill(A)
            await asyncio.sleep(10.0)  # Of virtual time: b finds out.
            assert pair.b.own_members == (pair.b.member,)
            with pytest.raises(StepNotFinishedError):
                pair.b.held(RUN, STEP)

    in_virtual_time(scenario())


def test_who_speaks_all_the_while_is_neither_suspected_nor_given_up_though_its_heartbeats_come_to_nothing(
    monkeypatch,
):
    async def scenario() -> None:
        async with Pair() as pair:
            noticed: list[str] = []
            monkeypatch.setattr(pair.a._runs, "befell", lambda fault: noticed.append(fault.text))
            # No answer comes, as long as a large result is on its way.
            pair.befalls = lambda _, message: isinstance(message, (*HEARTBEATS, Fetch))
            owed: asyncio.Future[Message] = asyncio.ensure_future(pair.a.ask(B, Fetch("1", RUN, STEP)))
            for _ in range(60):
                await asyncio.sleep(0.3)
                for node, other in ((pair.a, B), (pair.b, A)):
                    node.tell(other, Forget(RunId("another")))

            assert noticed == []
            assert pair.b.member in pair.a.own_members
            owed.cancel()

    in_virtual_time(scenario())
