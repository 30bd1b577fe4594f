from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mpreg_lab.errors import ConnectError
from mpreg_lab.node.gossip import Heart
from mpreg_lab.node.membership import Membership
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Beat, Member, Ping, Refused
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId, FunctionName, NodeName

LAB = ClusterId("lab")


class Lab:
    """Nodes with open doors on one loop, and the network between them."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.nodes: dict[str, Node] = {}
        self.listeners: dict[str, Listener] = {}
        self.deaf: set[str] = set()
        self._stack = stack

    async def start(self, name: str, *, join: str | None = None) -> Node:
        async def dial(member: Member) -> Connection:
            connection = await transport_for(member.url or "memory://nobody").connect(member.url, token="t")
            return Flaky(connection, lambda: bool({name, member.name} & self.deaf))

        node = Node(NodeName(name), cluster_id=LAB, dial=dial, slots=1)

        def accept(connection: Connection) -> None:
            node.accept(Flaky(connection, lambda: name in self.deaf))

        listener = transport_for(self.url).listen(self.url, accept, token="t")
        node.set_url(listener.url)
        await listener.serve()
        self._stack.push_async_callback(self.stop, name, node)
        self.nodes[name], self.listeners[name] = node, listener
        if join is not None:
            await node.join(self.nodes[join].member.url)
        return node

    async def stop(self, name: str, node: Node) -> None:
        if self.nodes.get(name) is node:
            del self.nodes[name]
            await self.listeners[name].close()
        await node.stop()

    async def kill(self, name: str) -> None:
        """As a process dies: its door is shut and its sockets are gone."""
        await self.listeners[name].close()
        self.nodes.pop(name).kill()

    def hang(self, name: str) -> None:
        """As a process is stopped: its sockets are open, and nothing gets in or out."""
        self.deaf.add(name)

    async def all_know(self, *names: str) -> None:
        await until(
            lambda: all({m.name for m in node.members} == set(names) for n, node in self.nodes.items() if n in names)
        )


class Flaky(Connection):
    """A connection that swallows everything while it is told to."""

    def __init__(self, inner: Connection, swallows: Callable[[], bool]) -> None:
        self.inner = inner
        self.peer_name = inner.peer_name
        self.carries_objects = inner.carries_objects
        self._swallows = swallows

    def send(self, frame: Any) -> None:
        if not self._swallows():
            self.inner.send(frame)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for frame in self.inner:
            if not self._swallows():
                yield frame

    @property
    def pending_bytes(self) -> int:
        return self.inner.pending_bytes

    async def close(self) -> None:
        await self.inner.close()

    def abort(self) -> None:
        self.inner.abort()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come by itself; the test's own time-out ends it otherwise."""
    while not condition():  # noqa: ASYNC110 - nodes have no event for each thing that a test may wait for
        await asyncio.sleep(0.01)


