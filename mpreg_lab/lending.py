"""What a thread holds is lent to others while it waits: a slot whose function waits for other steps runs those."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Lend", "lend_while_waiting", "lent"]

Lend = Callable[[], Callable[[], object]]
_here = threading.local()


def lend_while_waiting(lend: Lend) -> None:
    """Say what is to be done while the calling thread waits: `lend()` when it begins, and what that gives when it ends.

    A node's thread that waits for other steps gives its slot to them: they could never run if all slots waited.
    """
    _here.lend = lend


@contextmanager
def lent() -> Iterator[None]:
    """Wait in here, and what this thread holds is lent to others."""
    lend: Lend | None = getattr(_here, "lend", None)
    if lend is None:
        yield
        return
    take_back = lend()
    try:
        yield
    finally:
        take_back()
