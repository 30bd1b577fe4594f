"""Frames that are too big to go in one piece: cut into chunks, and put together again. docs/protocol.md has the layout.

Chunk:  C1 02 00 00 | stream u32 | length of the whole frame u64 | where this piece belongs in it u64 | piece
Integers are little-endian. Chunks of several streams, and frames, may stand between those of one stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from mpreg_lab.errors import ProtocolError
from mpreg_lab.types import Frame

__all__ = ["CHUNK_BYTES", "MAX_STREAMS", "Assembly", "chunks", "is_chunk"]

CHUNK_BYTES = 4 << 20
"""The longest piece. A small message waits for one at most, some milliseconds; many short ones take longer in all."""
MAX_STREAMS = 64
"""Streams of one connection that are open at once: each costs something however short it is."""

_MAGIC = b"\xc1\x02\x00\x00"
_PREFIX = struct.Struct("<4sIQQ")


def is_chunk(frame: Frame) -> bool:
    """Whether it is a piece of another frame, and no frame of its own."""
    return isinstance(frame, bytes) and frame.startswith(_MAGIC)


def chunks(parts: Sequence[bytes | memoryview], stream: int) -> Iterator[bytes]:
    """The chunks of a frame that is given in parts; each is copied when its turn comes, not before."""
    size_bytes = sum(map(len, parts))
    begin, room = 0, CHUNK_BYTES
    pieces: list[bytes | memoryview] = []
    for part in parts:
        view, at = memoryview(part), 0
        while at < len(view):
            piece = view[at : at + room]
            pieces.append(piece)
            at += len(piece)
            room -= len(piece)
            if not room:
                yield b"".join((_PREFIX.pack(_MAGIC, stream, size_bytes, begin), *pieces))
                begin, room = begin + CHUNK_BYTES, CHUNK_BYTES
                pieces.clear()
    if pieces:
        yield b"".join((_PREFIX.pack(_MAGIC, stream, size_bytes, begin), *pieces))


class Assembly:
    """Puts the chunks that come over one connection together.

    Args:
        max_bytes: What all open streams together may announce.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._open: dict[int, tuple[int, bytearray]] = {}

    def take(self, chunk: bytes) -> memoryview | None:
        """The whole frame, if this was its last chunk; it cannot be written to.

        Raises:
            ProtocolError: If it does not go on where its stream is. That stream is dropped, others go on.
        """
        if len(chunk) <= _PREFIX.size:
            raise ProtocolError("a chunk without a piece")
        _, stream, size_bytes, at = _PREFIX.unpack_from(chunk)
        known, frame = self._open.pop(stream, (size_bytes, bytearray()))
        self._check(stream, known, size_bytes, at, len(frame), len(chunk) - _PREFIX.size)
        # Grown as the pieces come, and not made at its announced length: who announces much and sends little costs
        # little. Big blocks of memory grow without being copied (mremap).
        frame += memoryview(chunk)[_PREFIX.size :]
        if len(frame) == size_bytes:
            return memoryview(frame).toreadonly()
        self._open[stream] = (size_bytes, frame)
        return None

    def _check(self, stream: int, known_bytes: int, size_bytes: int, at: int, have_bytes: int, more_bytes: int) -> None:
        if at != have_bytes:
            raise ProtocolError(f"a chunk of stream {stream} at {at}; expected was one at {have_bytes}. Send it anew")
        if size_bytes != known_bytes:
            raise ProtocolError(f"stream {stream} has {known_bytes} bytes, and now {size_bytes}. Send it anew")
        if more_bytes > CHUNK_BYTES:
            raise ProtocolError(f"a piece of {more_bytes} bytes is too long: at most {CHUNK_BYTES}")
        if at + more_bytes > size_bytes:
            raise ProtocolError(f"stream {stream} is longer than the {size_bytes} bytes that it announced")
        if not at and len(self._open) >= MAX_STREAMS:
            raise ProtocolError(f"{MAX_STREAMS} streams are open already: finish one first")
        if not at and sum(size for size, _ in self._open.values()) + size_bytes > self._max_bytes:
            raise ProtocolError(
                f"{size_bytes} bytes are too many with what is open already: at most {self._max_bytes} together"
            )
