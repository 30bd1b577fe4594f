"""ServerClient: a client for tests, awaitable on any loop of asyncio, with the words of MPREG: call, request, locs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from typing import Any, Self, TypeVar

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.client.run import Run
from mpreg_lab.client.verbs import async_verb
from mpreg_lab.errors import ClusterSpecError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.protocol.commands import RPCCommand
from mpreg_lab.workflow.model import Step, Workflow

from ._stage import borrow_loop, check_asyncio, return_loop
from .servers import Server

__all__ = ["ServerClient", "address_of", "connected_clients"]

T = TypeVar("T")

_connected: set[ServerClient] = set()  # held: who is connected has a thread, whether anybody knows of it or not


class ServerClient:
    """Speaks to one server, which speaks for its cluster.

    It lives on a loop of its own: a fixture of the session may make it, and tests on other loops use it.

    Args:
        where: A server, its address, or its port on this machine.
        token: What is asked for at the door. None: it is found by the address.

    Use it as `async with ServerClient(server) as client:`, or with `connect` and `disconnect`.
    """

    def __init__(self, where: Server | str | int, *, token: str | None = None) -> None:
        self.url = address_of(where)
        self._token = token
        self._loop: LoopThread | None = None
        self._aio: AsyncClient | None = None

    @property
    def connected(self) -> bool:
        """Whether `connect` was called, and `disconnect` not yet."""
        return self._loop is not None

    @async_verb
    async def connect(self) -> Self:
        """Connect, unless that was done; every verb does it by itself.

        Raises:
            ConnectError: If nobody answers there, or the token is wrong.
        """
        check_asyncio()
        if self._loop is None:
            self._loop, self._aio = borrow_loop(), AsyncClient(self.url, token=self._token)
            with ExitStack() as unless_it_works:
                unless_it_works.callback(self.close)
                await self._on_loop(self._aio.connect())
                unless_it_works.pop_all()
            _connected.add(self)
        return self

    async def disconnect(self) -> None:
        """End the connection; what it runs is cancelled. May be called twice."""
        if self._loop is not None:
            # Nothing of it lives on the loop of the caller, who is held up for a moment only.
            self.close()

    def close(self) -> None:
        """As `disconnect`, for who cannot await. May be called twice."""
        loop, aio = self._loop, self._aio
        self._loop = self._aio = None
        _connected.discard(self)
        if loop is not None and aio is not None:
            try:
                loop.call(aio.close(), doing="close()")
            finally:
                return_loop()

    @async_verb
    async def call(
        self, fun: str, /, *args: Any, locs: Iterable[str] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        """Call one function on whichever server has it, and give back what it returns. Strings are strings.

        Args:
            locs: Resources that the server must hold.
            timeout: Seconds.

        Raises:
            UnknownFunctionError: If no server has the function.
            RoutingError: If none that has it holds the resources.
            RunTimeoutError: If it took longer.
            Exception: What the function raised.
        """
        step = Step(fun, fun, args, kwargs, locs or ())
        return (await self.run(Workflow((step,)), timeout=timeout)).results[fun]

    @async_verb
    async def request(self, cmds: Iterable[RPCCommand], timeout: float | None = None) -> dict[str, Any]:
        """Run steps written as MPREG writes them: see AsyncClient.request."""
        return await self._on_loop((await self._connected()).request(cmds, timeout))

    @async_verb
    async def run(self, workflow: Workflow, *, timeout: float | None = None, check: bool = True) -> Run:
        """Run a workflow and wait for its end: see AsyncClient.run."""
        return await self._on_loop((await self._connected()).run(workflow, timeout=timeout, check=check))

    @async_verb
    async def functions(self) -> frozenset[str]:
        """The functions of the cluster, as the server sees it."""
        members = await self._on_loop((await self._connected()).members())
        return frozenset(str(info.name) for member in members for info in member.functions)

    @property
    def _client(self) -> Self:
        # MPREG's client keeps what sends its requests under this name, and programs reach for it.
        return self

    async def _connected(self) -> AsyncClient:
        await self.connect()
        assert self._aio is not None
        return self._aio

    async def _on_loop(self, verb: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return await asyncio.wrap_future(self._loop.spawn(verb))

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def __repr__(self) -> str:
        return f"ServerClient({'connected' if self.connected else 'not connected'})"


def connected_clients() -> frozenset[ServerClient]:
    """The clients of this process that are connected and not yet disconnected."""
    return frozenset(_connected)


def address_of(where: Server | str | int) -> str:
    """The address that is meant by a server, an address, or a port of this machine.

    Raises:
        ClusterSpecError: If it is none of these.
    """
    if isinstance(where, Server):
        return where.settings.url
    if isinstance(where, int) and not isinstance(where, bool) and 0 < where <= 65535:
        return f"ws://127.0.0.1:{where}"
    if isinstance(where, str) and "://" in where:
        return where
    raise ClusterSpecError(f"expected a server, its address or its port, not {where!r:.60}")
