"""AsyncClient: the verbs of a cluster, awaitable."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import weakref
from collections.abc import Callable, Iterable
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
    ClearCache,
    Describe,
    Described,
    Fetch,
    Fetched,
    Meet,
    Member,
    Rerun,
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
from .line import FIRST_PAUSE_S, Line, Way, pauses
from .run import Run

__all__ = ["AsyncClient"]

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
        self._address = _Address(url, None if token is None else Secret(token), tls)
        self._line = Line(self._address)
        self._history = Runs()

    @classmethod
    def over(cls, connection: Connection, way: Way | None = None) -> AsyncClient:
        """A client that uses this connection. Call it on the connection's loop.

        Args:
            way: Where it gets other connections when this one has ended. None: nowhere.
        """
        client = cls("")
        if way is not None:
            client._line = Line(way)
        client._line.take(connection)
        return client

    async def connect(self) -> Self:
        """Connect, unless that was done; every verb does it by itself.

        Raises:
            ConnectError: If nobody answers, or the token is wrong.
        """
        await self._line.connect()
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
        """Call one function on whichever node has it, and give back what it returns; what it printed is printed here.

        Raises:
            RoutingError: If no node has it.
            Exception: What it raised.
        """
        name = StepName(function)
        run = await self._submit(Workflow((Step(name, FunctionName(function), args, kwargs),)))
        try:
            return (await run).results[name]
        finally:
            # This runs in the context of the caller, by which a notebook knows the cell.
            print_out(run)

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
        peer = await self._line.connect()
        reply = await peer.request(Describe(_unique()))
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
        return await self._address.connect(member.url)

    async def meet(self, url: str) -> None:
        """Have the node that we speak to be one cluster with the MPREG node at that address.

        Raises:
            ConnectError: If nobody answers there.
            ClusterError: If that node belongs to another cluster.
        """
        peer = await self._line.connect()
        await peer.request(Meet(_unique(), url))

    async def clear_cache(self) -> None:
        """Forget the results that all nodes keep for equal steps: see `cache()`."""
        peer = await self._line.connect()
        await peer.request(ClearCache(_unique()))

    async def close(self) -> None:
        """End the connection; runs under way are cancelled by the node. May be called twice."""
        await self._line.close()

    async def leave(self) -> None:
        """The node that we speak to has ended: its runs are lost, and the next verb goes to another."""
        await self._line.close("the node that coordinated the run has ended")

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
        peer = self._line.peer
        assert peer is not None
        self._check_room(peer)
        loop = asyncio.get_running_loop()
        run_id = RunId(secrets.token_hex(16))
        run = Run(run_id, plan, _Owner(self, self._line, loop), timeout=timeout, source=source)
        weakref.finalize(run, _forget, weakref.ref(self._line), loop, run_id).atexit = False
        rerun = Rerun(source.id, keep) if source is not None and keep else None
        try:
            self._line.submit(run, _submit(run_id, plan, timeout, rerun, bare=not peer.connection.carries_objects))
        except MpregError:
            check_arguments(plan.workflow, _check_wholly)
            raise
        return run

    def _check_room(self, peer: Peer) -> None:
        if len(self._line) >= MAX_RUNS:
            raise OverloadedError(
                f"{len(self._line)} runs of this client are under way: at most {MAX_RUNS}. Wait until some have ended"
            )
        if peer.pending_bytes > MAX_UNSENT_BYTES:
            raise OverloadedError(
                f"{peer.pending_bytes} bytes have not left this client yet: at most {MAX_UNSENT_BYTES}. "
                "Wait until some runs have ended"
            )

    async def _connect_for(self, workflow: Workflow) -> None:
        """Connect; if nobody answers, as often again as every step may be tried: nothing has been started yet."""
        tries = min(step.retries for step in workflow.steps)
        first_s = max(step.backoff_s for step in workflow.steps)
        for _, pause_s in zip(range(tries), pauses(max(first_s, FIRST_PAUSE_S)), strict=False):
            try:
                await self.connect()
                return
            except ConnectError:
                await asyncio.sleep(pause_s)
        await self.connect()


class _Address:
    """One node, at an address: the Way of a client from outside."""

    def __init__(self, url: str, token: Secret | None, tls: TlsLike | None) -> None:
        self._url, self._token, self._tls = url, token, tls

    async def dial(self) -> Connection:
        if not self._url:
            raise ConnectionLostError("the connection was closed")
        return await self.connect(self._url)

    again = dial

    async def connect(self, url: str) -> Connection:
        """Connect to some other address of the same cluster."""
        token = token_for(url) if self._token is None else self._token
        return await transport_for(url).connect(url, token=token, tls=self._tls)

    def ended(self) -> bool:
        return False


class _Owner:
    """What a run may ask of its client, from any thread."""

    def __init__(self, client: AsyncClient, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._client, self._line, self._loop = client, line, loop

    def cancel(self, run: RunId) -> None:
        _call_soon(self._loop, self._line.cancel, run)

    def forget(self, run: RunId) -> None:
        _call_soon(self._loop, self._line.forget, run)

    def fetch(self, run: RunId, step: StepName) -> Future[Payload]:
        if self._loop.is_closed():
            raise ConnectionLostError(f"the cluster was stopped: the result of {step!r} was not asked for, and is gone")
        return asyncio.run_coroutine_threadsafe(_fetch(self._line, run, step), self._loop)

    def again(self, run: Run, keep: tuple[StepName, ...], timeout: float | None) -> Future[Run]:
        if self._loop.is_closed():
            raise ConnectionLostError("the cluster was stopped. Run the workflow on another one: run(run.workflow)")
        return asyncio.run_coroutine_threadsafe(self._client.again(run, keep, timeout), self._loop)

    @property
    def here(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return asyncio.get_running_loop() is self._loop
        return False


async def _fetch(line: Line, run: RunId, step: StepName) -> Payload:
    if line.peer is None:
        raise ConnectError("the connection to the cluster is closed: results that were not asked for are gone")
    peer = await line.connect()
    reply = await peer.request(Fetch(_unique(), run, step))
    if not isinstance(reply, Fetched):
        raise ProtocolError(f"asked for the result of {step!r}, got {type(reply).__name__}")
    return reply.value


def _submit(run: RunId, plan: Plan, timeout_s: float | None, rerun: Rerun | None, *, bare: bool) -> Submit:
    """The message that starts a run.

    Args:
        bare: Whether the steps go without their arguments, which stand beside them.
    """
    workflow, steps = plan.workflow, plan.workflow.steps
    if bare:
        stripped = tuple(msgspec.structs.replace(step, args=(), kwargs={}) for step in steps)
        workflow = msgspec.structs.replace(workflow, steps=stripped)
    return Submit(
        run,
        workflow,
        plan.needs,
        tuple(Payload.of((step.args, step.kwargs)) for step in steps),
        tuple((len(step.args), tuple(step.kwargs)) for step in steps),
        timeout_s,
        keep=True,
        rerun=rerun,
    )


def print_out(run: Run) -> None:
    """Print what the steps of a run printed, here."""
    for step in run.record.steps.values():
        if step.printed:
            sys.stdout.write(step.printed)


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


def _forget(line: weakref.ref[Line], loop: asyncio.AbstractEventLoop, run: RunId) -> None:
    found = line()
    if found is not None:
        _call_soon(loop, found.forget, run)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Any, *args: object) -> None:
    # A loop that was closed has no runs either.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


def _unique() -> str:
    return secrets.token_hex(8)
