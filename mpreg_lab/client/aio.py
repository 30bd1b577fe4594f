"""AsyncClient: the verbs of a cluster, awaitable."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import weakref
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import Any, Self

import msgspec

from mpreg_lab.errors import (
    ConnectError,
    ConnectionLostError,
    MpregError,
    OverloadedError,
    ProtocolError,
    UnserialisableArgumentError,
    WorkflowError,
)
from mpreg_lab.protocol.commands import RPCCommand, workflow_of
from mpreg_lab.protocol.messages import (
    Cancel,
    Describe,
    Described,
    Fetch,
    Fetched,
    Forget,
    Meet,
    Member,
    Message,
    Rerun,
    RunDone,
    RunUpdate,
    Submit,
)
from mpreg_lab.protocol.payload import CannotTravelError, Payload, check_serialisable
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.transport.tls import TlsLike
from mpreg_lab.transport.tokens import token_for
from mpreg_lab.types import FunctionName, RunId, Secret, StepName
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import Plan, validate

from .history import Runs
from .run import Run

__all__ = ["AsyncClient"]

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
"""Between two tries to reach the cluster again; each pause is twice as long as the one before."""
MAX_RUNS = 50_000
"""Under way for one client: each takes some kilobytes here and at the node."""
MAX_UNSENT_BYTES = 2 << 30
"""Two of the longest frames: what waits to leave is held, arrays and all, and half of what cuts a connection."""

_PLAIN = frozenset((int, float, str, bool, type(None), Ref))


class AsyncClient:
    """Speaks to one node of a cluster, which speaks for all.

    Args:
        url: Where the node listens: `ws://host:port`, or `wss://host:port` if it is encrypted.
        token: What the cluster asks for at the door. None: that of a cluster of the same user on this machine is found
            by the address; who has none may speak to clusters that let guests in.
        tls: Whose certificates are believed: `Tls(ca="ca.pem")` or an ssl.SSLContext. None: the system's authorities.

    Use it on one loop, as `async with AsyncClient(url, token=...) as client:`.
    """

    def __init__(self, url: str, *, token: str | None = None, tls: TlsLike | None = None) -> None:
        self.url = url
        self._token = None if token is None else Secret(token)
        self._tls = tls
        self._dial: Callable[[], Awaitable[Connection]] = self._dial_url
        self._dialling = asyncio.Lock()
        self._peer: Peer | None = None
        # A run that nobody holds any more is forgotten on the nodes too: hence weak.
        self._runs: weakref.WeakValueDictionary[RunId, Run] = weakref.WeakValueDictionary()
        self._waiting: dict[RunId, Run] = {}  # runs under way are held: their end must be heard
        self._history = Runs()
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def over(
        cls, connection: Connection, url: str = "", *, dial: Callable[[], Awaitable[Connection]] | None = None
    ) -> AsyncClient:
        """A client that uses this connection. Call it on the connection's loop.

        Args:
            dial: Opens another one when a verb finds that this one has ended; raises ConnectionError.
        """
        client = cls(url)
        client._dial = dial or client._dial
        client._attach(connection)
        return client

    async def connect(self) -> Self:
        """Connect, unless that was done; every verb does it by itself.

        Raises:
            ConnectError: If nobody answers, or the token is wrong.
        """
        async with self._dialling:
            if self._peer is None or self._peer.closed:
                self._attach(await self._dial())
        return self

    async def run(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """Run a workflow and wait for its end.

        Args:
            timeout: Seconds; then the run is cancelled.
            check: Whether to raise what went wrong; if not, look at `run.exception`.

        Raises:
            WorkflowError: If it cannot run as it is written; nothing was sent.
            RoutingError: If no node can run one of its steps; nothing ran.
            Exception: With `check`, what a step raised; of several, a RunFailedError.
        """
        run = await self.submit(workflow, timeout=timeout)
        return await (run if check else run.ended())

    @property
    def runs(self) -> Runs:
        """The last runs that were started here, the newest last; single calls are not among them."""
        return self._history

    async def submit(self, workflow: Workflow, *, timeout: float | None = None) -> Run:
        """Start a workflow and give back its run at once.

        Raises:
            WorkflowError: If it cannot run as it is written; nothing was sent.
            OverloadedError: If 50,000 runs of this client are under way, or 2 GiB have not left it; nothing was sent.
        """
        run = await self._submit(workflow, timeout)
        self._history.add(run)
        return run

    async def _submit(self, workflow: Workflow, timeout: float | None = None) -> Run:
        plan = validate(workflow)
        check_arguments(workflow)
        check_timeout(timeout)
        await self._connect_for(workflow)
        return self.start(plan, timeout=timeout)

    async def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call one function on whichever node has it, and give back what it returns.

        Raises:
            RoutingError: If no node has it.
            Exception: What it raised.
        """
        name = StepName(function)
        run = await self._submit(Workflow((Step(name, FunctionName(function), args, kwargs),)))
        return (await run).results[name]

    async def request(self, commands: Iterable[RPCCommand], timeout: float | None = None) -> dict[str, Any]:
        """Run steps written as MPREG writes them, and give back the results of the last ones, by name.

        Args:
            commands: Strings in their arguments that name another command stand for its result.
            timeout: Seconds.

        Raises:
            WorkflowError: If they cannot run as they are written; nothing was sent.
            RoutingError: If no node can run one of them; nothing ran.
            RunTimeoutError: If they took longer.
            Exception: What a function raised; of several, a RunFailedError.
        """
        return (await self.run(workflow_of(commands), timeout=timeout)).results

    async def members(self) -> tuple[Member, ...]:
        """The nodes of the cluster, with their resources and functions."""
        return (await self.describe()).members

    async def describe(self) -> Described:
        """The cluster as the node that we speak to sees it."""
        await self.connect()
        assert self._peer is not None
        reply = await self._peer.request(Describe(_unique()))
        if not isinstance(reply, Described):
            raise ProtocolError(f"asked who is in the cluster, got {type(reply).__name__}")
        return reply

    async def look(self, member: Member) -> Connection:
        """A connection of its own to a node of the cluster, for somebody who only looks on.

        Raises:
            ConnectError: If nobody answers there, or it says no address.
        """
        if not member.url:
            raise ConnectError(f"node {member.name!r} has no address")
        token = token_for(member.url) if self._token is None else self._token
        return await transport_for(member.url).connect(member.url, token=token, tls=self._tls)

    async def meet(self, url: str) -> None:
        """Have the node that we speak to be one cluster with the MPREG node at that address.

        Raises:
            ConnectError: If nobody answers there.
            ClusterError: If that node belongs to another cluster.
        """
        await self.connect()
        assert self._peer is not None
        await self._peer.request(Meet(_unique(), url))

    async def close(self) -> None:
        """End the connection; runs under way are cancelled by the node. May be called twice."""
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- for the blocking client and the notebook ---

    async def again(self, run: Run, keep: tuple[StepName, ...], timeout: float | None) -> Run:
        """Start the workflow of a run once more, with the results of these of its steps. On the client's loop."""
        check_timeout(timeout)
        await self._connect_for(run.workflow)
        again = self.start(run.plan, timeout=timeout, source=run, keep=keep)
        self._history.add(again)
        return again

    def start(
        self, plan: Plan, *, timeout: float | None = None, source: Run | None = None, keep: tuple[StepName, ...] = ()
    ) -> Run:
        """Submit a checked workflow over the open connection. On the client's loop.

        Args:
            source: An earlier run of it. keep: The steps whose results of that run are to be used again.
        """
        assert self._peer is not None
        assert self._loop is not None
        self._check_room(self._peer)
        run = Run(RunId(_unique()), plan, _Owner(self, self._loop), timeout=timeout, source=source)
        self._runs[run.id] = self._waiting[run.id] = run
        weakref.finalize(run, _forget, weakref.ref(self), self._loop, run.id).atexit = False
        steps = plan.workflow.steps
        workflow = plan.workflow
        if not self._peer.connection.carries_objects:
            bare = tuple(msgspec.structs.replace(step, args=(), kwargs={}) for step in steps)
            workflow = msgspec.structs.replace(workflow, steps=bare)
        submit = Submit(
            run.id,
            workflow,
            plan.needs,
            tuple(Payload.of((step.args, step.kwargs)) for step in steps),
            tuple((len(step.args), tuple(step.kwargs)) for step in steps),
            timeout,
            Rerun(source.id, keep) if source is not None and keep else None,
        )
        try:
            self._peer.post(submit)
        except MpregError:
            self._waiting.pop(run.id, None)
            check_arguments(plan.workflow, _check_wholly)
            raise
        if self._peer.closed:
            self._lost(run)
        return run

    def _check_room(self, peer: Peer) -> None:
        if len(self._waiting) >= MAX_RUNS:
            raise OverloadedError(
                f"{len(self._waiting)} runs of this client are under way: at most {MAX_RUNS}. "
                "Wait until some have ended"
            )
        if peer.pending_bytes > MAX_UNSENT_BYTES:
            raise OverloadedError(
                f"{peer.pending_bytes} bytes have not left this client yet: at most {MAX_UNSENT_BYTES}. "
                "Wait until some runs have ended"
            )

    # --- messages ---

    async def _connect_for(self, workflow: Workflow) -> None:
        """Connect; if nobody answers, as often again as every step may be tried: nothing has been started yet."""
        pause_s = max(_FIRST_PAUSE_S, *(step.backoff_s for step in workflow.steps))
        for _ in range(min(step.retries for step in workflow.steps)):
            try:
                await self.connect()
                return
            except ConnectError:
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
        await self.connect()

    async def _dial_url(self) -> Connection:
        if not self.url:
            raise ConnectionLostError("the connection was closed")
        token = token_for(self.url) if self._token is None else self._token
        return await transport_for(self.url).connect(self.url, token=token, tls=self._tls)

    def _attach(self, connection: Connection) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = Peer(connection, self._on_message, on_close=self._on_close)

    def _on_message(self, _: Peer, message: Message) -> None:
        if isinstance(message, RunUpdate):
            run = self._runs.get(message.u)
            if run is not None:
                run.apply(message.events)
        elif isinstance(message, RunDone):
            self._waiting.pop(message.u, None)
            run = self._runs.get(message.u)
            if run is not None:
                run.finish(message)

    def _on_close(self, _: Peer) -> None:
        for run in list(self._waiting.values()):
            self._lost(run)

    def _lost(self, run: Run) -> None:
        self._waiting.pop(run.id, None)
        run.lose(ConnectionLostError("the connection to the cluster ended before the run did"))

    def _post(self, message: Message) -> None:
        if self._peer is not None:
            self._peer.post(message)

    async def _fetch(self, run: RunId, step: StepName) -> Payload:
        if self._peer is None:
            raise ConnectError("the connection to the cluster is closed: results that were not asked for are gone")
        reply = await self._peer.request(Fetch(_unique(), run, step))
        if not isinstance(reply, Fetched):
            raise ProtocolError(f"asked for the result of {step!r}, got {type(reply).__name__}")
        return reply.value


