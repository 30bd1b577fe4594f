"""LocalCluster: a cluster on this machine, launched from a notebook or a test, with the verbs of a client.

It is long because it is the one object that people hold: most of it is what its verbs promise.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar, overload

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.client.history import Runs
from mpreg_lab.client.run import Run
from mpreg_lab.client.status import ClusterStatus
from mpreg_lab.client.sync import Client
from mpreg_lab.client.verbs import in_a_thread, twin, verb
from mpreg_lab.client.views import views
from mpreg_lab.client.watching import when_heard
from mpreg_lab.errors import (
    ClusterError,
    ClusterSpecError,
    ClusterStoppedError,
    FunctionError,
    MpregError,
    NoClusterError,
    UnknownNodeError,
)
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.node.functions import BUILTINS, function_name
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.tls import TlsLike
from mpreg_lab.transport.tokens import TokenFile
from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.plan import did_you_mean
from mpreg_lab.workflow.record import FaultKind, FaultNote

from .base import Handle, Launcher
from .entry import Entry
from .fault_actions import Kill, Pause, Restart, Resume
from .faults import FaultLog, Faults
from .held import HeldCluster
from .inprocess import InProcessLauncher, TransportName
from .opening import Doorway, cluster_token
from .processes import ProcessLauncher
from .spec import NodeSpec, check_whole, default_slots, node_spec, node_specs, resource_names
from .watching import ClusterWatch

__all__ = ["LocalCluster", "find_cluster", "running_clusters"]

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT_TOKEN: Any = object()
_running: weakref.WeakValueDictionary[str, LocalCluster] = weakref.WeakValueDictionary()
_newest: list[str] = []
"""The name of the cluster that was launched last, if any was."""
_numbers = count(1)
_THREADS_END_S = 0.5
_ANSWER_S = 1.0
_BUSY_S = 10.0
_LAST_WORD_S = 0.2


@dataclass(frozen=True)
class _Placed:
    """A function, and which nodes offer it."""

    function: Callable[..., Any]
    resources: frozenset[Resource]
    nodes: frozenset[str] | None
    """None: any that hold the resources."""

    def belongs_on(self, node: NodeSpec) -> bool:
        return self.resources <= node.resources and (self.nodes is None or node.name in self.nodes)


class LocalCluster(HeldCluster):
    """A cluster of nodes on this machine.

    Args:
        nodes: How many, or the name of each with the resources that it holds:
            `{"ingest": ["csv-parser"], "train": ["gpu", "big-memory"]}`.
        name: A second cluster of the same name replaces the first, which is stopped: so does re-running a cell.
            None: it gets a name of its own.
        processes: Whether each node has a process of its own: pure Python then uses all processors, functions travel as
            code, and `kill`, `pause` and `restart` do to a node what happens to machines.
        transport: How nodes in this process talk to each other: "memory", by reference, or "ws", over real websockets.
            By reference, a function that changes its argument in place changes it for all steps, and for the notebook.
        slots: How many sync functions each node runs at once. None: 4, or the number of processors if that is more.
        token: What clients from outside must show. By default 256 random bits, which programs of the same user on this
            machine find by the address. None: who shows nothing comes in too, but may only speak JSON.
        host: The name or address under which nodes are reached. Other machines only come in with `tls`.
        tls: The certificate of this machine, for connections that are encrypted, and whose certificates are believed:
            `Tls(cert="node.pem", key="node.key", ca="ca.pem")`, or an ssl.SSLContext for nodes in this process.
        cluster_id: What nodes from elsewhere must say that they belong to: that of an MPREG cluster, to be one with it.
            None: one of its own.

    Raises:
        ClusterSpecError: If the description is wrong.
        ClusterError: If a node does not come up.

    Use it with `with`, or end it with `stop()`. Clusters that nobody holds any more are stopped by themselves.
    """

    @verb
    def __init__(
        self,
        nodes: int | Mapping[str, Iterable[str] | str] = 3,
        *,
        name: str | None = None,
        processes: bool = False,
        transport: TransportName = "memory",
        slots: int | None = None,
        token: str | None = _DEFAULT_TOKEN,
        host: str = "127.0.0.1",
        tls: TlsLike | None = None,
        cluster_id: str | None = None,
    ) -> None:
        specs = node_specs(nodes, slots)
        door = Doorway(cluster_token(None if token is _DEFAULT_TOKEN else token), token is None, host, tls)
        if transport not in ("memory", "ws"):
            raise ClusterSpecError(f"transport must be 'memory' or 'ws', not {transport!r:.40}")
        if name is not None and (not isinstance(name, str) or not name):
            raise ClusterSpecError(f"the name of a cluster must be a non-empty string, not {name!r:.40}")
        check_whole(name or "", "the name of a cluster")
        self.name = name if name is not None else f"cluster-{next(_numbers)}"
        if (older := _running.pop(self.name, None)) is not None:
            older.stop()
        self._token = None if door.guests else door.token
        self._slots = slots if slots is not None else default_slots()
        self._placed: dict[FunctionName, _Placed] = {}
        self._lock = threading.Lock()
        self._handles: list[Handle] = []
        self._loop = LoopThread(f"mpreg-{self.name}")
        self.cluster_id = ClusterId(cluster_id or f"{self.name}-{secrets.token_hex(4)}")
        """What nodes from elsewhere must say that they belong to."""
        self._launcher: Launcher[Any] = (
            ProcessLauncher(self.cluster_id, door=door)
            if processes
            else InProcessLauncher(self.cluster_id, door=door, transport=transport)
        )
        self._entry = Entry(self._launcher, self._handles)
        self._fault_log = FaultLog(self._launcher, self._handles)
        self._token_file = TokenFile(self.cluster_id, door.token)
        self._polite: set[NodeName] = set()
        self._watch = ClusterWatch(self.name, self._launcher, self._handles, self._polite)
        self._finalizer = weakref.finalize(self, _shut_down, self._loop, self._handles, self._token_file, self._watch)
        with ExitStack() as unless_it_works:
            unless_it_works.callback(self._finalizer)
            self._loop.call(self._launch(specs))
            unless_it_works.pop_all()
        self._keep_token()
        self._client = Client.on(self._loop, self._aio)
        _running[self.name] = self
        _newest[:] = [self.name]

    # --- the verbs of a client ---

    @verb
    def run(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """Run a workflow and wait for its end; an interrupt (Ctrl-C, the Stop button) cancels it.

        Args:
            timeout: Seconds; then the run is cancelled.
            check: Whether to raise what went wrong; if not, look at `run.exception`.

        Raises:
            WorkflowError: If it cannot run as it is written; nothing was sent.
            RoutingError: If no node can run one of its steps; nothing ran.
            Exception: With `check`, what a step raised; of several, a RunFailedError.
        """
        self._check_running()
        return self._client.run(workflow, timeout=timeout, check=check)

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
        return self._client.submit(workflow, timeout=timeout)

    async def submit_async(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """As `submit`, awaitable on any loop."""
        self._check_running()
        return await asyncio.wrap_future(self._loop.spawn(self._aio.submit(workflow, timeout=timeout)))

    @property
    def runs(self) -> Runs:
        """The last runs that were started on it, the newest last; single calls are not among them."""
        return self._aio.runs

    @verb
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call one function on whichever node has it, and give back what it returns.

        Raises:
            RoutingError: If no node has it.
            Exception: What it raised.
        """
        self._check_running()
        return self._client.call(function, *args, **kwargs)

    async def call_async(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """As `call`, awaitable on any loop."""
        self._check_running()
        return await asyncio.wrap_future(self._loop.spawn(self._aio.call(function, *args, **kwargs)))

    @verb
    def clear_cache(self) -> None:
        """Forget the results that all nodes keep for equal steps: `| cache()`, `Step(cache=True)`."""
        self._check_running()
        self._client.clear_cache()

    # --- functions ---

    @overload
    def function(self, function: F, /) -> F: ...
    @overload
    def function(
        self,
        /,
        *,
        resources: Iterable[str] | str = (),
        name: str | None = None,
        nodes: Iterable[str] | str | None = None,
    ) -> Callable[[F], F]: ...
    def function(
        self,
        function: F | None = None,
        /,
        *,
        resources: Iterable[str] | str = (),
        name: str | None = None,
        nodes: Iterable[str] | str | None = None,
    ) -> F | Callable[[F], F]:
        """Decorator: have the nodes that hold all these resources offer the function. The function stays as it is.

        `@cluster.function` and `@cluster.function(resources=["gpu"], name="train")` both work; see `register`.
        """

        def decorate(function: F) -> F:
            self.register(function, resources=resources, name=name, nodes=nodes)
            return function

        return decorate if function is None else decorate(function)

    @verb
    def register(
        self,
        function: Callable[..., Any],
        *,
        resources: Iterable[str] | str = (),
        name: str | None = None,
        nodes: Iterable[str] | str | None = None,
    ) -> None:
        """Have the nodes that hold all these resources offer the function; all nodes, if none are named.

        A function of the same name is replaced, wherever it was. Every node has heard of it when this returns.

        Args:
            nodes: Only these nodes, by name. None: whichever hold the resources.

        Raises:
            FunctionError: If it cannot be called, has no name, or no node holds the resources.
            UnknownNodeError: If there is no node of one of these names.
        """
        self._check_running()
        held = resource_names(resources, "a function")
        named = function_name(function, name)
        if named in {builtin.__name__ for builtin in BUILTINS}:
            raise FunctionError(f"{named!r} is on every node already. Give yours another name: name='my_{named}'")
        only = None if nodes is None else frozenset((nodes,) if isinstance(nodes, str) else nodes)
        specs = [handle.spec for handle in (self._handles if only is None else map(self._handle, sorted(only)))]
        self._check_held(named, held, specs)
        self._loop.call(self._place(named, _Placed(function, held, only)), doing="register()")

    @verb
    def unregister(self, name: str) -> None:
        """Take a function away from all nodes; nothing happens if none has it."""
        self._check_running()
        self._loop.call(self._take_away(FunctionName(name)), doing="unregister()")

    # --- nodes ---

    @property
    def nodes(self) -> dict[str, Member]:
        """The nodes by name, as they describe themselves; those that joined from elsewhere come last."""
        own = {handle.spec.name: handle.member for handle in self._alive}
        if self.running and not self._loop.here:
            gone = {handle.spec.name for handle in self._handles} - own.keys()
            own |= {m.name: m for m in self._members() if m.name not in own.keys() | gone}
        return {str(name): member for name, member in own.items()}

    @verb
    def add(self, name: str, resources: Iterable[str] | str = ()) -> None:
        """Launch one more node; it is given the functions that its resources allow.

        Raises:
            ClusterSpecError: If there is a node of that name.
        """
        self._check_running()
        if name in {handle.spec.name for handle in self._handles}:
            raise ClusterSpecError(f"there is a node {name!r} already. A dead one: cluster.restart({name!r})")
        spec = node_spec(name, resources, self._slots)
        self._loop.call(self._add(spec), doing="add()")
        self._keep_token()

    @verb
    def stop_node(self, name: str) -> None:
        """End a node politely: it says goodbye, and nobody has to find out; `restart` brings it back.

        Raises:
            UnknownNodeError: If there is no node of that name, or it has ended already.
        """
        self._loop.call(self._stop_node(self._living(name)), doing="stop_node()")

    @verb
    def kill(self, name: str) -> None:
        """End a node as a crash would; `restart` brings it back.

        A process is killed (SIGKILL); the connections of a node in this process are cut.

        Raises:
            UnknownNodeError: If there is no node of that name, or it has ended already.
        """
        self._loop.call(self._kill(self._living(name)), doing="kill()")

    @verb
    def restart(self, name: str) -> None:
        """Launch a node again, under its name, with its resources and functions; one that is alive is stopped first.

        Raises:
            UnknownNodeError: If there never was a node of that name.
            ClusterError: If it does not come up.
        """
        self._loop.call(self._restart(self._handle(name)), doing="restart()")
        self._keep_token()

    @verb
    def pause(self, name: str) -> None:
        """Halt a node that has a process of its own (SIGSTOP): it is alive, and does not answer.

        Raises:
            UnknownNodeError: If there is no node of that name, or it has ended.
            ClusterError: If it lives in this process.
        """
        self._loop.call(self._pause(self._living(name)), doing="pause()")

    @verb
    def resume(self, name: str) -> None:
        """Have a paused node go on; nothing happens if it was not paused.

        Raises:
            UnknownNodeError: If there is no node of that name, or it has ended.
        """
        self._loop.call(self._resume(self._living(name)), doing="resume()")

    @verb
    def log(self, name: str) -> str:
        """The last of what the process of a node printed outside of steps, alive or not.

        Raises:
            UnknownNodeError: If there never was a node of that name.
        """
        return self._handle(name).log

    @verb
    def join(self, url: str) -> None:
        """Be one cluster with the MPREG node at that address, which needs the same `cluster_id`, and with its peers.

        Their functions are called, and ours offered to them, by the first node, and by the others as theirs meet them.

        Raises:
            ClusterSpecError: If this cluster asks for a token, which MPREG nodes cannot show.
            ConnectError: If nobody answers there.
            ClusterError: If that node belongs to another cluster.
        """
        self._check_running()
        if self._token is not None:
            raise ClusterSpecError("nodes of MPREG cannot show a token. Make the cluster with LocalCluster(token=None)")
        self._loop.call(self._aio.meet(url), doing="join()")

    @property
    def faults(self) -> Faults:
        """What can be done to this cluster to see how it copes: `cluster.faults.cut("a", "b")`, see docs/faults.md."""
        return Faults(self, self._loop, self._fault_log)

    # --- how it is ---

    @verb
    def status(self) -> ClusterStatus:
        """How the nodes are, what they think of each other, and what is wrong with links on purpose.

        Nodes that do not answer within a second (of this process, within ten) are what was known of them before.
        """
        if not self.running:
            return self._watch.status()
        # Here a node that is slow to answer is one on a busy machine, and will.
        here = isinstance(self._launcher, InProcessLauncher)
        return self._loop.call(when_heard(self._watch, _BUSY_S if here else _ANSWER_S), doing="status()")

    @verb
    def watch(self, listener: Callable[[ClusterStatus], object]) -> Callable[[], None]:
        """Call a function with the status: soon, when that has changed, at most ten times a second, and at the end.

        While nothing changes, nothing is done.

        Args:
            listener: Called on the loop of the cluster: it must not wait. While it is held here, so is what it holds.

        Returns:
            What ends it: call it, from any thread.
        """
        self._check_running()
        self._loop.call_soon(self._watch.add, listener)
        return partial(self._loop.call_soon, self._watch.remove, listener)

    def view(self) -> object:
        """What a cell shows of the cluster: its nodes and links, live, with menus to do something to them.

        A cluster that is the last expression of a cell is shown the same way. See docs/cluster_view.md.
        """
        return views().cluster(self)

    @property
    def url(self) -> str:
        """Where the first node listens for clients of other programs: `Client(cluster.url)`, on this machine."""
        self._check_running()
        return self._alive[0].member.url

    @property
    def token(self) -> str | None:
        """What clients of other users or machines must show; None if nobody is asked. Who has it can run code here.

        It is not shown unless it is printed: `print(cluster.token)`.
        """
        return self._token

    # --- life ---

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._finalizer.alive

    def stop(self) -> None:
        """Cancel what runs, say goodbye, and end all nodes. May be called twice.

        Raises:
            WrongThreadError: If called from within an async function of the cluster.
        """
        self._loop.check_not_here("stop()")
        if _running.get(self.name) is self:
            del _running[self.name]
        with self._lock:
            self._finalizer()

    # --- awaitable on any loop ---

    async def nodes_async(self) -> dict[str, Member]:
        """As `nodes`, awaitable on any loop."""
        return await in_a_thread(lambda: self.nodes)

    register_async = twin(register)
    unregister_async = twin(unregister)
    add_async = twin(add)
    stop_node_async = twin(stop_node)
    kill_async = twin(kill)
    restart_async = twin(restart)
    pause_async = twin(pause)
    resume_async = twin(resume)
    join_async = twin(join)
    status_async = twin(status)
    watch_async = twin(watch)
    clear_cache_async = twin(clear_cache)

    def _ipython_display_(self) -> None:
        views().show_cluster(self)

    # --- on the loop ---

    async def _launch(self, specs: Sequence[NodeSpec]) -> None:
        async def start(spec: NodeSpec) -> None:
            # At once: whatever happens to the others, this one will be stopped.
            self._handles.append(await self._launcher.start(spec))

        order = {spec.name: place for place, spec in enumerate(specs)}
        for failed in await asyncio.gather(*(start(spec) for spec in specs), return_exceptions=True):
            if failed is not None:
                raise failed
        self._handles.sort(key=lambda handle: order[handle.spec.name])
        await self._launcher.introduce(self._handles)
        self._aio = AsyncClient.over(await self._entry.dial(), self._entry)

    async def _place(self, name: FunctionName, placed: _Placed) -> None:
        todo = []
        for handle in self._alive:
            if placed.belongs_on(handle.spec):
                todo.append(handle.register(placed.function, name=name, resources=placed.resources))
            elif any(info.name == name for info in handle.member.functions):
                todo.append(handle.unregister(name))
        await _all(todo)
        self._placed[name] = placed

    async def _take_away(self, name: FunctionName) -> None:
        self._placed.pop(name, None)
        await _all(h.unregister(name) for h in self._alive if any(info.name == name for info in h.member.functions))

    async def _add(self, spec: NodeSpec) -> None:
        handle, _ = await self._bring_in(spec)
        self._handles.append(handle)
        await self._launcher.rewire((handle,))
        self._watch.changed()

    async def _bring_in(self, spec: NodeSpec) -> tuple[Handle, float]:
        """Start a node, give it its functions, and have it join the others; with it when it was up, by the loop."""
        handle: Handle = await self._launcher.start(spec)
        async with AsyncExitStack() as unless_it_works:
            unless_it_works.push_async_callback(handle.kill)
            for name, placed in self._placed.items():
                if placed.belongs_on(spec):
                    await handle.register(placed.function, name=name, resources=placed.resources)
            await self._fault_log.brief(handle)
            up_s = time.monotonic()
            await _join_one(handle, self._alive)
            unless_it_works.pop_all()
        return handle, up_s

    async def _kill(self, handle: Handle) -> None:
        await self._fault_log.befalls(Kill(handle.spec.name))
        await self._hear_out(handle)
        await handle.kill()
        await self._leave(handle)

    async def _stop_node(self, handle: Handle) -> None:
        name = handle.spec.name
        await self._fault_log.tell(FaultNote(time.monotonic(), FaultKind.KILL, f"{name} stopped", (name,)))
        await self._hear_out(handle)
        self._polite.add(name)
        await handle.stop()
        await self._leave(handle)

    async def _restart(self, handle: Handle) -> None:
        if handle.alive:
            await self._stop_node(handle)
        else:
            # One that died by itself has left its pipes.
            await handle.stop()
            await self._leave(handle)
        again, up_s = await self._bring_in(handle.spec)
        self._handles[self._handles.index(handle)] = again
        # Links may have been healed while it came up, when nobody told it yet.
        await self._launcher.rewire((again,))
        self._polite.discard(handle.spec.name)
        await self._fault_log.befalls(Restart(handle.spec.name), up_s)
        self._watch.changed()

    async def _pause(self, handle: Handle) -> None:
        if handle.pausable:
            await self._fault_log.befalls(Pause(handle.spec.name))
        handle.pause()
        self._watch.changed()

    async def _resume(self, handle: Handle) -> None:
        await self._fault_log.befalls(Resume(handle.spec.name))
        handle.resume()
        self._watch.changed()

    async def _hear_out(self, handle: Handle) -> None:
        """Our client hears what will end the node that it speaks to: it was told before it answers this."""
        if handle is self._entry.handle:
            with suppress(MpregError, TimeoutError):
                await asyncio.wait_for(self._aio.describe(), _LAST_WORD_S)

    async def _leave(self, handle: Handle) -> None:
        # Else the next verb could be sent into a connection whose end was not noticed yet.
        if handle is self._entry.handle:
            await self._aio.leave()
        self._watch.changed()

    # --- helpers ---

    def _keep_token(self) -> None:
        self._token_file.write(handle.member.url for handle in self._alive)

    def _check_running(self) -> None:
        if not self.running:
            raise ClusterStoppedError(
                f"cluster {self.name!r} was stopped. Launch another: LocalCluster({len(self._handles) or 3})"
            )

    def _members(self) -> tuple[Member, ...]:
        """Who is in the cluster, if it says so soon: it may be paused or gone."""
        try:
            return self._loop.call(asyncio.wait_for(self._aio.members(), _ANSWER_S))
        except (TimeoutError, MpregError):
            return ()

    @property
    def _alive(self) -> list[Handle]:
        return [handle for handle in self._handles if handle.alive]

    def _handle(self, name: str) -> Handle:
        self._check_running()
        for handle in self._handles:
            if handle.spec.name == name:
                return handle
        known = [handle.spec.name for handle in self._handles]
        raise UnknownNodeError(f"there is no node {name!r}. " + did_you_mean(str(name), known, "Nodes: "))

    def _living(self, name: str) -> Handle:
        handle = self._handle(name)
        if not handle.alive:
            living = ", ".join(other.spec.name for other in self._alive) or "none"
            raise UnknownNodeError(
                f"node {name!r} has ended. Alive: {living}. Bring it back: cluster.restart({name!r})"
            )
        return handle

    def _check_held(self, function: str, held: frozenset[Resource], specs: Sequence[NodeSpec]) -> None:
        if any(held <= spec.resources for spec in specs):
            return
        wanted = ", ".join(map(repr, sorted(held)))
        having = "; ".join(f"{spec.name}: {', '.join(sorted(spec.resources)) or 'none'}" for spec in specs)
        raise FunctionError(
            f"no node holds the resources of function {function!r}: {wanted}. They hold: {having}. "
            f"Add a node: cluster.add('my-node', [{wanted}])"
        )


def running_clusters() -> tuple[LocalCluster, ...]:
    """The clusters of this process that have not been stopped, the newest last."""
    return tuple(cluster for cluster in list(_running.values()) if cluster.running)


def find_cluster(name: str | None = None) -> LocalCluster:
    """The running cluster of that name, or the newest.

    Raises:
        NoClusterError: If there is none.
    """
    clusters = running_clusters()
    for cluster in reversed(clusters):
        if name is None or cluster.name == name:
            return cluster
    if not clusters:
        why = f"no cluster runs any more, {_newest[0]!r} has ended" if _newest else "there is no cluster yet"
        raise NoClusterError(f"{why}. Start one: cluster = LocalCluster(3), or %mpreg start 3")
    names = ", ".join(cluster.name for cluster in clusters)
    raise NoClusterError(f"there is no running cluster {name!r}. Running: {names}")


def _shut_down(loop: LoopThread, handles: list[Handle], token_file: TokenFile, watch: ClusterWatch) -> None:
    if loop.here:
        # The last holder let go of it on the loop itself, which cannot wait for its own end.
        threading.Thread(target=_shut_down, args=(loop, handles, token_file, watch), daemon=True).start()
        return
    token_file.remove()
    if loop.alive:
        # First: who looks on shall see a cluster that was stopped, not one that dies.
        loop.call_soon(watch.close)
        loop.call(_all(handle.stop() for handle in handles))
        loop.stop()
        for handle in handles:
            handle.join_threads(_THREADS_END_S)


async def _join_one(handle: Handle, others: Sequence[Handle]) -> None:
    """Have a node enter the cluster by way of the first of the others that it reaches; of one that is paused last."""
    seeds = sorted(others, key=lambda other: other.paused)
    for seed in seeds:
        try:
            await handle.join(seed.member)
        except (ConnectionError, ClusterError):
            if seed is seeds[-1]:
                raise
        else:
            return


async def _all(todo: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do it for all nodes at once; one that is gone needs nothing any more."""
    for outcome in await asyncio.gather(*todo, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionError):
            raise outcome
