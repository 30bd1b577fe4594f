from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from mpreg_lab.errors import (
    ConnectionLostError,
    ProtocolError,
    RemoteError,
    RoutingError,
    UnserialisableResultError,
)
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.chunks import chunks
from mpreg_lab.protocol.messages import Describe, Described, Done, Fetch, Fetched, Goodbye, Message, Refused, Welcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport import peer as peer_module
from mpreg_lab.transport import websocket
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import NodeName


class Node:
    """What a test has at the other end: keeps the messages that come, and answers as it is told."""

    def __init__(self) -> None:
        self.peer: Peer
        self.messages: list[Message] = []
        self.closed: list[Peer] = []
        self.changed = asyncio.Event()
        self.answer: Callable[[Peer, Any], None] = lambda peer, message: None

    def take(self, peer: Peer, message: Message) -> None:
        self.messages.append(message)
        self.changed.set()
        self.answer(peer, message)

    def on_close(self, peer: Peer) -> None:
        self.closed.append(peer)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def has(self, count: int) -> list[Message]:
        await self.until(lambda: len(self.messages) >= count)
        return self.messages


@pytest.fixture(params=["memory://", "ws://127.0.0.1:0"])
async def connected(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Connection, Connection]]:
    transport = transport_for(request.param)
    taken: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen(request.param, taken.put_nowait, token="t")
    await listener.serve()
    yield await transport.connect(listener.url, token="t"), await taken.get()
    await listener.close()


@pytest.fixture
async def ends(connected: tuple[Connection, Connection]) -> AsyncIterator[tuple[Node, Node]]:
    """Two ends that talk to each other."""
    async with AsyncExitStack() as stack:
        nodes = Node(), Node()
        for node, connection in zip(nodes, connected, strict=True):
            node.peer = Peer(connection, node.take, on_close=node.on_close)
            stack.push_async_callback(node.peer.close)
        yield nodes


# --- messages -------------------------------------------------------------------------------------------------------


async def test_messages_arrive_in_the_order_in_which_they_were_posted(ends):
    one, other = ends
    for n in range(100):
        one.peer.post(Goodbye(NodeName(str(n))))
    assert await other.has(100) == [Goodbye(NodeName(str(n))) for n in range(100)]


async def test_a_request_gets_the_reply_with_its_u(ends):
    one, other = ends
    asked: list[Describe] = []

    def answer_in_reverse(peer: Peer, message: Describe) -> None:
        asked.append(message)
        if len(asked) == 3:
            for request in reversed(asked):
                peer.post(Done(request.u))

    other.answer = answer_in_reverse
    requests = [Describe(one.peer.next_u()) for _ in range(3)]
    replies = await asyncio.gather(*map(one.peer.request, requests))
    assert [reply.u for reply in replies] == [request.u for request in requests]
    assert one.messages == []


@pytest.mark.parametrize(
    "reply",
    [Fetched("1", Payload.of(5)), Described("1", "c", "n", ()), Done("1"), Welcome("1", (), "n")],  # type: ignore[arg-type]
)
async def test_each_kind_of_reply_ends_a_request(ends, reply):
    one, other = ends
    other.answer = lambda peer, message: peer.post(reply)
    assert type(await one.peer.request(Describe("1"))) is type(reply)


async def test_a_refusal_raises_its_exception(ends):
    one, other = ends
    other.answer = lambda peer, message: peer.post(Refused(message.u, Payload.of_error(RoutingError("nobody"))))
    with pytest.raises(RoutingError, match="nobody"):
        await one.peer.request(Describe("1"))


async def test_a_refusal_without_an_exception_is_a_protocol_error(ends):
    one, other = ends
    other.answer = lambda peer, message: peer.post(Refused(message.u, Payload.of(5)))
    with pytest.raises(ProtocolError, match="without a reason: 5"):
        await one.peer.request(Describe("1"))


async def test_a_reply_that_nobody_waits_for_goes_to_the_handler(ends):
    one, other = ends
    other.peer.post(Done("7"))
    assert await one.has(1) == [Done("7")]


async def test_a_request_that_was_given_up_leaves_nothing_behind(ends):
    one, other = ends
    request = asyncio.ensure_future(one.peer.request(Describe("1")))
    await other.has(1)
    request.cancel()
    await asyncio.wait([request])
    other.peer.post(Done("1"))
    assert await one.has(1) == [Done("1")]


async def test_two_requests_cannot_have_one_u(ends):
    one, other = ends
    request = asyncio.ensure_future(one.peer.request(Describe("1")))
    await other.has(1)
    with pytest.raises(ValueError, match="u='1'"):
        await one.peer.request(Describe("1"))
    other.peer.post(Done("1"))
    assert await request == Done("1")


