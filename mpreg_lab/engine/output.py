"""What a step prints belongs to the step: sys.stdout and sys.stderr send it there while its function runs.

So do warnings, and the handlers of the logging module, which keep the stream that was there when they were made.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

__all__ = ["Printed", "capture", "install", "uninstall"]

LIMIT = 64 * 1024
"""Characters of a step that are kept: the first ones."""
_CELL = re.compile(r"[^\s\"']*[\\/]ipykernel_\d+[\\/]\d+\.py")


class Printed:
    """What a step printed so far, to both streams, in the order in which it came; steps of one lane take turns."""

    __slots__ = ("_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def write(self, text: str) -> None:
        """Add text, as far as there is room."""
        if self._length < LIMIT:
            self._parts.append(text[: LIMIT - self._length])
        self._length += len(text)

    def take(self) -> str:
        """All of it, with a last line that says how much was cut; the next step begins with nothing."""
        if not self._length:
            return ""
        cut = self._length - LIMIT
        text = "".join(self._parts) + (f"\n[... {cut:,} more characters were printed]\n" if cut > 0 else "")
        self._parts, self._length = [], 0
        # A warning says where: the kernel's own name for a cell means nothing to a person, and changes each time.
        return _CELL.sub("notebook cell", text) if "ipykernel_" in text else text


_PRINTED: ContextVar[Printed | None] = ContextVar("mpreg_printed", default=None)


class _StepStream(io.TextIOBase):
    """Stands for a stream: what is written from within a step goes to the step, all else to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        printed = _PRINTED.get()
        if printed is None:
            return self.stream.write(text)
        printed.write(text)
        return len(text)

    def flush(self) -> None:
        # At exit the stream may be closed before we are.
        if not self.stream.closed:
            self.stream.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute here
        return self.stream.encoding

    # A kernel's stream has more than a file has (parent headers, echo): whoever asks for it gets it.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_lock = threading.Lock()
_users: set[int] = set()


def install(user: object) -> None:
    """Put ourselves before sys.stdout and sys.stderr, unless we are there already, until the last user has left."""
    with _lock:
        _users.add(id(user))
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _StepStream):
                ours = _StepStream(stream)
                setattr(sys, name, ours)
                _redirect(stream, ours)


def uninstall(user: object) -> None:
    """One user less; the last gives the streams back, where nobody else has put something before us meanwhile."""
    with _lock:
        _users.discard(id(user))
        if _users:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _StepStream):
                setattr(sys, name, stream.stream)
                _redirect(stream, stream.stream)


def _redirect(before: TextIO | _StepStream, now: TextIO | _StepStream) -> None:
    """Have the handlers of all loggers that write to one stream write to another."""
    for logger in (logging.getLogger(), *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                handler.setStream(now)


@contextmanager
def capture() -> Iterator[Printed]:
    """Collect what is printed in this context, that is in this thread or task and what it awaits."""
    printed = Printed()
    token = _PRINTED.set(printed)
    try:
        yield printed
    finally:
        _PRINTED.reset(token)