class _Owner:
    """What a run may ask of its client, from any thread."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client, self._loop = client, loop

    def cancel(self, run: RunId) -> None:
        _call_soon(self._loop, self._client._post, Cancel(run))

    def forget(self, run: RunId) -> None:
        _call_soon(self._loop, self._client._post, Forget(run))

    def fetch(self, run: RunId, step: StepName) -> Future[Payload]:
        if self._loop.is_closed():
            raise ConnectionLostError(f"the cluster was stopped: the result of {step!r} was not asked for, and is gone")
        return asyncio.run_coroutine_threadsafe(self._client._fetch(run, step), self._loop)

    def again(self, run: Run, keep: tuple[StepName, ...], timeout: float | None) -> Future[Run]:
        if self._loop.is_closed():
            raise ConnectionLostError("the cluster was stopped. Run the workflow on another one: run(run.workflow)")
        return asyncio.run_coroutine_threadsafe(self._client.again(run, keep, timeout), self._loop)

    @property
    def here(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop() is self._loop
        return False


def check_arguments(workflow: Workflow, check: Callable[[Any, str], object] = check_serialisable) -> None:
    """Whether all arguments can travel.

    Args:
        check: Called with a value and its name; raises CannotTravelError.

    Raises:
        UnserialisableArgumentError: If not; names step and argument.
    """
    for step in workflow.steps:
        for position, value in enumerate(step.args):
            if type(value) not in _PLAIN:
                _check_argument(step, f"argument {position + 1}", value, check)
        for keyword, value in step.kwargs.items():
            if type(value) not in _PLAIN:
                _check_argument(step, f"argument {keyword!r}", value, check)


def check_timeout(timeout: object) -> None:
    """Whether it is a time-out: None, or seconds, more than 0; raises WorkflowError."""
    if timeout is None or (isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout > 0):
        return
    raise WorkflowError(f"timeout must be seconds, more than 0, not {timeout!r:.60}")


def _check_argument(step: Step, argument: str, value: object, check: Callable[[Any, str], object]) -> None:
    try:
        check(value, argument)
    except CannotTravelError as exc:
        raise UnserialisableArgumentError(
            f"step {step.name!r}: {exc.path} of {step.function} is {exc.culprit}, which cannot travel to another node. "
            "Pass plain data",
            step=step.name,
        ) from None


def _check_wholly(value: object, argument: str) -> None:
    """As check_serialisable, which takes a sample of large data."""
    try:
        Payload.of(value).pack()
    except CannotTravelError as exc:
        raise CannotTravelError(exc.culprit, argument + exc.path.removeprefix("value")) from exc


def _forget(client: weakref.ref[AsyncClient], loop: asyncio.AbstractEventLoop, run: RunId) -> None:
    found = client()
    if found is not None:
        _call_soon(loop, found._post, Forget(run))


def _call_soon(loop: asyncio.AbstractEventLoop, function: Any, *args: object) -> None:
    # A loop that was closed has no runs either.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


def _unique() -> str:
    return secrets.token_hex(8)
