"""The promises about failure, counted: every start of a function appends a line to a file, whoever runs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpreg_lab import LocalCluster, Ref, Step, Workflow
from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.errors import (
    ConnectError,
    MpregError,
    NodeLostError,
    RoutingError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
    StepTimeoutError,
)
from mpreg_lab.testing.faults import Action, Cut, Heal
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.memory import MemoryConnection
from mpreg_lab.transport.registry import transport_for
from tests.cluster.launching import WAYS, launched
from tests.cluster.ledger import PATIENCE_S, Ledger, first_hangs, until


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


NODES: dict[str, list[str]] = {"entry": [], "one": ["w"], "two": ["w"]}


@pytest.fixture(scope="module", params=["memory", "ws"])
def shared(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(NODES, transport=request.param) as cluster:
        yield cluster


@pytest.fixture(params=WAYS)
def fragile(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A cluster whose nodes may be killed."""
    with launched(NODES, request.param) as cluster:
        yield cluster


def late(cluster: LocalCluster) -> int:
    """How many answers the nodes have dropped."""
    return sum(node.late for node in cluster.status().nodes)


def one(function: str, **options) -> Workflow:
    return Workflow([Step("s", function, **options)])


def failure(cluster: LocalCluster, workflow: Workflow) -> Exception | None:
    """What a run raises."""
    try:
        cluster.run(workflow)
    except MpregError as error:
        return error
    return None


# --- a node is killed in the middle of a step -----------------------------------------------------------------------


def test_without_retries_a_step_starts_at_most_once(fragile, ledger):
    fragile.register(first_hangs(ledger), name="work", resources="w")
    run = fragile.submit(one("work", node="one"))
    until(lambda: ledger.starts == 1)

    fragile.kill("one")

    with pytest.raises(NodeLostError) as caught:
        run.wait(PATIENCE_S)
    assert caught.value.step == "s"
    assert "node 'one' went away with step 's' under way (attempt 1): it may or may not have run" in str(caught.value)
    ledger.gate.touch()
    assert fragile.call("work") == 2  # And not 3: the first was the only one.


def test_with_retries_it_starts_again_elsewhere(fragile, ledger):
    fragile.register(first_hangs(ledger), name="work", resources="w")
    run = fragile.submit(one("work", retries=3))
    until(lambda: ledger.starts == 1 and run.record.steps["s"].node is not None)
    killed = run.record.steps["s"].node
    assert killed is not None

    fragile.kill(killed)
    run.wait(PATIENCE_S)

    assert (run["s"], ledger.starts) == (2, 2)
    assert (run.record.steps["s"].node, run.record.steps["s"].attempts) == ({"one": "two", "two": "one"}[killed], 2)
    ledger.gate.touch()


def test_a_killed_node_is_not_chosen_until_it_is_back(fragile, ledger):
    fragile.register(ledger.start, name="work", resources="w")
    fragile.kill("one")

    run = fragile.run(Workflow([Step(f"s{i}", "work", retries=1) for i in range(20)]))

    assert {step.node for step in run.record.steps.values()} == {"two"}
    assert ledger.starts == 20
    until(lambda: isinstance(failure(fragile, one("work", node="one")), RoutingError))
    assert ledger.starts == 20
    fragile.restart("one")
    assert fragile.run(one("work", node="one"))["s"] == 21


def test_the_other_steps_of_a_run_that_lost_a_node_are_kept_and_all_failures_told(fragile, ledger, tmp_path):
    other = Ledger(tmp_path / "other")

    def fail(start=other.start) -> None:
        start()
        raise ValueError("of its own")

    fragile.register(first_hangs(ledger), name="work", resources="w")
    fragile.register(fail, name="fail", resources="w")
    run = fragile.submit(
        Workflow([Step("lost", "work", node="one"), Step("fails", "fail", node="two"), Step("well", "echo", (1,))])
    )
    until(lambda: ledger.starts == 1 and run.record.steps["fails"].status == "failed")
    fragile.kill("one")

    with pytest.raises(RunFailedError) as caught:
        run.wait(PATIENCE_S)
    assert {type(error) for error in caught.value.exceptions} == {NodeLostError, ValueError}
    assert run.results == {"well": 1}
    assert (ledger.starts, other.starts) == (1, 1)
    ledger.gate.touch()


# --- retries, deadlines, cancelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_a_step_that_always_fails_starts_once_more_than_it_may_be_tried_again(shared, ledger, retries):
    def fail(start=ledger.start) -> None:
        raise ValueError(start())

    shared.register(fail, resources="w")

    with pytest.raises(ValueError, match=str(retries + 1)):
        shared.run(one("fail", retries=retries))

    assert ledger.starts == retries + 1


def test_the_first_answer_wins_and_a_late_one_is_dropped(shared, ledger):
    over = threading.Event()
    work = first_hangs(ledger)

    def work_and_tell() -> int:
        number = work()
        if number == 1:
            over.set()
        return number

    shared.register(work_and_tell, name="work", resources="w")
    before = late(shared)
    run = shared.submit(Workflow([Step("s", "work", timeout_s=1.0, retries=1), Step("t", "echo", (Ref("s"),))]))
    run.wait(PATIENCE_S)
    ledger.gate.touch()
    assert over.wait(PATIENCE_S)
    shared.call("echo", 1)

    assert (run["s"], run["t"], ledger.starts) == (2, 2, 2)
    until(lambda: late(shared) == before + 1)


