"""How often a function really started, whoever ran it: each start appends a line to a file."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["PATIENCE_S", "Hanging", "Ledger", "first_hangs", "until"]

PATIENCE_S = 30.0


class Ledger:
    """A file with a line for each start; `start` travels to other processes as code."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.gate = path.with_suffix(".gate")
        name = str(path)

        def start() -> int:
            """Note a start; which one it is, from 1."""
            file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, f"{os.getpid()}\n".encode())
            os.close(file)
            with Path(name).open() as lines:
                return len(lines.readlines())

        self.start = start

    @property
    def starts(self) -> int:
        return len(self.pids)

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._path.read_text().split()] if self._path.exists() else []


def until(true: Callable[[], bool]) -> None:
    """Wait for what other threads and processes do."""
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < PATIENCE_S
        time.sleep(0.01)


def first_hangs(ledger: Ledger) -> Callable[[], int]:
    """A function whose first start hangs until the gate is opened; which start it was."""
    start, gate = ledger.start, str(ledger.gate)

    def work() -> int:
        number = start()
        while number == 1 and not Path(gate).exists():
            time.sleep(0.01)
        return number

    return work


class Hanging:
    """An async function, `hang`, that ends only when it is cancelled, for nodes of this process."""

    def __init__(self) -> None:
        self.begun, self.cancelled = threading.Event(), threading.Event()

        async def hang() -> None:
            self.begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled.set()

        self.hang = hang
