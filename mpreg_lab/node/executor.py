"""Calls functions: sync ones in threads of the node, one for each slot, async ones on the loop.

A lane of calls runs through on one thread, its results handed on directly. Outcomes are collected and reported
together: at the end of a lane, and every 20 ms while something runs, so that a short step costs no wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import reprlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from msgspec.structs import force_setattr

from mpreg_lab.engine.failures import failure
from mpreg_lab.engine.output import Printed, capture, install, uninstall
from mpreg_lab.errors import RemoteError, UnknownFunctionError, UnserialisableResultError
from mpreg_lab.lending import lend_while_waiting
from mpreg_lab.protocol.identity import UnstableValueError, call_key
from mpreg_lab.protocol.messages import Caching, Call, CallFailed, CallReturned, CallStarted, Outcome
from mpreg_lab.protocol.payload import CannotTravelError, Payload, check_serialisable
from mpreg_lab.step_context import enter_step, leave_step
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.references import substitute

from .cache import Cache
from .functions import Function, FunctionTable

__all__ = ["Executor", "Job", "Report"]

REPORT_S = 0.02
MAX_LANES = 100_000
"""A node that has so many takes no more: as many as one workflow may need, some hundred megabytes, minutes of work."""
INLINE_BYTES = 64 * 1024
"""A packed result up to this size travels with its outcome; a bigger one stays until somebody fetches it."""
_PLAIN = frozenset((int, float, str, bool, type(None)))

Report = Callable[[RunId, list[Outcome]], None]


class Job:
    """A lane on this node.

    Attributes:
        values: The results of the run that this node has, by step; lanes of one run share it.
        pack: Whether results will leave this process: they are packed here, off the loop.
    """

    __slots__ = ("arrived_s", "calls", "dropped", "pack", "position", "run", "since_s", "task", "told", "values")

    def __init__(self, run: RunId, calls: tuple[Call, ...], values: dict[StepName, Payload], *, pack: bool) -> None:
        self.run, self.calls, self.values, self.pack = run, calls, values, pack
        self.arrived_s = perf_counter()
        self.position = 0
        self.since_s: float | None = None  # when the present call began
        self.told = False  # whether its begin was reported
        self.dropped: set[int] = set()  # keys that nobody waits for any more
        self.task: asyncio.Task[None] | None = None


class Executor:
    """Runs the jobs of one node. All methods are for the loop's thread.

    Args:
        busy: Called when there is something to do after there was nothing.
        node: Its name, for functions that ask where they run.
        cache: Where results of equal calls are. None: nothing is cached.

    Attributes:
        ended: How many calls have ended, in whatever way.
        late: How many of them when nobody waited for their answer any more; it was dropped.
    """

    def __init__(
        self,
        functions: FunctionTable,
        slots: int,
        report: Report,
        busy: Callable[[], object] = lambda: None,
        *,
        node: NodeName,
        cache: Cache | None = None,
    ) -> None:
        self.ended = 0
        self.late = 0
        self._busy = busy
        self._node = node
        self._cache = cache
        self._functions = functions
        self._slots = slots
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._jobs: dict[int, Job] = {}
        self._waiting = 0  # jobs given to the threads and not yet finished by them
        self._outbox: deque[tuple[Job, Outcome, float]] = deque()
        self._ended: deque[Job] = deque()  # by the threads
        self._leaving: deque[Job] = deque()  # the threads, because an async call comes next
        self._lock = threading.Lock()  # over the threads and what they lend
        self._lent = 0  # slots whose threads wait for other steps
        self._woken = False
        self._ticker: asyncio.TimerHandle | None = None
        self._stopped = False

    def submit(self, job: Job) -> None:
        """Take on a lane; nothing happens after `stop`."""
        if self._stopped:
            return
        install(self)
        self._jobs[id(job)] = job
        self._go_on(job)
        if self._ticker is None:
            self._ticker = self._loop.call_later(REPORT_S, self._tick)
            self._busy()

    def cancel(self, run: RunId, keys: frozenset[int] | None = None) -> None:
        """Do not start these calls; cancel them if they are async. A thread cannot be stopped: its result is lost.

        Args:
            keys: None: all calls of the run.
        """
        for job in list(self._jobs.values()):
            if job.run == run:
                job.dropped.update(keys if keys is not None else (call.key for call in job.calls))
                # A task that has not begun yet sees that by itself; cancelled, it would never begin, and never end.
                if job.task is not None and job.since_s is not None and job.calls[job.position].key in job.dropped:
                    job.task.cancel()

    @property
    def full(self) -> bool:
        """Whether there is so much to do that nothing more should be taken on."""
        return len(self._jobs) >= MAX_LANES

    @property
    def running(self) -> int:
        """How many lanes are queued or running."""
        return len(self._jobs)

    @property
    def under_way(self) -> int:
        """How many lanes have a call that runs."""
        return sum(job.since_s is not None for job in self._jobs.values())

    def stop(self) -> None:
        """Start nothing more, cancel async calls, end the threads. A sync call under way runs on, unheard."""
        self._stopped = True
        uninstall(self)
        for job in self._jobs.values():
            job.dropped.update(call.key for call in job.calls)
            if job.task is not None:
                job.task.cancel()
        with self._lock:
            for _ in self._threads:
                self._queue.put(None)
        if self._ticker is not None:
            self._ticker.cancel()

    def join(self, timeout_s: float) -> None:
        """Wait until the threads have ended, or so long."""
        deadline_s = perf_counter() + timeout_s
        for thread in tuple(self._threads):
            # A function may stop its own cluster.
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - perf_counter()))

    # --- where a job runs ---

    def _go_on(self, job: Job) -> None:
        if self._stopped:
            return
        found = self._functions.get(job.calls[job.position].function)
        if found is not None and found[1]:
            job.task = self._loop.create_task(self._run_async(job))
            return
        self._waiting += 1
        self._grow()
        self._queue.put(job)

    def _grow(self) -> None:
        """Have a thread for each waiting job, as far as there are slots; a slot whose thread waits counts as free."""
        with self._lock:
            while not self._stopped and len(self._threads) < min(self._waiting, self._slots + self._lent):
                name = f"mpreg-slot-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        lend_while_waiting(self._lend)
        with capture() as printed:
            while (job := self._queue.get()) is not None:
                self._run(job, printed)
                leave_step()
                # Otherwise this thread would hold the last job, and its values, until it gets the next.
                del job
                if self._is_one_too_many():
                    return

    def _lend(self) -> Callable[[], None]:
        with self._lock:
            self._lent += 1
        self._call_loop(self._grow)
        return self._take_back

    def _take_back(self) -> None:
        with self._lock:
            self._lent -= 1

    def _is_one_too_many(self) -> bool:
        """Whether this thread was there for a slot that its owner has taken back; it is struck off then."""
        with self._lock:
            if self._stopped or len(self._threads) <= self._slots + self._lent:
                return False
            self._threads.remove(threading.current_thread())
            return True

    def _run(self, job: Job, printed: Printed) -> None:
        while job.position < len(job.calls):
            call = job.calls[job.position]
            if call.key in job.dropped:
                break
            function, is_coroutine = self._functions.get(call.function) or (None, False)
            if is_coroutine:
                self._leaving.append(job)
                self._wake()
                return
            job.told = False
            job.since_s = began_s = perf_counter()
            outcome: CallReturned | CallFailed
            try:
                if function is None:
                    raise _gone(call)
                enter_step(job.run, call.step, call.attempt, self._node)
                outcome = self._call(job, call, function, began_s, printed)
            except BaseException as error:  # noqa: BLE001  # a user's function; SystemExit too must not end the thread
                outcome = _raised(job, call, error, began_s, printed)
            if not self._put(job, outcome):
                break
        self._ended.append(job)
        self._wake()

    async def _run_async(self, job: Job) -> None:
        with capture() as printed:
            stays = await self._await_calls(job, printed)
        job.task = None
        if stays:
            self._finish(job)
            self._flush()
        else:
            self._go_on(job)

    async def _await_calls(self, job: Job, printed: Printed) -> bool:
        """Make the async calls of a lane, as far as they follow each other; whether the lane is over."""
        while job.position < len(job.calls):
            call = job.calls[job.position]
            function, is_coroutine = self._functions.get(call.function) or (None, False)
            if call.key in job.dropped:
                break
            if function is None or not is_coroutine:
                return False
            job.told = False
            job.since_s = began_s = perf_counter()
            enter_step(job.run, call.step, call.attempt, self._node)
            try:
                outcome = await self._call_async(job, call, function, began_s, printed)
            except asyncio.CancelledError:
                break
            if not self._put(job, outcome):
                break
        return True

    def _call(self, job: Job, call: Call, function: Function, began_s: float, printed: Printed) -> CallReturned:
        args, kwargs = _arguments(call, job.values)
        if call.caching is None or self._cache is None:
            return _returned(job, call, function(*args, **kwargs), began_s, printed)
        key = _key(call, call.caching, function, args, kwargs, printed)
        if key is not None and (found := self._cache.find_now(key, call.caching.ttl_s)) is not None:
            return _cached(job, call, found, began_s)
        returned = _returned(job, call, function(*args, **kwargs), began_s, printed)
        if key is not None:
            self._cache.keep(key, job.values[call.step])
        return returned

    async def _call_async(
        self, job: Job, call: Call, function: Function, began_s: float, printed: Printed
    ) -> CallReturned | CallFailed:
        try:
            args, kwargs = _arguments(call, job.values)
            if call.caching is None or self._cache is None:
                return _returned(job, call, await function(*args, **kwargs), began_s, printed)
            key = _key(call, call.caching, function, args, kwargs, printed)
            if key is not None and (found := await self._cache.find(key, call.caching.ttl_s)) is not None:
                return _cached(job, call, found, began_s)
            returned = _returned(job, call, await function(*args, **kwargs), began_s, printed)
            if key is not None:
                self._cache.keep(key, job.values[call.step])
            return returned
        except asyncio.CancelledError as error:
            if call.key in job.dropped:
                raise
            return _raised(job, call, error, began_s, printed)  # the function cancelled itself
        except BaseException as error:  # noqa: BLE001  # a user's function; SystemExit too must not end the loop
            return _raised(job, call, error, began_s, printed)

    def _put(self, job: Job, outcome: CallReturned | CallFailed) -> bool:
        """Note an outcome; whether the lane goes on."""
        job.since_s = None
        self._outbox.append((job, outcome, perf_counter()))
        job.position += 1
        return type(outcome) is CallReturned and outcome.key not in job.dropped

    # --- from the threads to the loop ---

    def _wake(self) -> None:
        """Have the loop look at what the threads left for it: once, however many of them do."""
        if self._woken:
            return
        self._woken = True
        self._call_loop(self._collect)

    def _call_loop(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            # The node was stopped while a function ran on: nobody waits for it.
            if not self._loop.is_closed():
                raise

    def _collect(self) -> None:
        # First, so that what is left from now on wakes the loop again.
        self._woken = False
        while self._ended:
            self._waiting -= 1
            self._finish(self._ended.popleft())
        while self._leaving:
            self._waiting -= 1
            self._go_on(self._leaving.popleft())
        self._flush()

    def _finish(self, job: Job) -> None:
        self._jobs.pop(id(job), None)

    def _flush(self) -> None:
        if self._stopped:
            return
        now_s = perf_counter()
        outbox = self._outbox
        by_run: dict[RunId, list[Outcome]] = {}
        while outbox:
            job, outcome, since_s = outbox.popleft()
            self.ended += type(outcome) is not CallStarted
            if outcome.key not in job.dropped:
                if type(outcome) is not CallStarted:
                    # Nobody else has seen the outcome yet.
                    force_setattr(outcome, "idle_s", now_s - since_s)
                by_run.setdefault(job.run, []).append(outcome)
            else:
                self.late += type(outcome) is not CallStarted
        for run, outcomes in by_run.items():
            self._report(run, outcomes)

    def _tick(self) -> None:
        self._ticker = None
        now_s = perf_counter()
        for job in self._jobs.values():
            since_s = job.since_s
            if since_s is not None and not job.told and job.position < len(job.calls):
                job.told = True
                call = job.calls[job.position]
                begun = CallStarted(call.key, call.attempt, since_s - job.arrived_s)
                self._outbox.append((job, begun, now_s))
        self._flush()
        if self._jobs and not self._stopped:
            self._ticker = self._loop.call_later(REPORT_S, self._tick)


def _arguments(call: Call, values: dict[StepName, Payload]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = call.arguments.value()
    if call.refers:

        def result(step: str) -> Any:
            return values[StepName(step)].value()

        args = tuple([substitute(value, result) for value in args])
        if kwargs:
            kwargs = {name: substitute(value, result) for name, value in kwargs.items()}
    return args, kwargs


def _returned(job: Job, call: Call, value: Any, began_s: float, printed: Printed) -> CallReturned:
    ran_s = perf_counter() - began_s
    payload: Payload | None = Payload.of(value)
    assert payload is not None
    try:
        if type(value) not in _PLAIN:
            check_serialisable(value, "its result")
        if job.pack:
            payload.pack()
    except CannotTravelError as exc:
        raise UnserialisableResultError(
            f"step {call.step!r}: {call.function} returned what cannot travel to another node: {exc.path} is "
            f"{exc.culprit}. Return plain data",
            step=call.step,
        ) from None
    job.values[call.step] = payload
    if job.pack and payload.size_bytes > INLINE_BYTES:
        payload = None
    waited_s = began_s - job.arrived_s
    return CallReturned(call.key, call.attempt, waited_s, ran_s, 0.0, payload, printed.take())


def _cached(job: Job, call: Call, found: Payload, began_s: float) -> CallReturned:
    job.values[call.step] = found
    value = None if job.pack and found.size_bytes > INLINE_BYTES else found
    found_s = perf_counter() - began_s
    return CallReturned(call.key, call.attempt, began_s - job.arrived_s, found_s, 0.0, value, cached=True)


def _key(
    call: Call,
    caching: Caching,
    function: Function,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    printed: Printed,
) -> str | None:
    """What equal calls have in common; None if that cannot be told, which is said where the step prints."""
    try:
        return call_key(function, args, kwargs, caching.resources)
    except UnstableValueError as error:
        printed.write(f"not cached: {error}\n")
        return None


def _raised(job: Job, call: Call, error: BaseException, began_s: float, printed: Printed) -> CallFailed:
    ran_s = perf_counter() - began_s
    _without_our_frames(error)
    told = failure(error)
    exception = error if isinstance(error, Exception) else _stand_in(error)
    return CallFailed(
        call.key,
        call.attempt,
        began_s - job.arrived_s,
        ran_s,
        0.0,
        Payload.of_error(exception),
        told,
        printed.take(),
    )


def _without_our_frames(error: BaseException) -> None:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    # Not by the error's own __setattr__: that of a frozen dataclass refuses.
    BaseException.__setattr__(error, "__traceback__", frames)


def _stand_in(error: BaseException) -> RemoteError:
    """What is raised for a SystemExit or a KeyboardInterrupt of a function, which must not end the caller."""
    name = type(error).__name__
    arguments = ", ".join(map(reprlib.repr, error.args))
    stand_in = RemoteError(f"the function raised {name}({arguments})", type_name=name)
    return stand_in.with_traceback(error.__traceback__)


def _gone(call: Call) -> UnknownFunctionError:
    return UnknownFunctionError(
        f"step {call.step!r}: the node has no function {call.function!r} any more", step=call.step
    )
