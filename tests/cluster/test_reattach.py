"""A run outlives the connection of its client: who comes back hears the rest, and nothing is started twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpreg_lab import Client, LocalCluster, Ref, Step, Workflow
from mpreg_lab.client import line
from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.errors import ConnectionLostError, RunCancelledError
from mpreg_lab.node import client_runs
from mpreg_lab.types import StepName
from tests.cluster.launching import WAYS, launched
from tests.cluster.ledger import PATIENCE_S, Hanging, Ledger, first_hangs, until
from tests.cluster.relay import Relay

S = StepName("s")
NODES: dict[str, list[str]] = {"entry": [], "one": ["w"]}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture(params=["memory", "ws"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(NODES, transport=request.param) as cluster:
        yield cluster


@pytest.fixture(params=WAYS)
def fragile(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with launched(NODES, request.param) as cluster:
        yield cluster


def chain() -> Workflow:
    """A step that hangs, and one that needs it."""
    return Workflow([Step("s", "work", resources="w"), Step("t", "echo", (Ref("s"),))])


def test_a_run_ends_well_whose_connection_was_cut_in_its_middle(cluster, ledger):
    cluster.register(first_hangs(ledger), name="work", resources="w")
    run = cluster.submit(chain())
    until(lambda: ledger.starts == 1 and run.record.steps[S].status == "running")

    cluster.faults.cut("client", "entry")
    ledger.gate.touch()
    assert not run.join(0.2)
    cluster.faults.heal()
    run.wait(PATIENCE_S)

    assert (run.results, ledger.starts) == ({"t": 1}, 1)
    assert [(step.status, step.attempts) for step in run.record.steps.values()] == [("done", 1), ("done", 1)]
    assert run["s"] == 1  # Fetched from its node over the new connection.


def test_runs_of_all_sorts_survive_cut_after_cut_and_no_step_starts_twice(cluster, ledger):
    def work(i: int, start=ledger.start) -> int:
        start()
        return i

    cluster.register(work, resources="w")
    runs = []
    for i in range(300):
        runs.append(cluster.submit(Workflow([Step("s", "work", (i,)), Step("t", "echo", (Ref("s"),))])))
        if i % 10 == 9:
            cluster.faults.cut("client", "entry")
            cluster.faults.heal()

    assert [run.wait(PATIENCE_S).results for run in runs] == [{"t": i} for i in range(300)]
    assert ledger.starts == 300


def test_what_never_reached_the_node_is_sent_once_more(cluster, ledger):
    cluster.register(ledger.start, name="work", resources="w")
    cluster.call("echo", 1)

    cluster.faults.cut("client", "entry", silent=True)
    run = cluster.submit(chain())
    cluster.faults.heal()
    run.wait(PATIENCE_S)

    assert (run.results, ledger.starts) == ({"t": 1}, 1)


def test_a_cancellation_reaches_the_node_when_the_connection_is_back(cluster):
    hanging = Hanging()
    cluster.register(hanging.hang, resources="w")
    run = cluster.submit(Workflow([Step("s", "hang")]))
    assert hanging.begun.wait(PATIENCE_S)

    cluster.faults.cut("client", "entry")
    run.cancel()
    assert not run.join(0.1)
    cluster.faults.heal()

    with pytest.raises(RunCancelledError):
        run.wait(PATIENCE_S)
    assert hanging.cancelled.wait(PATIENCE_S)


def test_a_run_whose_client_does_not_come_back_is_cancelled(cluster, monkeypatch):
    monkeypatch.setattr(client_runs, "KEEP_S", 0.2)
    monkeypatch.setattr(line, "PATIENCE_S", 0.1)
    hanging = Hanging()
    cluster.register(hanging.hang, resources="w")
    run = cluster.submit(Workflow([Step("s", "hang"), Step("t", "echo", (Ref("s"),))]))
    assert hanging.begun.wait(PATIENCE_S)
    until(lambda: run.record.steps[S].status == "running")

    cluster.faults.cut("client", "entry")

    assert hanging.cancelled.wait(PATIENCE_S)
    with pytest.raises(ConnectionLostError) as caught:
        run.wait(PATIENCE_S)
    assert str(caught.value) == (
        "the connection to the cluster was lost, and did not come back: the link from client to entry is cut. "
        "Under way, and may or may not have run: 's'"
    )
    assert caught.value.step == "s"
    assert {name: str(step.status) for name, step in run.record.steps.items()} == {"s": "failed", "t": "skipped"}
    assert run.errors == {"s": caught.value}
    assert run.record.duration_s is not None
    with pytest.raises(ConnectionLostError):
        run["s"]


def test_a_run_is_given_up_by_the_node_before_its_client_is_back(cluster, ledger, monkeypatch):
    monkeypatch.setattr(client_runs, "KEEP_S", 0.0)
    cluster.register(first_hangs(ledger), name="work", resources="w")
    run = cluster.submit(chain())
    until(lambda: ledger.starts == 1)

    cluster.faults.cut("client", "entry")
    cluster.faults.heal()

    with pytest.raises(ConnectionLostError, match="the cluster gave the run up, as its client was away for too long"):
        run.wait(PATIENCE_S)
    ledger.gate.touch()


@pytest.mark.parametrize("retries", [0, 3])
def test_a_run_is_lost_with_the_node_that_coordinates_it_and_nothing_is_started_again(fragile, ledger, retries):
    """Who knows how often a step was started has died: one start more could be one too many."""
    fragile.register(first_hangs(ledger), name="work", resources="w")
    run = fragile.submit(Workflow([Step("s", "work", retries=retries)]))
    until(lambda: ledger.starts == 1 and run.record.steps[S].status == "running")

    fragile.kill("entry")

    with pytest.raises(ConnectionLostError) as caught:
        run.wait(PATIENCE_S)
    assert str(caught.value) == (
        "the node that coordinated the run has ended. Under way, and may or may not have run: 's'"
    )
    ledger.gate.touch()
    assert fragile.call("work") == 2  # And not 3: by way of the other node.


@pytest.mark.parametrize("processes", [False, True], ids=["in process", "processes"])
def test_a_client_from_elsewhere_comes_back_too(ledger, processes):
    with (
        LocalCluster(NODES, processes=processes) as cluster,
        Relay(cluster.url) as relay,
        Client(relay.url, token=cluster.token) as client,
    ):
        cluster.register(first_hangs(ledger), name="work", resources="w")
        run = client.submit(chain())
        until(lambda: ledger.starts == 1 and run.record.steps[S].status == "running")

        relay.cut(stay=True)
        ledger.gate.touch()
        until(lambda: relay.taken >= 3)
        assert not run.done
        relay.heal()
        run.wait(PATIENCE_S)

        assert (run.results, run["s"], ledger.starts) == ({"t": 1}, 1, 1)
        assert client.call("echo", 2) == 2


def test_a_client_whose_node_has_died_and_is_back_does_not_take_the_new_one_for_the_old(ledger):
    with (
        LocalCluster(NODES, processes=True) as cluster,
        Relay(cluster.url) as relay,
        Client(relay.url, token=cluster.token) as client,
    ):
        cluster.register(first_hangs(ledger), name="work", resources="w")
        run = client.submit(Workflow([Step("s", "work", retries=5)]))
        until(lambda: ledger.starts == 1)

        relay.cut(stay=True)
        cluster.kill("entry")
        cluster.restart("entry")
        relay.target(cluster.url)
        relay.heal()

        with pytest.raises(ConnectionLostError, match="the node that coordinated the run has ended"):
            run.wait(PATIENCE_S)
        ledger.gate.touch()
        assert client.call("work") == 2


def test_what_comes_twice_or_out_of_order_on_the_way_to_the_client_counts_once(cluster, ledger):
    def work(i: int, start=ledger.start) -> int:
        start()
        return i

    cluster.register(work, resources="w")
    cluster.faults.seed(3)
    cluster.faults.duplicate("client", "entry", 0.5)
    cluster.faults.reorder("client", "entry", 0.3, by_s=0.01)
    ends: list[int] = []

    for i in range(20):
        run = cluster.submit(Workflow([Step("s", "work", (i,)), Step("t", "echo", (Ref("s"),))]))
        run.on_end(lambda i=i: ends.append(i))
        assert run.wait(PATIENCE_S).results == {"t": i}
        assert repr(run.record) == "RunRecord(2 steps: 2 done)"

    assert (ends, ledger.starts) == (list(range(20)), 20)


async def test_results_can_be_had_over_a_new_connection_by_who_held_on_to_the_run():
    with LocalCluster(NODES) as cluster, Relay(cluster.url) as relay:
        async with AsyncClient(relay.url, token=cluster.token) as client:
            run = await client.run(Workflow([Step("s", "echo", (1,)), Step("t", "echo", (Ref("s"),))]))
            await asyncio.to_thread(relay.cut)
            assert await asyncio.to_thread(run.__getitem__, "s") == 1
