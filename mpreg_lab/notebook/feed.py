"""From a run to its widget: a snapshot at most ten times a second, set from the loop's own thread.

Updates that are handed to the kernel's loop all arrive after the cell: it sleeps while a cell runs.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

from mpreg_lab.client.run import Run
from mpreg_lab.workflow.record import RunRecord

from .views import shown_results

__all__ = ["Feed", "Screen"]

EVERY_S = 0.1


class Screen(Protocol):
    """What is fed: a RunView."""

    def update(self, record: RunRecord, results: dict[str, object] | None = None) -> None:
        """Show the record as it is now."""


class Feed:
    """Keeps a screen up to date until the run has ended."""

    def __init__(self, run: Run, screen: Screen) -> None:
        self._run = run
        self._screen = screen
        self._next_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self._lock = threading.Lock()
        self._last = threading.Event()
        run.on_change(self._changed)
        if run.done:
            # It may have ended before we were listening.
            self._show_last()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the screen shows the end; whether it does."""
        return self._last.wait(timeout_s)

    def _changed(self, run: Run) -> None:
        if self._over:
            return
        loop = asyncio.get_running_loop()
        if run.done:
            if self._timer is not None:
                self._timer.cancel()
            self._show_last()
        elif self._timer is None:
            self._timer = loop.call_at(max(self._next_s, loop.time()), self._show)

    def _show_last(self) -> None:
        with self._lock:
            if not self._over:
                self._over = True
                self._screen.update(self._run.record, shown_results(self._run))
        self._last.set()

    def _show(self) -> None:
        self._timer = None
        if not self._over:
            self._screen.update(self._run.record, None)
            self._next_s = asyncio.get_running_loop().time() + EVERY_S
