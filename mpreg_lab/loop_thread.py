"""LoopThread: an event loop of our own in a daemon thread, so that a busy notebook cell never stops heartbeats."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from mpreg_lab.errors import ClusterStoppedError, WrongThreadError
from mpreg_lab.lending import lent

__all__ = ["LoopThread"]

T = TypeVar("T")

_SLICE_S = 0.2
"""A wait is cut into slices, because on some systems a signal does not end one long wait."""


class LoopThread:
    """An asyncio loop that runs in a daemon thread from construction until `stop()`.

    A daemon thread, because any other makes the restart of a kernel take seconds and skips atexit.
    """

    def __init__(self, name: str = "mpreg-loop") -> None:
        self.loop = asyncio.new_event_loop()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether coroutines can still be given to it."""
        return not self._stopped and self._thread.is_alive()

    def call(self, coroutine: Coroutine[Any, Any, T], *, doing: str = "this") -> T:
        """Run the coroutine on the loop and wait for its result; an interrupt cancels it.

        Raises:
            WrongThreadError: If called on the loop itself, which would wait for itself for ever.
            ClusterStoppedError: If the loop has been stopped.
        """
        work = _Work(coroutine)
        body = work.done()
        try:
            self.check_not_here(doing)
            return self.wait(self.spawn(body))
        except KeyboardInterrupt:
            # It may have found us before we had the future, with the work begun.
            self.call_soon(work.cancel)
            raise
        except (WrongThreadError, ClusterStoppedError):
            body.close()
            coroutine.close()
            raise

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine on the loop, from any thread, and do not wait."""
        if not self.alive:
            raise ClusterStoppedError("it has been stopped")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def wait(self, future: Future[T]) -> T:
        """Wait for something that was spawned; an interrupt of the waiting thread cancels it."""
        try:
            with lent():
                while True:
                    try:
                        return future.result(_SLICE_S)
                    except TimeoutError:
                        if future.done():
                            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Have the loop call a function, from any thread; nothing happens if the loop has been stopped."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    @property
    def here(self) -> bool:
        """Whether the caller runs on this very thread."""
        return threading.current_thread() is self._thread

    def check_not_here(self, doing: str = "this") -> None:
        """Raise WrongThreadError if the caller runs on the loop's own thread."""
        if self.here:
            raise WrongThreadError(
                f"{doing} would wait for itself: an async function runs on the cluster's own loop. "
                "Await run_async() or call_async() there, or make the function a plain `def`"
            )

    def stop(self) -> None:
        """Cancel what still runs, end the thread and close the loop. May be called twice.

        Raises:
            WrongThreadError: If called on the loop itself.
        """
        self.check_not_here("stop()")
        if self._stopped:
            return
        self._stopped = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()


class _Work(Generic[T]):
    """A coroutine that can be cancelled before it has a task."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def done(self) -> T:
        """What the coroutine returns."""
        if self._cancelled:
            self._coroutine.close()
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await self._coroutine

    def cancel(self) -> None:
        """Cancel it, or never begin. On the loop."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