async def test_what_the_handler_raises_is_the_reply(ends):
    one, other = ends

    def refuse(peer: Peer, message: Message) -> None:
        raise RoutingError("nobody")

    other.answer = refuse
    with pytest.raises(RoutingError, match="nobody"):
        await one.peer.request(Describe("1"))
    assert not one.peer.closed


async def test_a_mistake_in_the_handler_is_the_reply_and_is_reported(ends):
    one, other = ends
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def fail(peer: Peer, message: Message) -> None:
        raise KeyError("oops")

    other.answer = fail
    with pytest.raises(KeyError, match="oops"):
        await one.peer.request(Describe("1"))
    assert [type(context["exception"]) for context in reported] == [KeyError]


async def test_two_ends_do_not_refuse_each_others_refusals(ends):
    one, other = ends

    def refuse(peer: Peer, message: Message) -> None:
        raise RoutingError("nobody")

    one.answer = other.answer = refuse
    one.peer.post(Goodbye(NodeName("x")))
    await one.has(1)
    one.answer = other.answer = lambda peer, message: peer.post(Done(message.u))
    await one.peer.request(Describe("1"))
    assert [type(message) for message in one.messages + other.messages] == [Refused, Goodbye, Describe]


# --- the end --------------------------------------------------------------------------------------------------------


async def test_close_sends_what_was_posted(ends):
    one, other = ends
    for n in range(10):
        one.peer.post(Goodbye(NodeName(str(n))))
    await one.peer.close()
    assert len(await other.has(10)) == 10


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_end_of_a_connection_fails_requests_and_is_told_once(ends, end, how):
    one, other = ends
    request = asyncio.ensure_future(one.peer.request(Describe("1")))
    await other.has(1)
    if how == "close":
        await ends[end].peer.close()
    else:
        ends[end].peer.abort()
    with pytest.raises(ConnectionLostError):
        await request
    await one.until(lambda: bool(one.closed))
    await other.until(lambda: bool(other.closed))
    await one.peer.close()
    await other.peer.close()
    assert (one.closed, other.closed) == ([one.peer], [other.peer])


async def test_after_the_end_posts_are_dropped_and_requests_fail(ends):
    one, _ = ends
    await one.peer.close()
    assert one.peer.closed
    one.peer.post(Done("1"))
    with pytest.raises(ConnectionLostError):
        await one.peer.request(Describe("1"))
    assert repr(one.peer).endswith(", closed)")


async def test_closing_leaves_no_task_behind(connected):
    before = asyncio.all_tasks()
    nodes = Node(), Node()
    peers = [Peer(connection, node.take) for node, connection in zip(nodes, connected, strict=True)]
    for peer in peers:
        await peer.close()
    assert asyncio.all_tasks() <= before


async def test_a_handler_may_close(ends):
    one, other = ends
    closing: list[asyncio.Task[None]] = []
    other.answer = lambda peer, message: closing.append(asyncio.ensure_future(peer.close()))
    with pytest.raises(ConnectionLostError):
        await one.peer.request(Describe("1"))
    await asyncio.gather(*closing)


# --- by reference and by frames -------------------------------------------------------------------------------------


async def test_within_a_process_objects_go_by_reference():
    connections = MemoryConnection.pair()
    node = Node()
    peers = [Peer(connection, node.take) for connection in connections]
    value = object()
    peers[0].post(Fetched("1", Payload.of(value)))
    (message,) = await node.has(1)
    assert message.value.value() is value  # type: ignore[union-attr]
    for peer in peers:
        await peer.close()


@pytest.fixture
async def over_websocket() -> AsyncIterator[tuple[Node, Any]]:
    """A node, and a bare websocket to it."""
    from websockets.asyncio.client import connect

    node = Node()
    transport = transport_for("ws://")
    taken: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen("ws://127.0.0.1:0", taken.put_nowait, token="t")
    await listener.serve()
    async with connect(listener.url, proxy=None, additional_headers={"Authorization": "Bearer t"}) as websocket:
        node.peer = Peer(await taken.get(), node.take, on_close=node.on_close)
        yield node, websocket
    await node.peer.close()
    await listener.close()


async def test_the_other_end_is_answered_in_kind(over_websocket):
    node, client = over_websocket
    node.answer = lambda peer, message: peer.post(Done(message.u))
    await client.send('{"kind":"describe","u":"1"}')
    assert await client.recv() == '{"kind":"ok","u":"1"}'
    assert node.peer.text
    await client.send(codec.encode(Describe("2"), text=False))
    assert codec.decode(await client.recv()) == Done("2")
    assert not node.peer.text


