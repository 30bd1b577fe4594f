"""Fifty starts and stops leave nothing behind: no thread, task, file, socket, or entry in a registry."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.local import LocalCluster, running_clusters
from mpreg_lab.engine import output
from mpreg_lab.errors import MpregError
from mpreg_lab.transport import memory
from mpreg_lab.workflow.model import Ref, Step, Workflow

PATIENCE_S = 30.0


def open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        # The directory that is being read is one of them, and gone afterwards.
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()).partition(":")[0])
    return sorted(found)


def left() -> dict[str, Any]:
    """What could be left of a cluster."""
    gc.collect()
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": open_files(),
        "tasks": [thing for thing in gc.get_objects() if type(thing) is asyncio.Task and not thing.done()],
        "clusters": running_clusters(),
        "listeners": dict(memory._listeners),
        "users of the streams": set(output._users),
        "streams": (sys.stdout, sys.stderr),
    }


def run_something(cluster: LocalCluster) -> None:
    steps = [Step(f"s{i}", "echo", (i,), node=node) for i, node in enumerate(cluster.nodes)]
    cluster.run(Workflow([*steps, Step("all", "echos", tuple(Ref(step.name) for step in steps))]))


def leave_a_run_under_way(cluster: LocalCluster) -> None:
    begun = threading.Semaphore(0)
    go = threading.Event()

    async def hang() -> None:
        begun.release()
        await asyncio.get_running_loop().create_future()

    def wait() -> None:
        begun.release()
        go.wait(PATIENCE_S)

    for function in (wait, hang):
        cluster.register(function)
        cluster.submit(Workflow([Step(f"s{i}", function.__name__, node=node) for i, node in enumerate(cluster.nodes)]))
    for _ in range(2 * len(cluster.nodes)):
        assert begun.acquire(timeout=PATIENCE_S)
    go.set()


def fail(cluster: LocalCluster) -> None:
    cluster.register(lambda: [][0], name="fail")
    cluster.run(Workflow([Step(f"s{i}", "fail", retries=1) for i in range(3)]), check=False)


def speak_from_outside(cluster: LocalCluster) -> None:
    with Client(cluster.url, token=cluster.token) as client:
        assert client.call("echo", 1) == 1
        client.submit(Workflow([Step("a", "echo", (1,))]))
    with contextlib.suppress(MpregError):
        Client(cluster.url, token="wrong")


USES = (run_something, leave_a_run_under_way, fail, speak_from_outside)


@pytest.mark.parametrize("transport", ["memory", "ws"])
def test_starts_and_stops_leave_nothing_behind(transport: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What is loaded and opened once, for good: modules, and what they hold.
        start_and_stop(transport, 4)
        before = left()
        start_and_stop(transport, 50)
        after = left()

    assert after == before


def start_and_stop(transport: Any, times: int) -> None:
    for use, _ in zip(cycle(USES), range(times), strict=False):
        with LocalCluster(3, transport=transport) as cluster:
            use(cluster)
