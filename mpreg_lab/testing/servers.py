"""Server: one node for a test, at a port of its own, with the words of MPREG: settings, register_command, server()."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from itertools import count
from types import NoneType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import force_setattr

from mpreg_lab.client.verbs import verb
from mpreg_lab.cluster.fault_actions import Kill, Restart
from mpreg_lab.cluster.faults import Faults
from mpreg_lab.cluster.inprocess import InProcessHandle
from mpreg_lab.cluster.spec import NodeSpec, default_slots, resource_names
from mpreg_lab.errors import ClusterError, ClusterSpecError
from mpreg_lab.node.functions import Function, function_name
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.types import FunctionName, Resource

from ._stage import enter, heard, in_background, leave

__all__ = ["Server", "ServerSettings"]

_numbers = count(1)
_THREADS_END_S = 0.5
_LEAVE_S = 3.0


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is to be.

    Attributes:
        host: Where it listens: this machine only.
        port: 0: any that is free; `server.settings.port` says which it became.
        name: Of the node. Empty: it gets one. A second server of the same name and cluster id gets a number behind it.
        resources: What it holds. What its functions need is added.
        peers: Addresses of other servers of this process, `ws://host:port`, with which it is one cluster. They may come
            up later.
        connect: One more of these.
        cluster_id: Servers of another id are refused.
        advertised_urls: The first one is the address that others are told. None: where it listens.
        gossip_interval: Taken so that the settings of MPREG can be handed over as they are. Servers here hear of each
            other at once, and gossip at a pace of their own: see docs/membership.md.
        log_level: Taken for the same reason, and has no effect either.
        guests: Whether who shows no token comes in too, and speaks JSON: clients that are MPREG's own.
        slots: How many sync functions it runs at once. None: 4, or the number of processors if that is more.

    Raises:
        ClusterSpecError: If a field has the wrong type or an impossible value.
    """

    host: str = "127.0.0.1"
    port: int = 0
    name: str = ""
    resources: frozenset[Resource] = frozenset()
    peers: tuple[str, ...] = ()
    connect: str | None = None
    cluster_id: str = "default-cluster"
    advertised_urls: tuple[str, ...] = ()
    gossip_interval: float | None = None
    log_level: str | None = None
    guests: bool = False
    slots: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: str = "127.0.0.1",
            port: int = 0,
            name: str = "",
            resources: Iterable[str] | None = (),
            peers: Iterable[str] | None = (),
            connect: str | None = None,
            cluster_id: str = "default-cluster",
            advertised_urls: Iterable[str] | None = (),
            gossip_interval: float | None = None,
            log_level: str | None = None,
            guests: bool = False,
            slots: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or isinstance(self.port, bool) or not 0 <= self.port <= 65535:
            raise ClusterSpecError(f"port must be a whole number from 0 to 65535, not {self.port!r:.40}")
        for field in ("host", "cluster_id"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise ClusterSpecError(f"{field} must be a non-empty string, not {getattr(self, field)!r:.40}")
        if not isinstance(self.name, str):
            raise ClusterSpecError(f"name must be a string, not {self.name!r:.40}")
        force_setattr(self, "resources", resource_names(self.resources or (), f"server {self.name!r}"))
        force_setattr(self, "peers", _addresses("peers", self.peers))
        force_setattr(self, "advertised_urls", _addresses("advertised_urls", self.advertised_urls))
        if self.connect is not None:
            _addresses("connect", (self.connect,))

    @property
    def url(self) -> str:
        """Where clients find it: `ws://host:port`."""
        return f"ws://[{self.host}]:{self.port}" if ":" in self.host else f"ws://{self.host}:{self.port}"


class Server:
    """One node of a cluster, in this process, at a real port.

    It lives on a loop and threads of its own, not on the loop of the test. Three ways to have it:

    ```python
    async with Server(ServerSettings(name="train", resources={"gpu"})) as server: ...
    with Server() as server: ...
    task = asyncio.create_task(server.server()); await server.ready()
    ```

    Args:
        settings: None: any port, no resources.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        if settings is not None and not isinstance(settings, ServerSettings):
            raise ClusterSpecError(f"a server is described by ServerSettings, not by {settings!r:.40}")
        self.settings = ServerSettings() if settings is None else settings
        """As it was described; once it has started with the name and the port that it has got."""
        if not self.settings.name:
            self.settings = msgspec.structs.replace(self.settings, name=f"server-{next(_numbers)}")
        self._functions: dict[FunctionName, tuple[Function, frozenset[Resource]]] = {}
        self._lock = threading.RLock()
        self._life: _Life | None = None
        self._begun: Future[_Life] = Future()

    # --- what it is ---

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.settings.name

    @property
    def url(self) -> str:
        """Where it listens; empty if it does not."""
        return self.settings.url if self.running else ""

    @property
    def running(self) -> bool:
        """Whether it can be reached."""
        life = self._life
        return life is not None and life.alive

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of its cluster, as it sees them; none if it does not run."""
        return tuple(member.name for member in self.members)

    @property
    def members(self) -> tuple[Member, ...]:
        """As `nodes`, each with its address, resources and functions."""
        life = self._life
        return () if life is None else life.members

    @property
    def faults(self) -> Faults:
        """What can be done to the servers of its cluster id: `server.faults.cut("server-1", "server-2")`.

        Raises:
            ClusterError: If it does not run.
        """
        return self._running("faults").stage.faults

    # --- functions ---

    @verb
    def register_command(self, name: str, function: Callable[..., Any], resources: Iterable[str] | str = ()) -> None:
        """Offer a function, before or after the start; all servers of the cluster have heard when this returns.

        Who registers a name again replaces the function; the resources of both are held.

        Args:
            resources: What it needs; the server holds it from now on.

        Raises:
            FunctionError: If it cannot be called.
        """
        key = function_name(function, name)
        held = resource_names(resources, f"function {name!r}")
        if key in self._functions:
            held |= self._functions[key][1]
        self._functions[key] = function, held
        life = self._life
        if life is not None and life.alive:
            life.stage.loop.call(life.offer(FunctionName(name), function, held), doing="register_command()")

    # --- life ---

    async def server(self) -> None:
        """Serve until `shutdown()` or `stop()`, or until the task is cancelled; it has ended when this returns.

        Raises:
            ConnectError: If the port is taken.
            ClusterError: If it runs already, or a peer belongs to another cluster.
        """
        life = self._begin()
        try:
            await heard(life.ready)
            await heard(life.ended)
        finally:
            await self.stop()

    @verb
    def start(self, timeout_s: float = 10.0) -> Self:
        """Start it, and return when it can be reached and is one cluster with its peers.

        Raises:
            ConnectError: If the port is taken.
            ClusterError: If it runs already, that takes longer, or a peer belongs to another cluster.
        """
        life = self._begin()
        with ExitStack() as unless_it_works:
            unless_it_works.callback(self.close)
            life.wait(timeout_s)
            unless_it_works.pop_all()
        return self

    async def ready(self, timeout_s: float = 10.0) -> Self:
        """Wait until it can be reached and is one cluster with its peers; somebody may have yet to start it.

        Raises:
            ConnectError: If the port is taken.
            ClusterError: If that takes longer, or a peer belongs to another cluster.
        """
        try:
            async with asyncio.timeout(timeout_s):
                life = await heard(self._begun)
                await heard(life.ready)
        except TimeoutError:
            raise _late(self.settings, timeout_s, started=self._life is not None) from None
        return self

    def shutdown(self) -> None:
        """Begin to end it, from any thread, and do not wait: `server()` returns when it has ended."""
        self._end()

    async def stop(self) -> None:
        """End it politely, and wait. May be called twice."""
        if (ended := self._end()) is not None:
            await heard(ended)

    def close(self) -> None:
        """As `stop`, blocking."""
        if (ended := self._end()) is not None:
            ended.result()

    @verb
    def kill(self) -> None:
        """End it as a crash would: connections are cut and nobody is told. `restart` brings it back.

        Raises:
            ClusterError: If it does not run.
        """
        life = self._running("kill()")
        life.stage.loop.call(life.kill(), doing="kill()")

    @verb
    def restart(self, timeout_s: float = 10.0) -> None:
        """Launch it again at its port, with its functions; one that runs is stopped first.

        Raises:
            ClusterError: If it was never started, or has been stopped.
        """
        with self._lock:
            life = self._life
            if life is None or life.ending is not None:
                raise ClusterError(f"server {self.name!r} is not there to be restarted. Start it: server.start()")
            life.stage.loop.call(life.close(), doing="restart()")
            life.open(self._functions)
        life.wait(timeout_s)
        life.stage.loop.call(life.restarted())

    @property
    def _shutdown_event(self) -> _Shutdown:
        # MPREG's server waits for this, and programs set it to end the server.
        return _Shutdown(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._begin()
        async with AsyncExitStack() as unless_it_works:
            unless_it_works.push_async_callback(self.stop)
            await self.ready()
            unless_it_works.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"Server({self.name!r}, {'running' if self.running else 'not running'})"

    # --- helpers ---

    def _begin(self) -> _Life:
        with self._lock:
            if self._life is not None:
                raise ClusterError(f"server {self.name!r} runs already")
            self._life = life = _Life(self)
            life.open(self._functions)
            self._begun.set_result(life)
            return life

    def _end(self) -> Future[None] | None:
        with self._lock:
            life = self._life
            if life is None:
                return None
            life.stage.loop.check_not_here("stopping a server")
            if life.ending is None:
                life.ending = in_background(partial(self._finish, life), f"mpreg-ends-{self.name}")
            return life.ending

    def _finish(self, life: _Life) -> None:
        try:
            life.stage.loop.call(life.close())
        finally:
            life.leave()
            with self._lock:
                self._life, self._begun = None, Future()
            life.ended.set_result(None)

    def _running(self, doing: str) -> _Life:
        life = self._life
        if life is None or not life.alive:
            raise ClusterError(f"server {self.name!r} does not run, which {doing} needs. Start it: server.start()")
        return life


class _Shutdown:
    """As much of an asyncio.Event as it takes to end a server with it."""

    def __init__(self, server: Server) -> None:
        self.set = server.shutdown


class _Life:
    """A server from its start to its end, which may be killed and restarted in between.

    Attributes:
        ready: Whether it can be reached and is one cluster with its peers. ending: Set once it is being ended.
    """

    ready: Future[None]

    def __init__(self, server: Server) -> None:
        self.stage, self.name = enter(server.settings.cluster_id, server, server.settings.name)
        self.ending: Future[None] | None = None
        self.ended: Future[None] = Future()
        self._server = server
        self._handle: InProcessHandle | None = None
        self._joining: asyncio.Future[Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether it can be reached."""
        return self._handle is not None and self._handle.alive

    @property
    def members(self) -> tuple[Member, ...]:
        """The cluster, as it sees it."""
        return self._handle.node.members if self._handle is not None and self._handle.alive else ()

    def open(self, functions: Mapping[FunctionName, tuple[Function, frozenset[Resource]]]) -> None:
        """Begin to come up."""
        self._opened = asyncio.Event()
        self.ready = self.stage.loop.spawn(self._come_up(dict(functions)))

    def wait(self, timeout_s: float) -> None:
        """Wait until it is ready; raises what went wrong."""
        try:
            self.ready.result(timeout_s)
        except TimeoutError:
            if self.ready.done():
                raise
            raise _late(self._server.settings, timeout_s, started=True) from None

    async def offer(self, name: FunctionName, function: Function, resources: frozenset[Resource]) -> None:
        """Have the node offer a function, and wait until all nodes have heard."""
        assert self._handle is not None
        _register(self._handle.node, name, function, resources)
        await self._handle.node.announce()

    async def close(self) -> None:
        """End the node politely, in a moment. May be called twice."""
        if (handle := await self._closing()) is not None:
            # Others may hang: they find out by themselves that it has left.
            await asyncio.wait((asyncio.ensure_future(handle.stop()),), timeout=_LEAVE_S)

    async def kill(self) -> None:
        """Do to the node what a crash does."""
        if (handle := await self._closing()) is not None:
            await self.stage.fault_log.befalls(Kill(self.name))
            await handle.kill()

    async def restarted(self) -> None:
        """Have others hear that it was."""
        await self.stage.fault_log.befalls(Restart(self.name))

    def leave(self) -> None:
        """Nothing more will be done on the stage. Not on its loop."""
        if self._handle is not None:
            self._handle.join_threads(_THREADS_END_S)
            self.stage.handles.remove(self._handle)
        leave(self.stage, self.name)

    async def _closing(self) -> InProcessHandle | None:
        await self._opened.wait()  # a door that is half open cannot be closed
        if self._joining is not None:
            self._joining.cancel()
        return self._handle

    async def _come_up(self, functions: Mapping[FunctionName, tuple[Function, frozenset[Resource]]]) -> None:
        settings = self._server.settings
        spec = NodeSpec(self.name, settings.resources, settings.slots or default_slots())
        try:
            handle = await self.stage.launcher.start(spec, url=settings.url, guests=settings.guests)
            port = urlsplit(handle.member.url).port
            self._server.settings = settings = msgspec.structs.replace(settings, port=port, name=self.name)
            self._enter(handle)
        finally:
            self._opened.set()
        for name, (function, resources) in functions.items():
            _register(handle.node, name, function, resources)
        if settings.advertised_urls:
            handle.node.set_url(settings.advertised_urls[0])
        self.stage.tell_addresses()
        # Nothing was awaited since the door is open: who closes it meanwhile finds what is to be cancelled.
        self._joining = asyncio.gather(
            self.stage.fault_log.brief(handle),
            handle.node.announce(),  # who has joined while the door was opened has not heard of the functions
            *(handle.node.join(url) for url in _peers(settings)),
        )
        await asyncio.wait((self._joining,))
        if not self._joining.cancelled():
            self._joining.result()

    def _enter(self, handle: InProcessHandle) -> None:
        handles = self.stage.handles
        if self._handle is None:
            handles.append(handle)
        else:
            handles[handles.index(self._handle)] = handle
        self._handle = handle


def _register(node: Node, name: FunctionName, function: Function, resources: frozenset[Resource]) -> None:
    # In MPREG a function is found by its own resources, whether its server lists them or not.
    node.hold(resources)
    node.register(function, name=name, resources=resources)


def _peers(settings: ServerSettings) -> list[str]:
    """Whom it joins: not itself, and nobody twice."""
    wanted = (*settings.peers, *(() if settings.connect is None else (settings.connect,)))
    return [url for url in dict.fromkeys(wanted) if url != settings.url]


def _late(settings: ServerSettings, timeout_s: float, *, started: bool) -> ClusterError:
    if not started:
        why = "nobody has started it. Use `async with server`, or run server.server() in a task"
    elif _peers(settings):
        why = f"it waits for its peers. Start them too: {', '.join(_peers(settings))}"
    else:
        why = "it does not come up"
    return ClusterError(f"server {settings.name!r} was not ready after {timeout_s:g} s: {why}")


def _addresses(field: str, urls: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(urls, str) or not isinstance(urls, Iterable | NoneType):
        raise ClusterSpecError(f"{field} must be a list of addresses such as ws://127.0.0.1:9001, not {urls!r:.60}")
    found = tuple(urls or ())
    for url in found:
        if not isinstance(url, str) or not url.startswith(("ws://", "wss://")):
            raise ClusterSpecError(f"an address in {field} must be like ws://127.0.0.1:9001, not {url!r:.60}")
    return found
