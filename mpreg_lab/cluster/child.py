"""A Python process of ours: orders in, answers and printed text out, and an end within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mpreg_lab.errors import ClusterError

from .orders import BOOT, Answer, Leave, Order, decode_answer, encode

__all__ = ["Child"]

LOG_BYTES = 256 * 1024
POLITE_S = 1.0
TERMINATE_S = 0.5
_LOG_END_S = 0.2


class Child:
    """The process of one node. Made, used and ended on one loop; `alive` and `log` may be read from any thread.

    It has a session of its own, so that Ctrl-C in our terminal does not reach it. It ends when we do: see node_process.

    Raises:
        ClusterError: If the system starts no process.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._paused = False
        self._asked: deque[asyncio.Future[Answer]] = deque()
        self._log = _Tail(LOG_BYTES)
        self._pipes: list[asyncio.ReadTransport] = []
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", BOOT, "mpreg node", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key != "MPREG_TOKEN"},
            )
        except OSError as exc:
            raise ClusterError(f"cannot start a process for node {name!r}: {exc}") from exc
        self._waits = threading.Thread(target=self._wait, name=f"mpreg-waits-{name}", daemon=True)
        self._waits.start()

    async def open(self) -> None:
        """Begin to read what it says and prints, and tell it where to import from."""
        lines = _Lines(self._take)
        for pipe, protocol in ((self._popen.stdout, lines), (self._popen.stderr, self._log)):
            assert pipe is not None
            # mypy has no type for a lambda whose default binds the loop's variable.
            transport, _ = await self._loop.connect_read_pipe(lambda p=protocol: p, pipe)  # type: ignore[misc]
            self._pipes.append(transport)
        here = str(Path.cwd())
        self._write(encode([entry or here for entry in sys.path]))

    def tell(self, order: Order) -> asyncio.Future[Answer]:
        """Have it do something; the future is never done if it ends instead."""
        answer = self._loop.create_future()
        self._asked.append(answer)
        self._write(encode(order))
        return answer

    async def ask(self, order: Order) -> Answer:
        """Have it do something.

        Raises:
            ClusterError: If it cannot; says why. If it ended instead, with the last of what it printed.
        """
        answer = self.tell(order)
        await asyncio.wait((answer, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClusterError(await self._epitaph())
        said: Answer = answer.result()
        if said.error is not None:
            raise ClusterError(f"node {self.name!r}: {said.error}")
        return said

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.returncode is None

    @property
    def paused(self) -> bool:
        """Whether it was halted and did not go on."""
        return self._paused

    @property
    def pid(self) -> int:
        """The number that the system gave it."""
        return self._popen.pid

    @property
    def log(self) -> str:
        """The last of what it printed outside of steps."""
        return self._log.text

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to all processes that it started, unless it has ended."""
        if self._popen.poll() is None:
            self._paused = number is signal.SIGSTOP or (self._paused and number is not signal.SIGCONT)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # macOS does not permit it when only the dead are left of the group.
                os.killpg(self._popen.pid, number)

    async def stop(self) -> None:
        """End it: by asking it, then with SIGTERM, then with SIGKILL. May be called twice."""
        if self.alive and not self._paused:
            self._write(encode(Leave()))
            if not await self._ends(POLITE_S):
                self.signal(signal.SIGTERM)
                await self._ends(TERMINATE_S)
        await self.kill()

    async def kill(self) -> None:
        """End it with SIGKILL, and whatever it started. May be called twice."""
        self.signal(signal.SIGKILL)
        try:
            await asyncio.shield(self._ended)
            # It has said so, and has nothing left to do.
            self._waits.join()
        finally:
            # Also when nobody waits for it any more, as in a launch that is interrupted.
            self._close()

    # --- helpers ---

    def _wait(self) -> None:
        self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(self._set_ended)

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def _ends(self, timeout_s: float) -> bool:
        return bool((await asyncio.wait((self._ended,), timeout=timeout_s))[0])

    def _write(self, line: bytes) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended: who waits for it will see that
            self._popen.stdin.write(line)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"{") and self._asked:
            self._asked.popleft().set_result(decode_answer(line))
        else:
            self._log.data_received(line + b"\n")  # printed before the pipe was ours, by a sitecustomize

    def _close(self) -> None:
        pipe: IO[bytes] | None = self._popen.stdin
        assert pipe is not None
        pipe.close()
        for transport in self._pipes:
            transport.close()

    async def _epitaph(self) -> str:
        await asyncio.wait((self._log.ended,), timeout=_LOG_END_S)
        last = self.log.strip()[-2000:]
        return f"the process of node {self.name!r} ended with code {self._popen.returncode}" + (
            f". The last it printed:\n{last}" if last else ""
        )


class _Lines(asyncio.Protocol):
    """Calls `take` with each line."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)


class _Tail(asyncio.Protocol):
    """Keeps the last bytes that came."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """What is kept."""
        return bytes(self._kept[-self._limit_bytes :]).decode(errors="replace")

    def data_received(self, data: bytes) -> None:
        self._kept += data
        # Cut seldom: each cut moves all that is kept.
        if len(self._kept) > 2 * self._limit_bytes:
            del self._kept[: -self._limit_bytes]

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
