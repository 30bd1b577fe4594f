from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import (
    ConnectError,
    ConnectionLostError,
    RunCancelledError,
    StepNotFinishedError,
    UnserialisableArgumentError,
    WorkflowError,
    WrongThreadError,
)
from mpreg_lab.workflow.model import Ref, Step, Workflow
from tests.cluster.ledger import Hanging

PATIENCE_S = 30.0


class TotalError(Exception):
    pass


def total(values: list[int]) -> int:
    if not values:
        raise TotalError("nothing to add")
    return sum(values)


@pytest.fixture(scope="module", params=["memory", "ws"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster({"a": [], "b": ["adder"]}, transport=request.param) as cluster:
        cluster.register(total, resources="adder")
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster.url, token=cluster.token) as client:
        yield client


def pipeline() -> Workflow:
    return Workflow([Step("values", "echo", ([1, 2, 3],)), Step("total", "total", (Ref("values"),), resources="adder")])


# --- from outside -------------------------------------------------------------------------------------------------


def test_a_client_has_the_verbs_of_a_cluster(client):
    assert client.call("total", [4, 5]) == 9
    assert client.run(pipeline()).results == {"total": 6}
    assert client.submit(pipeline()).wait(PATIENCE_S)["values"] == [1, 2, 3]
    assert {member.name: member.resources for member in client.members()} == {"a": (), "b": ("adder",)}


def test_a_client_hears_all_that_happens(client):
    run = client.run(pipeline())

    assert repr(run) == "Run(2 steps: 2 done)"
    assert run.record.steps["total"].node == "b"


def test_exceptions_arrive_as_they_are(client):
    with pytest.raises(TotalError, match="nothing to add") as caught:
        client.call("total", [])
    assert caught.value.__notes__ == ["in step 'total' (total) on node 'b', attempt 1"]


def test_a_function_that_is_registered_later_is_there(cluster, client):
    cluster.register(len, name="size")

    assert client.call("size", "four") == 4


async def test_an_async_client_has_awaitable_verbs(cluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        assert await client.call("total", [4, 5]) == 9
        assert (await client.run(pipeline())).results == {"total": 6}
        run = await client.submit(pipeline())
        assert (await run).results == {"total": 6}
        assert len(await client.members()) == 2
        with pytest.raises(TotalError):
            await client.call("total", [])


async def test_many_runs_share_a_connection(cluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        assert await asyncio.gather(*(client.call("echo", i) for i in range(50))) == list(range(50))


async def test_a_result_that_was_not_asked_for_cannot_be_had_on_the_loop_that_would_have_to_fetch_it(cluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        run = await client.run(pipeline())
        with pytest.raises(WrongThreadError) as caught:
            run["values"]
        assert str(caught.value) == (
            "fetching a result on the cluster's own loop would wait for ever. "
            "Ask for it: Workflow(..., returns=['values'])"
        )
        assert await asyncio.to_thread(run.__getitem__, "values") == [1, 2, 3]


# --- the door -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["wrong", ""])
def test_who_has_not_the_token_stays_outside(cluster, token):
    before = set(threading.enumerate())
    with pytest.raises(ConnectError) as caught:
        Client(cluster.url, token=token)

    assert str(caught.value) == f"cannot connect to {cluster.url}: wrong or missing token"
    assert set(threading.enumerate()) <= before


def test_nobody_asks_for_a_token_where_there_is_none():
    with LocalCluster(1, token=None) as cluster, Client(cluster.url) as client:
        assert client.call("echo", 1) == 1


def test_nobody_answers_where_no_cluster_is():
    with LocalCluster(1) as cluster:
        url = cluster.url
    with pytest.raises(ConnectError) as caught:
        Client(url)
    assert str(caught.value) == f"cannot connect to {url}: nobody listens there"


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_client_that_was_closed_says_so(cluster):
    client = Client(cluster.url, token=cluster.token)
    run = client.run(pipeline())
    client.close()
    client.close()

    assert run.results == {"total": 6}
    for use in (lambda: client.call("echo", 1), lambda: client.run(pipeline()), client.members):
        with pytest.raises(ConnectionLostError) as caught:
            use()
        assert str(caught.value) == "the client was closed. Make another: Client(url, token=...)"


async def test_an_async_client_comes_back_when_it_is_used_again(cluster):
    client = AsyncClient(cluster.url, token=cluster.token)
    assert await client.call("echo", 1) == 1
    await client.close()
    await client.close()
    assert await client.call("echo", 2) == 2
    await client.close()


def test_runs_end_with_the_client_that_began_them(cluster):
    hanging = Hanging()
    cluster.register(hanging.hang)
    client = Client(cluster.url, token=cluster.token)
    run = client.submit(Workflow([Step("s", "hang")]))
    assert hanging.begun.wait(PATIENCE_S)
    client.close()

    with pytest.raises(ConnectionLostError) as caught:
        run.wait(PATIENCE_S)
    assert str(caught.value) == "the connection to the cluster ended before the run did"
    assert hanging.cancelled.wait(PATIENCE_S)


def test_runs_end_with_the_cluster_that_they_run_on():
    begun = threading.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    with LocalCluster(1) as cluster, Client(cluster.url, token=cluster.token) as client:
        cluster.register(hang)
        run = client.submit(Workflow([Step("s", "hang")]))
        assert begun.wait(PATIENCE_S)
        cluster.stop()
        with pytest.raises((RunCancelledError, ConnectionLostError)):
            run.wait(PATIENCE_S)
        with pytest.raises(ConnectError):
            client.call("echo", 1)


def test_results_of_old_runs_are_let_go(cluster, client):
    runs = [client.run(pipeline()) for _ in range(70)]

    assert runs[-1]["values"] == [1, 2, 3]
    assert runs[0].results == {"total": 6}
    with pytest.raises(StepNotFinishedError) as caught:
        runs[0]["values"]
    assert str(caught.value) == "node 'a' has no result of step 'values' any more"


def test_runs_that_nobody_holds_are_forgotten_by_the_nodes(cluster, client):
    kept = client.run(pipeline())
    for _ in range(70):
        client.run(pipeline())

    assert kept["values"] == [1, 2, 3]


# --- what is not even sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", True], ids=str)
def test_a_time_out_that_is_none_is_refused(client, timeout):
    with pytest.raises(WorkflowError) as caught:
        client.run(pipeline(), timeout=timeout)
    assert str(caught.value) == f"timeout must be seconds, more than 0, not {timeout!r}"


@pytest.mark.parametrize(
    ("args", "kwargs", "what"),
    [
        ((1, threading.Lock()), {}, "argument 2 of echos is a lock (_thread.lock)"),
        (([{"x": (i for i in [1])}],), {}, "argument 1[0]['x'] of echos is a generator"),
        ((), {"value": threading.Lock()}, "argument 'value' of echos is a lock (_thread.lock)"),
    ],
    ids=["a lock", "a generator inside", "a keyword"],
)
def test_an_argument_that_cannot_travel_is_named(client, args, kwargs, what):
    with pytest.raises(UnserialisableArgumentError) as caught:
        client.run(Workflow([Step("s", "echos", args, kwargs)]))
    assert str(caught.value) == f"step 's': {what}, which cannot travel to another node. Pass plain data"
    assert client.call("echo", 1) == 1


def test_what_a_sample_does_not_show_is_found_when_it_is_sent(client):
    rows: list[Any] = [0] * 5000
    rows.append(threading.Lock())
    with pytest.raises(UnserialisableArgumentError) as caught:
        client.call("echo", rows)

    assert str(caught.value) == (
        "step 'echo': argument 1[5000] of echo is a lock (_thread.lock), which cannot travel to another node. "
        "Pass plain data"
    )
    assert client.call("echo", 1) == 1
