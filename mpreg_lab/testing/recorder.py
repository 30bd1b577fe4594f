"""Recorder: what was called, how often, with what, and on which node."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

import msgspec

from mpreg_lab.errors import FunctionError, NoStepError
from mpreg_lab.step_context import CurrentStep, current_step

from ._stage import heard

__all__ = ["Recorded", "Recorder"]

F = TypeVar("F", bound=Callable[..., Any])


class Recorded(msgspec.Struct, frozen=True):
    """One start of a function.

    Attributes:
        step: The step that called it, None if none did: it has `run`, `step`, `attempt` and `node`.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    step: CurrentStep | None = None

    @property
    def node(self) -> str | None:
        """Where it ran; None if it was not called by a step."""
        return None if self.step is None else str(self.step.node)


class Recorder:
    """Notes each start of the functions that it wraps, before they run, from any thread.

    ```python
    server.register_command("train", recorder.wrap(train))
    ...
    assert recorder.count("train") == 1
    ```

    It sees functions of this process; `LocalCluster(processes=True)` refuses what it has wrapped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Recorded] = []
        self._waiting: list[tuple[str, int, Future[None]]] = []

    def wrap(self, function: F, *, name: str | None = None) -> F:
        """The same function, sync or async, whose starts are noted.

        Args:
            name: Under which they are. None: its own.
        """
        called = name or getattr(function, "__name__", "")
        if not callable(function) or not called:
            raise FunctionError(f"cannot record {function!r:.40}: it must be callable, and have a name or be given one")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def recorded(*args: Any, **kwargs: Any) -> Any:
                self._note(called, args, kwargs)
                return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def recorded(*args: Any, **kwargs: Any) -> Any:
                self._note(called, args, kwargs)
                return function(*args, **kwargs)

        return cast(F, recorded)

    @property
    def calls(self) -> tuple[Recorded, ...]:
        """All starts, in the order in which they came."""
        with self._lock:
            return tuple(self._calls)

    def of(self, name: str) -> tuple[Recorded, ...]:
        """The starts of one function."""
        return tuple(call for call in self.calls if call.function == name)

    def count(self, name: str | None = None) -> int:
        """How often a function was started; None: all of them."""
        return len(self.calls if name is None else self.of(name))

    def nodes(self, name: str) -> dict[str | None, int]:
        """How often a function was started on each node."""
        return dict(Counter(call.node for call in self.of(name)))

    def clear(self) -> None:
        """Forget what was noted."""
        with self._lock:
            self._calls.clear()

    async def started(self, name: str, times: int = 1) -> tuple[Recorded, ...]:
        """Wait until a function has been started so often; its starts. For a limit, use asyncio.timeout."""
        await heard(self._seen(name, times))
        return self.of(name)

    def wait(self, name: str, times: int = 1, timeout_s: float | None = None) -> tuple[Recorded, ...]:
        """As `started`, blocking.

        Raises:
            TimeoutError: If it was not within that time.
        """
        self._seen(name, times).result(timeout_s)
        return self.of(name)

    def __repr__(self) -> str:
        counts = Counter(call.function for call in self.calls)
        return f"Recorder({', '.join(f'{name}: {times}' for name, times in counts.items()) or 'nothing'})"

    def _note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with self._lock:
            self._calls.append(Recorded(name, args, kwargs, _step()))
            reached = [wait for wait in self._waiting if self._reached(*wait[:2])]
            self._waiting = [wait for wait in self._waiting if wait not in reached]
        for _, _, future in reached:
            future.set_result(None)

    def _seen(self, name: str, times: int) -> Future[None]:
        future: Future[None] = Future()
        with self._lock:
            if not self._reached(name, times):
                self._waiting.append((name, times, future))
                return future
        future.set_result(None)
        return future

    def _reached(self, name: str, times: int) -> bool:
        return sum(call.function == name for call in self._calls) >= times


def _step() -> CurrentStep | None:
    try:
        return current_step()
    except NoStepError:
        return None
