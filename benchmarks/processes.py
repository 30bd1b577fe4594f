"""Nodes in processes of their own against nodes in this process: pure Python, the launch, the end, a value on its way.

    python benchmarks/processes.py            about twenty seconds

The ratio can be no higher than the number of processors, and is lower while other programs use them: `free` says how
much faster two processes of nothing but the same loop are than one after the other, here and now.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from mpreg_lab import LocalCluster, Step, Workflow

STEPS = 8
LOOPS = 1_500_000
TIMES = 5
ROOT = Path(__file__).parents[1]


def spin(loops: int) -> int:
    """Pure Python: one thread at a time in one process."""
    total = 0
    for i in range(loops):
        total += i & 3
    return total


def best_s(*works: Callable[[], object]) -> list[float]:
    """Seconds for each, the best of a few times; they take turns, so that a busy machine is so to all."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(TIMES):
        for work, found in zip(works, times, strict=True):
            begun_s = time.perf_counter()
            work()
            found.append(time.perf_counter() - begun_s)
    return [min(found) for found in times]


def fan_s() -> tuple[float, float, float, float]:
    """Seconds for independent steps of pure Python over as many nodes as there are processors.

    In this process, in processes; and for two bare programs one after the other, and at once.
    """
    nodes = os.cpu_count() or 1
    steps = [Step(f"s{i}", "spin", args=(LOOPS,)) for i in range(STEPS)]
    text = f"from benchmarks.processes import spin; spin({4 * LOOPS})"

    def one(_: int) -> int:
        return subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True).returncode

    with (
        LocalCluster(nodes) as within,
        LocalCluster(nodes, processes=True) as outside,
        ThreadPoolExecutor(2) as pool,
    ):
        for cluster in (within, outside):
            cluster.register(spin)
        found = best_s(
            lambda: within.run(Workflow(steps)),
            lambda: outside.run(Workflow(steps)),
            lambda: [one(0), one(1)],
            lambda: list(pool.map(one, range(2))),
        )
    return found[0], found[1], found[2], found[3]


def launch_and_stop_s(nodes: int) -> tuple[float, float]:
    """Seconds until a cluster answers, and until its processes are gone."""
    begun_s = time.perf_counter()
    cluster = LocalCluster(nodes, processes=True)
    cluster.call("echo", 1)
    launched_s = time.perf_counter()
    cluster.stop()
    return launched_s - begun_s, time.perf_counter() - launched_s


def orphans_end_s(number: signal.Signals) -> float:
    """Seconds from a signal to the parent to the end of two nodes that are busy."""
    program = (
        "from benchmarks.processes import *\n"
        "c = LocalCluster(2, processes=True); c.register(spin)\n"
        "c.submit(Workflow([Step(f's{i}', 'spin', args=(10 ** 12,)) for i in range(2)]))\n"
        "c.call('echo', 1); print('ready', flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        nodes = psutil.Process(parent.pid).children()
        begun_s = time.perf_counter()
        parent.send_signal(number)
        while any(lives(node) for node in nodes):
            time.sleep(0.001)
        return time.perf_counter() - begun_s


def lives(process: psutil.Process) -> bool:
    """Whether it runs: one that only waits for init to take note of its end does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Print the table."""
    print(f"{os.cpu_count()} processors, {STEPS} steps of {LOOPS:,} loops; best of {TIMES}")
    within_s, outside_s, in_turn_s, at_once_s = fan_s()
    print(f"fan of pure Python    in-process {within_s:5.2f} s   processes {outside_s:5.2f} s   "
          f"ratio {within_s / outside_s:.2f}   free {in_turn_s / at_once_s:.2f}")  # fmt: skip
    for nodes in (1, 3, 8):
        launched_s, stopped_s = launch_and_stop_s(nodes)
        print(f"{nodes} nodes               launch {1e3 * launched_s:7.0f} ms       stop {1e3 * stopped_s:7.0f} ms")
    for number in (signal.SIGKILL, signal.SIGTERM):
        print(f"parent gets {number.name}   busy nodes gone after {1e3 * orphans_end_s(number):.0f} ms")


if __name__ == "__main__":
    main()
