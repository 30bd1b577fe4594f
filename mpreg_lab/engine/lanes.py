"""What a foreign worker does for us: it calls the functions of a lane, one after the other, on the present thread.

It knows nothing of whose worker it is: `report` carries what happens to whoever waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
import reprlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from time import perf_counter, sleep
from typing import Any

import msgspec

from mpreg_lab.errors import RemoteError, UnserialisableResultError
from mpreg_lab.protocol.payload import CannotTravelError, Payload, check_serialisable
from mpreg_lab.step_context import enter_step, leave_step
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.record import Failure
from mpreg_lab.workflow.references import substitute

from .failures import failure
from .output import Printed, capture, install, uninstall

__all__ = ["Calls", "Code", "Ending", "LaneCall", "Reported", "drop", "lend", "run_lane", "take_back"]


class Code(msgspec.Struct, frozen=True):
    """A function on its way: as bytes, or for a worker in this process the number under which it was lent."""

    number: int
    head: bytes = b""
    buffers: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], number: int) -> Code:
        """The function for workers in other processes.

        Raises:
            CannotTravelError: If something that it uses cannot be pickled.
        """
        head, buffers = Payload.as_code(function).pack()
        return cls(number, bytes(head), tuple(map(bytes, buffers)))

    def function(self) -> Callable[..., Any]:
        """The function; code is loaded once, so that what a function remembers of its calls stays."""
        return _loaded(self) if self.head else _lent[self.number]


class LaneCall(msgspec.Struct, frozen=True):
    """One step of a lane."""

    key: int
    attempt: int
    step: StepName
    code: Code
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Calls(msgspec.Struct, frozen=True):
    """The calls of a lane, as one thing: Dask looks into tuples and dicts for futures, which takes its time."""

    calls: tuple[LaneCall, ...]


class Ending(msgspec.Struct, frozen=True):
    """How one call ended. Times are seconds since the lane began."""

    key: int
    attempt: int
    started_s: float
    ended_s: float
    printed: str
    failure: Failure | None = None
    error: tuple[bytes, tuple[bytes, ...]] | None = None
    """The exception, packed; None if the function returned."""


class Reported(msgspec.Struct, frozen=True):
    """What a lane has to tell: the calls that ended, and the one that runs. Times are seconds since the lane began."""

    lane: str
    elapsed_s: float
    endings: tuple[Ending, ...] = ()
    running: tuple[int, int, float] | None = None
    """Key, attempt, and when it began."""


_REPORT_S = 0.02
_lent: dict[int, Callable[..., Any]] = {}
_lanes: dict[str, _Lane] = {}
_early: deque[tuple[str, frozenset[int]]] = deque(maxlen=1000)
"""Lanes that were to drop calls before they began."""
_early_lock = threading.Lock()
_watching: threading.Thread | None = None
_watch_lock = threading.Lock()


def lend(number: int, function: Callable[..., Any]) -> Code:
    """Let workers of this process use a function as it is, until `take_back`."""
    _lent[number] = function
    return Code(number)


def take_back(number: int) -> None:
    """The function is not to be used any more; nothing happens if it was not lent."""
    _lent.pop(number, None)


def drop(lane: str, keys: frozenset[int]) -> None:
    """Do not start these calls, and cancel the one that runs if it is async. From any thread of the lane's process."""
    with _early_lock:
        found = _lanes.get(lane)
        if found is None:
            # It has not begun yet, or never will: then others push it out in time.
            _early.append((lane, keys))
            return
    found.drop(keys)


def run_lane(
    lane: str,
    run: RunId,
    node: NodeName,
    calls: Calls,
    given: Iterable[Mapping[StepName, Any]],
    report: Callable[[Reported], None],
    *,
    travels: bool,
) -> dict[StepName, Any]:
    """Make the calls until one fails or is dropped.

    Args:
        lane: A name that no other lane has.
        run: The run it belongs to.
        node: What the worker is called.
        calls: In their order.
        given: Results that the calls refer to.
        report: Takes what happens; called from any thread.
        travels: Whether results may have to leave the process, and so have to be fit for it.

    Returns:
        The results of the steps that succeeded.
    """
    work = _Lane(lane, {step: value for some in given for step, value in some.items()}, report, travels)
    with _early_lock:
        _lanes[lane] = work
        early = [keys for name, keys in _early if name == lane]
    for keys in early:
        work.drop(keys)
    _watch()
    try:
        with capture() as printed:
            return work.run(run, node, calls.calls, printed)
    finally:
        leave_step()
        del _lanes[lane]


