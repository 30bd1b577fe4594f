"""How soon failures are noticed and what is left behind, each figure beside those of peers.

    python benchmarks/faults.py            about half a minute

Noticed: a step runs on the node when it is killed or halted; the time ends when the run has failed with NodeLostError.
The anchors are figures given for the peers, not measured here: Dask notices SIGKILL in 0.016 s and SIGSTOP not within
15 s, and keeps 655 KiB for each start and stop; ipyparallel notices a kill in 5.0 s, and its engines outlive a parent
that is killed.
"""

from __future__ import annotations

import gc
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.errors import NodeLostError

ROOT = Path(__file__).parents[1]
TIMES = 5
WARM_UP, CYCLES = 10, 50
NODES = 3
ORPHANS_AFTER_S = 2.0


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


def partitioned_s() -> float:
    """Seconds from a silent cut of all links of a busy node until the run knows that it is lost."""
    with LocalCluster({"entry": [], "other": [], "victim": ["v"]}, transport="ws") as cluster:
        cluster.register(lambda gate: time.sleep(gate), name="nap", resources="v")
        run = cluster.submit(Workflow([Step("s", "nap", (8.0,))]))
        while run.record.steps["s"].status != "running":
            time.sleep(0.01)
        begun_s = time.perf_counter()
        cluster.faults.partition(["victim"], ["entry", "other"])
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


def orphans() -> tuple[int, float]:
    """Nodes that live two seconds after their parent was killed, and the seconds until the last was gone."""
    program = (
        "from benchmarks.faults import *\n"
        "c = LocalCluster(NODES, processes=True); c.register(hang)\n"
        "c.submit(Workflow([Step(f's{i}', 'hang') for i in range(NODES)]))\n"
        "c.call('echo', 1); print('ready', flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        nodes = psutil.Process(parent.pid).children()
        assert len(nodes) == NODES, nodes
        begun_s = time.perf_counter()
        parent.kill()
        while any(lives(node) for node in nodes) and time.perf_counter() - begun_s < ORPHANS_AFTER_S:
            time.sleep(0.001)
        return sum(lives(node) for node in nodes), time.perf_counter() - begun_s


def lives(process: psutil.Process) -> bool:
    """Whether it runs: one that only waits for init to take note of its end does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    killed_s = [noticed_s(signal.SIGKILL) for _ in range(TIMES)]
    print(f"SIGKILL noticed         median {statistics.median(killed_s):6.3f} s, worst {max(killed_s):.3f} s   "
          "aim 0.5    Dask 0.016, ipyparallel 5.0", flush=True)  # fmt: skip
    halted_s = [noticed_s(signal.SIGSTOP) for _ in range(2)]
    print(f"SIGSTOP noticed         median {statistics.median(halted_s):6.3f} s, worst {max(halted_s):.3f} s   "
          "aim 4      Dask not within 15", flush=True)  # fmt: skip
    print(f"partition noticed       {partitioned_s():13.3f} s                  aim 4", flush=True)
    print(f"start and stop          {growth_kib():+10.1f} KiB each, over {CYCLES}       Dask +655 KiB", flush=True)
    left, gone_s = orphans()
    print(f"orphans after SIGKILL   {left} of {NODES}, gone after {gone_s:.3f} s          aim 0 after 2 s   "
          "ipyparallel leaves its engines")  # fmt: skip


if __name__ == "__main__":
    main()
