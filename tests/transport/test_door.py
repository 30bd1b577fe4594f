"""Who is kept out of a listener: slow ones, long ones, too many at once, web pages, those with wrong certificates."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from mpreg_lab.errors import ClusterSpecError, ConnectError
from mpreg_lab.transport import door as door_module
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.door import MAX_HANDSHAKE_BYTES, MAX_WAITING, Door
from mpreg_lab.transport.tls import Tls
from mpreg_lab.transport.websocket import WebSocketTransport

TOKEN = "correct-horse"
transport = WebSocketTransport()
OTHER_MACHINE = "127.0.0.2"
"""Stands for one: it is not among the addresses that count as this machine."""


class Taken:
    """The connections that a listener took."""

    def __init__(self, url: str) -> None:
        self.url = url
        host, _, port = url.rpartition("://")[2].rpartition(":")
        self.address = (host.strip("[]"), int(port))
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()

    async def refused(self) -> str:
        """What a handshake with the right token leads to: nothing, or why not."""
        try:
            connection = await transport.connect(self.url, token=TOKEN)
        except ConnectError as error:
            return str(error)
        await connection.close()
        return ""


@asynccontextmanager
async def listening(url: str = "ws://127.0.0.1:0", **options: Any) -> AsyncIterator[Taken]:
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    listener = transport.listen(url, connections.put_nowait, token=TOKEN, **options)
    await listener.serve()
    taken = Taken(listener.url)
    taken.connections = connections
    yield taken
    await listener.close()


# --- too slow, too long, too many -----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"\x16\x03\x01"])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_who_does_not_come_in_in_time_is_cut(monkeypatch, tmp_path, said, encrypted):
    monkeypatch.setattr(door_module, "OPEN_TIMEOUT_S", 0.05)
    options: dict[str, Any] = {"url": "wss://localhost:0", "tls": certificates(tmp_path)} if encrypted else {}
    async with listening(**options) as taken:
        reader, writer = await asyncio.open_connection("127.0.0.1", taken.address[1])
        writer.write(said)
        try:
            assert b" 101 " not in await reader.read()
        except ConnectionResetError:
            assert not encrypted
        writer.close()
        assert taken.connections.empty()


async def test_who_says_too_much_before_coming_in_is_refused():
    async with listening() as taken:
        reader, writer = await asyncio.open_connection(*taken.address)
        writer.write(b"GET / HTTP/1.1\r\n")
        for number in range(MAX_HANDSHAKE_BYTES // 1000 + 1):
            writer.write(b"X-%d: " % number + b"x" * 1000 + b"\r\n")
        try:
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        except ConnectionResetError:
            # It was closed before it had taken everything: the answer may be lost.
            assert taken.connections.empty()
        writer.close()


async def test_one_long_header_is_refused():
    async with listening() as taken:
        reader, writer = await asyncio.open_connection(*taken.address)
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_of_too_many_who_wait_the_last_is_turned_away_and_nobody_inside_notices(tmp_path, encrypted):
    options: dict[str, Any] = {"url": "wss://localhost:0", "tls": certificates(tmp_path)} if encrypted else {}
    trust = client_trust(tmp_path) if encrypted else None
    async with listening(**options) as taken:
        inside = await transport.connect(taken.url, token=TOKEN, tls=trust)
        host = ("127.0.0.1", taken.address[1])
        waiting = [await asyncio.open_connection(*host) for _ in range(MAX_WAITING)]

        reader, writer = await asyncio.open_connection(*host)
        assert await reader.read() == b""

        outside = await taken.connections.get()
        outside.send("still here")
        assert await anext(aiter(inside)) == "still here"
        for _, other in [*waiting, (reader, writer)]:
            other.close()
            await other.wait_closed()
        again = await connect_again(taken, trust)
        for connection in (inside, again, outside, await taken.connections.get()):
            await connection.close()


async def connect_again(taken: Taken, trust: Tls | None) -> Connection:
    """The node notices one after the other that those who waited are gone."""
    while True:
        try:
            return await transport.connect(taken.url, token=TOKEN, tls=trust)
        except ConnectError:
            await asyncio.sleep(0)


async def test_those_who_were_refused_do_not_count_for_ever():
    async with listening() as taken:
        for _ in range(MAX_WAITING + 5):
            with pytest.raises(ConnectError):
                await transport.connect(taken.url, token="wrong")
        assert await taken.refused() == ""


async def test_nothing_is_compressed():
    async with listening() as taken:
        end = await transport.connect(taken.url, token=TOKEN)
        assert end._websocket.protocol.extensions == []  # type: ignore[attr-defined]
        await end.close()


async def test_the_token_is_in_no_log_however_loud(caplog):
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("mpreg_lab", "websockets", "asyncio")):
            logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        async with listening() as taken:
            assert await taken.refused() == ""
            with pytest.raises(ConnectError):
                await transport.connect(taken.url, token=TOKEN + "x")
    finally:
        logging.getLogger("mpreg_lab.transport.websocket").setLevel(logging.NOTSET)
    assert TOKEN not in caplog.text
    assert all(TOKEN not in repr(record.__dict__) for record in caplog.records)


async def test_who_asks_for_warnings_is_told_of_no_connection(caplog):
    caplog.set_level(logging.WARNING)
    async with listening() as taken:
        await (await transport.connect(taken.url, token=TOKEN)).close()
    assert caplog.records == []

    caplog.set_level(logging.INFO)
    async with listening():
        assert "server listening" in caplog.text


async def test_an_impatient_client_is_no_news(caplog):
    caplog.set_level(logging.WARNING)
    async with listening() as taken:
        _, writer = await asyncio.open_connection(*taken.address)
        writer.write(b"GET ")
        writer.transport.abort()
        assert await taken.refused() == ""
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


# --- Host, Origin and token -----------------------------------------------------------------------------------------

OPEN: dict[str, Any] = {"token": TOKEN, "guests": False, "encrypted": True}


def judged(door: Door, **headers: str | list[str]) -> int:
    """The status with which these headers are answered; 101: come in."""

    def header(name: str) -> list[str]:
        value = headers.get(name, [])
        return [value] if isinstance(value, str) else value

    refusal = door.judge(header)
    return 101 if refusal is None else int(refusal.status)


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [
        ("lab.example", "lab.example:80", 101),
        ("lab.example", "LAB.example", 101),
        ("lab.example", "localhost:1", 101),
        ("lab.example", "other.example", 403),
        ("lab.example", "10.0.0.1", 403),
        ("lab.example", "lab.example.evil", 403),
        ("10.0.0.1", "10.0.0.1:5", 101),
        ("10.0.0.1", "10.0.0.2:5", 403),
        ("0.0.0.0", "10.0.0.1", 101),
        ("0.0.0.0", "[fe80::1]:5", 101),
        ("0.0.0.0", socket.gethostname(), 101),
        ("0.0.0.0", "evil.example", 403),
        ("::", "evil.example", 403),
        ("127.0.0.1", "10.0.0.1", 403),
    ],
)
def test_a_door_knows_its_names(host, asked, status):
    assert judged(Door(host, **OPEN), Host=asked, Authorization=f"Bearer {TOKEN}") == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ([], 101),
        (["http://lab.example:5"], 101),
        (["https://lab.example:5"], 101),
        (["https://lab.example"], 403),
        (["null"], 403),
        ([""], 403),
        (["https://evil.example"], 403),
        (["https://lab.example:5", "https://evil.example"], 403),
    ],
)
@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", "Bearer wrong", None])
def test_web_pages_of_others_are_refused_whatever_they_show(origin, status, shown):
    headers: dict[str, Any] = {"Host": "lab.example:5", "Origin": origin} | ({"Authorization": shown} if shown else {})
    expected = 403 if status == 403 else 101 if shown == f"Bearer {TOKEN}" else 401
    assert judged(Door("lab.example", **OPEN), **headers) == expected


@pytest.mark.parametrize(
    ("guests", "shown", "status", "trusted"),
    [
        (False, f"Bearer {TOKEN}", 101, True),
        (False, None, 401, None),
        (True, f"Bearer {TOKEN}", 101, True),
        (True, None, 101, False),
        (True, "Bearer wrong", 401, None),
        (True, "", 401, None),
    ],
)
def test_guests_come_in_untrusted_and_a_wrong_token_never_does(guests, shown, status, trusted):
    door = Door("127.0.0.1", token=TOKEN, guests=guests, encrypted=False)
    headers = {"Host": "127.0.0.1"} | ({} if shown is None else {"Authorization": shown})
    assert judged(door, **headers) == status
    if status == 101:
        assert door.trusts(lambda name: [headers[name]] if name in headers else []) is trusted


# --- certificates ---------------------------------------------------------------------------------------------------

LAB = trustme.CA()


def certificates(
    folder: Path,
    *names: str,
    authority: trustme.CA = LAB,
    expires: datetime | None = None,
    starts: datetime | None = None,
) -> Tls:
    """Files with a certificate for these names, and the authority that a client here believes."""
    issued = authority.issue_cert(
        *(names or ("localhost", "127.0.0.1", OTHER_MACHINE)), not_after=expires, not_before=starts
    )
    cert, key = folder / "node.pem", folder / "node.key"
    issued.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return Tls(cert=str(cert), key=str(key), ca=client_trust(folder).ca)


def client_trust(folder: Path) -> Tls:
    LAB.cert_pem.write_to_path(folder / "ca.pem")
    return Tls(ca=str(folder / "ca.pem"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", OTHER_MACHINE])
async def test_who_believes_the_authority_comes_in_encrypted(tmp_path, host):
    async with listening(f"wss://{host}:0", tls=certificates(tmp_path)) as taken:
        assert taken.url.startswith(f"wss://{host}:")
        end = await transport.connect(taken.url, token=TOKEN, tls=client_trust(tmp_path))
        other = await taken.connections.get()
        end.send(b"x" * 300_000)
        assert await anext(aiter(other)) == b"x" * 300_000
        assert other.trusted
        await end.close()
        await other.close()


async def test_contexts_do_as_well_as_files(tmp_path):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    LAB.issue_cert("localhost").configure_cert(server)
    LAB.configure_trust(client)
    async with listening("wss://localhost:0", tls=server) as taken:
        end = await transport.connect(taken.url, token=TOKEN, tls=client)
        await end.close()


YESTERDAY, TOMORROW = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ({"authority": trustme.CA()}, r"its certificate is of no authority that is believed here \(.*tls=Tls\(ca="),
        ({"names": ["other.example"]}, "its certificate is for another host than 'localhost'"),
        ({"expires": YESTERDAY}, "its certificate has expired"),
        ({"starts": TOMORROW, "expires": TOMORROW + timedelta(days=1)}, "its certificate is not valid yet"),
    ],
    ids=["authority", "host", "expired", "too early"],
)
async def test_a_certificate_that_is_wrong_is_told_once_and_nothing_is_sent(tmp_path, caplog, shown, told):
    caplog.set_level(logging.WARNING)
    tls = certificates(tmp_path, *shown.pop("names", ()), **shown)
    async with listening("wss://localhost:0", tls=tls) as taken:
        with pytest.raises(ConnectError, match=f"^cannot connect to wss://localhost:[0-9]+: {told}"):
            await transport.connect(taken.url, token=TOKEN, tls=client_trust(tmp_path))
        assert taken.connections.empty()
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_the_authorities_of_the_system_do_not_believe_it(tmp_path):
    async with listening("wss://localhost:0", tls=certificates(tmp_path)) as taken:
        with pytest.raises(ConnectError, match="no authority that is believed here"):
            await transport.connect(taken.url, token=TOKEN)


async def test_without_encryption_at_one_end_there_is_no_connection(tmp_path):
    async with listening() as plain, listening("wss://localhost:0", tls=certificates(tmp_path)) as encrypted:
        with pytest.raises(ConnectError, match="If nothing is encrypted there, use ws://"):
            await transport.connect(plain.url.replace("ws://", "wss://"), token=TOKEN)
        with pytest.raises(ConnectError, match="cannot connect to ws://localhost:"):
            await transport.connect(encrypted.url.replace("wss://", "ws://"), token=TOKEN)


async def test_another_machine_is_reached_encrypted_only(tmp_path):
    async with listening(f"wss://{OTHER_MACHINE}:0", tls=certificates(tmp_path)) as taken:
        with pytest.raises(ConnectError, match="will not send the token"):
            await transport.connect(taken.url.replace("wss://", "ws://"), token=TOKEN)


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        (None, "without a certificate"),
        (Tls(), "needs a certificate"),
        (Tls(cert="no-such.pem"), "cannot use the certificate 'no-such.pem'"),
        (ssl.create_default_context(), "is for clients"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_before_anybody_comes(tls, told):
    with pytest.raises(ClusterSpecError, match=told):
        transport.listen("wss://localhost:0", lambda _: None, token=TOKEN, tls=tls)


async def test_authorities_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ClusterSpecError, match="certificates of authorities"):
        await transport.connect("wss://localhost:1", tls=Tls(ca=str(tmp_path / "ca.pem")))


def test_paths_are_files_too(tmp_path):
    assert Tls(cert=tmp_path / "a.pem") == Tls(cert=str(tmp_path / "a.pem"))
