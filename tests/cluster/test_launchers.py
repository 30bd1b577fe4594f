"""What every launcher promises of its nodes, in this process or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpreg_lab import LocalCluster, Ref, Step, Workflow
from mpreg_lab.errors import ClusterError, NodeLostError, UnknownNodeError
from mpreg_lab.types import NodeName

NODES = {"first": ["entry"], "left": ["w"], "right": ["w"]}
KINDS: dict[str, dict[str, Any]] = {
    "memory": {},
    "ws": {"transport": "ws"},
    "processes": {"processes": True},
}


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(NODES, **KINDS[request.param]) as cluster:
        yield cluster


def begun(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and bool(path.read_text())


def wait_in(path: Path) -> Callable[[str], str]:
    """A function that says that it runs, and only comes to an end the second time."""

    def wait(me: str) -> str:
        with path.open("a") as ledger:
            ledger.write("x")
        if path.read_text() == "x":
            threading.Event().wait(3600)
        return me

    return wait


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens on another thread or in another process."""
    waiting = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come true")


def test_a_workflow_runs_over_all_nodes(cluster):
    cluster.register(lambda *numbers: sum(numbers), name="total")
    steps = [Step(name, "total", args=(i, 1), node=NodeName(name)) for i, name in enumerate(NODES)]

    run = cluster.run(Workflow([*steps, Step("all", "total", args=tuple(Ref(step.name) for step in steps))]))

    assert run["all"] == 6
    assert [run.record.steps[name].node for name in NODES] == list(NODES)


def test_a_step_on_a_killed_node_is_lost(cluster, tmp_path):
    cluster.register(wait_in(tmp_path / "ledger"), name="wait")
    run = cluster.submit(Workflow([Step("s", "wait", args=("s",), node=NodeName("left"))]))
    until(begun(tmp_path / "ledger"))

    cluster.kill("left")

    with pytest.raises(NodeLostError, match="may or may not have run"):
        run.wait(30)
    assert (tmp_path / "ledger").read_text() == "x"


def test_a_step_that_may_be_started_again_runs_elsewhere(cluster, tmp_path):
    cluster.register(wait_in(tmp_path / "ledger"), name="wait", resources=["w"])
    run = cluster.submit(Workflow([Step("s", "wait", args=("s",), retries=1)]))
    until(begun(tmp_path / "ledger"))
    until(lambda: run.record.steps["s"].node is not None)
    node = run.record.steps["s"].node

    cluster.kill(node)

    assert run.wait(30)["s"] == "s"
    assert run.record.steps["s"].node != node
    assert (tmp_path / "ledger").read_text() == "xx"


def test_a_restarted_node_has_its_functions_and_those_of_the_meantime(cluster):
    cluster.register(lambda: "before", name="before", resources=["w"])
    cluster.kill("left")
    cluster.register(lambda: "after", name="after", resources=["w"])

    cluster.restart("left")

    assert list(cluster.nodes) == list(NODES)
    assert {info.name for info in cluster.nodes["left"].functions} >= {"before", "after"}
    run = cluster.run(Workflow([Step(name, name, node=NodeName("left")) for name in ("before", "after")]))
    assert run.results == {"before": "before", "after": "after"}


def test_the_entry_node_may_be_killed(cluster):
    cluster.register(lambda: 5, name="five")

    cluster.kill("first")

    assert cluster.call("five") == 5
    assert list(cluster.nodes) == ["left", "right"]
    cluster.restart("first")
    assert cluster.run(Workflow([Step("s", "five", node=NodeName("first"))]))["s"] == 5


def test_a_node_that_is_added_has_the_functions_that_it_may_have(cluster):
    cluster.register(lambda: 5, name="five", resources=["w"])

    cluster.add("third", ["w"])

    assert cluster.run(Workflow([Step("s", "five", node=NodeName("third"))]))["s"] == 5
    with pytest.raises(ClusterError, match="there is a node 'third' already"):
        cluster.add("third")


def test_a_dead_node_is_known_by_name_and_no_longer_listed(cluster):
    cluster.kill("right")

    assert list(cluster.nodes) == ["first", "left"]
    with pytest.raises(UnknownNodeError, match=r"node 'right' has ended\. Alive: first, left"):
        cluster.kill("right")
    assert cluster.log("right") == ""


def test_only_a_process_can_be_paused():
    with (
        LocalCluster(1) as cluster,
        pytest.raises(ClusterError, match=r"cannot be paused by itself\..* processes=True"),
    ):
        cluster.pause("node-1")
