"""Client: the verbs of a cluster, blocking. Each is the verb of AsyncClient, run on a loop thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self, TypeVar

from mpreg_lab.errors import ConnectionLostError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.protocol.commands import RPCCommand, workflow_of
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.tls import TlsLike
from mpreg_lab.workflow.model import Workflow

from .aio import AsyncClient
from .history import Runs
from .run import Run
from .status import ClusterStatus
from .verbs import in_a_thread, twin, verb
from .views import views
from .watching import RemoteWatch, StatusWatch, when_heard

__all__ = ["Client"]

T = TypeVar("T")

_ANSWER_S = 1.0


class Client:
    """Speaks to one node of a cluster, from any thread.

    Args:
        url: Where the node listens: `ws://host:port`, or `wss://host:port` if it is encrypted.
        token: What the cluster asks for at the door. None: that of a cluster of the same user on this machine is found
            by the address; who has none may speak to clusters that let guests in.
        tls: Whose certificates are believed: `Tls(ca="ca.pem")` or an ssl.SSLContext. None: the system's authorities.

    Raises:
        ConnectError: If nobody answers, or the token is wrong.
    """

    def __init__(self, url: str, *, token: str | None = None, tls: TlsLike | None = None) -> None:
        self._loop = LoopThread("mpreg-client")
        self._owns_loop = True
        self._watch: RemoteWatch | None = None
        self._aio = AsyncClient(url, token=token, tls=tls)
        with ExitStack() as unless_it_works:
            unless_it_works.callback(self._loop.stop)
            self._loop.call(self._aio.connect())
            unless_it_works.pop_all()

    @classmethod
    def on(cls, loop: LoopThread, client: AsyncClient) -> Self:
        """The blocking twin of a client that lives on that loop thread, which somebody else stops."""
        twin = cls.__new__(cls)
        twin._loop, twin._owns_loop, twin._aio = loop, False, client
        twin._watch = None
        return twin

    @verb
    def run(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """Run a workflow and wait for its end; an interrupt cancels it. See AsyncClient.run."""
        with self._cancelled_by_interrupt() as started:
            run = self._submit(workflow, timeout, started, "run()")
            run.join()
        return run.wait() if check else run

    @verb
    def submit(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """Start a workflow and give back its run at once. See AsyncClient.submit."""
        with self._cancelled_by_interrupt() as started:
            return self._submit(workflow, timeout, started, "submit()")

    @property
    def runs(self) -> Runs:
        """The last runs that were started here, the newest last; single calls are not among them."""
        return self._aio.runs

    def _submit(self, workflow: Workflow, timeout: float | None, started: list[Run], doing: str) -> Run:
        async def submit() -> Run:
            started.append(await self._aio.submit(workflow, timeout=timeout))
            return started[0]

        return self._call(submit(), doing)

    @contextmanager
    def _cancelled_by_interrupt(self) -> Iterator[list[Run]]:
        """Cancels the runs that were put into the list, wherever an interrupt finds us: also before we know of them."""
        started: list[Run] = []
        try:
            yield started
        except KeyboardInterrupt:
            self._loop.call_soon(_cancel_all, started)
            raise

    @verb
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call one function on whichever node has it, and give back what it returns. See AsyncClient.call."""
        return self._call(self._aio.call(function, *args, **kwargs), "call()")

    @verb
    def request(self, commands: Iterable[RPCCommand], timeout: float | None = None) -> dict[str, Any]:
        """Run steps written as MPREG writes them, and give back the results of the last ones. See AsyncClient."""
        return self.run(workflow_of(commands), timeout=timeout).results

    @verb
    def members(self) -> tuple[Member, ...]:
        """The nodes of the cluster, with their resources and functions."""
        return self._call(self._aio.members(), "members()")

    # --- how the cluster is ---

    @verb
    def status(self) -> ClusterStatus:
        """How the nodes are, and what they think of each other.

        Nodes that do not answer within a second are what was known of them before.
        """

        async def status() -> ClusterStatus:
            return await when_heard(await self._watching(), _ANSWER_S)

        return self._call(status(), "status()")

    @verb
    def watch(self, listener: Callable[[ClusterStatus], object]) -> Callable[[], None]:
        """Call a function with the status: soon, when that has changed, at most ten times a second, and at the end.

        Args:
            listener: Called on the client's loop: it must not wait.

        Returns:
            What ends it: call it, from any thread.
        """

        async def add() -> StatusWatch:
            watch = await self._watching()
            watch.add(listener)
            return watch

        watch = self._call(add(), "watch()")
        return partial(self._loop.call_soon, watch.remove, listener)

    def view(self) -> object:
        """What a cell shows of the cluster: its nodes and links, live. To do something to them, be who launched it."""
        return views().cluster(self)

    async def _watching(self) -> StatusWatch:
        if self._watch is None:
            watch = RemoteWatch(self._aio.describe, self._aio.look)
            await watch.find()
            self._watch = watch
        return self._watch

    @verb
    def clear_cache(self) -> None:
        """Forget the results that all nodes keep for equal steps: see `cache()`."""
        self._call(self._aio.clear_cache(), "clear_cache()")

    # --- awaitable on any loop ---

    async def run_async(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """As `run`, awaitable on any loop; cancelling the awaiting task cancels the run."""
        run = await self.submit_async(workflow, timeout=timeout)
        return await (run if check else run.ended())

    async def submit_async(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """As `submit`, awaitable on any loop."""
        return await self._awaited(self._aio.submit(workflow, timeout=timeout))

    async def call_async(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """As `call`, awaitable on any loop; cancelling the awaiting task cancels the call."""
        return await self._awaited(self._aio.call(function, *args, **kwargs))

    async def request_async(self, commands: Iterable[RPCCommand], timeout: float | None = None) -> dict[str, Any]:
        """As `request`, awaitable on any loop; cancelling the awaiting task cancels the run."""
        return (await self.run_async(workflow_of(commands), timeout=timeout)).results

    async def members_async(self) -> tuple[Member, ...]:
        """As `members`, awaitable on any loop."""
        return await self._awaited(self._aio.members())

    status_async = twin(status)
    watch_async = twin(watch)
    clear_cache_async = twin(clear_cache)

    @classmethod
    async def connect_async(cls, url: str, *, token: str | None = None, tls: TlsLike | None = None) -> Self:
        """As `Client(...)`, awaitable on any loop: `async with await Client.connect_async(url) as client`."""
        return await in_a_thread(partial(cls, url, token=token, tls=tls))

    # --- its end ---

    def close(self) -> None:
        """End the connection. May be called twice."""
        if self._loop.alive:
            if self._watch is not None:
                self._loop.call_soon(self._watch.close)
            self._loop.call(self._aio.close(), doing="close()")
            if self._owns_loop:
                self._loop.stop()

    close_async = twin(close)

    def _check_open(self, verb: Coroutine[Any, Any, Any]) -> None:
        if self._owns_loop and not self._loop.alive:
            verb.close()
            raise ConnectionLostError("the client was closed. Make another: Client(url, token=...)")

    async def _awaited(self, verb: Coroutine[Any, Any, T]) -> T:
        self._check_open(verb)
        return await asyncio.wrap_future(self._loop.spawn(verb))

    def _call(self, verb: Coroutine[Any, Any, T], doing: str) -> T:
        self._check_open(verb)
        return self._loop.call(verb, doing=doing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()


def _cancel_all(runs: list[Run]) -> None:
    for run in runs:
        run.cancel()
