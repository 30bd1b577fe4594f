"""Latency and throughput, each beside a floor that was measured in the same minute on the same machine.

A time alone says little: it changes with the machine and with what else runs on it. So each figure is also a multiple
of the least that any implementation would need there: a question to another thread and back, a few bytes over a socket
and back, the same workflow with no nodes at all. The percentiles say how even it is: p99 is the slowest of a hundred.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from mpreg_lab import AsyncClient, InlineEngine, LocalCluster, Ref, Step, Workflow
from mpreg_lab.examples import Functions, offer

__all__ = [
    "FUNCTIONS",
    "Figure",
    "add_one",
    "main",
    "measure",
    "nodes",
    "percentile",
    "socket_floor",
    "table",
    "thread_floor",
    "workflow",
    "workflow_floor",
]


@dataclass(frozen=True)
class Figure:
    """How long one thing takes.

    Attributes:
        times_us: Each time that was measured, in microseconds: of one call, or of one step of a run.
        each_us: The median of these; of calls that were made at once, what all took divided by how many they were.
        floor: What it is compared with.
        floor_us: The median time of that.
    """

    what: str
    times_us: tuple[float, ...]
    each_us: float
    floor: str
    floor_us: float

    @property
    def per_s(self) -> float:
        """How many are done in a second."""
        return 1e6 / self.each_us

    @property
    def ratio(self) -> float:
        """The time for each, as a multiple of the floor."""
        return self.each_us / self.floor_us


# --- The functions that run on the nodes --------------------------------------------------------------------------


def add_one(number: int) -> int:
    """Next to nothing, so that what is measured is the way there and back."""
    return number + 1


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"worker": (add_one,)}
"""Resource to the functions that run where it is."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them: every call goes from `front` to `back`."""
    return {"front": [], "back": ["worker"]}


def workflow(steps: int = 1000, *, chain: bool = True) -> Workflow:
    """So many steps, each on the result of the one before, or all at once."""
    if not chain:
        return Workflow(Step(f"s{number}", "add_one", (number,), resources=["worker"]) for number in range(steps))
    first = Step("s0", "add_one", (0,), resources=["worker"])
    rest = [Step(f"s{n}", "add_one", (Ref(f"s{n - 1}"),), resources=["worker"]) for n in range(1, steps)]
    return Workflow((first, *rest))


# --- Floors -------------------------------------------------------------------------------------------------------


def thread_floor(calls: int) -> list[float]:
    """Microseconds for a question to another thread and the answer back, each time."""
    questions: SimpleQueue[int | None] = SimpleQueue()
    answers: SimpleQueue[int] = SimpleQueue()

    def work() -> None:
        while (number := questions.get()) is not None:
            answers.put(add_one(number))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def ask() -> None:
        questions.put(1)
        answers.get()

    times = _each(ask, calls)
    questions.put(None)
    thread.join()
    return times


async def socket_floor(calls: int, size_bytes: int = 100) -> list[float]:
    """Microseconds for so many bytes over a socket of this machine and back, each time."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(65536):
            writer.write(received)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        message, times = b"x" * size_bytes, []
        for _ in range(calls):
            began_s = time.perf_counter()
            writer.write(message)
            await reader.readexactly(size_bytes)
            times.append((time.perf_counter() - began_s) * 1e6)
        writer.close()
        await writer.wait_closed()
    return times


async def workflow_floor(whole: Workflow) -> float:
    """Microseconds a step for the same workflow with no nodes, threads or messages."""
    engine = InlineEngine({"add_one": add_one})
    began_s = time.perf_counter()
    async for _ in engine.run(whole):
        pass
    return (time.perf_counter() - began_s) * 1e6 / len(whole.steps)


# --- Measuring ----------------------------------------------------------------------------------------------------


def measure(calls: int = 1000, rounds: int = 20) -> list[Figure]:
    """All figures.

    Args:
        calls: How many of each kind, and how many steps a workflow has.
        rounds: How often each workflow runs; the p99 of fewer than 100 is the slowest.
    """
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        thread_us = statistics.median(thread_floor(calls))
        local = _each(lambda: cluster.call("add_one", 1), calls)
        socket_us = statistics.median(asyncio.run(socket_floor(calls)))
        one_by_one, together, together_s = asyncio.run(_over_websocket(cluster.url, calls))
        figures = [
            _figure("a call in this process", local, "another thread and back", thread_us),
            _figure("a call over a websocket", one_by_one, "a socket and back", socket_us),
            Figure(f"{calls:,} such calls at once", together, together_s * 1e6 / calls, "a socket and back", socket_us),
        ]
        for what, chain in ((f"a step of {calls:,} in a row", True), (f"a step of {calls:,} at once", False)):
            whole = workflow(calls, chain=chain)
            times = [time_us / calls for time_us in _each(lambda whole=whole: cluster.run(whole), rounds)]  # type: ignore[misc]
            floor_us = statistics.median(asyncio.run(workflow_floor(whole)) for _ in range(rounds))
            figures.append(_figure(what, times, "a step with no cluster", floor_us))
    return figures


def percentile(times: Sequence[float], percent: int) -> float:
    """The time that so many percent do not exceed; of those measured, the nearest one."""
    ordered = sorted(times)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """The figures in lines of at most 80 characters."""
    lines = [f"{'microseconds':27} {'p50':>7} {'p90':>7} {'p99':>7} {'in 1 s':>8}  x floor"]
    for f in figures:
        p50, p90, p99 = (percentile(f.times_us, percent) for percent in (50, 90, 99))
        lines.append(f"{f.what:27} {p50:7,.0f} {p90:7,.0f} {p99:7,.0f} {f.per_s:8,.0f} {f.ratio:8.1f}")
    lines += ["", "The floors, p50:"]
    lines += dict.fromkeys(f"  {f.floor:25} {f.floor_us:7,.0f}" for f in figures)
    return "\n".join(lines)


async def _over_websocket(url: str, calls: int) -> tuple[list[float], tuple[float, ...], float]:
    """Times of calls one after the other; times of as many at once, and how long those took together."""
    async with AsyncClient(url) as client:

        async def ask() -> float:
            began_s = time.perf_counter()
            await client.call("add_one", 1)
            return (time.perf_counter() - began_s) * 1e6

        one_by_one = [await ask() for _ in range(calls)]
        began_s = time.perf_counter()
        together = await asyncio.gather(*(ask() for _ in range(calls)))
        return one_by_one, tuple(together), time.perf_counter() - began_s


def _each(act: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began_s = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began_s) * 1e6)
    return taken


def _figure(what: str, times_us: Sequence[float], floor: str, floor_us: float) -> Figure:
    return Figure(what, tuple(times_us), statistics.median(times_us), floor, floor_us)


def main() -> None:
    """Measure and print the table."""
    print(table(measure()))


if __name__ == "__main__":
    main()
