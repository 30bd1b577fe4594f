"""AsyncTestContext ends everything, in order, whatever was raised."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mpreg_lab import AsyncClient, Client, LocalCluster
from mpreg_lab.errors import ClusterError
from mpreg_lab.testing import AsyncTestContext, Server, ServerClient, ServerSettings

pytestmark = pytest.mark.usefixtures("no_leaks")


class Thing:
    """Something that notes when it is ended, and may fail at it."""

    def __init__(self, name: str, ended: list[str], error: Exception | None = None) -> None:
        self.name, self.ended, self.error = name, ended, error

    async def stop(self) -> None:
        self.ended.append(self.name)
        if self.error is not None:
            raise self.error


async def noting(name: str, ended: list[str]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        ended.append(name)


async def test_tasks_end_first_then_clients_then_servers_each_the_last_first():
    ended: list[str] = []
    async with AsyncTestContext() as context:
        context.servers += [Thing("server 1", ended), Thing("server 2", ended)]
        context.clients += [Thing("client 1", ended), Thing("client 2", ended)]
        context.tasks += [asyncio.create_task(noting(f"task {n}", ended)) for n in (1, 2)]
        await asyncio.sleep(0)

    assert ended == ["task 2", "task 1", "client 2", "client 1", "server 2", "server 1"]
    assert context.empty


async def test_what_it_starts_itself_is_ended():
    async with AsyncTestContext() as context:
        first = await context.serve(resources={"gpu"}, cluster_id="c")
        second = await context.serve(ServerSettings(peers=[first.url], cluster_id="c"))
        client = await context.connect(second)
        answer = context.spawn(client.call("echo", 1))
        assert await answer == 1
        assert len(first.nodes) == 2

    assert [first.running, second.running, client.connected] == [False, False, False]


async def test_clusters_and_clients_of_all_kinds_are_ended():
    async with AsyncTestContext() as context:
        cluster = LocalCluster(1)
        context.servers.append(cluster)
        context.clients += [Client(cluster.url), await AsyncClient(cluster.url).connect(), ServerClient(cluster.url)]

    assert not cluster.running


async def test_the_tests_own_error_comes_through_with_the_others_in_its_notes():
    ended: list[str] = []

    async def fail() -> None:
        async with AsyncTestContext() as context:
            context.servers += [Thing("a", ended), Thing("b", ended, OSError("full")), Thing("c", ended)]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await fail()

    assert ended == ["c", "b", "a"]
    assert caught.value.__notes__ == ["the teardown failed too: OSError: full"]


async def test_all_errors_of_the_teardown_are_told():
    ended: list[str] = []
    context = AsyncTestContext()
    context.servers += [Thing("a", ended, OSError("1")), Thing("b", ended), Thing("c", ended, KeyError("2"))]
    context.clients.append(5)
    with pytest.raises(ExceptionGroup) as caught:
        await context.close()

    assert ended == ["c", "b", "a"]
    assert [type(error) for error in caught.value.exceptions] == [ClusterError, KeyError, OSError]
    assert "5 cannot be ended" in str(caught.value.exceptions[0])


async def test_an_error_of_a_task_is_told_unless_somebody_has_seen_it():
    async def fail(error: Exception) -> None:
        raise error

    context = AsyncTestContext()
    seen, _ = context.spawn(fail(OSError("seen"))), context.spawn(fail(OSError("unseen")))
    with pytest.raises(OSError, match="seen"):
        await seen
    with pytest.raises(ExceptionGroup) as caught:
        await context.close()

    assert [str(error) for error in caught.value.exceptions] == ["unseen"]


async def test_a_cancelled_teardown_still_ends_everything():
    ended: list[str] = []
    begun = asyncio.Event()

    class Slow(Thing):
        async def stop(self) -> None:
            begun.set()
            await noting(self.name, self.ended)

    async def use() -> None:
        async with AsyncTestContext() as context:
            context.servers += [Thing("a", ended), Slow("slow", ended), Thing("b", ended)]

    task = asyncio.create_task(use())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["b", "slow", "a"]


async def test_a_port_that_is_taken_is_told_by_the_context():
    with Server() as server:
        context = AsyncTestContext()
        second: Any = Server(ServerSettings(port=server.settings.port))
        context.servers.append(second)
        task = context.spawn(second.server())
        await asyncio.wait((task,))
        with pytest.raises(ExceptionGroup, match="teardown"):
            await context.close()
