"""How a thread waits for a run: plainly here; in a notebook the package above may keep the kernel going meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from mpreg_lab.lending import lent

if TYPE_CHECKING:
    import asyncio

__all__ = ["Awaited", "Waiter", "install_waiter", "plain_wait", "wait", "wait_async"]

_AT_ONCE_S = 0.02
"""So long every wait is plain: a short run is over before anything is set up."""
_SLICE_S = 0.1
"""A wait is cut into slices: on some systems a signal does not end a long one, and none wakes an event loop."""


class Awaited(Protocol):
    """What is waited for: a Run."""

    def cancel(self) -> None:
        """Stop it; safe in a signal handler."""

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have it called when it has ended, on any thread; at once if it has."""


class Waiter(Protocol):
    """Waits for a run that has not ended at once."""

    def __call__(self, run: Awaited, ended: threading.Event, timeout_s: float | None) -> bool:
        """Whether it has ended.

        Raises:
            KeyboardInterrupt: If it was interrupted.
        """


_load: Callable[[], Waiter] | None = None


def install_waiter(load: Callable[[], Waiter] | None) -> None:
    """Say who waits; `load` is called when a wait is more than short. None: everybody waits plainly."""
    global _load
    _load = load


def wait(run: Awaited, ended: threading.Event, timeout_s: float | None) -> bool:
    """Wait for the run's end, at most so long; whether it has ended."""
    with lent():
        return _wait(run, ended, timeout_s)


def _wait(run: Awaited, ended: threading.Event, timeout_s: float | None) -> bool:
    if _load is None or (timeout_s is not None and timeout_s <= _AT_ONCE_S):
        return plain_wait(ended, timeout_s)
    if ended.wait(_AT_ONCE_S):
        return True
    return _load()(run, ended, None if timeout_s is None else timeout_s - _AT_ONCE_S)


def plain_wait(ended: threading.Event, timeout_s: float | None) -> bool:
    """Wait with the thread blocked; whether the event is set."""
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = _SLICE_S if end_s is None else min(_SLICE_S, end_s - time.monotonic())
        if ended.wait(max(0.0, left_s)):
            return True
        if end_s is not None and time.monotonic() >= end_s:
            return False


async def wait_async(ended: asyncio.Event) -> None:
    """Wait on an event loop; on the main thread, where signals arrive, it wakes up now and then to see them."""
    import asyncio  # not above: the facade loads this module, and has to be quick

    if threading.current_thread() is not threading.main_thread():
        await ended.wait()
        return
    loop = asyncio.get_running_loop()
    ticker = _tickers.setdefault(loop, _Ticker(loop))
    ticker.waiters += 1
    if ticker.waiters == 1:
        ticker.tick()
    try:
        await ended.wait()
    finally:
        ticker.waiters -= 1
        if not ticker.waiters:
            ticker.stop()
            _tickers.pop(loop, None)


class _Ticker:
    """Wakes a loop now and then, for all who wait there: with a timer for each, 10,000 runs would do nothing else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiters = 0
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def tick(self) -> None:
        self._handle = self._loop.call_later(_SLICE_S, self.tick)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


_tickers: dict[asyncio.AbstractEventLoop, _Ticker] = {}