async def test_a_frame_that_makes_no_sense_is_refused_and_the_connection_stays(over_websocket):
    node, client = over_websocket
    node.answer = lambda peer, message: peer.post(Done(message.u))
    await client.send('{"kind":"describe","u":5}')
    assert '"kind":"refused","u":"","error":{"$":"error","type":"ProtocolError"' in await client.recv()
    await client.send('{"kind":"fetch","u":"3","run":5,"step":"x"}')
    assert '"kind":"refused","u":"3"' in await client.recv()
    await client.send(b"junk")
    assert isinstance(await client.recv(), bytes)
    await client.send('{"kind":"describe","u":"4"}')
    assert await client.recv() == '{"kind":"ok","u":"4"}'


async def test_frames_of_one_tick_go_out_together(over_websocket, monkeypatch):
    node, _ = over_websocket
    written: list[bytes] = []
    monkeypatch.setattr(node.peer.connection._websocket.transport, "write", written.append)
    for n in range(10):
        node.peer.post(Done(str(n)))
    await asyncio.sleep(0)
    assert len(written) == 1


@pytest.mark.parametrize("text", [True, False])
async def test_what_cannot_travel_is_told_before_anything_is_sent(over_websocket, text):
    node, client = over_websocket
    node.peer.text = text
    with pytest.raises(UnserialisableResultError, match="generator"):
        node.peer.post(Fetched("1", Payload.of(n for n in "x")))
    assert node.peer.pending_bytes == 0
    node.peer.post(Done("1"))
    assert await client.recv()


async def test_a_json_client_gets_exceptions_as_text(over_websocket):
    node, client = over_websocket

    def answer(peer: Peer, message: Fetch) -> None:
        raise RemoteError("x", type_name="Special")

    node.answer = answer
    await client.send('{"kind":"fetch","u":"1","run":"r","step":"s"}')
    assert '"error":{"$":"error","type":"Special","message":"x"}' in await client.recv()


@pytest.fixture
async def stuck() -> AsyncIterator[Node]:
    """A node whose other end takes nothing, with some megabytes pending."""
    node = Node()
    transport = transport_for("ws://")
    taken: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen("ws://127.0.0.1:0", taken.put_nowait, token="t")
    await listener.serve()
    end = await transport.connect(listener.url, token="t")
    end._websocket.transport.pause_reading()  # type: ignore[attr-defined]
    node.peer = Peer(await taken.get(), node.take, on_close=node.on_close)
    while node.peer.pending_bytes < 1_000_000:
        node.peer.post(Fetched("1", Payload.of(bytes(1_000_000))))
        await asyncio.sleep(0)
    yield node
    end.abort()
    with pytest.raises(ConnectionLostError):
        await anext(aiter(end))
    await listener.close()


async def test_a_reader_that_takes_nothing_is_cut(stuck, monkeypatch):
    monkeypatch.setattr(peer_module, "_STALLED_BYTES", 1000)
    monkeypatch.setattr(peer_module, "_STALLED_S", 0.01)
    stuck.peer.post(Done("1"))
    await stuck.until(lambda: bool(stuck.closed))


async def test_a_reader_that_takes_something_is_not_cut(stuck, monkeypatch):
    monkeypatch.setattr(peer_module, "_STALLED_BYTES", 1000)
    monkeypatch.setattr(peer_module, "_SLOWEST_BYTES", 1000)
    taken_bytes = stuck.peer._sent_bytes - stuck.peer.pending_bytes
    stuck.peer._cut_if_stalled(taken_bytes - 1000)  # As if it had taken so much since the last look.
    assert not stuck.peer.connection._websocket.transport.is_closing()
    stuck.peer.abort()


async def test_a_reader_that_takes_next_to_nothing_is_cut(stuck, monkeypatch):
    monkeypatch.setattr(peer_module, "_STALLED_BYTES", 1000)
    taken_bytes = stuck.peer._sent_bytes - stuck.peer.pending_bytes
    stuck.peer._cut_if_stalled(taken_bytes - 1000)
    await stuck.until(lambda: bool(stuck.closed))


async def test_a_reader_that_leaves_too_much_is_cut_at_once(stuck, monkeypatch):
    monkeypatch.setattr(peer_module, "_MAX_PENDING_BYTES", 20_000_000)
    stuck.peer.post(Fetched("2", Payload.of(bytes(20_000_000))))
    await stuck.until(lambda: bool(stuck.closed))
    assert stuck.peer.pending_bytes == 0


