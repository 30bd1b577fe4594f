"""What waits to be sent in chunks: whose turn it is, and what must not overtake what. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mpreg_lab.protocol.chunks import MAX_STREAMS
from mpreg_lab.types import Frame

__all__ = ["Outbox"]


@dataclass(slots=True, eq=False)
class _Parcel:
    key: str
    frames: Iterator[Frame]
    size_bytes: int
    left_bytes: int


class Outbox:
    """Parcels, each of one or more frames. Those of one key go one after the other, others take turns.

    Args:
        max_open_bytes: What parcels that have begun may have together: the other end takes no more.
    """

    def __init__(self, max_open_bytes: int) -> None:
        self._max_open_bytes = max_open_bytes
        self._lines: dict[str, deque[_Parcel]] = {}
        """By key; the first of each line is open, or waits to be."""
        self._waiting: deque[_Parcel] = deque()
        self._open: deque[_Parcel] = deque()
        self._open_bytes = 0
        self._last: deque[Frame] = deque()
        self.pending_bytes = 0
        """What was not taken out yet."""

    def holds(self, key: str | None) -> bool:
        """Whether what is sent under this key has to wait its turn here. None: whether there is anything at all."""
        return bool(self._lines or self._last) if key is None else key in self._lines

    def add(self, key: str | None, frames: Iterator[Frame], size_bytes: int) -> None:
        """Put a parcel in line. Without a key, it goes when all others have gone.

        Args:
            frames: At least one; they are asked for when it is their turn.
        """
        self.pending_bytes += size_bytes
        if key is None:
            self._last.extend(frames)
            return
        parcel = _Parcel(key, frames, size_bytes, size_bytes)
        line = self._lines.setdefault(key, deque())
        line.append(parcel)
        if len(line) == 1:
            self._waiting.append(parcel)

    def take(self) -> Frame | None:
        """The next frame; None if nothing is left."""
        self._open_some()
        while self._open:
            parcel = self._open.popleft()
            frame = next(parcel.frames, None)
            if frame is not None:
                self._open.append(parcel)
                # A chunk is longer than its piece.
                piece_bytes = min(len(frame), parcel.left_bytes)
                parcel.left_bytes -= piece_bytes
                self.pending_bytes -= piece_bytes
                return frame
            self._finish(parcel)
            self._open_some()
        if not self._last:
            return None
        frame = self._last.popleft()
        self.pending_bytes -= len(frame)
        return frame

    def _open_some(self) -> None:
        # In the order of their coming, so that a big one is not overtaken for ever.
        while self._waiting and len(self._open) < MAX_STREAMS:
            if self._open_bytes + self._waiting[0].size_bytes > self._max_open_bytes:
                return
            self._open.append(self._waiting.popleft())
            self._open_bytes += self._open[-1].size_bytes

    def _finish(self, parcel: _Parcel) -> None:
        self._open_bytes -= parcel.size_bytes
        self.pending_bytes -= parcel.left_bytes
        line = self._lines[parcel.key]
        line.popleft()
        if line:
            self._waiting.append(line[0])
        else:
            del self._lines[parcel.key]
