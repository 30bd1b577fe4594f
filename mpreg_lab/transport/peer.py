"""One end of a connection that speaks messages: posts, requests with their replies, and what comes in."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from mpreg_lab.errors import ConnectionLostError, MpregError, ProtocolError, UnserialisableResultError
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.chunks import CHUNK_BYTES, Assembly, chunks, is_chunk
from mpreg_lab.protocol.dialect import AnyMessage, Dialect, ForeignAnswer, ForeignMessage, OtherCluster
from mpreg_lab.protocol.dialects import foreign_dialect, recognised
from mpreg_lab.protocol.messages import Described, Done, Fetched, Message, Recalled, Refused, Welcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import Frame

from .base import Connection
from .outbox import Outbox

__all__ = ["Peer"]

_REPLIES = frozenset((Fetched, Recalled, Described, Done, Welcome, Refused, ForeignAnswer, OtherCluster))
_STALLED_BYTES = 64 << 20
"""A reader that leaves more than this is watched: less is no burden, and any network has pauses."""
_STALLED_S = 30.0
_SLOWEST_BYTES = 1 << 20
"""Who is watched and takes less than this in 30 s is cut: what is kept for it would be kept for hours."""
_MAX_PENDING_BYTES = 4 << 30
"""A reader that leaves more than this, four of the longest frames, is cut at once, however quick it is."""
_CLOSE_S = 4.0
"""As long as a connection takes to close when the other end takes nothing."""


class Peer:
    """Speaks messages over a connection, on the loop that it is made on; reads from then on.

    Args:
        handler: Called as handler(peer, message) for each message that is no reply to a request of ours. If it raises,
            the other end is answered with Refused.
        on_close: Called once, as on_close(peer), when the connection has ended, whoever ended it.
        text: Whether to speak JSON until the other end has spoken; then it is answered in kind. With who has not shown
            the token only JSON is spoken.
        on_foreign: Called as on_foreign(peer, message) for what nodes of another kind say. With it, the first frame
            that makes sense decides which dialect is spoken; without it, only our own is.
        foreign: Whether to speak as nodes of another kind do, from the beginning.
    """

    def __init__(
        self,
        connection: Connection,
        handler: Callable[[Peer, Message], None],
        *,
        on_close: Callable[[Peer], None] | None = None,
        text: bool = False,
        on_foreign: Callable[[Peer, ForeignMessage], None] | None = None,
        foreign: bool = False,
    ) -> None:
        self.connection = connection
        self.text = text or not connection.trusted
        self._on_foreign = on_foreign
        self._dialect: Dialect | None = foreign_dialect(**_for_dialect()) if foreign else None
        self.closed = False
        self.lost = False
        """Whether the connection ended and nobody had closed it."""
        self._handler = handler
        self._on_close = on_close
        self._numbers = count(1)
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._sent_bytes = 0
        self._streams = count(1)
        self._outbox = Outbox(connection.max_frame_bytes)
        self._feeder: asyncio.Task[None] | None = None
        self._assembly = Assembly(connection.max_frame_bytes)
        self._stall_check: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.heard_s = self._loop.time()
        """When the other end said something last, or took a piece of something big, by the clock of the loop."""
        self._reader = self._loop.create_task(self._read(), name=f"mpreg reads {connection.peer_name}")

    @property
    def name(self) -> str:
        """The other end, for people."""
        return self.connection.peer_name

    @property
    def foreign(self) -> bool:
        """Whether the other end is of another kind: it knows nothing of messages but requests and replies."""
        return self._dialect is not None

    @property
    def owed(self) -> bool:
        """Whether a request has had no reply yet."""
        return bool(self._pending)

    @property
    def pending_bytes(self) -> int:
        """What was posted and has not left this process yet."""
        return self._outbox.pending_bytes + self.connection.pending_bytes

    def next_u(self) -> str:
        """A `u` that no request on this connection has had."""
        return str(next(self._numbers))

    def post(self, message: AnyMessage) -> None:
        """Send a message; never waits. After the end of the connection, messages are dropped.

        Messages keep their order, but one of more than 4 MiB travels in chunks, and small ones of other runs and
        requests overtake it. Its arrays are read when their turn comes: they must not be changed until then.

        Raises:
            UnserialisableResultError: If something in it cannot travel; nothing was sent.
        """
        if self.closed:
            return
        if self._dialect is not None:
            self._send(self._dialect.write(message))
            return
        assert not isinstance(message, ForeignMessage)
        if self.connection.carries_objects:
            self.connection.send(message)
            return
        if self.text:
            self._send(codec.encode(message, text=True), _key(message))
            return
        parts = codec.parts(message)
        size_bytes = sum(map(len, parts))
        if size_bytes <= CHUNK_BYTES:
            self._send(b"".join(parts), _key(message))
        else:
            self._send_in_chunks(parts, size_bytes, _key(message))

    def _send(self, frame: Frame | None, key: str | None = None) -> None:
        if frame is None:
            return
        if self._outbox.holds(key):
            self._outbox.add(key, iter((frame,)), len(frame))
        else:
            self.connection.send(frame)
        self._note_sent(len(frame))

    def _send_in_chunks(self, parts: list[bytes | memoryview], size_bytes: int, key: str | None) -> None:
        """Send a frame piece by piece, as the other end takes them; small ones go in between, but none of its key."""
        if size_bytes > self.connection.max_frame_bytes:
            raise UnserialisableResultError(
                f"{size_bytes} bytes are too many for one message to {self.name}: at most "
                f"{self.connection.max_frame_bytes}. Send it in parts"
            )
        stream = next(self._streams) & 0xFFFFFFFF
        self._outbox.add(key, chunks(parts, stream), size_bytes)
        if self._feeder is None:
            self._feeder = self._loop.create_task(self._feed(), name=f"mpreg feeds {self.name}")
        self._note_sent(size_bytes)

    async def _feed(self) -> None:
        while not self.closed and (frame := self._outbox.take()) is not None:
            self.connection.send(frame)
            await self.connection.drained()
            self.heard_s = self._loop.time()
        self._feeder = None

    def _note_sent(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        if self._stall_check is None and self.pending_bytes > _STALLED_BYTES:
            self._watch_for_stall()
        if self.pending_bytes > _MAX_PENDING_BYTES:
            self.abort()

    async def request(self, message: AnyMessage) -> Any:
        """Send a message and wait for the reply that has its `u`.

        Raises:
            ConnectionLostError: If the connection ends first.
            MpregError: The exception of a Refused, of whatever type it is.
        """
        if self.closed:
            raise _lost(self.name)
        u: str = message.u  # type: ignore[union-attr]
        if u in self._pending:
            raise ValueError(f"a request with u={u!r} is under way on this connection")
        reply = self._pending[u] = self._loop.create_future()
        try:
            self.post(message)
            return await reply
        finally:
            self._pending.pop(u, None)

    async def close(self) -> None:
        """Send what was posted, end the connection, and wait until `on_close` was called."""
        if self._feeder is not None:
            await asyncio.wait((self._feeder,), timeout=_CLOSE_S)
        await self.connection.close()
        await asyncio.wait((self._reader,))

    def abort(self) -> None:
        """End the connection now; what was posted is lost. `on_close` is called soon."""
        self.connection.abort()

    # --- reading --------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        lost: ConnectionLostError | None = None
        try:
            async for frame in self.connection:
                self.heard_s = self._loop.time()
                if isinstance(frame, (str, bytes)):
                    self._take_frame(frame)
                else:
                    self._take(frame)
        except ConnectionLostError as exc:
            lost = exc
            self.lost = True
        finally:
            self._end(lost or _lost(self.name))

    def _take_frame(self, frame: Frame) -> None:
        self.text = isinstance(frame, str) or not self.connection.trusted
        whole: Frame | memoryview | None = frame
        try:
            if self._dialect is not None:
                message = self._dialect.read(frame)
            else:
                whole = self._whole(frame)
                if whole is None:
                    return
                message = codec.decode(whole)
        except ProtocolError as exc:
            self._take_unread(frame if whole is None else whole, exc)
        else:
            self._take(message)

    def _whole(self, frame: Frame) -> Frame | memoryview | None:
        """The frame, or the one that it completes; None if that is not complete."""
        if isinstance(frame, bytes) and not self.connection.trusted:
            raise ProtocolError("binary frames are read only from who has shown the token. Speak JSON, or show it")
        return self._assembly.take(frame) if isinstance(frame, bytes) and is_chunk(frame) else frame

    def _take_unread(self, frame: Frame | memoryview, exc: ProtocolError) -> None:
        if isinstance(frame, memoryview):  # A frame that came in chunks: nobody else speaks so.
            self.post(Refused(codec.readable_u(frame), Payload.of_error(exc)))
        elif self._dialect is not None:
            self._send(self._dialect.refusal(frame, exc))
        elif self._on_foreign is not None and (dialect := recognised(frame, **_for_dialect())) is not None:
            self._dialect = dialect
            self._take_frame(frame)
        else:
            self.post(Refused(codec.readable_u(frame), Payload.of_error(exc)))

    def _take(self, message: AnyMessage) -> None:
        if type(message) in _REPLIES:
            reply = self._pending.pop(message.u, None)  # type: ignore[union-attr]
            if reply is not None:
                _settle(reply, message)
                return
        try:
            if not isinstance(message, ForeignMessage):
                self._handler(self, message)
            elif self._on_foreign is not None:
                self._on_foreign(self, message)
        except MpregError as exc:
            self._refuse(message, exc)
        except Exception as exc:  # noqa: BLE001 - a mistake in one handler must not cost the connection's other requests
            self._refuse(message, exc)
            self._loop.call_exception_handler(
                {"message": f"the handler of {type(message).__name__} failed", "exception": exc}
            )

    def _refuse(self, message: AnyMessage, exc: Exception) -> None:
        if not isinstance(message, Refused):  # Else two ends could refuse each other's refusals for ever.
            self.post(Refused(getattr(message, "u", ""), Payload.of_error(exc)))

    def _end(self, lost: ConnectionLostError) -> None:
        self.closed = True
        self.connection.abort()  # For when the reader was cancelled; else it has ended already.
        if self._stall_check is not None:
            self._stall_check.cancel()
        if self._feeder is not None:
            self._feeder.cancel()
        # Values may be big, and a client keeps its peer until it connects again.
        self._outbox, self._assembly = Outbox(0), Assembly(0)
        for reply in self._pending.values():
            if not reply.done():
                reply.set_exception(lost)
        self._pending.clear()
        if self._on_close is not None:
            self._on_close(self)

    # --- a reader that takes nothing ------------------------------------------------------------------------------

    def _watch_for_stall(self) -> None:
        taken_bytes = self._sent_bytes - self.pending_bytes
        self._stall_check = self._loop.call_later(_STALLED_S, self._cut_if_stalled, taken_bytes)

    def _cut_if_stalled(self, taken_bytes: int) -> None:
        self._stall_check = None
        if self.pending_bytes > _STALLED_BYTES:
            if self._sent_bytes - self.pending_bytes < taken_bytes + _SLOWEST_BYTES:
                self.abort()
            else:
                self._watch_for_stall()

    def __repr__(self) -> str:
        return f"Peer({self.name}{', closed' if self.closed else ''})"


def _settle(reply: asyncio.Future[Any], message: Any) -> None:
    if reply.done():
        return
    if type(message) is not Refused:
        reply.set_result(message)
        return
    try:
        error = message.error.value()
    except MpregError as exc:
        error = exc
    known = isinstance(error, Exception) and not isinstance(error, StopIteration)  # Which a future does not take.
    reply.set_exception(error if known else ProtocolError(f"a refusal without a reason: {error!r:.60}"))


def _key(message: Message) -> str | None:
    """The run or the request that a message is about: of such, the order counts. None: it may overtake nothing."""
    return getattr(message, "run", None) or getattr(message, "u", None)


def _for_dialect() -> dict[str, Any]:
    return {"prefix": secrets.token_hex(8), "now_s": time.time}


def _lost(name: str) -> ConnectionLostError:
    return ConnectionLostError(f"the connection to {name} was closed before the answer came")
