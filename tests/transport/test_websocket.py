from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mpreg_lab.errors import ClusterSpecError, ConnectError, ConnectionLostError, UnserialisableResultError
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.tls import Tls
from mpreg_lab.transport.websocket import WebSocketTransport

TOKEN = "correct-horse"
transport = WebSocketTransport()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A listener that asks for the token; its connections are closed when they are made."""
    closing: set[asyncio.Task[None]] = set()

    def accept(connection: Connection) -> None:
        closing.add(asyncio.ensure_future(connection.close()))

    listener = transport.listen("ws://127.0.0.1:0", accept, token=TOKEN)
    await listener.serve()
    yield listener
    await listener.close()
    for task in closing:
        await task


async def status(listener: Listener, **headers: str) -> int:
    """How the listener answers a handshake with these headers; 101: come in."""
    names = {"authorization": f"Bearer {TOKEN}"} | headers
    try:
        async with connect(listener.url, proxy=None, additional_headers=names):
            return 101
    except InvalidStatus as exc:
        return exc.response.status_code


async def raw_status(listener: Listener, *lines: str) -> str:
    """The first line of the answer to a handshake that is written by hand."""
    host, _, port = listener.url.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: " + "A" * 22 + "==",
    )
    writer.write("\r\n".join(("GET / HTTP/1.1", *key, *lines, "", "")).encode())
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


# --- who may come in ------------------------------------------------------------------------------------------------


async def test_who_shows_the_token_comes_in(listener):
    connection = await transport.connect(listener.url, token=TOKEN)
    assert [frame async for frame in connection] == []


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "t\u00f6ken"])
async def test_who_does_not_show_the_token_is_refused(listener, token):
    with pytest.raises(ConnectError, match="wrong or missing token"):
        await transport.connect(listener.url, token=token)


@pytest.mark.parametrize("shown", [f"Basic {TOKEN}", TOKEN, f"bearer {TOKEN}", f"Bearer  {TOKEN}"])
async def test_only_a_bearer_token_counts(listener, shown):
    assert await status(listener, authorization=shown) == 401


async def test_two_tokens_are_no_token(listener):
    lines = ("Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {TOKEN}")
    assert " 401 " in await raw_status(listener, *lines)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "file://", "http://localhost:8888"],
)
async def test_web_pages_of_others_are_refused(listener, origin):
    assert await status(listener, origin=origin) == 403


async def test_a_page_of_its_own_comes_in(listener):
    assert await status(listener, origin=listener.url.replace("ws://", "http://")) == 101


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "[::1", ""]
)
async def test_names_that_lead_here_by_a_trick_are_refused(listener, host):
    assert " 403 " in await raw_status(listener, f"Host: {host}", f"Authorization: Bearer {TOKEN}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:1", "LOCALHOST", "[::1]:9"])
async def test_names_of_this_machine_come_in(listener, host):
    assert " 101 " in await raw_status(listener, f"Host: {host}", f"Authorization: Bearer {TOKEN}")


async def test_a_handshake_without_host_is_refused(listener):
    assert " 403 " in await raw_status(listener, f"Authorization: Bearer {TOKEN}")


async def test_without_a_token_nobody_is_asked():
    taken: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen("ws://127.0.0.1:0", taken.put_nowait, token=None)
    await listener.serve()
    end = await transport.connect(listener.url)
    await (await taken.get()).close()
    await end.close()
    await listener.close()


async def test_a_refused_handshake_says_nothing_aloud(listener, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(ConnectError):
        await transport.connect(listener.url)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_the_token_is_in_no_text(listener):
    assert TOKEN not in repr(listener) + listener.url
    with pytest.raises(ConnectError) as caught:
        await transport.connect("ws://example.com:80", token=TOKEN)
    assert TOKEN not in str(caught.value)


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.1.1", "example.com"])
def test_nodes_listen_on_this_machine_only_unless_encrypted_and_with_a_token(host):
    with pytest.raises(ClusterSpecError, match=r"will not listen on .* without TLS: .* and a token: "):
        transport.listen(f"ws://{host}:0", lambda _: None)
    with pytest.raises(ClusterSpecError, match=r"will not listen on .* without TLS: "):
        transport.listen(f"ws://{host}:0", lambda _: None, token=TOKEN)
    with pytest.raises(ClusterSpecError, match=r"will not listen on .* without a token: "):
        transport.listen(f"wss://{host}:0", lambda _: None, token=TOKEN, guests=True, tls=Tls())


@pytest.mark.parametrize("url", ["ws://", "ws://127.0.0.1", "ws://:5", "ws://127.0.0.1:x", "ws://127.0.0.1:99999"])
async def test_what_is_no_address_is_told(url):
    with pytest.raises(ClusterSpecError, match="not an address"):
        transport.listen(url, lambda _: None)
    with pytest.raises(ConnectError, match="not an address"):
        await transport.connect(url)


async def test_the_token_is_not_sent_to_another_machine():
    with pytest.raises(ConnectError, match=r"will not send the token"):
        await transport.connect("ws://192.0.2.1:80", token=TOKEN)


async def test_localhost_is_an_address():
    listener = transport.listen("ws://localhost:0", lambda _: None)
    assert listener.url.startswith("ws://127.0.0.1:")
    await listener.close()


async def test_who_answers_with_something_else_is_told():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-hello\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectError, match=rf"cannot connect to ws://127.0.0.1:{port}: "):
            await transport.connect(f"ws://127.0.0.1:{port}")


async def test_who_does_not_answer_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectError, match=r"no answer in 0.01 s"):
            await transport.connect(url, timeout_s=0.01)


def test_an_address_is_taken_before_websockets_is_imported():
    code = (
        "import sys; from mpreg_lab.transport.registry import transport_for;"
        "listener = transport_for('ws://').listen('ws://127.0.0.1:0', lambda _: None);"
        "assert listener.url.rpartition(':')[2] != '0' and 'websockets' not in sys.modules; listener._socket.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# --- connections ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Connection, Connection]]:
    taken: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen("ws://127.0.0.1:0", taken.put_nowait, max_frame_bytes=1000)
    await listener.serve()
    end, other = await transport.connect(listener.url, max_frame_bytes=2000), await taken.get()
    yield end, other
    await end.close()
    await other.close()
    await listener.close()


async def test_a_frame_that_is_too_long_is_told_and_the_connection_stays(ends):
    _, other = ends
    with pytest.raises(UnserialisableResultError, match=r"1001 bytes are too many for one message .*: at most 1000"):
        other.send(bytes(1001))
    other.send(bytes(1000))
    async for frame in ends[0]:
        assert len(frame) == 1000
        break


async def test_a_frame_that_is_longer_than_the_other_end_takes_ends_the_connection(ends):
    end, other = ends
    end.send(bytes(1500))
    with pytest.raises(ConnectionLostError, match="too big"):
        assert [frame async for frame in other] == []
    with pytest.raises(ConnectionLostError, match="too big"):
        assert [frame async for frame in end] == []


async def test_text_and_binary_stay_what_they_are(ends):
    end, other = ends
    end.send("größer")
    end.send(b"\xff")
    received = []
    async for frame in other:
        received.append(frame)
        if len(received) == 2:
            break
    assert received == ["größer", b"\xff"]


async def test_pending_bytes_are_those_that_have_not_left(ends):
    end, _ = ends
    assert end.pending_bytes == 0
    end.send(bytes(700))
    assert end.pending_bytes == 700
    end.abort()
    assert end.pending_bytes == 0


async def test_a_listener_that_serves_when_asked_answers_the_first_who_connects():
    got: list[Connection] = []
    listener = WebSocketTransport().listen("ws://127.0.0.1:0", got.append)
    await listener.serve(when_asked=True)

    connection = await WebSocketTransport().connect(listener.url)

    assert len(got) == 1
    await connection.close()
    await listener.close()


async def test_a_listener_that_nobody_asked_closes():
    listener = WebSocketTransport().listen("ws://127.0.0.1:0", lambda connection: None)
    await listener.serve(when_asked=True)

    await listener.close()

    with pytest.raises(ConnectError, match="nobody listens"):
        await WebSocketTransport().connect(listener.url)


async def test_who_is_not_let_in_yet_when_it_closes_is_hung_up_on(monkeypatch):
    monkeypatch.setattr("mpreg_lab.transport.door.OPEN_TIMEOUT_S", 1e6)
    monkeypatch.setattr("mpreg_lab.transport.websocket.OPEN_TIMEOUT_S", 1e6)
    listener = transport.listen("ws://127.0.0.1:0", lambda connection: None, token=TOKEN)
    await listener.serve()
    tasks = asyncio.all_tasks()
    host, _, port = listener.url.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    while asyncio.all_tasks() == tasks:  # noqa: ASYNC110  # nobody tells when a connection is taken
        await asyncio.sleep(0)

    await listener.close()

    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
