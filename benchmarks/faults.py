"""How soon failures are noticed and what is left behind, each figure beside those of peers.

    python benchmarks/faults.py            about a minute and a half

Noticed: a step runs on the node when it is killed or halted, or its link cut; the time ends when the run has failed
with NodeLostError. A false alarm is a node that another one lost though nothing was wrong with it.
The anchors are figures given for the peers, not measured here: Dask notices SIGKILL in 0.016 s and SIGSTOP not within
15 s, and keeps 655 KiB for each start and stop; ipyparallel notices a kill in 5.0 s, and its engines outlive a parent
that is killed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mpreg_lab import AsyncClient, LocalCluster, Step, Workflow
from mpreg_lab.errors import NodeLostError

ROOT = Path(__file__).parents[1]
TIMES = 5
WARM_UP, CYCLES = 10, 50
NODES = 3
ORPHANS_AFTER_S = 2.0
BUSY_S = 10.0
STOPPED_S = 5.0
CLIENTS, CALLS = 8, 10_000


def hang() -> None:
    """A step that never ends."""
    while True:
        time.sleep(0.05)


def noticed_s(number: signal.Signals) -> float:
    """Seconds from a signal to a busy node until the run knows that it is lost."""
    with LocalCluster({"entry": [], "other": [], "victim": ["v"]}, processes=True) as cluster:
        cluster.register(os.getpid, name="pid", resources="v")
        cluster.register(hang, resources="v")
        pid = cluster.call("pid")
        run = cluster.submit(Workflow([Step("s", "hang")]))
        while run.record.steps["s"].status != "running":
            time.sleep(0.01)
        begun_s = time.perf_counter()
        os.kill(pid, number)
        try:
            run.wait(30.0)
        except NodeLostError:
            return time.perf_counter() - begun_s
        finally:
            if number is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
    raise AssertionError("the step ended by itself")


def cut_off_s(from_whom: tuple[str, ...]) -> float:
    """Seconds from a silent cut of links of a busy node until the run knows that it is lost."""
    with LocalCluster({"entry": [], "other": [], "victim": ["v"]}, transport="ws") as cluster:
        cluster.register(lambda gate: time.sleep(gate), name="nap", resources="v")
        run = cluster.submit(Workflow([Step("s", "nap", (8.0,))]))
        while run.record.steps["s"].status != "running":
            time.sleep(0.01)
        begun_s = time.perf_counter()
        cluster.faults.partition(["victim"], from_whom)
        try:
            run.wait(30.0)
        except NodeLostError:
            return time.perf_counter() - begun_s
    raise AssertionError("the step ended by itself")


def growth_kib() -> float:
    """What each start and stop of three nodes, with a call in between, adds to the memory of this process, in KiB."""
    process = psutil.Process()

    def cycles(count: int) -> int:
        for _ in range(count):
            with LocalCluster(3) as cluster:
                cluster.call("echo", 1)
        gc.collect()
        return int(process.memory_info().rss)

    before = cycles(WARM_UP)
    return (cycles(CYCLES) - before) / 1024 / CYCLES


def spin(seconds: float) -> None:
    """Pure Python that leaves nothing of a processor."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


def false_alarms_when_busy() -> int:
    """Nodes that were thought lost while every processor had twice as much to do as it can."""
    busy = max(2, os.cpu_count() or 1)
    with LocalCluster(busy, processes=True, slots=2) as cluster:
        cluster.register(spin)
        run = cluster.run(Workflow([Step(f"s{i}", "spin", (BUSY_S,)) for i in range(2 * busy)]), check=False)
        return sum(fault.kind == "lost" for fault in run.record.faults)


