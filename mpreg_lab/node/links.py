"""A node's connections to other nodes: dialled when first needed; what is posted meanwhile waits in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from mpreg_lab.errors import ConnectError, ConnectionLostError, MpregError
from mpreg_lab.protocol.messages import Hello, Member, Message, Welcome
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import NodeName

__all__ = ["Dial", "Link"]

Dial = Callable[[Member], Awaitable[Connection]]
"""Opens a connection to a member; raises ConnectError."""


class Link:
    """The way to one other node.

    Args:
        open_peer: Dials the node and says Hello.
        lost: Called once if the node cannot be reached, or when the connection has ended.
    """

    def __init__(self, name: NodeName, open_peer: Callable[[], Awaitable[Peer]], lost: Callable[[Link], None]) -> None:
        self.name = name
        self._lost = lost
        self._queue: deque[Message] = deque()
        self.peer: Peer | None = None
        self._opening: asyncio.Task[Peer] | None = asyncio.get_running_loop().create_task(self._open(open_peer))
        self._opening.add_done_callback(_seen)

    @classmethod
    def accepted(cls, name: NodeName, peer: Peer, lost: Callable[[Link], None]) -> Link:
        """The way to a node that dialled us."""
        link = cls.__new__(cls)
        link.name, link.peer, link._lost = name, peer, lost
        link._queue, link._opening = deque(), None
        return link

    @property
    def owed(self) -> bool:
        """Whether a reply is waited for."""
        return self._opening is not None or (self.peer is not None and self.peer.owed)

    def post(self, message: Message) -> None:
        """Send a message, after those posted before; it is lost if the node is."""
        if self.peer is not None:
            self.peer.post(message)
        else:
            self._queue.append(message)

    async def request(self, message: Message) -> Message:
        """Send a request and wait for its reply.

        Raises:
            ConnectError, ConnectionLostError: If the node cannot be reached, or is lost before it answers.
            Exception: Whatever the node refuses the request with.
        """
        reply: Message = await (await self._ready()).request(message)
        return reply

    async def close(self) -> None:
        """Close the connection; nothing is reported as lost."""
        self._lost = _nothing
        if self._opening is not None:
            self._opening.cancel()
        if self.peer is not None:
            await self.peer.close()

    def abort(self) -> None:
        """Cut the connection; nothing is reported as lost."""
        self._lost = _nothing
        if self._opening is not None:
            self._opening.cancel()
        if self.peer is not None:
            self.peer.abort()

    async def _ready(self) -> Peer:
        if self.peer is not None:
            return self.peer
        if self._opening is None:
            raise ConnectionLostError(f"the connection to node {self.name!r} has ended")
        opening = self._opening
        # Not awaited itself: one request that is given up must not end the dialling for all.
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise ConnectionLostError(f"the connection to node {self.name!r} was given up")
        return opening.result()

    async def _open(self, open_peer: Callable[[], Awaitable[Peer]]) -> Peer:
        try:
            peer = await open_peer()
            if peer.closed:
                # With its answer, or right behind it: nobody had this link for it yet, and nobody will tell it.
                raise ConnectionLostError("the connection ended as soon as it was open")
        except (MpregError, OSError) as exc:
            self._opening = None
            self._lost(self)
            raise ConnectError(f"node {self.name!r} cannot be reached: {exc}") from exc
        self.peer = peer
        while self._queue:
            peer.post(self._queue.popleft())
        self._opening = None
        return peer

    def gone(self) -> None:
        """The connection has ended."""
        self.peer = None
        self._lost(self)


def _seen(opening: asyncio.Task[Peer]) -> None:
    """Who waits for the connection hears why there is none; if nobody does, there is nobody to tell."""
    if not opening.cancelled():
        opening.exception()


def _nothing(_: object) -> None:
    """Nobody is told of a link that was closed on purpose."""


async def say_hello(peer: Peer, hello: Hello) -> Welcome:
    """Introduce ourselves; who the other node is, and the members that it knows."""
    reply = await peer.request(hello)
    assert isinstance(reply, Welcome), reply
    return reply
