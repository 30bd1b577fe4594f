"""One run on Dask: our machine decides, Dask's futures hold what came of the lanes that were sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Collection
from typing import TYPE_CHECKING, Any, Self

import msgspec

from mpreg_lab.errors import RoutingError, UnknownFunctionError
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.machine import (
    Abort,
    Began,
    Execute,
    Happening,
    Lost,
    Raised,
    Returned,
    RunMachine,
    failure_of,
)
from mpreg_lab.workflow.plan import Plan
from mpreg_lab.workflow.record import RunEvent
from mpreg_lab.workflow.reuse import Earlier, Reuse

from .base import Driver
from .lanes import Ending, Reported

if TYPE_CHECKING:
    from .dask import DaskEngine

__all__ = ["DaskRun"]


class DaskRun:
    """One run: an async iterator of its events, which drives it."""

    def __init__(self, engine: DaskEngine, plan: Plan, wanted: Collection[StepName] | None, run: RunId) -> None:
        self.id = run
        self.results: dict[StepName, object] = {}
        self.errors: dict[StepName, Exception] = {}
        self.driver: Driver | None = None
        self._engine = engine
        self._plan = plan
        self._wanted = wanted
        self._machine = RunMachine(plan, engine.placer)
        self._lanes: dict[str, _Lane] = {}
        self._lane_of: dict[tuple[int, int], str] = {}
        self._events: deque[RunEvent] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._chores: set[asyncio.Future[Any]] = set()

    def take_over(self, source: DaskRun, keep: Collection[StepName]) -> None:
        """Use results of an earlier run again, where their workers are still there. Before the start."""
        found: dict[int, Earlier] = {}
        for step in keep:
            key = self._plan.keys[step]
            kept, node = source._machine.values.get(key), source._machine.node_of(key)
            if kept is not None and node in self._engine.workers:
                self._lanes[kept.lane] = source._lanes[kept.lane]
                found[key] = Earlier(kept, node)
        reuse = Reuse(frozenset(self._plan.keys[step] for step in keep), found)
        self._machine = RunMachine(self._plan, self._engine.placer, reuse)

    def start(self) -> None:
        """Begin; iterating does it by itself."""
        if self.driver is None:
            self._engine.began(self)
            self.driver = Driver(self._machine, execute=self._execute, publish=self._publish, ended=self._end)
            self.driver.start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        self.start()
        while not self._events:
            if self._over:
                await self._complete()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def fetch(self, step: StepName) -> Any:
        """The result of a step that succeeded, from the worker that has it.

        Raises:
            UnserialisableResultError: If it cannot be brought here.
        """
        if step not in self.results:
            await self._collect([step])
        return self.results[step]

    # --- what the engine tells ---

    def heard(self, reported: Reported, way_s: float) -> None:
        """A lane reported something `way_s` seconds ago."""
        assert self.driver is not None
        now_s = self.driver.now_s
        began_s = max(self._lanes[reported.lane].sent_s, now_s - way_s - reported.elapsed_s)
        happenings = [self._happening(reported.lane, ending, began_s, now_s) for ending in reported.endings]
        if reported.running is not None:
            key, attempt, started_s = reported.running
            happenings.append(Began(now_s, key, attempt, min(now_s, began_s + started_s)))
        self.driver.feed(happenings)

    def lost(self, node: NodeName) -> None:
        """A worker is gone."""
        if self.driver is not None:
            self.driver.feed([Lost(self.driver.now_s, node)])

    # --- what the driver wants ---

    def _execute(self, todo: list[Execute | Abort]) -> None:
        assert self.driver is not None
        unwanted: dict[tuple[str, NodeName], set[int]] = {}
        for item in todo:
            if isinstance(item, Execute):
                self._send(item)
            elif (lane := self._lane_of.get((item.key, item.attempt))) is not None:
                unwanted.setdefault((lane, item.node), set()).add(item.key)
        for (lane, node), keys in unwanted.items():
            if (dropping := self._engine.drop(lane, node, frozenset(keys))) is not None:
                self._do(_unless_gone(dropping))

    def _send(self, item: Execute) -> None:
        assert self.driver is not None
        pieces = (item, *item.then)
        inside = {piece.key for piece in pieces}
        needed = {need for piece in pieces for need in self._plan.needs[piece.key]} - inside
        given = {kept.lane: self._lanes[kept.lane].future for kept in (self._machine.values[key] for key in needed)}
        if item.node not in self._engine.workers:
            # It went while the machine decided: the machine hears of it in a moment.
            return
        if unknown := next((piece for piece in pieces if not self._engine.knows(piece.step.function)), None):
            error = UnknownFunctionError(
                f"step {unknown.step.name!r}: there is no function {unknown.step.function!r} any more",
                step=unknown.step.name,
            )
            self._do(self._refuse(item, error))
            return
        name, future = self._engine.submit(self, item, list(given.values()))
        self._lanes[name] = _Lane(future, tuple(piece.step.name for piece in pieces), self.driver.now_s)
        for piece in pieces:
            self._lane_of[piece.key, piece.attempt] = name
        self._do(self._watch(name, future, pieces))

    async def _watch(self, lane: str, future: Any, pieces: tuple[Execute, ...]) -> None:
        """Dask itself may fail: arguments that cannot travel, a worker without our package."""
        error = await self._engine.settled(future)
        if error is not None and self.driver is not None and not self._over:
            step = pieces[0].step
            told = RoutingError(
                f"Dask could not run step {step.name!r}: {type(error).__name__}: {error}", step=step.name
            )
            await self._refuse(pieces[0], told)

    async def _refuse(self, item: Execute, error: Exception) -> None:
        if self.driver is not None:
            now_s = self.driver.now_s
            told = Payload.of_error(error)
            self.driver.feed([Raised(now_s, item.key, item.attempt, None, now_s, told, failure_of(error))])

    def _happening(self, lane: str, ending: Ending, began_s: float, now_s: float) -> Happening:
        started_s, ended_s = (min(now_s, began_s + at_s) for at_s in (ending.started_s, ending.ended_s))
        key, attempt, printed = ending.key, ending.attempt, ending.printed
        if ending.error is None or ending.failure is None:
            return Returned(now_s, key, attempt, started_s, ended_s, _Kept(lane), printed)
        error = Payload.packed(*ending.error)
        return Raised(now_s, key, attempt, started_s, ended_s, error, ending.failure, printed)

    def _publish(self, events: list[RunEvent]) -> None:
        self._events.extend(events)
        self._news.set()

    def _end(self) -> None:
        self._over = True
        self._engine.ended(self)
        self._engine.forget(self._lanes)
        kept = {value.lane for value in self._machine.values.values()}
        # Dask forgets what nobody holds: tasks that have not begun are taken back.
        self._lanes = {name: lane for name, lane in self._lanes.items() if name in kept}
        self._news.set()

    async def _complete(self) -> None:
        names = [step.name for step in self._plan.workflow.steps]
        for key, error in sorted(self._machine.errors.items()):
            self.errors.setdefault(names[key], _loaded(error))
        done = [names[key] for key in self._machine.values]
        await self._collect([name for name in done if self._wanted is None or name in self._wanted])

    async def _collect(self, steps: list[StepName]) -> None:
        """Fetch results: all of a lane together if all are wanted, or if that costs nothing."""
        lanes: dict[str, list[StepName]] = {}
        for step in steps:
            if step not in self.results:
                lanes.setdefault(self._machine.values[self._plan.keys[step]].lane, []).append(step)

        async def fetch(lane: _Lane, wanted: list[StepName]) -> None:
            if self._engine.here or len(wanted) == len(lane.steps):
                self.results |= await self._engine.fetch(lane.future, None)
            else:
                for step in wanted:
                    self.results[step] = await self._engine.fetch(lane.future, step)

        # One after the other would wait for the way to Dask each time.
        await asyncio.gather(*(fetch(self._lanes[name], wanted) for name, wanted in lanes.items()))

    def _do(self, todo: Awaitable[Any]) -> None:
        chore = asyncio.ensure_future(todo)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)


class _Lane(msgspec.Struct, frozen=True):
    future: Any
    steps: tuple[StepName, ...]
    sent_s: float


class _Kept(msgspec.Struct, frozen=True):
    """Stands for a result that is on a worker."""

    lane: str


def _loaded(error: Any) -> Exception:
    value = error.value() if isinstance(error, Payload) else error
    assert isinstance(value, Exception)
    return value


async def _unless_gone(dropping: Awaitable[object]) -> None:
    with contextlib.suppress(OSError):
        await dropping
