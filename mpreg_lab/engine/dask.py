"""The engine that runs workflows on the workers of a Dask cluster.

Our machine decides what runs when, again, and where, so that a workflow keeps its promises; Dask carries the calls and
keeps the results. A lane of steps is one task of Dask; what happens in it comes back as an event of Dask's (a topic).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import count
from time import time
from typing import Any, Self

import distributed
import msgspec
from distributed.client import FuturesCancelledError
from distributed.comm.core import connect

from mpreg_lab.errors import ConnectError, RoutingError, UnknownFunctionError
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.machine import (
    Abort,
    Began,
    Execute,
    Happening,
    Lost,
    Placer,
    Raised,
    Returned,
    RunMachine,
    failure_of,
)
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.plan import Plan, validate
from mpreg_lab.workflow.record import RunEvent
from mpreg_lab.workflow.reuse import Earlier, Reuse

from .base import Driver
from .lanes import Calls, Code, Ending, LaneCall, Reported, drop, lend, run_lane, take_back

__all__ = ["DaskEngine", "DaskRun", "Worker", "launch"]

_CONNECT_S = 10
_LOOPBACK = "127.0.0.1:0"
_numbers = count(1)


class Worker(msgspec.Struct, frozen=True):
    """A worker of Dask: a node of ours."""

    name: NodeName
    address: str
    resources: tuple[Resource, ...]
    """The names of those that it was started with: `dask worker --resources gpu=1`. Held, not used up."""
    slots: int
    """Its threads."""


class DaskEngine:
    """Runs workflows through one client of Dask, on the loop that it was made on.

    Args:
        scheduler: The address of a scheduler.
        security: What `distributed.Client` takes: a `distributed.Security`, for addresses that begin with `tls:`.
        on_worker: Told of each worker that came, and with False of each that went.
    """

    def __init__(
        self,
        scheduler: str,
        placer: Placer,
        *,
        security: distributed.Security | None = None,
        on_worker: Callable[[Worker, bool], None] = lambda worker, alive: None,
    ) -> None:
        self.scheduler = scheduler
        self.placer = placer
        self.workers: dict[NodeName, Worker] = {}
        self._security = security
        self._on_worker = on_worker
        self._codes: dict[FunctionName, Code] = {}
        self._lanes: dict[str, DaskRun] = {}
        self._runs: set[DaskRun] = set()
        self._client: Any = None

    @property
    def here(self) -> bool:
        """Whether the workers live in this process: functions and values are handed on as they are then."""
        return self.scheduler.startswith("inproc:")

    async def connect(self) -> Self:
        """Connect to the scheduler, and learn who its workers are.

        Raises:
            ConnectError: If nobody answers there.
        """
        try:
            await self._knock()
        except (OSError, TimeoutError, ValueError) as exc:
            raise ConnectError(
                f"no Dask scheduler answers at {self.scheduler!r}: {exc}. Start one with `dask scheduler`, or say "
                "how many workers to launch here: DaskCluster(3)"
            ) from exc
        self._client = await distributed.Client(  # type: ignore[no-untyped-call]  # it has no hints
            self.scheduler,
            security=self._security,
            asynchronous=True,
            timeout=_CONNECT_S,
            set_as_default=False,
            direct_to_workers=False,
        )
        self._client.subscribe_topic(self._topic, self._heard)
        self._client.subscribe_topic("all", self._changed)
        await self.look()
        return self

    async def close(self) -> None:
        """Leave the cluster. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            # Else the scheduler complains that it cannot tell us that we left.
            client.unsubscribe_topic("all")
            client.unsubscribe_topic(f"mpreg-{client.id}")
            await client.close()
        for code in self._codes.values():
            take_back(code.number)
        self._codes.clear()

    async def look(self) -> None:
        """Ask the scheduler who its workers are."""
        identity = await self._client.scheduler.identity(n_workers=-1)
        present = {}
        for address, told in identity["workers"].items():
            name = NodeName(str(told["name"]))
            resources = tuple(sorted(Resource(held) for held in told.get("resources", {})))
            present[name] = Worker(name, address, resources, told["nthreads"])
        for gone in [worker for name, worker in self.workers.items() if present.get(name) != worker]:
            self._lose(gone)
        for name, worker in present.items():
            if name not in self.workers:
                self.workers[name] = worker
                self._on_worker(worker, True)

    def register(self, name: FunctionName, function: Callable[..., Any]) -> None:
        """Have a function at hand for steps; one of the same name is replaced.

        Raises:
            CannotTravelError: If something that it uses cannot be pickled.
        """
        number = next(_numbers)
        code = lend(number, function) if self.here else Code.of(function, number)
        self.unregister(name)
        self._codes[name] = code

    def unregister(self, name: FunctionName) -> None:
        """Forget a function; nothing happens if there is none of that name."""
        if (code := self._codes.pop(name, None)) is not None:
            take_back(code.number)

    def knows(self, name: str) -> bool:
        """Whether there is a function of that name."""
        return name in self._codes

    def run(
        self,
        workflow: Workflow,
        wanted: Collection[StepName] | None = None,
        run: RunId | None = None,
        *,
        source: DaskRun | None = None,
        keep: Collection[StepName] = (),
    ) -> DaskRun:
        """Run it.

        Args:
            wanted: The steps whose results are fetched at the end; the others stay on the workers. None: all.
            run: What the run is called. None: it gets a name of its own.
            source: An earlier run of it. keep: The steps whose results of that run are used again.

        Raises:
            WorkflowError: If the workflow cannot run as it is written.
        """
        work = DaskRun(self, validate(workflow), wanted, run or RunId(secrets.token_hex(8)))
        if source is not None:
            work.take_over(source, keep)
        return work

    # --- for its runs ---

    def submit(self, run: DaskRun, item: Execute, given: list[Any]) -> tuple[str, Any]:
        """Give a lane to its worker: the name of the lane, and Dask's future of its results."""
        lane = f"mpreg-{item.step.function}-{next(_numbers)}"
        calls = tuple(
            LaneCall(piece.key, piece.attempt, piece.step.name, self._code(piece), piece.step.args, piece.step.kwargs)
            for piece in (item, *item.then)
        )
        future = self._client.submit(
            _run,
            lane,
            run.id,
            item.node,
            Calls(calls),
            given,
            self._topic,
            not self.here,
            key=lane,
            workers=[self.workers[item.node].address],
            allow_other_workers=False,
            pure=False,
        )
        self._lanes[lane] = run
        return lane, future

    def forget(self, lanes: Collection[str]) -> None:
        """Nobody listens to these lanes any more."""
        for lane in lanes:
            self._lanes.pop(lane, None)

    def drop(self, lane: str, node: NodeName, keys: frozenset[int]) -> Awaitable[object] | None:
        """Have a worker not start these calls, or cancel them; None if the worker is gone."""
        worker = self.workers.get(node)
        if worker is None or self._client is None:
            return None
        todo: Awaitable[object] = self._client.run(drop, lane, keys, workers=[worker.address], on_error="ignore")
        return todo

    async def fetch(self, future: Any, step: StepName | None) -> Any:
        """The results of a lane, or that of one of its steps."""
        if step is not None:
            future = self._client.submit(_pick, future, step, pure=False)
        return await self._client.gather(future)

    async def settled(self, future: Any) -> Exception | None:
        """Wait until Dask is done with a task; what went wrong, if that was not the user's function."""
        with self._client.as_current():
            # It looks for a client when it is called, not when it is awaited.
            waiting = distributed.wait([future])  # type: ignore[no-untyped-call]  # it has no hints
        with contextlib.suppress(FuturesCancelledError):
            # So says Dask when we left, or the worker did: of that we hear elsewhere.
            await waiting
        error = await future.exception() if future.status == "error" else None
        return error if isinstance(error, Exception) else None

    def began(self, run: DaskRun) -> None:
        """A run is under way."""
        self._runs.add(run)

    def ended(self, run: DaskRun) -> None:
        """A run is over."""
        self._runs.discard(run)

    # --- helpers ---

    async def _knock(self) -> None:
        """Whether a scheduler answers. A client of Dask's that finds nobody leaves things behind."""
        arguments: dict[str, Any] = {}
        if self._security is not None:
            arguments = self._security.get_connection_args("client")  # type: ignore[no-untyped-call]
        connection = await connect(self.scheduler, timeout=_CONNECT_S, **arguments)  # type: ignore[no-untyped-call]
        await connection.close()

    def _code(self, piece: Execute) -> Code:
        return self._codes[FunctionName(piece.step.function)]

    @property
    def _topic(self) -> str:
        return f"mpreg-{self._client.id}"

    def _heard(self, event: tuple[float, Any]) -> None:
        reported = msgspec.msgpack.decode(event[1]["report"], type=Reported)
        if (run := self._lanes.get(reported.lane)) is not None:
            run.heard(reported, max(0.0, time() - event[1]["sent"]))

    async def _changed(self, event: tuple[float, Any]) -> None:
        action = event[1].get("action") if isinstance(event[1], dict) else None
        if action == "remove-worker":
            for worker in tuple(self.workers.values()):
                if worker.address == event[1]["worker"]:
                    self._lose(worker)
        elif action == "add-worker" and self._client is not None:
            await self.look()

    def _lose(self, worker: Worker) -> None:
        del self.workers[worker.name]
        self._on_worker(worker, False)
        for run in tuple(self._runs):
            run.lost(worker.name)


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


