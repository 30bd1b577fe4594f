"""What a test leaves behind: servers, clients, clusters, tasks, threads and sockets that were not there before it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import re
import sys
import sysconfig
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mpreg_lab.cluster.local import running_clusters

from . import _stage
from ._awaited import awaited_at
from .clients import connected_clients

__all__ = ["LeakWarning", "Watch"]

_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_END_S = 1.0
"""So long tasks, threads and sockets that are about to end may take; what ends by itself is no leak."""
_LOOK_AGAIN_S = 0.002
_OF_LOOPS = "asyncio_"
"""Threads of a loop's own pool live as long as the loop."""
_OF_NODES = "mpreg-slot-"
"""Threads that call functions live as long as their server."""

_OF_CLIENTS, _OF_ASYNC_CLIENTS = "mpreg-client", "mpreg reads "
"""The thread of a Client; what reads for an AsyncClient, by its address."""


class LeakWarning(UserWarning):
    """A test has left something behind."""


class Watch:
    """Sees what is there, and later what has been added."""

    def __init__(self) -> None:
        self._actors = _stage.actors()
        self._clients = connected_clients()
        self._clusters = running_clusters()
        self._threads = set(threading.enumerate())
        self._sockets = _sockets().keys()
        urls = [actor.url for actor in self._actors]
        urls += [member.url for cluster in self._clusters for member in cluster.nodes.values()]
        self._ports = {str(urlsplit(url).port) for url in urls if url}
        self._tasks: list[str] = []
        self._test: asyncio.Task[Any] | None = None

    @property
    def awaited(self) -> str:
        """Where the test waits that was broken off; empty if it was not, or is not async."""
        return "" if self._test is None else awaited_at(self._test)

    def watching(
        self, test: Callable[..., Awaitable[Any]], owned: AbstractAsyncContextManager[Any]
    ) -> Callable[..., Any]:
        """The test, which notes the tasks that it has left on its loop.

        Args:
            owned: What the test runs within; what that ends is no leak.
        """

        @functools.wraps(test)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            before = _tasks()
            with contextlib.suppress(RuntimeError):
                self._test = asyncio.current_task()
            try:
                async with owned:
                    return await test(*args, **kwargs)
            finally:
                if left := _tasks() - before:
                    # Such as that of a server which was told to end, and was not awaited.
                    await asyncio.wait(left, timeout=_END_S)
                self._tasks += [_told(task) for task in _tasks() - before]

        return watched

    def left(self) -> list[str]:
        """What was left behind, a line each. Servers, clients and clusters are ended, for the sake of the next test."""
        found = [*self._tasks, *self._ended()]
        late_s = time.monotonic() + _END_S
        wider = (_OF_LOOPS, _OF_NODES) if self._actors or self._clusters else (_OF_LOOPS,)
        for thread in set(threading.enumerate()) - self._threads:
            if not thread.name.startswith(wider):
                thread.join(max(0.0, late_s - time.monotonic()))
                if thread.is_alive():
                    found.append(_told_thread(thread))
        return found + [f"socket {told} is open" for told in self._new_sockets(late_s)]

    def _new_sockets(self, late_s: float) -> list[str]:
        """Those that stay: the other end of a connection that was just closed may be about to close its own."""
        while True:
            new = [
                told
                for number, told in _sockets().items()
                # Servers that outlive the test speak to each other whenever they have something to say.
                if number not in self._sockets and not self._ports.intersection(re.findall(r":(\d+)\b", told))
            ]
            if not new or time.monotonic() >= late_s:
                return new
            # Nobody tells when a socket is gone: we have to look again.
            time.sleep(_LOOK_AGAIN_S)

    def _ended(self) -> Iterator[str]:
        for client in connected_clients() - self._clients:
            yield f"client of {client.url} is connected: await client.disconnect()"
            client.close()
        for actor in _stage.actors():
            if actor not in self._actors:
                yield f"{actor!r} was never stopped: await server.stop(), or append it to test_context.servers"
                actor.close()
        for cluster in running_clusters():
            if cluster not in self._clusters:
                yield f"cluster {cluster.name!r} was never stopped: cluster.stop(), or `with LocalCluster(...)`"
                cluster.stop()


def _tasks() -> set[asyncio.Task[Any]]:
    """The tasks of the running loop; none on a loop that is not asyncio's."""
    with contextlib.suppress(RuntimeError):
        return asyncio.all_tasks()
    return set()


def _told(task: asyncio.Task[Any]) -> str:
    if task.get_name().startswith(_OF_ASYNC_CLIENTS):
        url = task.get_name().removeprefix(_OF_ASYNC_CLIENTS)
        return f"AsyncClient of {url} is connected: await client.close(), or `async with AsyncClient(...)`"
    work = task.get_coro()
    stack = task.get_stack(limit=1)
    place = awaited_at(task) or (f"{stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else "its first line")
    name = getattr(work, "__qualname__", repr(work))
    hint = "cancel and await it, or append it to test_context.tasks"
    return f"task {task.get_name()!r} ({name}) has not ended at {place}: {hint}"


def _told_thread(thread: threading.Thread) -> str:
    if thread.name == _OF_CLIENTS:
        return "a Client is connected: client.close(), or `with Client(...)`"
    return f"thread {thread.name!r} runs: {_where(thread)}"


def _where(thread: threading.Thread) -> str:
    """The innermost line that is not of Python's own library, if there is one."""
    frame = innermost = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename.startswith((_LIBRARY, "<")):
        frame = frame.f_back
    frame = frame or innermost
    return "it has just ended" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _sockets() -> dict[str, str]:
    """The network sockets of this process, by number, as Linux tells; empty elsewhere."""
    with contextlib.suppress(OSError):
        mine = set()
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed meanwhile
                mine.add(str(entry.readlink()))
        return {number: told for number, told in _all_sockets() if f"socket:[{number}]" in mine}
    return {}


def _all_sockets() -> Iterator[tuple[str, str]]:
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            ours, theirs = _address(fields[1]), _address(fields[2])
            listens = theirs.endswith(":0")
            yield fields[9], f"{table} {ours}" if listens else f"{table} {ours} -> {theirs}"


def _address(text: str) -> str:
    host, port = text.split(":")
    # The kernel writes 32-bit words in the order of the machine.
    words = [bytes.fromhex(host[i : i + 8]) for i in range(0, len(host), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return f"{ipaddress.ip_address(packed)}:{int(port, 16)}"