def false_alarms_when_stopped() -> int:
    """Nodes that were thought lost because the notebook was stopped for a while and went on."""
    program = (
        "from benchmarks.faults import *\n"
        "c = LocalCluster(NODES, processes=True); c.register(time.sleep, name='nap')\n"
        "run = c.submit(Workflow([Step('s', 'nap', (STOPPED_S + 2,))])); c.call('echo', 1)\n"
        "print('ready', flush=True)\n"
        "run.join(); print(sum(f.kind == 'lost' for f in run.record.faults) + (len(c.nodes) < NODES))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        parent.send_signal(signal.SIGCONT)
        return int(parent.stdout.readline())


def wrong_calls() -> int:
    """Of many calls in flight at once, how many had another result than their own, or none."""

    async def all_calls(url: str, token: str | None) -> list[object]:
        clients = [await AsyncClient(url, token=token).connect() for _ in range(CLIENTS)]
        try:
            calls = (clients[i % CLIENTS].call("echo", i) for i in range(CALLS))
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    with LocalCluster(NODES) as cluster:
        results = asyncio.run(all_calls(cluster.url, cluster.token))
    return sum(result != i for i, result in enumerate(results))


ENDS = {
    "SIGKILL": "signal.pause()",
    "SIGTERM": "signal.pause()",
    "exit": "sys.exit()",
    "an exception": "1 / 0",
}


def orphans(end: str) -> tuple[int, float]:
    """Nodes that live two seconds after their parent has ended so, and the seconds until the last was gone."""
    program = (
        "from benchmarks.faults import *\n"
        "c = LocalCluster(NODES, processes=True); c.register(hang)\n"
        "c.submit(Workflow([Step(f's{i}', 'hang') for i in range(NODES)]))\n"
        "c.call('echo', 1); print('ready', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program + ENDS[end]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdout.readline()
        nodes = psutil.Process(parent.pid).children()
        assert len(nodes) == NODES, nodes
        begun_s = time.perf_counter()
        if end.startswith("SIG"):
            parent.send_signal(signal.Signals[end])
        else:
            parent.stdin.close()
        while any(lives(node) for node in nodes) and time.perf_counter() - begun_s < ORPHANS_AFTER_S:
            time.sleep(0.001)
        return sum(lives(node) for node in nodes), time.perf_counter() - begun_s


def lives(process: psutil.Process) -> bool:
    """Whether it runs: one that only waits for init to take note of its end does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def show(what: str, figure: str, aim: str, peers: str = "") -> None:
    """One line of the table."""
    print(f"{what:34}{figure:28}{aim:14}{peers}".rstrip(), flush=True)


def times(seconds: list[float]) -> str:
    """Of several tries."""
    return f"{statistics.median(seconds):.3f} s, worst {max(seconds):.3f}"


def main() -> None:
    show("", "", "aim", "peers")
    # First, while this process has done nothing else.
    show("start and stop", f"{growth_kib():+.1f} KiB, mean of {CYCLES}", "", "Dask +655")
    killed_s = [noticed_s(signal.SIGKILL) for _ in range(TIMES)]
    show("SIGKILL noticed", times(killed_s), "0.5 s", "Dask 0.016, ipyparallel 5.0")
    show("SIGSTOP noticed", times([noticed_s(signal.SIGSTOP) for _ in range(2)]), "4 s", "Dask not within 15")
    show("partition noticed", f"{cut_off_s(('entry', 'other')):.3f} s", "4 s")
    show("dead link to a live node noticed", f"{cut_off_s(('entry',)):.3f} s", "4 s")
    show("false alarms, all processors busy", f"{false_alarms_when_busy()} in {BUSY_S:g} s", "0")
    show("false alarms, notebook stopped", f"{false_alarms_when_stopped()} in {STOPPED_S:g} s", "0")
    show(f"{CALLS:,} calls, {CLIENTS} clients", f"{wrong_calls()} lost or swapped", "0")
    for end in ENDS:
        left, gone_s = orphans(end)
        peers = "ipyparallel leaves its engines" if end == "SIGKILL" else ""
        show(f"orphans after {end}", f"{left} of {NODES}, gone in {gone_s:.3f} s", "0 after 2 s", peers)


if __name__ == "__main__":
    main()