async def launch(workers: Iterable[Worker], *, processes: bool) -> Any:
    """Start a scheduler and workers on this machine, reached over loopback or from this process alone.

    Args:
        workers: Their addresses are not looked at.

    Returns:
        What `distributed.SpecCluster` gives: it has a `scheduler_address`, and `close()`.
    """
    place: dict[str, Any] = {"protocol": "inproc", "dashboard_address": _LOOPBACK, "dashboard": False}
    quiet: dict[str, Any] = {}
    if processes:
        place |= {"protocol": "tcp", "host": "127.0.0.1"}
        quiet = {"silence_logs": logging.WARNING}
    specs = {
        worker.name: {
            "cls": distributed.Nanny if processes else distributed.Worker,
            "options": {**place, **quiet, "nthreads": worker.slots, "resources": dict.fromkeys(worker.resources, 1)},
        }
        for worker in workers
    }
    scheduler = {"cls": distributed.Scheduler, "options": place}
    return await distributed.SpecCluster(  # type: ignore[no-untyped-call]  # it has no hints
        specs, scheduler, asynchronous=True, silence_logs=logging.WARNING
    )


# --- on the workers -----------------------------------------------------------------------------------------------


def _run(
    lane: str,
    run: RunId,
    node: NodeName,
    calls: Calls,
    given: list[Mapping[StepName, Any]],
    topic: str,
    travels: bool,
) -> dict[StepName, Any]:
    worker = distributed.get_worker()

    def report(reported: Reported) -> None:
        worker.log_event(topic, {"report": msgspec.msgpack.encode(reported), "sent": time()})

    return run_lane(lane, run, node, calls, given, report, travels=travels)


def _pick(results: Mapping[StepName, Any], step: StepName) -> Any:
    return results[step]
