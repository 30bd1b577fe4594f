"""AsyncTestContext: owns the servers, clients and tasks of a test, and ends all of them, whatever was raised."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

from mpreg_lab.errors import ClusterError

from .clients import ServerClient
from .servers import Server, ServerSettings

__all__ = ["AsyncTestContext"]

T = TypeVar("T")

_PATIENCE_S = 5.0
_ENDS = ("stop", "disconnect", "shutdown", "close", "aclose")
"""How things are ended: the first of these methods that they have."""


class AsyncTestContext:
    """Ends what a test began: tasks first, then clients, then servers; in each list the last first.

    ```python
    async with AsyncTestContext() as context:
        server = await context.serve(resources={"gpu"})
        client = await context.connect(server)
        context.spawn(client.call("train"))
    ```

    What was made elsewhere is appended to the lists.

    Attributes:
        servers: Anything that can be stopped: Server, LocalCluster.
        clients: Anything that can be disconnected or closed: ServerClient, Client, AsyncClient.
        tasks: They are cancelled. What a task raised that nobody has seen is raised by the teardown.

    Raises:
        ExceptionGroup: On leaving, of all that went wrong with ending things. If the test itself has failed, its error
            is raised, with these in its notes.
    """

    def __init__(self) -> None:
        self.servers: list[Any] = []
        self.clients: list[Any] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def serve(self, settings: ServerSettings | None = None, **fields: Any) -> Server:
        """Start a server and own it.

        Args:
            fields: Of ServerSettings, instead of `settings`.
        """
        server = Server(ServerSettings(**fields) if settings is None else settings)
        self.servers.append(server)
        self.spawn(server.server(), name=f"serves {server.name}")
        return await server.ready()

    async def connect(self, where: Server | str | int) -> ServerClient:
        """Connect to a server, an address or a port of this machine, and own the client."""
        client = ServerClient(where)
        self.clients.append(client)
        return await client.connect()

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Start a task and own it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.append(task)
        return task

    @property
    def empty(self) -> bool:
        """Whether it owns nothing."""
        return not (self.servers or self.clients or self.tasks)

    async def close(self) -> None:
        """End everything, and own nothing any more.

        Raises:
            ExceptionGroup: Of all that went wrong.
        """
        problems = await self._ended()
        if problems:
            raise ExceptionGroup("the teardown of the test context failed", problems)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        problems = await self._ended()
        if problems and error is not None:
            for problem in problems:
                error.add_note(f"the teardown failed too: {type(problem).__name__}: {problem}")
        elif problems:
            raise ExceptionGroup("the teardown of the test context failed", problems)

    async def _ended(self) -> list[Exception]:
        problems: list[Exception] = []
        async with AsyncExitStack() as stack:  # goes on when the teardown itself is cancelled
            for thing in (*self.servers, *self.clients, *self.tasks):
                stack.push_async_callback(_end, thing, problems)
        for owned in (self.servers, self.clients, self.tasks):
            owned.clear()
        return problems


async def _end(thing: Any, problems: list[Exception]) -> None:
    ending = _end_task(thing) if isinstance(thing, asyncio.Future) else _end_other(thing)
    (outcome,) = await asyncio.gather(ending, return_exceptions=True)
    if isinstance(outcome, Exception):
        problems.append(outcome)


async def _end_task(task: asyncio.Future[Any]) -> None:
    if not task.done():
        loop = task.get_loop()
        if loop is not asyncio.get_running_loop():
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
            return
        task.cancel()
        await asyncio.wait((task,), timeout=_PATIENCE_S)
        if not task.done():
            raise ClusterError(f"{task!r} was cancelled and has not ended after {_PATIENCE_S:g} s")
    # asyncio's own note of whether somebody has looked: an error that the test expected is none of ours.
    unseen = getattr(task, "_log_traceback", True)
    if not task.cancelled() and (error := task.exception()) is not None and unseen:
        raise error


async def _end_other(thing: Any) -> None:
    for name in _ENDS:
        if (end := getattr(thing, name, None)) is not None:
            ended = end()
            if inspect.isawaitable(ended):
                await ended
            return
    raise ClusterError(f"{thing!r:.60} cannot be ended: it has none of the methods {', '.join(_ENDS)}")
