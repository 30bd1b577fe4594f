"""From a run to its widget: a snapshot at most ten times a second, set from a thread of the feed's own.

Not from the kernel's loop: it sleeps while a cell runs, and all updates would arrive after the cell. Nor from the
cluster's: drawing would hold up the run that it shows.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from queue import SimpleQueue
from typing import Protocol

from mpreg_lab.client.run import Run
from mpreg_lab.workflow.record import RunRecord

from .views import shown_results

__all__ = ["Feed", "Screen"]

EVERY_S = 0.1
_COPY_PART = 10.0


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
        self._snapshots: SimpleQueue[RunRecord | None] = SimpleQueue()  # None: the run is over
        self._over = threading.Event()
        # In the context of the cell: by it the kernel knows to which cell the updates belong; 7.0 refuses them without.
        show = contextvars.copy_context().run
        self._thread = threading.Thread(target=show, args=(self._show,), name="mpreg-feed", daemon=True)
        self._thread.start()
        run.on_change(self._changed)
        # What happened before we were listening nobody told us, and it may be long until something else does.
        self._snapshots.put(None if run.done else run.record.copy())

    def wait(self, timeout_s: float) -> bool:
        """Wait until the screen shows the end; whether it does."""
        return self._over.wait(timeout_s)

    # --- on the cluster's loop ---

    def _changed(self, run: Run) -> None:
        if run.done:
            if self._timer is not None:
                self._timer.cancel()
            self._snapshots.put(None)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_s, loop.time()), self._take)

    def _take(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._snapshots.put(self._run.record.copy())
        # Of a very large run a copy takes long: at most a tenth of the loop's time.
        self._next_s = began_s + max(EVERY_S, _COPY_PART * (loop.time() - began_s))

    # --- on the feed's thread ---

    def _show(self) -> None:
        while (snapshot := self._snapshots.get()) is not None:
            # A slow screen skips to the latest.
            if self._snapshots.empty():
                self._screen.update(snapshot, None)
        self._screen.update(self._run.record, shown_results(self._run))
        self._over.set()
