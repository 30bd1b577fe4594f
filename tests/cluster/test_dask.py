from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

from mpreg_lab.cluster.dask import DaskCluster
from mpreg_lab.errors import (
    ArgumentsError,
    ClusterStoppedError,
    ConnectError,
    FunctionError,
    NodeLostError,
    RoutingError,
    RunCancelledError,
    RunTimeoutError,
    UnserialisableResultError,
)
from mpreg_lab.step_context import current_step
from mpreg_lab.workflow.model import Ref, Step, Workflow

pytestmark = pytest.mark.dask


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """Two workers in processes of their own."""
    with DaskCluster({"ingest": ["csv-parser"], "train": ["gpu"]}, processes=True, slots=2) as cluster:
        yield cluster


@pytest.fixture
def here() -> Iterator[DaskCluster]:
    """Workers in this process."""
    with DaskCluster(2) as cluster:
        yield cluster


def test_steps_run_where_their_resources_are_and_results_go_from_worker_to_worker(cluster):
    @cluster.function(resources=["csv-parser"])
    def parse(text):
        return [int(word) for word in text.split(",")], os.getpid()

    @cluster.function(resources=["gpu"])
    def total(numbers):
        return sum(numbers), os.getpid()

    rows = Step("rows", "parse", ("1,2,3",), resources=("csv-parser",))
    run = cluster.run(Workflow((rows, Step("sum", "total", (Ref("rows")[0],), resources=("gpu",)))))

    assert run["sum"][0] == 6
    assert {step.name: step.node for step in run.record.steps.values()} == {"rows": "ingest", "sum": "train"}
    assert len({run["rows"][1], run["sum"][1], os.getpid()}) == 3


def test_what_no_worker_can_run_never_begins(cluster):
    def train(rows):
        return rows

    cluster.register(train, resources=["gpu"])
    with pytest.raises(RoutingError, match="'tpu'"):
        cluster.run(Workflow((Step("x", "train", (1,), resources=("tpu",)),)))
    with pytest.raises(ArgumentsError, match=r"step 'x' cannot call train\(rows\): nothing is given for 'rows'"):
        cluster.run(Workflow((Step("x", "train"),)))
    with pytest.raises(RoutingError, match="Did you mean 'train'"):
        cluster.run(Workflow((Step("x", "trian", (1,)),)))


def test_printed_output_and_failures_come_back_with_their_steps(cluster):
    def speak(word):
        print(word)  # noqa: T201
        raise KeyError(word)

    cluster.register(speak)
    run = cluster.run(Workflow((Step("a", "speak", ("one",)), Step("b", "speak", ("two",)))), check=False)

    assert {name: step.printed for name, step in run.record.steps.items()} == {"a": "one\n", "b": "two\n"}
    assert run.errors["a"].args == ("one",)
    failure = run.record.steps["a"].failure
    assert "raise KeyError(word)" in failure.traceback
    assert "lanes.py" not in failure.traceback


def test_a_function_knows_its_step(cluster):
    def where():
        step = current_step()
        return step.step, step.node, step.attempt

    cluster.register(where, resources=["gpu"])
    assert cluster.run(Workflow((Step("here", "where"),)))["here"] == ("here", "train", 1)


def test_a_function_that_is_registered_again_is_replaced(here):
    for number in (1, 2):
        here.register(lambda number=number: number, name="version")
        assert here.call("version") == number


def test_in_one_process_values_are_handed_on_as_they_are(here):
    lock = threading.Lock()
    here.register(lambda value: value is lock, name="same")
    here.register(lambda: lock, name="give")

    assert here.run(Workflow((Step("a", "give"), Step("b", "same", (Ref("a"),)))))["b"] is True


def test_a_result_that_cannot_travel_fails_its_step(cluster):
    cluster.register(lambda: threading.Lock(), name="lock")
    with pytest.raises(UnserialisableResultError, match="step 'lock'"):
        cluster.call("lock")


