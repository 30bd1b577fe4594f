"""A relay between a client and a node that can be cut: what a network does to a connection, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from mpreg_lab.loop_thread import LoopThread


class Relay:
    """Listens at `url` and passes bytes on to a node at another address, on a loop of its own."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._loop = LoopThread("relay")
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = True
        self.taken = 0
        """How many connections came."""
        self._server = self._loop.call(asyncio.start_server(self._take, "127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self, *, stay: bool = False) -> None:
        """End all connections, without a word in either direction.

        Args:
            stay: Whether new ones are hung up on, until `heal`.
        """
        self._open = not stay

        async def cut() -> None:
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()

        self._loop.call(cut())

    def heal(self) -> None:
        """Take connections again."""
        self._open = True

    def target(self, target: str) -> None:
        """Pass on to another address."""
        self._target = urlsplit(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        async def close() -> None:
            self._server.close()
            await self._server.wait_closed()

        self.cut(stay=True)
        self._loop.call(close())
        self._loop.stop()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        if not self._open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, back}
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.transport.abort()
