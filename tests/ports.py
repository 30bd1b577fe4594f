"""Ports for tests that have to know one before anybody listens there."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

__all__ = ["free_port"]

# The system gives none of them to anybody who asks for any: those begin at 32,768.
_FIRST, _END = 20_000, 32_000


def free_port() -> int:
    """A port that nobody has, and that no other test, in whatever process, is given before 12,000 others."""
    while True:
        port = _next()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _next() -> int:
    """The one that follows the last, which all processes of the user note in one file."""
    path = Path(tempfile.gettempdir(), f"mpreg-test-port-{os.getuid()}")
    with path.open("a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        last = int(note.read() or random.SystemRandom().randrange(_FIRST, _END))
        port = last + 1 if _FIRST <= last < _END - 1 else _FIRST
        note.truncate(0)
        note.write(str(port))
    return port
