"""Connections over websockets, on the loopback interface. The only module that imports websockets.

It does so when a listener serves or a client connects, not before: that takes 100 ms, and the address of a listener is
needed at once.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mpreg_lab.errors import ClusterSpecError, ConnectError, ConnectionLostError, UnserialisableResultError
from mpreg_lab.protocol.messages import Message
from mpreg_lab.types import Frame

from .base import MAX_FRAME_BYTES, OPEN_TIMEOUT_S, Accept, Connection, Listener, Transport

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

__all__ = ["WebSocketConnection", "WebSocketListener", "WebSocketTransport"]

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
_READ_BYTES = 65536
_CLOSE_TIMEOUT_S = 2.0
"""For the other end to say goodbye, and as long for what is pending."""
_JOIN_BYTES = 1 << 18
"""Up to this much is written in one system call; more is not worth the copy."""

_logger = logging.getLogger("mpreg_lab.transport.websocket")
# A port scanner or an impatient client is no news in a notebook; who wants to know adds a handler.
_logger.addHandler(logging.NullHandler())

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

    def __init__(self, websocket: ClientConnection | ServerConnection, peer_name: str, max_frame_bytes: int) -> None:
        self.peer_name = peer_name
        self._max_frame_bytes = max_frame_bytes
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._unsent: list[Frame] = []
        self._unsent_bytes = 0
        # asyncio asks for 256 KiB at each read, and pays for it at each small frame.
        websocket.transport.max_size = _READ_BYTES  # type: ignore[attr-defined]

    def send(self, frame: Frame | Message) -> None:
        assert isinstance(frame, (str, bytes))
        if len(frame) > self._max_frame_bytes:
            # The other end would cut the connection, and everything else on it.
            raise UnserialisableResultError(
                f"{len(frame)} bytes are too many for one message to {self.peer_name}: at most {self._max_frame_bytes}"
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
    """A port on the loopback interface."""

    def __init__(self, host: str, port: int, accept: Accept, token: str | None, max_frame_bytes: int) -> None:
        address = "127.0.0.1" if host == "localhost" else host
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.create_server((address, port), family=family, backlog=1024)
        except OSError as exc:
            raise ConnectError(f"cannot listen on {_url(address, port)}: {exc.strerror}") from exc
        self.url = _url(address, self._socket.getsockname()[1])
        self._accept = accept
        self._token = token
        self._max_frame_bytes = max_frame_bytes
        self._server: Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watched = False

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
        self._server.close(close_connections=False)
        # websockets closes the port in a task that then waits for the connections; the first half is enough.
        await asyncio.sleep(0)

    async def _take(self, websocket: ServerConnection) -> None:
        host, port = websocket.remote_address[:2]
        self._accept(WebSocketConnection(websocket, _url(host, port), self._max_frame_bytes))
        await websocket.wait_closed()

    def _judge(self, websocket: ServerConnection, request: Request) -> Response | None:
        """Refuse web pages, which may open sockets to this machine, and who has no token."""
        host = _only(request.headers.get_all("Host"))
        if host is None or _host(host) not in _LOOPBACK:
            return websocket.respond(HTTPStatus.FORBIDDEN, "foreign Host\n")
        origins = request.headers.get_all("Origin")
        if origins and _only(origins) not in (f"http://{host}", f"https://{host}"):
            return websocket.respond(HTTPStatus.FORBIDDEN, "foreign Origin\n")
        if self._token is not None:
            shown = _only(request.headers.get_all("Authorization")) or ""
            if not hmac.compare_digest(shown.encode(errors="replace"), f"Bearer {self._token}".encode()):
                return websocket.respond(HTTPStatus.UNAUTHORIZED, "wrong or missing token\n")
        return None


class WebSocketTransport(Transport):
    """`ws://127.0.0.1:port`; port 0 takes a free one."""

    async def connect(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = OPEN_TIMEOUT_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Connection:
        host, _ = _address(url, ConnectError)
        if token is not None and host not in _LOOPBACK:
            raise ConnectError(f"will not send the token to {url}: ws:// is not encrypted, only for this machine")
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus

        try:
            websocket = await connect(
                url,
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
        except (OSError, InvalidHandshake) as exc:
            reason = "nobody listens there" if isinstance(exc, ConnectionRefusedError) else str(exc)
            raise ConnectError(f"cannot connect to {url}: {reason}") from exc
        return WebSocketConnection(websocket, url, max_frame_bytes)

    def listen(
        self, url: str, accept: Accept, *, token: str | None = None, max_frame_bytes: int = MAX_FRAME_BYTES
    ) -> Listener:
        host, port = _address(url, ClusterSpecError)
        if host not in _LOOPBACK:
            raise ClusterSpecError(
                f"cannot listen on {host}: without encryption nodes serve this machine only. Use ws://127.0.0.1:{port}"
            )
        return WebSocketListener(host, port, accept, token, max_frame_bytes)


def _address(url: str, error: type[ConnectError] | type[ClusterSpecError]) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise error(f"not an address: {url!r}: {exc}") from exc
    if not host or port is None:
        raise error(f"not an address: {url!r}: expected ws://host:port")
    return host, port


def _url(host: str, port: int) -> str:
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _host(header: str) -> str | None:
    """The host of a Host header, without its port; None if it makes no sense."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _refusal(response: Response) -> str:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return "wrong or missing token"
    said = bytes(response.body or b"").decode(errors="replace").strip()
    return f"refused with status {response.status_code}{said and ': '}{said}"
