"""Calls that a node of another kind makes for us, one after the other. A part of foreign.py."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from mpreg_lab.engine.failures import failure
from mpreg_lab.errors import (
    ConnectionLostError,
    MpregError,
    StepTimeoutError,
    UnserialisableArgumentError,
    UnserialisableResultError,
)
from mpreg_lab.protocol.dialect import ForeignAnswer, ForeignCall
from mpreg_lab.protocol.messages import Call, CallFailed, CallReturned, CallStarted, CancelCalls, Outcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import RunId, StepName
from mpreg_lab.workflow.references import substitute

__all__ = ["ANSWER_S", "ForeignLane"]

ANSWER_S = 60.0
"""Nodes of MPREG say nothing at all when a function raises: then this is how long a step waits for nothing."""


class ForeignLane:
    """One lane of calls.

    Args:
        values: The results of the run that are here.
        report: Takes what became of calls.
    """

    def __init__(
        self,
        link: Peer,
        run: RunId,
        calls: Sequence[Call],
        values: dict[StepName, Payload],
        report: Callable[[list[Outcome]], None],
    ) -> None:
        self._link, self._run, self._calls, self._values, self._report = link, run, calls, values, report
        self._loop = asyncio.get_running_loop()
        self._arrived_s = self._loop.time()
        self._dropped: set[int] = set()
        self._waiting: tuple[int, asyncio.Task[Payload]] | None = None

    async def run(self) -> None:
        """Make the calls, until one fails or nobody wants the next."""
        for call in self._calls:
            if call.key in self._dropped:
                return
            outcome = await self._outcome(call)
            if outcome is not None and call.key not in self._dropped:
                self._report([outcome])
            if not isinstance(outcome, CallReturned):
                return

    def cancel(self, message: CancelCalls) -> None:
        """Do not wait for these calls."""
        if message.run == self._run:
            self._dropped.update(message.keys)
            if self._waiting is not None and self._waiting[0] in self._dropped:
                self._waiting[1].cancel()

    def stop(self) -> None:
        """Wait for none of them."""
        self._dropped.update(call.key for call in self._calls)
        if self._waiting is not None:
            self._waiting[1].cancel()

    def fail(self, error: MpregError) -> None:
        """The first call cannot be made."""
        self._report([self._failed(self._calls[0], error, None)])

    async def _outcome(self, call: Call) -> CallReturned | CallFailed | None:
        began_s = self._loop.time()
        self._report([CallStarted(call.key, call.attempt, began_s - self._arrived_s)])
        task = self._loop.create_task(self._ask(call))
        self._waiting = call.key, task
        try:
            await asyncio.wait((task,))
        finally:
            self._waiting = None
            task.cancel()
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, ConnectionLostError):
            return None  # The node is lost: whoever gave us the call hears of that.
        if error is not None:
            return self._failed(call, error, began_s)
        value = self._values[call.step] = task.result()
        ran_s = self._loop.time() - began_s
        return CallReturned(call.key, call.attempt, began_s - self._arrived_s, ran_s, 0.0, value)

    async def _ask(self, call: Call) -> Payload:
        args, kwargs = call.arguments.value()
        if call.refers:
            args, kwargs = substitute((args, kwargs), lambda step: self._values[StepName(step)].value())
        request = ForeignCall(secrets.token_hex(8), call.function, Payload.of((args, kwargs)))
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._link.request(request)
        except UnserialisableResultError as exc:
            raise UnserialisableArgumentError(
                f"step {call.step!r}: an argument cannot travel to {self._link.name}: {exc}", step=call.step
            ) from None
        except TimeoutError:
            raise StepTimeoutError(
                f"step {call.step!r}: {self._link.name} has not answered in {ANSWER_S:g} s. Nodes of its kind are "
                "silent when a function raises, or returns what JSON cannot carry",
                step=call.step,
            ) from None
        assert isinstance(answer, ForeignAnswer)
        if answer.value is None:
            assert answer.error is not None
            raise answer.error.value()
        return answer.value

    def _failed(self, call: Call, error: BaseException, began_s: float | None) -> CallFailed:
        now_s = self._loop.time()
        waited_s = (now_s if began_s is None else began_s) - self._arrived_s
        ran_s = None if began_s is None else now_s - began_s
        told = Payload.of_error(error)
        return CallFailed(call.key, call.attempt, waited_s, ran_s, 0.0, told, failure(error))
