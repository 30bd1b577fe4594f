"""What runs a workflow: the contract of an engine, and Driver, the one loop that feeds a RunMachine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from mpreg_lab.errors import MpregError
from mpreg_lab.types import StepName
from mpreg_lab.workflow.machine import Abort, Cancel, Execute, Happening, RunMachine, Tick
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import FaultNote, RunEvent

__all__ = ["Driver", "Engine", "EngineRun"]

LIVE_S = 0.02
"""Seconds between two reports of a run under way: short enough to look live, long enough to batch short steps."""


class EngineRun(Protocol):
    """One run: gives its events as they happen; the last one is Ended. The rest is complete after that."""

    results: dict[StepName, object]
    """Of all steps that succeeded."""
    errors: dict[StepName, Exception]
    """Of all steps that failed."""

    def __aiter__(self) -> AsyncIterator[RunEvent]:
        """The events."""


class Engine(Protocol):
    """Runs workflows."""

    def run(self, workflow: Workflow) -> EngineRun:
        """Run it.

        Raises:
            WorkflowError: If the workflow cannot run as it is written.
        """


class Driver:
    """Feeds one machine: time and what happened go in, instructions and events come out by callbacks.

    It has no task of its own and waits for nothing: whoever hears something calls `feed`. All of it on one loop.

    Args:
        execute: Carries out instructions; must not call back before it returns.
        publish: Takes the events since its last call.
        ended: Called once, after the last `publish`.
    """

    def __init__(
        self,
        machine: RunMachine,
        *,
        execute: Callable[[list[Execute | Abort]], None],
        publish: Callable[[list[RunEvent]], None],
        ended: Callable[[], None],
    ) -> None:
        self.machine = machine
        self.cause: MpregError | None = None
        """Why the run was cancelled as a whole, if it was."""
        self._execute = execute
        self._publish = publish
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._over = False
        self._report: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return self._loop.time() - self._began_s

    def start(self) -> None:
        """Begin the run."""
        self._carry_out(self.machine.start(self.now_s))

    def feed(self, happenings: Sequence[Happening]) -> None:
        """Tell the machine what happened."""
        if not self._over:
            self._carry_out(self.machine.handle(*happenings))
        else:
            self.machine.handle(*happenings)  # It counts the answers among them.

    def cancel(self, cause: MpregError) -> None:
        """Stop the run; what has ended is kept."""
        if not self._over:
            self.cause = cause
            self.feed([Cancel(self.now_s)])

    def note(self, fault: FaultNote) -> None:
        """Tell at once of a fault, at a time of the loop: who tells it may be about to end."""
        if not self._over:
            self.machine.note(msgspec.structs.replace(fault, now_s=fault.now_s - self._began_s))
            self._publish(self.machine.take_events())

    def limit(self, timeout_s: float, cause: Callable[[], MpregError]) -> None:
        """Cancel the run, with that cause, when it has taken so long."""
        self._limit = self._loop.call_at(self._began_s + timeout_s, lambda: self.cancel(cause()))

    def _carry_out(self, todo: list[Execute | Abort]) -> None:
        if todo:
            self._execute(todo)
        if self.machine.done:
            self._finish()
            return
        if self._report is None:
            self._report = self._loop.call_later(LIVE_S, self._report_now)
        self._set_alarm()

    def _report_now(self) -> None:
        self._report = None
        events = self.machine.take_events()
        if events:
            self._publish(events)

    def _set_alarm(self) -> None:
        due_s = self.machine.due_s
        if self._alarm is not None:
            if due_s is not None and self._alarm.when() == self._began_s + due_s:
                return
            self._alarm.cancel()
            self._alarm = None
        if due_s is not None:
            self._alarm = self._loop.call_at(self._began_s + due_s, self._ring, due_s)

    def _ring(self, due_s: float) -> None:
        # The loop's clock may be a hair early; the machine must see the time it asked for.
        self._alarm = None
        self.feed([Tick(max(self.now_s, due_s))])

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        for timer in (self._report, self._alarm, self._limit):
            if timer is not None:
                timer.cancel()
        self._publish(self.machine.take_events())
        self._ended()
