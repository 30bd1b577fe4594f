"""Many calls at once, big values beside small ones, queues that are full, and a client that reads nothing."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from mpreg_lab import AsyncClient, LocalCluster, Step, Workflow
from mpreg_lab.client import aio
from mpreg_lab.errors import ConnectionLostError, OverloadedError
from mpreg_lab.node import executor
from mpreg_lab.transport import peer
from mpreg_lab.transport.registry import transport_for

CLIENTS = 8
CALLS = 10_000
BIG = np.arange(3_000_000.0)


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    cluster = await asyncio.to_thread(LocalCluster, 1, transport="ws", slots=2)
    yield cluster
    await asyncio.to_thread(cluster.stop)


class Gate:
    """A function that returns when it may."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        cluster.register(self.wait, name="wait")

    def wait(self) -> str:
        self.begun.set()
        assert self.open.wait(30)
        return "waited"


async def test_of_10_000_calls_at_once_none_is_lost_swapped_or_doubled(cluster):
    started: Counter[int] = Counter()

    def note(number: int) -> int:
        started[number] += 1
        return -number

    cluster.register(note)
    clients = [await AsyncClient(cluster.url, token=cluster.token).connect() for _ in range(CLIENTS)]
    calls = [clients[number % CLIENTS].call("note", number) for number in range(CALLS)]

    answers = await asyncio.gather(*calls)

    assert answers == [-number for number in range(CALLS)]
    assert started == Counter(range(CALLS))
    for client in clients:
        await client.close()


async def test_small_calls_are_answered_while_a_big_value_is_on_its_way(cluster):
    ended: list[str] = []

    async def call(name: str, value: Any) -> Any:
        back = await client.call("echo", value)
        ended.append(name)
        return back

    async with AsyncClient(cluster.url, token=cluster.token) as client:
        big = asyncio.ensure_future(call("big", BIG))
        await asyncio.sleep(0)
        assert await call("small", 1) == 1
        assert np.array_equal(await big, BIG)
    assert ended == ["small", "big"]


async def test_big_values_of_many_calls_are_not_swapped(cluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        arrays = [np.full(700_000, float(number)) for number in range(8)]
        back = await asyncio.gather(*(client.call("echo", array) for array in arrays))
    assert all(map(np.array_equal, back, arrays))


async def test_a_client_that_reads_nothing_is_cut_and_harms_nobody_else(cluster, monkeypatch):
    monkeypatch.setattr(peer, "_STALLED_BYTES", 1_000_000)
    monkeypatch.setattr(peer, "_STALLED_S", 0.2)
    cut = threading.Event()

    async def until_cut() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    cluster.register(until_cut)
    cluster.register(lambda: BIG, name="big")
    connection = await transport_for("ws://").connect(cluster.url, token=cluster.token)
    connection._websocket.transport.pause_reading()  # type: ignore[attr-defined]
    async with AsyncClient.over(connection) as stuck, AsyncClient(cluster.url, token=cluster.token) as other:
        runs = [await stuck.submit(Workflow([Step("s", function)])) for function in ("until_cut", "big")]
        while not cut.is_set():
            assert await other.call("echo", 1) == 1
        connection.abort()
        for run in runs:
            with pytest.raises(ConnectionLostError):
                await run


# --- queues that are full -------------------------------------------------------------------------------------------


async def test_a_node_that_is_full_refuses_runs_and_takes_them_again(cluster, monkeypatch):
    monkeypatch.setattr(executor, "MAX_LANES", 2)
    gate = Gate(cluster)
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        waiting = [asyncio.ensure_future(client.call("wait")) for _ in range(2)]
        await asyncio.to_thread(gate.begun.wait, 10)
        await client.describe()
        with pytest.raises(OverloadedError, match=r"node 'node-1' has 2 calls .* at most 2\. .*later"):
            await client.call("echo", 1)
        gate.open.set()
        assert await asyncio.gather(*waiting) == ["waited", "waited"]
        assert await client.call("echo", 1) == 1


async def test_a_client_with_too_many_runs_is_told(cluster, monkeypatch):
    monkeypatch.setattr(aio, "MAX_RUNS", 2)
    gate = Gate(cluster)
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        waiting = [asyncio.ensure_future(client.call("wait")) for _ in range(2)]
        await asyncio.to_thread(gate.begun.wait, 10)
        with pytest.raises(OverloadedError, match=r"2 runs of this client are under way: at most 2\. Wait"):
            await client.call("echo", 1)
        gate.open.set()
        assert await asyncio.gather(*waiting) == ["waited", "waited"]
        assert await client.call("echo", 1) == 1


async def test_a_client_that_has_too_much_to_send_is_told(cluster, monkeypatch):
    monkeypatch.setattr(aio, "MAX_UNSENT_BYTES", 10_000_000)
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        first = await client.submit(Workflow([Step("s", "echo", (BIG,))]))
        with pytest.raises(OverloadedError, match=r"\d+ bytes have not left this client yet: at most 10000000"):
            await client.submit(Workflow([Step("s", "echo", (BIG,))]))
        await first
