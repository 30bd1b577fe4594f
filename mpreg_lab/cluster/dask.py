"""DaskCluster: the verbs of a cluster, for workflows that run on the workers of Dask distributed."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import count
from typing import Any, TypeVar, overload

from mpreg_lab.client.aio import check_arguments, check_timeout, print_out
from mpreg_lab.client.run import Run
from mpreg_lab.client.verbs import twin, verb
from mpreg_lab.errors import ClusterStoppedError, FunctionError, RunCancelledError, RunTimeoutError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.node.functions import BUILTINS, describe, function_name
from mpreg_lab.node.router import Router
from mpreg_lab.protocol.messages import FunctionInfo, Member, RunDone, StepError
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import FunctionName, NodeName, RunId, StepName
from mpreg_lab.workflow.model import Step, Workflow
from mpreg_lab.workflow.plan import Plan, validate

from .held import HeldCluster
from .spec import node_specs, resource_names

__all__ = ["DaskCluster", "running_dask_clusters"]

F = TypeVar("F", bound=Callable[..., Any])

_numbers = count(1)
_running: weakref.WeakValueDictionary[str, DaskCluster] = weakref.WeakValueDictionary()


class DaskCluster(HeldCluster):
    """Workflows on Dask distributed: the verbs of LocalCluster, and the same runs, on Dask's workers.

    A step runs on a worker that holds its resources, by the names in `dask worker --resources "gpu=1"`: they are held,
    not used up. Results stay on the workers until they are asked for. Workers need this package, and what functions
    import; the functions themselves travel as code.

    Args:
        where: The address of a scheduler (`"tcp://host:8786"`), or anything that has a `scheduler_address`, such as
            `distributed.LocalCluster`. Or what is to be launched on this machine: how many workers, or the name of each
            with its resources, as for LocalCluster.
        processes: Whether each worker that is launched has a process of its own.
        slots: Threads of each worker that is launched. None: 4, or the number of processors if that is more.
        security: A `distributed.security.Security`, for addresses that begin with `tls://`.
        name: A second cluster of the same name replaces the first, which is stopped. None: it gets a name of its own.

    Raises:
        ConnectError: If nobody answers at the address.
        ClusterSpecError: If the description is wrong.

    Use it with `with`, or end it with `stop()`; that ends only what it launched itself.
    """

    @verb
    def __init__(
        self,
        where: Any = 3,
        *,
        processes: bool = False,
        slots: int | None = None,
        security: Any = None,
        name: str | None = None,
    ) -> None:
        from mpreg_lab.engine.dask import DaskEngine, Worker, launch

        self.name = name if name is not None else f"dask-{next(_numbers)}"
        if (older := _running.pop(self.name, None)) is not None:
            older.stop()
        address = where if isinstance(where, str) else getattr(where, "scheduler_address", None)
        specs = () if address is not None else node_specs(where, slots)
        workers = [Worker(spec.name, "", tuple(sorted(spec.resources)), spec.slots) for spec in specs]
        self._functions: dict[FunctionName, FunctionInfo] = {}
        self._router = Router()
        self._members: dict[NodeName, Member] = {}
        self._loop = LoopThread(f"mpreg-{self.name}")
        self._own: Any = None

        async def begin() -> DaskEngine:
            if address is None:
                self._own = await launch(workers, processes=processes)
            scheduler = self._own.scheduler_address if address is None else str(address)
            return await DaskEngine(scheduler, self._router, security=security, on_worker=self._hear).connect()

        with ExitStack() as unless_it_works:
            unless_it_works.callback(lambda: _shut_down(self._loop, None, self._own))
            self._engine = self._loop.call(begin())
            unless_it_works.pop_all()
        self._finalizer = weakref.finalize(self, _shut_down, self._loop, self._engine, self._own)
        for builtin in BUILTINS:
            self.register(builtin)
        _running[self.name] = self

    # --- the verbs of a client ---

    @verb
    def run(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """Run a workflow and wait for its end; an interrupt (Ctrl-C, the Stop button) cancels it.

        Args:
            timeout: Seconds; then the run is cancelled.
            check: Whether to raise what went wrong; if not, look at `run.exception`.

        Raises:
            WorkflowError: If it cannot run as it is written; nothing was sent.
            RoutingError: If no worker can run one of its steps; nothing ran.
            Exception: With `check`, what a step raised; of several, a RunFailedError.
        """
        run = self.submit(workflow, timeout=timeout)
        run.join()
        return run.wait() if check else run

    async def run_async(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """As `run`, awaitable on any loop."""
        run = await self.submit_async(workflow, timeout=timeout)
        return await (run if check else run.ended())

    @verb
    def submit(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """Start a workflow and give back its run at once: `run.wait()` or `await run` waits for it.

        Raises:
            WorkflowError: If it cannot run as it is written; nothing was sent.
        """
        self._check_running()
        return self._loop.call(self._submit(workflow, timeout), doing="submit()")

    async def submit_async(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """As `submit`, awaitable on any loop."""
        self._check_running()
        return await asyncio.wrap_future(self._loop.spawn(self._submit(workflow, timeout)))

    @verb
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call one function on whichever worker can, and give back what it returns.

        Raises:
            RoutingError: If none can.
            Exception: What it raised.
        """
        run = self.run(_one(function, args, kwargs), check=False)
        print_out(run)
        return run.wait().results[function]

    async def call_async(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """As `call`, awaitable on any loop."""
        run = await self.run_async(_one(function, args, kwargs), check=False)
        print_out(run)
        return (await run).results[function]

    # --- functions ---

    @overload
    def function(self, function: F, /) -> F: ...
    @overload
    def function(self, /, *, resources: Iterable[str] | str = (), name: str | None = None) -> Callable[[F], F]: ...
    def function(
        self, function: F | None = None, /, *, resources: Iterable[str] | str = (), name: str | None = None
    ) -> F | Callable[[F], F]:
        """Decorator: have the workers that hold all these resources offer the function. See `register`."""

        def decorate(function: F) -> F:
            self.register(function, resources=resources, name=name)
            return function

        return decorate if function is None else decorate(function)

    @verb
    def register(
        self, function: Callable[..., Any], *, resources: Iterable[str] | str = (), name: str | None = None
    ) -> None:
        """Have the workers that hold all these resources offer the function; all workers, if none are named.

        A function of the same name is replaced. Workers that come later offer it too.

        Raises:
            FunctionError: If it cannot be called, has no name, or cannot be sent.
        """
        self._check_running()
        info = describe(function, function_name(function, name), resource_names(resources, "a function"))
        self._loop.call(self._register(info, function), doing="register()")

    @verb
    def unregister(self, name: str) -> None:
        """Take a function away from all workers; nothing happens if none has it."""
        self._check_running()
        self._loop.call(self._unregister(FunctionName(name)), doing="unregister()")

    # --- life ---

    @property
    def nodes(self) -> dict[str, Member]:
        """The workers by name."""
        return {str(name): member for name, member in tuple(self._members.items())}

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._finalizer.alive

    def stop(self) -> None:
        """Cancel what runs, and leave the cluster; what was launched here ends. May be called twice."""
        self._loop.check_not_here("stop()")
        _running.pop(self.name, None)
        self._finalizer()

    # --- awaitable on any loop ---

    register_async = twin(register)
    unregister_async = twin(unregister)

    # --- on the loop ---

    async def _submit(self, workflow: Workflow, timeout: float | None) -> Run:
        plan = validate(workflow)
        check_arguments(workflow)
        return self._begin(plan, timeout)

    def _begin(
        self,
        plan: Plan,
        timeout: float | None,
        source: Run | None = None,
        work: Any = None,
        keep: tuple[StepName, ...] = (),
    ) -> Run:
        check_timeout(timeout)
        for step in plan.workflow.steps:
            if step.wait_for_s is None and step.name not in keep:
                self._router.check(step, len(step.args), tuple(step.kwargs))
        run_id = RunId(secrets.token_hex(8))
        wanted = frozenset(plan.workflow.steps[key].name for key in plan.wanted)
        owner = _DaskWork(self, self._engine.run(plan.workflow, wanted, run_id, source=work, keep=keep), timeout)
        run = Run(run_id, plan, owner, timeout=timeout, source=source)
        owner.begin(run)
        return run

    async def _register(self, info: FunctionInfo, function: Callable[..., Any]) -> None:
        from mpreg_lab.protocol.payload import CannotTravelError

        try:
            self._engine.register(info.name, function)
        except CannotTravelError as exc:
            raise FunctionError(
                f"function {info.name!r} cannot be sent to the workers: it uses {exc.culprit}. "
                "Create that within the function"
            ) from None
        self._functions[info.name] = info
        self._tell()

    async def _unregister(self, name: FunctionName) -> None:
        self._engine.unregister(name)
        self._functions.pop(name, None)
        self._tell()

    def _hear(self, worker: Any, alive: bool) -> None:
        """A worker came or went."""
        if alive:
            self._members[worker.name] = Member(worker.name, worker.address, worker.resources, slots=worker.slots)
            self._tell()
        else:
            self._members.pop(worker.name, None)
            self._router.remove(worker.name)

    def _tell(self) -> None:
        """Tell the router who offers what now."""
        for name, member in self._members.items():
            held = frozenset(member.resources)
            offered = tuple(info for info in self._functions.values() if held.issuperset(info.resources))
            self._members[name] = member = Member(name, member.url, member.resources, offered, member.slots)
            self._router.update(member)

    def _check_running(self) -> None:
        if not self.running:
            raise ClusterStoppedError(f"cluster {self.name!r} was stopped. Make another: DaskCluster(...)")


def running_dask_clusters() -> tuple[DaskCluster, ...]:
    """Those of this process that have not been stopped, the newest last."""
    return tuple(cluster for cluster in list(_running.values()) if cluster.running)


class _DaskWork:
    """One run as its Run sees it: what it may ask for, from any thread."""

    def __init__(self, cluster: DaskCluster, work: Any, timeout_s: float | None) -> None:
        self._cluster = weakref.ref(cluster)
        self._work = work
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def begin(self, run: Run) -> None:
        """Start, and keep the run informed."""
        self._work.start()
        if self._timeout_s is not None:
            self._work.driver.limit(
                self._timeout_s, lambda: RunTimeoutError(f"the run took longer than {self._timeout_s:g} s")
            )
        self._task = self._loop.create_task(self._follow(run))

    async def _follow(self, run: Run) -> None:
        async for event in self._work:
            run.apply([event])
        work = self._work
        results = {step: Payload.of(value) for step, value in work.results.items()}
        errors = tuple(StepError(step, Payload.of_error(error)) for step, error in work.errors.items())
        cause = work.driver.cause
        run.finish(RunDone(run.id, results, errors, None if cause is None else Payload.of_error(cause)))

    def cancel(self, run: RunId) -> None:
        """Ask for the run to be cancelled."""
        cause = RunCancelledError("the run was cancelled")
        self._call_soon(lambda: self._work.driver.cancel(cause))

    def forget(self, run: RunId) -> None:
        """Nothing: what Dask keeps goes with the run."""

    def fetch(self, run: RunId, step: StepName) -> Future[Payload]:
        """Get the result of one step."""
        if self._loop.is_closed():
            raise ClusterStoppedError(f"the cluster was stopped: the result of {step!r} is gone")

        async def fetch() -> Payload:
            return Payload.of(await self._work.fetch(step))

        return asyncio.run_coroutine_threadsafe(fetch(), self._loop)

    def again(self, run: Run, keep: tuple[StepName, ...], timeout: float | None) -> Future[Run]:
        """Start the workflow of a run once more, with the results of these steps."""
        cluster = self._cluster()
        if cluster is None or not cluster.running:
            raise ClusterStoppedError("the cluster of this run was stopped. Run the workflow on another")

        async def again() -> Run:
            return cluster._begin(run.plan, timeout, run, self._work, keep)

        return asyncio.run_coroutine_threadsafe(again(), self._loop)

    @property
    def here(self) -> bool:
        """Whether the caller is on the thread that would have to answer."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _call_soon(self, function: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)


def _one(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Workflow:
    return Workflow((Step(StepName(function), FunctionName(function), args, kwargs),))


def _shut_down(loop: LoopThread, engine: Any, own: Any) -> None:
    async def end() -> None:
        if engine is not None:
            await engine.close()
        if own is not None:
            await own.close()

    if loop.alive:
        loop.call(end())
        loop.stop()
