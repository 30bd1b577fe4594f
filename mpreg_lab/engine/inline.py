"""The inline engine: no nodes, no threads, each function called where the workflow was started, one after the other.

For tests, for debugging a workflow step by step, and as the floor that clusters are measured against.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Self

from mpreg_lab.errors import UnknownFunctionError
from mpreg_lab.step_context import enter_step, leave_step
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.machine import (
    Abort,
    Began,
    Execute,
    Happening,
    Raised,
    Returned,
    RunMachine,
    Tick,
    failure_of,
)
from mpreg_lab.workflow.model import Step, Workflow
from mpreg_lab.workflow.plan import did_you_mean, validate
from mpreg_lab.workflow.record import RunEvent
from mpreg_lab.workflow.references import substitute

from .base import Driver

__all__ = ["HERE", "InlineEngine"]

HERE = NodeName("here")
"""The name of the only node."""


class InlineEngine:
    """Runs workflows with these functions, by name."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions

    def run(self, workflow: Workflow) -> InlineRun:
        """Run it, on the caller's loop. Resources are ignored: everything is here; `cache` too: nothing is kept.

        Raises:
            WorkflowError: If the workflow cannot run as it is written.
        """
        return InlineRun(RunMachine(validate(workflow), _Here(self._functions)), self._functions)


class InlineRun:
    """One run: an async iterator of its events, which drives it."""

    def __init__(self, machine: RunMachine, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.results: dict[StepName, object] = {}
        self.errors: dict[StepName, Exception] = {}
        self._id = RunId(secrets.token_hex(8))
        self._machine = machine
        self._functions = functions
        self._todo: deque[Execute] = deque()
        self._aborted: set[tuple[int, int]] = set()
        self._awaited: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self._events: deque[RunEvent] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._driver: Driver | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        if self._driver is None:
            self._driver = Driver(self._machine, execute=self._take, publish=self._publish, ended=self._end)
            self._driver.start()
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            if self._todo:
                await self._call_chain(self._driver, self._todo.popleft())
            else:
                # Nothing to call: the driver's clock will bring a retry.
                self._news.clear()
                await self._news.wait()
        return self._events.popleft()

    async def _call_chain(self, driver: Driver, first: Execute) -> None:
        for piece in (first, *first.then):
            if (piece.key, piece.attempt) in self._aborted or not await self._call(driver, piece):
                return

    async def _call(self, driver: Driver, piece: Execute) -> bool:
        """Call one function; whether what follows in its chain goes on."""
        started_s = driver.now_s
        driver.feed([Began(started_s, piece.key, piece.attempt, started_s)])
        step = piece.step
        happening: Happening
        enter_step(self._id, step.name, piece.attempt, HERE)
        try:
            function = self._functions[step.function]
            args = substitute(step.args, self._result)
            kwargs = substitute(step.kwargs, self._result)
            value = function(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await (value if step.timeout_s is None else self._until_aborted(piece, value))
        except asyncio.CancelledError:
            if (piece.key, piece.attempt) in self._aborted:
                return False
            raise
        except Exception as error:  # noqa: BLE001  # a user's function
            ended_s = driver.now_s
            happening = Raised(ended_s, piece.key, piece.attempt, started_s, ended_s, error, failure_of(error))
        else:
            ended_s = driver.now_s
            happening = Returned(ended_s, piece.key, piece.attempt, started_s, ended_s, value)
        finally:
            leave_step()
        # The clock stood still while a sync function ran: its time-out comes first.
        driver.feed([happening] if step.timeout_s is None else [Tick(ended_s), happening])
        return isinstance(happening, Returned)

    async def _until_aborted(self, piece: Execute, value: Awaitable[Any]) -> Any:
        attempt = (piece.key, piece.attempt)
        self._awaited[attempt] = asyncio.ensure_future(value)
        try:
            return await self._awaited[attempt]
        finally:
            del self._awaited[attempt]

    def _result(self, step: str) -> object:
        return self._machine.values[self._machine.plan.keys[StepName(step)]]

    def _take(self, todo: list[Execute | Abort]) -> None:
        for item in todo:
            if isinstance(item, Abort):
                self._aborted.add((item.key, item.attempt))
                if (awaited := self._awaited.get((item.key, item.attempt))) is not None:
                    awaited.cancel()
            else:
                self._todo.append(item)
        self._news.set()

    def _publish(self, events: list[RunEvent]) -> None:
        self._events.extend(events)
        self._news.set()

    def _end(self) -> None:
        steps = self._machine.plan.workflow.steps
        self.results.update({steps[key].name: value for key, value in self._machine.values.items()})
        self.errors.update({steps[key].name: error for key, error in sorted(self._machine.errors.items())})
        self._over = True
        self._news.set()


class _Here:
    """Places every step on the one node."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions

    def choose(self, step: Step, near: Collection[NodeName], avoid: Collection[NodeName]) -> NodeName:
        if step.function not in self._functions:
            hint = did_you_mean(step.function, self._functions, "Functions: ")
            raise UnknownFunctionError(
                f"step {step.name!r}: there is no function {step.function!r}. {hint}", step=step.name
            )
        return HERE

    def can_run(self, step: Step, node: NodeName) -> bool:
        return step.function in self._functions

    def began(self, node: NodeName, steps: int) -> None:
        """There is nothing to balance."""

    def ended(self, node: NodeName, steps: int) -> None:
        """There is nothing to balance."""
