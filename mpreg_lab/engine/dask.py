"""The engine that runs workflows on the workers of a Dask cluster.

Our machine decides what runs when, again, and where, so that a workflow keeps its promises; Dask carries the calls and
keeps the results. A lane of steps is one task of Dask; what happens in it comes back as an event of Dask's (a topic).
Dask has no type hints: hence the ignores.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import count
from time import time
from typing import Any, Self

import distributed
import msgspec
from distributed.client import FuturesCancelledError
from distributed.comm.core import connect

from mpreg_lab.errors import ConnectError
from mpreg_lab.types import FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.machine import (
    Execute,
    Placer,
)
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.plan import validate

from .dask_run import DaskRun
from .lanes import Calls, Code, LaneCall, Reported, drop, lend, run_lane, take_back

__all__ = ["DaskEngine", "Worker", "launch"]

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
            arguments = self._security.get_connection_args("client")  # type: ignore[no-untyped-call]  # it has no hints
        connection = await connect(  # type: ignore[no-untyped-call]  # it has no hints
            self.scheduler, timeout=_CONNECT_S, **arguments
        )
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
