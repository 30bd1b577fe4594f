"""The calls that a node was given, by other nodes and by itself: their values, their execution, their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mpreg_lab.engine.failures import failure
from mpreg_lab.errors import MpregError, OverloadedError, ProtocolError, StepNotFinishedError
from mpreg_lab.protocol.messages import CallFailed, Calls, CallsDone, CancelCalls, Outcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import NodeName, RunId, StepName

from . import executor
from .cache import Cache
from .executor import Executor, Job
from .functions import FunctionTable

__all__ = ["GivenCalls", "GivingHost", "Load", "Report"]

Report = Callable[[list[Outcome]], None]
"""Tells who gave calls what became of them."""


class GivingHost(Protocol):
    """What the node does for its calls."""

    @property
    def name(self) -> NodeName:
        """Of the node."""

    def fetch(self, node: NodeName, run: RunId, step: StepName) -> Awaitable[Payload]:
        """Get a result from the node that holds it."""

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done in the background."""

    def name_of(self, peer: Peer) -> NodeName:
        """The node at the other end of a connection."""

    def coordinates(self, run: RunId) -> bool:
        """Whether the node itself is the entry node of that run."""

    def got_busy(self) -> None:
        """There is something to do after there was nothing."""


class Load(NamedTuple):
    """What a node has to do: steps that run, that wait, that have ended, and of these those that nobody waited for."""

    running: int
    waiting: int
    ended: int
    late: int