class _Lane:
    def __init__(
        self, name: str, values: dict[StepName, Any], report: Callable[[Reported], None], travels: bool
    ) -> None:
        self._name = name
        self._values = values
        self._report = report
        self._travels = travels
        self._began_s = perf_counter()
        self._lock = threading.Lock()  # over all that follows
        self._endings: list[Ending] = []
        self._present: tuple[int, int, float] | None = None
        self._told: tuple[int, int, float] | None = None
        self._dropped: set[int] = set()
        self._awaited: tuple[int, asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def drop(self, keys: frozenset[int]) -> None:
        with self._lock:
            self._dropped |= keys
            if self._awaited is not None and self._awaited[0] in keys:
                _, loop, task = self._awaited
                loop.call_soon_threadsafe(task.cancel)

    def run(self, run: RunId, node: NodeName, calls: tuple[LaneCall, ...], printed: Printed) -> dict[StepName, Any]:
        results: dict[StepName, Any] = {}
        for call in calls:
            if call.key in self._dropped:
                break
            with self._lock:
                self._present = call.key, call.attempt, self._elapsed_s
            enter_step(run, call.step, call.attempt, node)
            value, error = self._made(call)
            with self._lock:
                started_s, self._present = self._present[2], None
                if call.key in self._dropped:
                    break
                self._endings.append(_ending(call, started_s, self._elapsed_s, printed.take(), error))
            if error is not None:
                break
            results[call.step] = self._values[call.step] = value
        self.tell()
        return results

    def tell(self) -> None:
        """Report what is new."""
        with self._lock:
            endings, self._endings = tuple(self._endings), []
            running = self._present if self._present != self._told else None
            self._told = self._present
            elapsed_s = self._elapsed_s
        if endings or running is not None:
            self._report(Reported(self._name, elapsed_s, endings, running))

    @property
    def _elapsed_s(self) -> float:
        return perf_counter() - self._began_s

    def _made(self, call: LaneCall) -> tuple[Any, BaseException | None]:
        """Make the call: its value, or what it raised."""
        try:
            function = call.code.function()
            args, kwargs = substitute(call.args, self._result), substitute(call.kwargs, self._result)
            value = function(*args, **kwargs)
            if inspect.isawaitable(value):
                value = asyncio.run(self._awaited_for(call.key, value))
            if self._travels:
                check_serialisable(value, "its result")
        except CannotTravelError as exc:
            return None, UnserialisableResultError(
                f"step {call.step!r}: it returned what cannot travel to another worker: {exc.path} is {exc.culprit}. "
                "Return plain data",
                step=call.step,
            )
        except BaseException as error:  # noqa: BLE001  # a user's function; SystemExit too must not end the worker
            return None, error
        return value, None

    async def _awaited_for(self, key: int, value: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(value)
        with self._lock:
            self._awaited = key, asyncio.get_running_loop(), task
            if key in self._dropped:
                task.cancel()
        try:
            return await task
        finally:
            with self._lock:
                self._awaited = None

    def _result(self, step: str) -> Any:
        return self._values[StepName(step)]


def _ending(call: LaneCall, started_s: float, ended_s: float, printed: str, error: BaseException | None) -> Ending:
    if error is None:
        return Ending(call.key, call.attempt, started_s, ended_s, printed)
    _without_our_frames(error)
    told = failure(error)
    if not isinstance(error, Exception):
        name = type(error).__name__
        error = RemoteError(f"the function raised {name}{reprlib.repr(error.args)}", type_name=name).with_traceback(
            error.__traceback__
        )
    head, buffers = Payload.of_error(error).pack()
    return Ending(call.key, call.attempt, started_s, ended_s, printed, told, (bytes(head), tuple(map(bytes, buffers))))


def _without_our_frames(error: BaseException) -> None:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    # Not by the error's own __setattr__: that of a frozen dataclass refuses.
    BaseException.__setattr__(error, "__traceback__", frames)


@lru_cache(maxsize=1000)
def _loaded(code: Code) -> Callable[..., Any]:
    function: Callable[..., Any] = Payload.packed(code.head, code.buffers).value()
    return function


def _watch() -> None:
    """Have a thread of this process report on lanes that take their time, as long as there are any."""
    global _watching
    with _watch_lock:
        if _watching is None:
            _watching = threading.Thread(target=_report_all, name="mpreg-lanes", daemon=True)
            install(_lanes)
            _watching.start()


def _report_all() -> None:
    global _watching
    while True:
        sleep(_REPORT_S)
        for lane in tuple(_lanes.values()):
            lane.tell()
        with _watch_lock:
            if not _lanes:
                _watching = None
                uninstall(_lanes)
                return
