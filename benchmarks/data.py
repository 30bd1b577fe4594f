"""Big values over websockets: time, memory, and what other calls on the same connection wait meanwhile.

    python benchmarks/data.py            100, 500 and 1,000 MB, each in a process of its own; some minutes. Linux
    python benchmarks/data.py 1000       one size; this one needs 8 GB

An array goes to a step and comes back. `peak` is the most memory of the process in the meantime, beyond what it had
before, by the size of the array: not the array itself, but the one that the node got and the one that came back.
Then the same with nodes in processes of their own: the array goes from this process to the entry node, from there to
the node that runs the step, and back; `peak` is told for each of the three. The floor is what the same bytes take from
one process to another over a bare socket, four times.
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from mpreg_lab import Client, LocalCluster, Step, Workflow

SIZES_MB = (100, 500, 1000)
TIMES = 3


def most_kib(pid: int | str = "self") -> int:
    """The most memory that a process had since it was last forgotten."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


def forget_most(pid: int | str = "self") -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


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


def measure_processes(size_mb: int) -> None:
    array = np.ones(size_mb * 1_000_000 // 8)
    with LocalCluster({"entry": [], "worker": ["w"]}, processes=True) as cluster:
        cluster.register(lambda value: value, name="same", resources=["w"])
        cluster.register(os.getpid, name="pid")
        nodes = cluster.run(Workflow([Step(node, "pid", node=node) for node in ("entry", "worker")])).results
        pids = [os.getpid(), nodes["entry"], nodes["worker"]]
        cluster.call("same", array[:1000])
        seconds, ratios = [], []
        for _ in range(TIMES):
            for pid in pids:
                forget_most(pid)
            before_kib = [most_kib(pid) for pid in pids]
            begun_s = time.perf_counter()
            back = cluster.call("same", array)
            seconds.append(time.perf_counter() - begun_s)
            grown_kib = [most_kib(pid) - before for pid, before in zip(pids, before_kib, strict=True)]
            ratios.append([grown * 1024 / array.nbytes for grown in grown_kib])
            assert back.sum() == array.sum()
            del back
    here, entry, worker = (max(column) for column in zip(*ratios, strict=True))
    print(
        f"{size_mb:4} MB by way of a node to another, and back: {min(seconds):6.2f} s   peak here {here:.2f} x, entry "
        f"{entry:.2f} x, worker {worker:.2f} x   floor {4 * bare_socket_s(array.nbytes):.2f} s",
        flush=True,
    )


_READS = """
import socket, sys
theirs = socket.socket(fileno=int(sys.argv[1]))
room = memoryview(bytearray(int(sys.argv[2])))
at = 0
while at < len(room):
    at += theirs.recv_into(room[at:])
theirs.send(b"!")
"""


def bare_socket_s(size_bytes: int) -> float:
    """Seconds that so many bytes take to another process over a socket, into memory that is there."""
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-c", _READS, str(theirs.fileno()), str(size_bytes)]
    with ours, theirs, subprocess.Popen(words, pass_fds=[theirs.fileno()]):
        ours.sendall(b"x")
        rest = bytes(size_bytes - 1)
        begun_s = time.perf_counter()
        ours.sendall(rest)
        ours.recv(1)
        return time.perf_counter() - begun_s


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
        measure_processes(int(sys.argv[1]))
    else:
        for size in SIZES_MB:
            subprocess.run([sys.executable, __file__, str(size)], check=True)
