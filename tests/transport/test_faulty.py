"""A network that misbehaves on purpose: what it does to frames, and that it does nothing while all is well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mpreg_lab.errors import ConnectError, ConnectionLostError
from mpreg_lab.protocol.messages import Forget, Message
from mpreg_lab.testing.conformance import TransportConformance
from mpreg_lab.transport.base import MAX_FRAME_BYTES, OPEN_TIMEOUT_S, Accept, Connection, Listener, Transport
from mpreg_lab.transport.faulty import Cable, LinkFaults, Network
from mpreg_lab.transport.memory import MemoryConnection, MemoryTransport
from mpreg_lab.transport.tls import TlsLike
from mpreg_lab.types import Frame, RunId

WHOLE = LinkFaults()


class FaultyTransport(Transport):
    """The memory transport over a network; of which every frame has been held up a little, if it has a delay."""

    def __init__(self, faults: LinkFaults) -> None:
        self._inner, self._network = MemoryTransport(), Network()
        for link in (("a", "b"), ("b", "a")):
            self._network.change(*link, faults)

    async def connect(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: TlsLike | None = None,
        timeout_s: float = OPEN_TIMEOUT_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Connection:
        return await self._network.dial("a", "b", lambda: self._inner.connect(url, timeout_s=timeout_s))

    def listen(
        self,
        url: str,
        accept: Accept,
        *,
        token: str | None = None,
        guests: bool = False,
        tls: TlsLike | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Listener:
        return self._inner.listen(url, accept)


class TestWithoutFaults(TransportConformance):
    address = "memory://"

    @pytest.fixture
    def transport(self) -> Transport:
        return FaultyTransport(WHOLE)


class TestWithDelay(TransportConformance):
    address = "memory://"

    @pytest.fixture
    def transport(self) -> Transport:
        return FaultyTransport(LinkFaults(delay_s=0.002, jitter_s=0.002))


class Link:
    """Two ends of one connection from a to b, and their network."""

    def __init__(self, network: Network, near: Connection, far: MemoryConnection) -> None:
        self.network, self.near, self.far = network, near, far

    def set(self, faults: LinkFaults) -> None:
        for link in (("a", "b"), ("b", "a")):
            self.network.change(*link, faults)

    async def sent(self, count: int, *, back: bool = False) -> list[int]:
        """The numbers that come out at the other end before it is closed, of so many that are put in."""
        source, target = (self.far, self.near) if back else (self.near, self.far)
        for number in range(count):
            source.send(Forget(RunId(str(number))))
        await source.close()
        return [number_of(frame) async for frame in target]


def number_of(frame: Frame | Message) -> int:
    assert isinstance(frame, Forget)
    return int(frame.run)


async def linked(network: Network) -> Link:
    near, far = MemoryConnection.pair("a", "b")

    async def dial() -> Connection:
        return near

    return Link(network, await network.dial("a", "b", dial), far)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    link = await linked(Network())
    yield link
    link.near.abort()


BACK = pytest.mark.parametrize("back", [False, True])


class Full(MemoryConnection):
    """A connection that takes what it is given, and has room for more when the test says so."""

    def __init__(self, peer_name: str) -> None:
        super().__init__(peer_name)
        self.room = asyncio.Event()

    async def drained(self) -> None:
        await self.room.wait()


async def test_who_sends_much_waits_until_the_connection_beneath_has_room():
    near, _ = Full.pair("a", "b")
    assert isinstance(near, Full)

    async def dial() -> Connection:
        return near

    connection = await Network().dial("a", "b", dial)
    waiting = asyncio.ensure_future(connection.drained())
    assert await asyncio.wait((waiting,), timeout=0) == (set(), {waiting})

    near.room.set()
    await waiting


@BACK
async def test_a_delay_keeps_the_order_and_loses_nothing(link, back):
    link.set(LinkFaults(delay_s=0.001, jitter_s=0.005))

    assert await link.sent(50, back=back) == list(range(50))


@BACK
async def test_dropped_frames_are_gone_but_never_the_greeting(link, back):
    link.set(LinkFaults(drop=1.0))

    assert await link.sent(5, back=back) == [0]


@BACK
async def test_frames_come_twice(link, back):
    link.set(LinkFaults(duplicate=1.0))

    assert await link.sent(3, back=back) == [0, 1, 1, 2, 2]


@BACK
async def test_frames_overtake_others_and_none_is_lost(link, back):
    link.set(LinkFaults(reorder=0.5, reorder_s=0.01))

    arrived = await link.sent(50, back=back)

    assert arrived != sorted(arrived)
    assert sorted(arrived) == list(range(50))


async def test_the_same_seed_loses_the_same_frames():
    async def survivors(seed: int) -> list[int]:
        network = Network()
        network.seed(seed)
        link = await linked(network)
        link.set(LinkFaults(drop=0.5))
        return await link.sent(50)

    assert await survivors(7) == await survivors(7)
    assert await survivors(7) != await survivors(8)


async def test_a_network_that_is_wired_as_another_loses_the_same_frames():
    original, twin = Network(), Network()
    for network in (original, twin):
        network.seed(3)
    original.seed(7)
    for ends in (("a", "b"), ("b", "a"), ("a", "c")):
        original.change(*ends, LinkFaults(drop=0.5))
    twin.change("x", "y", LinkFaults(delay_s=1.0))

    twin.rewire(original.wiring)

    assert twin.faulty == original.faulty
    assert await (await linked(twin)).sent(50) == await (await linked(original)).sent(50)


async def test_wiring_anew_without_a_new_seed_lets_chance_go_on():
    network, twin = Network(), Network()
    network.change("a", "b", LinkFaults(drop=0.5))
    twin.rewire(network.wiring)
    first = await (await linked(twin)).sent(50)

    twin.rewire(network.wiring)

    assert await (await linked(twin)).sent(50) != first


async def test_a_broken_cable_ends_connections_and_lets_none_be_opened(link):
    link.set(LinkFaults(cable=Cable.BROKEN))

    with pytest.raises(ConnectionLostError):
        await anext(aiter(link.near))
    with pytest.raises(ConnectError, match="from a to b is cut"):
        await linked(link.network)


async def test_a_connection_whose_cable_breaks_while_it_is_opened_is_none_though_it_is_healed_at_once():
    network = Network()
    near, far = MemoryConnection.pair("a", "b")

    async def dial() -> Connection:
        network.change("a", "b", LinkFaults(cable=Cable.BROKEN))
        return near

    with pytest.raises(ConnectError, match="from a to b is cut"):
        await network.dial("a", "b", dial)
    network.heal()
    with pytest.raises(ConnectionLostError):
        await anext(aiter(far))


async def test_a_dead_cable_swallows_frames_and_its_connections_end_when_it_is_healed(link):
    link.set(LinkFaults(cable=Cable.DEAD))
    link.near.send(Forget(RunId("1")))
    reading = asyncio.ensure_future(anext(aiter(link.far)))
    await asyncio.sleep(0)
    assert not reading.done()

    link.network.heal()

    with pytest.raises(ConnectionLostError):
        await reading


async def test_healing_one_end_leaves_the_links_of_others(link):
    slow = LinkFaults(delay_s=1.0)
    for source, target in (("a", "b"), ("b", "c"), ("c", "d")):
        link.network.change(source, target, slow)

    link.network.heal("a")

    assert [link.network.faults(*ends) for ends in (("a", "b"), ("b", "c"), ("c", "d"))] == [WHOLE, slow, slow]