@pytest.fixture(params=["memory://", "ws://127.0.0.1:0"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab(request.param, stack)


async def three(lab: Lab) -> None:
    await lab.start("a")
    await lab.start("b", join="a")
    await lab.start("c", join="b")
    await lab.all_know("a", "b", "c")


async def test_nodes_learn_of_each_other_from_any_one_address(lab: Lab):
    await three(lab)
    await lab.start("d", join="c")

    await lab.all_know("a", "b", "c", "d")


async def test_a_killed_node_is_lost_to_all(lab: Lab):
    await three(lab)

    await lab.kill("b")

    await lab.all_know("a", "c")


async def test_a_node_that_hangs_is_lost_and_routable_again_when_it_is_back(lab: Lab):
    await three(lab)

    lab.hang("b")
    await until(lambda: len(lab.nodes["a"].members) == 2)
    lab.deaf.clear()

    await lab.all_know("a", "b", "c")


async def test_a_node_that_leaves_is_not_suspected_first(lab: Lab):
    await three(lab)

    await lab.stop("b", lab.nodes["b"])

    await lab.all_know("a", "c")


async def test_a_restarted_node_comes_back_as_itself(lab: Lab):
    await three(lab)
    await lab.kill("b")
    await lab.all_know("a", "c")

    again = await lab.start("b", join="a")

    await lab.all_know("a", "b", "c")
    assert {m.url for m in lab.nodes["c"].members if m.name == "b"} == {again.member.url}


async def test_a_restart_that_nobody_noticed_is_noticed_all_the_same(lab: Lab):
    await three(lab)
    await lab.kill("b")

    again = await lab.start("b", join="a")

    await until(lambda: {m.url for m in lab.nodes["c"].members if m.name == "b"} == {again.member.url})


async def test_functions_that_are_registered_reach_everyone(lab: Lab):
    await three(lab)

    def answer() -> int:
        return 42

    # No announcement: it travels by rumour.
    lab.nodes["b"].register(answer)

    def has_answer(node: Node) -> bool:
        return any("answer" in {info.name for info in m.functions} for m in node.members if m.name == "b")

    await until(lambda: all(map(has_answer, lab.nodes.values())))
    lab.nodes["b"].unregister(FunctionName("answer"))
    await until(lambda: not any(map(has_answer, lab.nodes.values())))


async def test_a_node_may_come_before_its_seed(lab: Lab):
    if lab.url == "memory://":
        lab.url = "memory://seed"
    await lab.start("a")
    url = lab.nodes["a"].member.url
    await lab.kill("a")
    lab.url = "memory://" if url.startswith("memory") else lab.url
    early = await lab.start("b")
    joining = asyncio.ensure_future(early.join(url))
    await asyncio.sleep(0)

    lab.url = url
    await lab.start("a")
    await joining

    await lab.all_know("a", "b")


async def test_nobody_answers_and_the_time_is_up():
    async with AsyncExitStack() as stack:
        lab = Lab("memory://", stack)
        node = await lab.start("a")

        with pytest.raises(ConnectError, match="nobody listens"):
            await node.join("memory://nowhere", timeout_s=0.0)


async def test_a_shut_connection_does_not_cost_a_node_its_membership(lab: Lab):
    await three(lab)
    losses: list[str] = []
    node = lab.nodes["a"]
    node._neighbours._lose = losses.append  # type: ignore[assignment,method-assign]

    for peer in list(node._neighbours._heart._nodes):
        peer.abort()
    await until(lambda: bool(node._neighbours._heart._ways))
    await lab.all_know("a", "b", "c")

    assert losses == []


async def test_who_was_started_again_behind_the_same_door_is_not_lost_when_that_was_found_shut_before():
    former, again = (Member(NodeName("b"), "memory://b", generation=generation) for generation in (1, 2))
    membership = Membership(Member(NodeName("a"), "memory://a"))
    membership.update(former)
    dialled, moment = asyncio.Event(), asyncio.Event()

    async def dial(member: Member) -> Connection:
        dialled.set()
        await moment.wait()
        raise ConnectError("nobody listens there")

    heart = Heart(membership, LAB, dial, lambda _: None)
    heart.broken(former.name)
    await dialled.wait()
    (dialling,) = heart._dialling.values()

    membership.update(again)
    moment.set()
    await dialling

    assert membership.get(former.name) == again
    heart.kill()


async def test_heartbeats_of_another_cluster_are_refused():
    async with AsyncExitStack() as stack:
        lab = Lab("memory://", stack)
        node = await lab.start("a")
        ours, theirs = MemoryConnection.pair()
        node.accept(theirs)

        ours.send(Beat(ClusterId("another"), NodeName("x")))
        ours.send(Ping(NodeName("x"), NodeName("a"), 1, 0))

        replies = aiter(ours)
        assert [type(await anext(replies)) for _ in range(2)] == [Refused, Refused]


async def test_a_node_alone_has_nothing_to_do():
    async with AsyncExitStack() as stack:
        node = await Lab("memory://", stack).start("a")

        assert node._neighbours._heart._alarm is None
