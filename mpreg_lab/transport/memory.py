"""Connections within one event loop: messages go by reference, nothing is encoded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from itertools import count

from mpreg_lab.errors import ConnectError, ConnectionLostError
from mpreg_lab.protocol.messages import Message
from mpreg_lab.types import Frame

from .base import MAX_FRAME_BYTES, OPEN_TIMEOUT_S, Accept, Connection, Listener, Transport
from .tls import TlsLike

__all__ = ["MemoryConnection", "MemoryListener", "MemoryTransport"]


class MemoryConnection(Connection):
    """One end of a pair."""

    carries_objects = True

    def __init__(self, peer_name: str) -> None:
        self.peer_name = peer_name
        self._other: MemoryConnection = self
        self._inbox: deque[Frame | Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._lost = False

    @classmethod
    def pair(cls, name: str = "memory", other_name: str = "memory") -> tuple[MemoryConnection, MemoryConnection]:
        """Two ends of one connection: that of `name`, and that of `other_name`."""
        end, other = cls(other_name), cls(name)
        end._other, other._other = other, end
        return end, other

    def send(self, frame: Frame | Message) -> None:
        if not self._ended:
            self._other._inbox.append(frame)
            self._other._wake()

    async def __aiter__(self) -> AsyncIterator[Frame | Message]:
        inbox = self._inbox
        while True:
            while inbox:
                yield inbox.popleft()
            if self._lost:
                raise ConnectionLostError(f"the connection to {self.peer_name} was lost")
            if self._ended:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    @property
    def pending_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        for end in (self, self._other):
            end._ended = True
            end._wake()

    def abort(self) -> None:
        if not self._ended:
            self._inbox.clear()
            self._other._inbox.clear()
            self._lost = self._other._lost = True
            self._ended = self._other._ended = True
            self._wake()
            self._other._wake()

    def _wake(self) -> None:
        # One wake-up for all that was sent in a tick: the reader empties the inbox in one go.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryListener(Listener):
    """Known by its URL to everyone on the same loop."""

    def __init__(self, url: str, accept: Accept) -> None:
        self.url = url
        self.accept = accept
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiting: list[asyncio.Future[None]] = []

    async def serve(self, *, when_asked: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def close(self) -> None:
        _listeners.pop(self.url, None)


class MemoryTransport(Transport):
    """`memory://name`; `memory://` alone listens on a name that nobody has."""

    async def connect(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: TlsLike | None = None,
        timeout_s: float = OPEN_TIMEOUT_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Connection:
        listener = _listeners.get(url)
        if listener is None:
            raise ConnectError(f"cannot connect to {url}: nobody listens there")
        loop = asyncio.get_running_loop()
        if listener.loop is None:
            listener.waiting.append(loop.create_future())
            try:
                await asyncio.wait_for(listener.waiting[-1], timeout_s)
            except TimeoutError as exc:
                raise ConnectError(f"cannot connect to {url}: no answer in {timeout_s:g} s") from exc
        elif listener.loop is not loop:
            raise ConnectError(f"cannot connect to {url}: it belongs to another event loop, use a ws:// address")
        end, other = MemoryConnection.pair("a client", url)
        listener.accept(other)
        return end

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
        if url == "memory://":
            url = f"memory://{next(_numbers)}"
        if url in _listeners:
            raise ConnectError(f"cannot listen on {url}: someone else does")
        listener = _listeners[url] = MemoryListener(url, accept)
        return listener


_listeners: dict[str, MemoryListener] = {}
_numbers = count(1)
