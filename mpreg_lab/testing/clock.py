"""VirtualClock: workflows whose waits take no time, so that retries, backoff and time-outs are tested exactly.

What is real: the scheduler, the notation, references, retries, backoff, time-outs, skipping: `InlineEngine`, on an
event loop whose clock jumps to the next thing that is due. What is not there: nodes, resources, threads and sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import sysconfig
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from mpreg_lab.client.verbs import verb
from mpreg_lab.engine.inline import InlineEngine
from mpreg_lab.errors import ClockError, UnknownFunctionError
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.plan import did_you_mean
from mpreg_lab.workflow.record import RunRecord

__all__ = ["Ran", "VirtualClock"]

T = TypeVar("T")

_NOT_THEIRS = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))
"""Where the frames between the clock and a user's own coroutine lie."""


class Ran(NamedTuple):
    """A run that has ended.

    Attributes:
        results: Of all steps that succeeded.
        errors: Of all steps that failed.
    """

    record: RunRecord
    results: dict[str, Any]
    errors: dict[str, Exception]


class VirtualClock:
    """Time that passes only when somebody waits for it, and then at once.

    ```python
    clock = VirtualClock()
    ran = clock.run(workflow, {"fetch": fetch})
    assert clock.now_s == 3.0
    ```

    `await asyncio.sleep(3600)` takes no time. A sync function says by `clock.advance(2.5)` how long it takes.
    """

    def __init__(self) -> None:
        self._now_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since the clock was made."""
        return self._now_s

    def advance(self, by_s: float) -> None:
        """Let time pass, as a function does that computes for so long.

        Raises:
            ClockError: If it is less than nothing.
        """
        if not by_s >= 0:
            raise ClockError(f"time does not go back: advance() takes seconds, 0 or more, not {by_s!r}")
        self._now_s += by_s

    @verb
    def run(self, workflow: Workflow, functions: Mapping[str, Callable[..., Any]]) -> Ran:
        """Run a workflow to its end; what a step raises is in `errors`. May be called in async tests too.

        Args:
            functions: By name. Resources and nodes are not looked at: everything is here.

        Raises:
            WorkflowError: If it cannot run as it is written.
            UnknownFunctionError: If a step names a function that is not there; nothing runs.
            ClockError: If it waits for something that never happens; says where.
        """
        _check_functions(workflow, functions)

        async def run() -> Ran:
            engine_run = InlineEngine(functions).run(workflow)
            record = RunRecord()
            async for event in engine_run:
                record.apply(event)
            results = {str(step): value for step, value in engine_run.results.items()}
            return Ran(record, results, {str(step): error for step, error in engine_run.errors.items()})

        return self.run_coroutine(run())

    @verb
    def run_coroutine(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of your own on the virtual clock; timers of asyncio go by it.

        Raises:
            ClockError: If it waits for something that never happens, or uses threads; says where.
        """
        # In a thread of its own: a test may run on a loop already, and two cannot run in one thread.
        outcome: asyncio.Future[T] | None = None

        async def settle() -> None:
            nonlocal outcome
            outcome = asyncio.ensure_future(work)
            await asyncio.wait((outcome,))

        problem: list[ClockError] = []

        def run() -> None:
            loop = _VirtualLoop(self)
            try:
                loop.run_until_complete(settle())
            except ClockError as error:
                for place in sorted(set(_awaiting(loop))):
                    error.add_note(f"awaited at {place}")
                problem.append(error)
            finally:
                _finish(loop)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="mpreg-clock", daemon=True)
        thread.start()
        thread.join()
        if problem:
            raise problem[0]
        assert outcome is not None
        return outcome.result()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._virtual.now_s

    def run_in_executor(self, *_: object) -> NoReturn:
        raise ClockError(
            "a thread works in real time, for which virtual time does not wait. Call the function directly"
        )


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop would sleep until its next timer, the clock jumps there."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout is None:
            raise ClockError(
                "nothing is left that would ever happen: somebody awaits what nobody will set. "
                "Other threads do not count: virtual time does not wait for them"
            )
        if not ready and timeout is not None and timeout > 0:
            self._clock.advance(timeout)
        return ready


def _check_functions(workflow: Workflow, functions: Mapping[str, Callable[..., Any]]) -> None:
    for step in workflow.steps:
        if step.function not in functions:
            hint = did_you_mean(step.function, functions, "Functions: ")
            raise UnknownFunctionError(
                f"step {step.name!r}: there is no function {step.function!r}. {hint}", step=step.name
            )


def _awaiting(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Where the tasks of a loop wait: the innermost line of each that is of a user."""
    for task in asyncio.all_tasks(loop):
        awaited: Any = task.get_coro()
        place = ""
        # A coroutine awaits a coroutine, and so on; the last one awaits a future.
        while (frame := getattr(awaited, "cr_frame", None)) is not None:
            if not frame.f_code.co_filename.startswith(_NOT_THEIRS):
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
            awaited = awaited.cr_await
        if place:
            yield place


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, and close the loop."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