def test_an_answer_that_comes_twice_counts_once_and_is_told_of(shared, ledger):
    shared.register(ledger.start, name="work", resources="w")
    before = late(shared)
    for node in ("one", "two"):
        shared.faults.duplicate("entry", node, 1.0)

    run = shared.run(Workflow([Step("s", "work"), Step("t", "echo", (Ref("s"),))]))
    until(lambda: late(shared) > before)
    shared.faults.heal()

    assert (run.results, run["s"], ledger.starts) == ({"t": 1}, 1, 1)


def test_an_async_step_ends_at_its_deadline(shared, ledger):
    stopped = threading.Event()

    async def hang() -> None:
        ledger.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    shared.register(hang, resources="w")

    with pytest.raises(StepTimeoutError):
        shared.run(one("hang", timeout_s=1.0))
    assert stopped.wait(PATIENCE_S)
    assert ledger.starts == 1


def test_a_run_that_is_over_time_starts_nothing_more(shared, ledger):
    shared.register(first_hangs(ledger), name="work", resources="w")

    workflow = Workflow([Step("s", "work", retries=5), Step("t", "echo", (Ref("s"),))])
    with pytest.raises(RunTimeoutError):
        shared.run(workflow, timeout=1.0)
    ledger.gate.touch()

    assert shared.run(one("work"))["s"] == 2


def test_what_follows_a_cancelled_step_never_starts(shared, ledger):
    shared.register(first_hangs(ledger), name="work", resources="w")
    shared.register(lambda _, start=ledger.start: start(), name="after", resources="w")
    run = shared.submit(Workflow([Step("s", "work"), Step("t", "after", (Ref("s"),))]))
    until(lambda: ledger.starts == 1)

    run.cancel()
    with pytest.raises(RunCancelledError):
        run.wait(PATIENCE_S)
    # What the node is told now, it is told after the cancellation: that may still be on its way.
    shared.run(one("echo", args=(1,), node=run.record.steps["s"].node))
    ledger.gate.touch()

    assert shared.run(one("work"))["s"] == 2
    assert run.record.steps["t"].status == "cancelled"


def test_a_step_waits_for_a_node_that_can_run_it_and_starts_once(fragile, ledger):
    fragile.register(ledger.start, name="work", resources="w")
    fragile.kill("one")
    until(lambda: isinstance(failure(fragile, one("work", node="one")), RoutingError))

    run = fragile.submit(one("work", node="one", wait_for_s=PATIENCE_S))
    fragile.restart("one")
    run.wait(PATIENCE_S)

    assert (run["s"], ledger.starts) == (1, 1)


# --- links ----------------------------------------------------------------------------------------------------------


def test_over_links_that_break_again_and_again_no_step_starts_more_often_than_allowed(shared, ledger):
    """Cut and healed while steps run: each starts at most 1 + retries times."""
    shared.register(lambda i, start=ledger.start: (start(), i)[1], name="work", resources="w")
    actions: tuple[Action, ...] = (Cut("entry", "one"), Heal(), Cut("entry", "two"), Heal())
    playing = shared.faults.play([(0.01 * i, actions[i % 4]) for i in range(20)])

    steps = [Step(f"s{i}", "work", (i,), retries=9, backoff_s=0.02) for i in range(50)]
    run = shared.run(Workflow(steps), check=False)
    playing.wait(PATIENCE_S)
    shared.faults.heal()

    assert {name: value for name, value in run.results.items() if value != int(name[1:])} == {}
    told = sum(step.attempts for step in run.record.steps.values())
    assert len(run.results) <= ledger.starts <= told


def test_a_call_after_the_connection_of_the_client_was_cut_just_works(shared):
    shared.call("echo", 1)
    shared.faults.cut("client", "entry")
    shared.faults.heal()

    assert shared.run(one("echo", args=(2,), retries=1))["s"] == 2


@pytest.mark.parametrize(("retries", "expected"), [(2, 3), (1, 2)])
async def test_a_client_tries_to_connect_again_as_often_as_its_steps_may_be_tried(ledger, retries, expected):
    tries = []

    class Later:
        async def dial(self) -> Connection:
            tries.append(True)
            if len(tries) <= 2:
                raise ConnectError("nobody answers")
            return await transport_for(url).connect(url, token=token)

        again = dial

        def ended(self) -> bool:
            return False

    with LocalCluster(1) as cluster:
        url, token = cluster.url, cluster.token
        cluster.register(ledger.start, name="work")
        client = AsyncClient.over(MemoryConnection.pair()[0], Later())
        await client.close()
        if retries == 2:
            assert (await client.run(one("work", retries=retries)))["s"] == 1
        else:
            with pytest.raises(ConnectError):
                await client.run(one("work", retries=retries))
        await client.close()

    assert (len(tries), ledger.starts) == (expected, int(retries == 2))