def test_a_function_that_cannot_travel_is_refused(cluster):
    lock = threading.Lock()
    with pytest.raises(FunctionError, match="'locked' cannot be sent to the workers"):
        cluster.register(lambda: lock, name="locked")


def test_a_killed_worker_loses_its_step_which_started_once(tmp_path):
    ledger = tmp_path / "starts"
    with DaskCluster({"fragile": ["gpu"], "other": []}, processes=True) as cluster:

        @cluster.function(resources=["gpu"])
        def die(path):
            with Path(path).open("a") as file:
                file.write("started\n")
            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(NodeLostError, match="fragile"):
            cluster.run(Workflow((Step("x", "die", (str(ledger),), resources=("gpu",)),)))
        assert ledger.read_text() == "started\n"


def test_a_step_that_may_be_retried_goes_on_elsewhere(tmp_path):
    ledger = tmp_path / "starts"
    with DaskCluster(2, processes=True) as cluster:

        @cluster.function
        def die_once(path):
            first = not Path(path).exists()
            with Path(path).open("a") as file:
                file.write(f"{current_step().node}\n")
            if first:
                os.kill(os.getpid(), signal.SIGKILL)
            return "survived"

        run = cluster.run(Workflow((Step("x", "die_once", (str(ledger),), retries=1),)))
        first, second = ledger.read_text().split()
        assert run["x"] == "survived"
        assert first != second


def test_cancelling_stops_an_async_step_at_its_worker(here):
    begun, ended = threading.Event(), threading.Event()

    @here.function
    async def hang():
        import asyncio

        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    run = here.submit(Workflow((Step("x", "hang"),)))
    assert begun.wait(30)
    run.cancel()
    with pytest.raises(RunCancelledError):
        run.wait(30)
    assert ended.wait(30)


def test_a_run_that_takes_too_long_is_cancelled(here):
    free = threading.Event()
    here.register(lambda: free.wait(30), name="slow")
    try:
        with pytest.raises(RunTimeoutError, match=r"longer than 0\.1 s"):
            here.run(Workflow((Step("x", "slow"),)), timeout=0.1)
    finally:
        free.set()


def test_the_scheduler_of_somebody_else_is_used_and_left_running():
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, dashboard_address="127.0.0.1:0", resources={"gpu": 1}
        ) as theirs,
    ):
        with DaskCluster(theirs) as cluster:
            assert [member.resources for member in cluster.nodes.values()] == [("gpu",)]
            assert cluster.call("echo", 1) == 1
        with distributed.Client(theirs, set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result() == 3


async def test_verbs_have_awaitable_twins(here):
    assert await here.call_async("echo", 1) == 1
    run = await here.submit_async(Workflow((Step("x", "echo", (2,)),)))
    assert (await run)["x"] == 2
    assert (await here.run_async(Workflow((Step("x", "echo", (3,)),)))).results == {"x": 3}


def test_a_run_again_uses_what_succeeded(here):
    starts = []

    def double(value):
        starts.append(value)
        return 2 * value

    def fail_once(value):
        starts.append(value)
        if len(starts) < 3:
            raise ValueError("not yet")
        return value

    here.register(double)
    here.register(fail_once)
    first = here.run(Workflow((Step("a", "double", (1,)), Step("b", "fail_once", (Ref("a"),)))), check=False)
    again = first.rerun(from_failed=True)

    assert starts == [1, 2, 2]
    assert again["b"] == 2
    assert again.record.steps["a"].status == "reused"


def test_who_does_not_answer_is_named():
    with pytest.raises(ConnectError, match=r"no Dask scheduler answers at 'nonsense://x'"):
        DaskCluster("nonsense://x")


def test_a_stopped_cluster_says_so():
    cluster = DaskCluster(1)
    assert repr(cluster).startswith("DaskCluster('dask-")
    cluster.stop()
    cluster.stop()
    with pytest.raises(ClusterStoppedError):
        cluster.call("echo", 1)
    assert "stopped" in repr(cluster)