class GivenCalls:
    """What one node has to do, and what it has made. On the node's loop."""

    def __init__(self, host: GivingHost, functions: FunctionTable, slots: int, cache: Cache) -> None:
        self._host = host
        self._executor = Executor(functions, slots, self._report, host.got_busy, node=host.name, cache=cache)
        self._values: dict[RunId, dict[StepName, Payload]] = {}
        self._origins: dict[RunId, tuple[NodeName, Report]] = {}
        self._taken: dict[RunId, set[tuple[int, int]]] = {}
        """The first call and attempt of what other nodes gave us."""

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What it does with which message."""
        return {Calls: self._on_calls, CancelCalls: self._on_cancel_calls}

    @property
    def load(self) -> Load:
        """How much there is to do."""
        running = self._executor.under_way
        return Load(running, self._executor.running - running, self._executor.ended, self._executor.late)

    def take(self, calls: Calls, origin: NodeName, report: Report, *, pack: bool) -> None:
        """Make these calls.

        Args:
            pack: Whether what they return will leave this process.
        """
        values = self.values(calls.run)
        values.update(calls.values)
        self._origins[calls.run] = (origin, report)
        if calls.held:
            self._host.spawn(self._fetch_and_work(calls, values, pack=pack))
        else:
            self._work(calls, values, pack=pack)

    def cancel(self, message: CancelCalls) -> None:
        """Stop these attempts if that is possible, and do not start them."""
        self._executor.cancel(message.run, frozenset(message.keys))

    def values(self, run: RunId) -> dict[StepName, Payload]:
        """The results of a run that are here; what is put into it is here too."""
        return self._values.setdefault(run, {})

    def held(self, run: RunId, step: StepName) -> Payload:
        """A result that is here.

        Raises:
            StepNotFinishedError: If it is not, or not any more.
        """
        value = self._values.get(run, {}).get(step)
        if value is None:
            raise StepNotFinishedError(f"node {self._host.name!r} has no result of step {step!r} any more", step=step)
        return value

    def check_room(self) -> None:
        """Whether more can be taken on.

        Raises:
            OverloadedError: If not.
        """
        if self._executor.full:
            raise OverloadedError(
                f"node {self._host.name!r} has {self._executor.running} calls to make: at most {executor.MAX_LANES}. "
                "Call again later, or with retry(n), or add nodes with the function"
            )

    def forget(self, run: RunId) -> None:
        """Nobody wants the results of a run any more."""
        self._values.pop(run, None)
        self._origins.pop(run, None)
        self._taken.pop(run, None)

    def lose(self, name: NodeName) -> None:
        """The connection to a node is gone: what it gave us nobody waits for, and it may be given to another node.

        What was made already stays: it may be asked for over another connection.
        """
        for run, (origin, _) in self._origins.items():
            if origin == name:
                self._executor.cancel(run)
                self._origins[run] = (name, _tell_nobody)

    def forget_for(self, name: NodeName) -> None:
        """A node is gone, and will not ask for the results of its runs."""
        for run in [run for run, (origin, _) in self._origins.items() if origin == name]:
            self.forget(run)

    def stop(self) -> None:
        """Start nothing more."""
        self._executor.stop()

    def join(self, timeout_s: float) -> None:
        """Wait until the threads have ended, at most so long. For another thread than the loop's."""
        self._executor.join(timeout_s)

    # --- messages ---

    def _on_calls(self, peer: Peer, calls: Calls) -> None:
        def report(outcomes: list[Outcome]) -> None:
            if not peer.closed:
                _report_to(peer, calls.run, outcomes)

        if self._host.coordinates(calls.run):
            raise ProtocolError(f"run {calls.run!r} is coordinated here: nobody else gives out its steps")
        if not all(lane.calls for lane in calls.lanes):
            raise ProtocolError("a lane without a call")
        if self._took_before(calls):
            return
        self.take(calls, self._host.name_of(peer), report, pack=not peer.connection.carries_objects)

    def _on_cancel_calls(self, _: Peer, message: CancelCalls) -> None:
        self.cancel(message)

    def _took_before(self, calls: Calls) -> bool:
        """Whether this very message came already: a network may deliver it twice, and a step must not start twice."""
        if not calls.lanes:
            return False
        first, taken = calls.lanes[0].calls[0], self._taken.setdefault(calls.run, set())
        if (first.key, first.attempt) in taken:
            return True
        taken.add((first.key, first.attempt))
        return False

    # --- work ---

    async def _fetch_and_work(self, calls: Calls, values: dict[StepName, Payload], *, pack: bool) -> None:
        borrowed = calls.borrowed
        fetched = [self._host.fetch(node, borrowed.get(step, calls.run), step) for step, node in calls.held.items()]
        try:
            values.update(zip(calls.held, await asyncio.gather(*fetched), strict=True))
        except MpregError as error:
            self._fail(calls, error)
            return
        self._work(calls, values, pack=pack)

    def _work(self, calls: Calls, values: dict[StepName, Payload], *, pack: bool) -> None:
        try:
            self.check_room()
        except OverloadedError as error:
            # Not at once: a run that is just giving out its steps cannot hear of one that has failed.
            asyncio.get_running_loop().call_soon(self._fail, calls, error)
            return
        for lane in calls.lanes:
            self._executor.submit(Job(calls.run, lane.calls, values, pack=pack))

    def _fail(self, calls: Calls, error: MpregError) -> None:
        told = Payload.of_error(error)
        firsts = (lane.calls[0] for lane in calls.lanes)
        self._report(calls.run, [CallFailed(c.key, c.attempt, 0.0, None, 0.0, told, failure(error)) for c in firsts])

    def _report(self, run: RunId, outcomes: list[Outcome]) -> None:
        origin = self._origins.get(run)
        if origin is not None:
            origin[1](outcomes)


def _tell_nobody(_: list[Outcome]) -> None:
    """Who gave the calls has taken them for lost."""


def _report_to(peer: Peer, run: RunId, outcomes: Sequence[Outcome]) -> None:
    """Send outcomes; those that cannot travel as the other end wants them become failures."""
    try:
        peer.post(CallsDone(run, tuple(outcomes)))
    except MpregError as error:
        if len(outcomes) > 1:
            for outcome in outcomes:
                _report_to(peer, run, (outcome,))
            return
        (bad,) = outcomes
        told = Payload.of_error(error)
        peer.post(CallsDone(run, (CallFailed(bad.key, bad.attempt, 0.0, None, 0.0, told, failure(error)),)))