async def test_closing_with_chunks_pending_does_not_wait_for_a_reader_that_takes_nothing(stuck, monkeypatch):
    monkeypatch.setattr(websocket, "_CLOSE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(peer_module, "_CLOSE_S", 0.01)
    stuck.peer.post(Fetched("2", Payload.of(bytes(20_000_000))))
    await stuck.peer.close()
    assert stuck.closed == [stuck.peer]


async def test_closing_does_not_wait_for_a_reader_that_takes_nothing(stuck, monkeypatch):
    monkeypatch.setattr(websocket, "_CLOSE_TIMEOUT_S", 0.01)
    await stuck.peer.close()
    assert stuck.closed == [stuck.peer]


# --- big values -----------------------------------------------------------------------------------------------------


BIG = bytes(range(256)) * 40_000


async def test_a_big_value_arrives_whole(ends):
    one, other = ends
    one.peer.post(Fetched("1", Payload.of(BIG)))
    (message,) = await other.has(1)
    assert message.value.value() == BIG


async def test_closing_sends_big_values_too(ends):
    one, other = ends
    one.peer.post(Fetched("1", Payload.of(BIG)))
    await one.peer.close()
    (message,) = await other.has(1)
    assert message.value.value() == BIG


@pytest.fixture
async def over_ws() -> AsyncIterator[tuple[Node, Node]]:
    """Two ends of a websocket."""
    async with AsyncExitStack() as stack:
        taken: asyncio.Queue[Connection] = asyncio.Queue()
        listener = transport_for("ws://").listen("ws://127.0.0.1:0", taken.put_nowait, token="t")
        await listener.serve()
        stack.push_async_callback(listener.close)
        nodes = Node(), Node()
        connections = await transport_for("ws://").connect(listener.url, token="t"), await taken.get()
        for node, connection in zip(nodes, connections, strict=True):
            node.peer = Peer(connection, node.take, on_close=node.on_close)
            stack.push_async_callback(node.peer.close)
        yield nodes


async def test_small_messages_overtake_big_values_but_not_of_their_own_request(over_ws):
    one, other = over_ws
    one.peer.post(Fetched("1", Payload.of(BIG)))
    one.peer.post(Describe("1"))
    one.peer.post(Goodbye(NodeName("last")))
    one.peer.post(Describe("2"))
    first, second, third, last = await other.has(4)
    assert first == Describe("2")
    assert second.value.value() == BIG
    assert (third, last) == (Describe("1"), Goodbye(NodeName("last")))


async def test_big_values_take_turns(over_ws):
    one, other = over_ws
    one.peer.post(Fetched("longer", Payload.of(BIG * 3)))
    one.peer.post(Fetched("shorter", Payload.of(BIG)))
    assert [message.u for message in await other.has(2)] == ["shorter", "longer"]


async def test_a_value_that_is_too_big_is_told_and_the_connection_stays(over_ws):
    one, other = over_ws
    one.peer.connection.max_frame_bytes = 5_000_000
    with pytest.raises(UnserialisableResultError, match=r"\d+ bytes are too many .*: at most 5000000"):
        one.peer.post(Fetched("1", Payload.of(BIG)))
    one.peer.post(Describe("2"))
    assert await other.has(1) == [Describe("2")]


async def test_a_connection_that_ends_under_a_big_value_leaves_nothing(over_ws):
    one, other = over_ws
    one.peer.post(Fetched("1", Payload.of(BIG)))
    other.peer.abort()
    await one.until(lambda: bool(one.closed))
    assert one.peer.pending_bytes == 0


async def test_chunks_that_make_no_sense_are_refused_and_the_connection_stays(over_ws):
    one, other = over_ws
    one.peer.connection.send(b"\xc1\x02\x00\x00" + bytes(5) + bytes(30))
    one.peer.post(Describe("2"))
    (refused,) = await one.has(1)
    assert isinstance(refused.error.value(), ProtocolError)
    assert await other.has(1) == [Describe("2")]


async def test_who_has_not_shown_the_token_sends_no_chunks(over_ws):
    one, other = over_ws
    other.peer.connection.trusted = False
    for chunk in chunks(codec.parts(Fetched("1", Payload.of(BIG))), 1):
        one.peer.connection.send(chunk)
    one.peer.connection.send(codec.encode(Describe("2"), text=True))
    refusals = await one.has(3)
    assert all("only from who has shown the token" in str(refused.error.value()) for refused in refusals)
    assert await other.has(1) == [Describe("2")]
    assert other.peer._assembly._open == {}


async def test_a_frame_in_chunks_that_is_no_message_is_refused_with_its_u(over_ws):
    one, _ = over_ws
    head = msgspec.msgpack.encode({"kind": "nonsense", "u": "7", "text": "x" * 5_000_000})
    frame = struct.pack("<4sIII", b"\xc1\x01\x00\x00", len(head), 0, 0) + head
    for chunk in chunks((frame,), 1):
        one.peer.connection.send(chunk)
    (refused,) = await one.has(1)
    assert refused.u == "7"
