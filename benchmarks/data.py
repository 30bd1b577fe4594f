"""Big values over a websocket in one process: time, memory, and what other calls on the same connection wait meanwhile.

    python benchmarks/data.py            both sizes, each in a process of its own; about half a minute. Linux

An array goes to a step and comes back. `peak` is the most memory of the process in the meantime, beyond what it had
before, by the size of the array: not the array itself, but the one that the node got and the one that came back.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from mpreg_lab import Client, LocalCluster

SIZES_MB = (100, 500)
TIMES = 3


def most_kib() -> int:
    """The most memory that this process had since it was last forgotten."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


def forget_most() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def small_calls(client: Client, over: threading.Event) -> list[float]:
    """Seconds of each small call, one after the other, until it is over."""
    times = []
    while not over.is_set():
        begun_s = time.perf_counter()
        client.call("echo", 1)
        times.append(time.perf_counter() - begun_s)
    return times


def measure(size_mb: int) -> None:
    array = np.ones(size_mb * 1_000_000 // 8)
    with LocalCluster(1, transport="ws") as cluster, Client(cluster.url) as client:
        client.call("echo", array[:1000])
        seconds, ratios = [], []
        for _ in range(TIMES):
            forget_most()
            before_kib = most_kib()
            begun_s = time.perf_counter()
            back = client.call("echo", array)
            seconds.append(time.perf_counter() - begun_s)
            ratios.append((most_kib() - before_kib) * 1024 / array.nbytes)
            assert back.sum() == array.sum()
            del back

        over = threading.Event()
        times: list[float] = []
        beside = threading.Thread(target=lambda: times.extend(small_calls(client, over)))
        beside.start()
        client.call("echo", array)
        over.set()
        beside.join()
        quiet = threading.Event()
        threading.Timer(0.5, quiet.set).start()
        alone = small_calls(client, quiet)
    print(
        f"{size_mb:4} MB echo: {min(seconds):6.2f} s   peak {max(ratios):.2f} x   small calls meanwhile: {len(times):4}"
        f", median {statistics.median(times) * 1000:7.1f} ms, longest {max(times) * 1000:7.1f} ms "
        f"(alone {statistics.median(alone) * 1000:.1f} ms)",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
    else:
        for size in SIZES_MB:
            subprocess.run([sys.executable, __file__, str(size)], check=True)
