"""Connections over websockets, encrypted or not. The only module that imports websockets.

It does so when a listener serves or a client connects, not before: that takes 100 ms, and the address of a listener is
needed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mpreg_lab.errors import ClusterSpecError, ConnectError, ConnectionLostError, UnserialisableResultError
from mpreg_lab.protocol.messages import Message
from mpreg_lab.types import Frame

from .base import MAX_FRAME_BYTES, OPEN_TIMEOUT_S, Accept, Connection, Listener, Transport
from .door import LOOPBACK, MAX_HANDSHAKE_BYTES, Door, Doorstep, public_name
from .tls import TlsLike, client_context, mistrust, server_context

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

__all__ = ["WebSocketConnection", "WebSocketListener", "WebSocketTransport"]

_READ_BYTES = 65536
_CLOSE_TIMEOUT_S = 2.0
"""For the other end to say goodbye, and as long for what is pending."""
_JOIN_BYTES = 1 << 18
"""Up to this much is written in one system call; more is not worth the copy."""

_logger = logging.getLogger("mpreg_lab.transport.websocket")
# A port scanner or an impatient client is no news in a notebook; who wants to know adds a handler.
_logger.addHandler(logging.NullHandler())
# Of what is below INFO the headers are a part, and so the token; older versions log each failed handshake as an error.
# Not by a level: a logger that has one is heard by the handlers of programs that asked for warnings alone.
_logger.addFilter(lambda record: record.levelno > logging.DEBUG and record.msg != "opening handshake failed")

_OPTIONS: dict[str, Any] = {
    # Compression costs more than the loopback interface does.
    "compression": None,
    # Heartbeats have connections of their own: a node that sends a large answer here would look dead.
    "ping_interval": None,
    "close_timeout": _CLOSE_TIMEOUT_S,
    # Frames are taken as they come; a queue in between would only stop and start the socket.
    "max_queue": None,
    "logger": _logger,
}


class WebSocketConnection(Connection):
    """One end of a websocket."""

    def __init__(
        self,
        websocket: ClientConnection | ServerConnection,
        peer_name: str,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        *,
        trusted: bool,
    ) -> None:
        self.peer_name = peer_name
        self.trusted = trusted
        if websocket.request is not None:
            # It was read; what is kept is shown by debuggers some day.
            websocket.request.headers.pop("Authorization", None)
        self.max_frame_bytes = max_frame_bytes
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._unsent: list[Frame] = []
        self._unsent_bytes = 0
        # asyncio asks for 256 KiB at each read, and pays for it at each small frame.
        websocket.transport.max_size = _READ_BYTES  # type: ignore[attr-defined]

    def send(self, frame: Frame | Message) -> None:
        assert isinstance(frame, (str, bytes))
        if len(frame) > self.max_frame_bytes:
            # The other end would cut the connection, and everything else on it.
            raise UnserialisableResultError(
                f"{len(frame)} bytes are too many for one message to {self.peer_name}: at most {self.max_frame_bytes}"
            )
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(frame)
        self._unsent_bytes += len(frame)

    def _flush(self) -> None:
        # The protocol object is websockets' public way without waiting; its own send() is a task switch for each frame.
        frames, self._unsent, self._unsent_bytes = self._unsent, [], 0
        protocol, transport = self._websocket.protocol, self._websocket.transport
        if protocol.state.name != "OPEN":
            return
        for frame in frames:
            if isinstance(frame, str):
                protocol.send_text(frame.encode())
            else:
                protocol.send_binary(frame)
        chunks = protocol.data_to_send()
        if len(chunks) > 1 and sum(map(len, chunks)) <= _JOIN_BYTES:
            chunks = [b"".join(chunks)]
        for chunk in chunks:
            transport.write(chunk)

    async def __aiter__(self) -> AsyncIterator[Frame | Message]:
        from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

        receive = self._websocket.recv
        try:
            while True:
                yield await receive()
        except ConnectionClosedOK:
            return
        except ConnectionClosedError as exc:
            raise ConnectionLostError(f"the connection to {self.peer_name} was lost: {exc}") from exc

    @property
    def pending_bytes(self) -> int:
        return self._unsent_bytes + self._websocket.transport.get_write_buffer_size()

    async def drained(self) -> None:
        self._flush()
        # Else a socket that takes everything at once would keep the loop from everybody else.
        await asyncio.sleep(0)
        with contextlib.suppress(OSError):  # The reader hears of it.
            await self._websocket.drain()

    async def close(self) -> None:
        self._flush()
        try:
            async with asyncio.timeout(2 * _CLOSE_TIMEOUT_S):
                await self._websocket.close()
        except TimeoutError:
            # websockets waits without end for a reader that takes nothing.
            self.abort()

    def abort(self) -> None:
        self._unsent, self._unsent_bytes = [], 0
        self._websocket.transport.abort()


class WebSocketListener(Listener):
    """A port."""

    def __init__(
        self, host: str, port: int, accept: Accept, door: Door, context: ssl.SSLContext | None, max_frame_bytes: int
    ) -> None:
        self._socket = Doorstep.listening(host, port)
        address, taken = self._socket.getsockname()[:2]
        # A certificate is for a name; without one the address is quicker, and never another one of that name.
        self.url = _url(address, taken) if context is None else _url(public_name(host), taken, encrypted=True)
        self._accept = accept
        self._door = door
        self._context = context
        self._max_frame_bytes = max_frame_bytes
        self._server: Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watched = False
        self._threshold = _Threshold()

    async def serve(self, *, when_asked: bool = False) -> None:
        if when_asked:
            self._watched = True
            asyncio.get_running_loop().add_reader(self._socket, self._start)
        else:
            await self._serve()

    def _start(self) -> None:
        self._unwatch()
        self._starting = asyncio.get_running_loop().create_task(self._serve())

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._socket)

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        self._server = await serve(
            self._take,
            sock=self._socket,
            ssl=self._context,
            create_connection=_bounded(self._threshold),
            process_request=self._judge,
            open_timeout=OPEN_TIMEOUT_S,
            max_size=self._max_frame_bytes,
            server_header=None,
            **_OPTIONS,
        )

    async def close(self) -> None:
        self._unwatch()
        if self._starting is not None:
            await self._starting
        if self._server is None:
            self._socket.close()
            return
        # asyncio loses a connection that it is about to take when the server closes, and never closes its socket: take
        # no more, and let in whom it has begun to take.
        asyncio.get_running_loop().remove_reader(self._socket)
        await asyncio.sleep(0)
        self._server.close(close_connections=False)
        self._threshold.close()
        # websockets closes the port in a task that then waits for the connections; the first half is enough.
        await asyncio.sleep(0)

    async def _take(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        self._threshold.leave(websocket.transport)
        self._socket.let_in(websocket.transport.get_extra_info("socket").fileno())
        host, port = (websocket.remote_address or ("?", 0))[:2]
        trusted = self._door.trusts(websocket.request.headers.get_all)
        self._accept(WebSocketConnection(websocket, _url(host, port), self._max_frame_bytes, trusted=trusted))
        await websocket.wait_closed()

    def _judge(self, websocket: ServerConnection, request: Request) -> Response | None:
        refusal = self._door.judge(request.headers.get_all)
        return None if refusal is None else websocket.respond(refusal.status, f"{refusal.reason}\n")


class WebSocketTransport(Transport):
    """`ws://127.0.0.1:port`, or encrypted `wss://host:port`; port 0 takes a free one."""

    async def connect(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: TlsLike | None = None,
        timeout_s: float = OPEN_TIMEOUT_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Connection:
        host, _, encrypted = _address(url, ConnectError)
        if token is not None and not encrypted and host not in LOOPBACK:
            raise ConnectError(f"will not send the token to {url}: ws:// is not encrypted, only for this machine")
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

        try:
            websocket = await connect(
                url,
                ssl=client_context(tls) if encrypted else None,
                additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
                user_agent_header=None,
                # Else the proxy of the environment would be asked for this machine's own ports.
                proxy=None,
                open_timeout=timeout_s,
                max_size=max_frame_bytes,
                **_OPTIONS,
            )
        except InvalidStatus as exc:
            raise ConnectError(f"cannot connect to {url}: {_refusal(exc.response)}") from exc
        except TimeoutError as exc:
            raise ConnectError(f"cannot connect to {url}: no answer in {timeout_s:g} s") from exc
        except ssl.SSLError as exc:
            raise ConnectError(f"cannot connect to {url}: {mistrust(exc, host)}") from exc
        except (OSError, InvalidHandshake, InvalidURI) as exc:
            hung_up = "the other end hung up" + (". If nothing is encrypted there, use ws://" if encrypted else "")
            reason = "nobody listens there" if isinstance(exc, ConnectionRefusedError) else str(exc) or hung_up
            raise ConnectError(f"cannot connect to {url}: {reason}") from exc
        return WebSocketConnection(websocket, url, max_frame_bytes, trusted=token is not None)

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
        host, port, encrypted = _address(url, ClusterSpecError)
        door = Door(host, token=token, guests=guests, encrypted=encrypted)
        if not encrypted:
            return WebSocketListener(host, port, accept, door, None, max_frame_bytes)
        if tls is None:
            raise ClusterSpecError(f"cannot listen on {url} without a certificate: tls=Tls(cert=..., key=...)")
        return WebSocketListener(host, port, accept, door, server_context(tls), max_frame_bytes)


class _Threshold:
    """Connections that are not let in yet: when the listener closes, nobody else would end a handshake that hangs."""

    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        self._closed = False

    def step_on(self, transport: asyncio.Transport) -> None:
        if self._closed:
            transport.abort()
        else:
            self._transports.add(transport)

    def leave(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)

    def close(self) -> None:
        self._closed = True
        for transport in tuple(self._transports):
            transport.abort()


def _bounded(threshold: _Threshold) -> type[ServerConnection]:
    """A connection that is on the threshold, and reads no more than a handshake should have, until that is over."""
    from websockets.asyncio.server import ServerConnection

    class Bounded(ServerConnection):
        _read_bytes = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            threshold.step_on(self.transport)

        def connection_lost(self, exc: Exception | None) -> None:
            threshold.leave(self.transport)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.request is None:
                self._read_bytes += len(data)
                if self._read_bytes > MAX_HANDSHAKE_BYTES:
                    self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
                    self.transport.close()
                    return
            super().data_received(data)

    return Bounded


def _address(url: str, error: type[ConnectError] | type[ClusterSpecError]) -> tuple[str, int, bool]:
    """Host and port, and whether the connection is encrypted."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise error(f"not an address: {url!r}: {exc}") from exc
    if not host or port is None:
        raise error(f"not an address: {url!r}: expected ws://host:port")
    return host, port, parts.scheme == "wss"


def _url(host: str, port: int, *, encrypted: bool = False) -> str:
    scheme = "wss" if encrypted else "ws"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _refusal(response: Response) -> str:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return "wrong or missing token"
    said = bytes(response.body or b"").decode(errors="replace").strip()
    return f"refused with status {response.status_code}{said and ': '}{said}"
