"""cluster.faults: what is done to links and nodes is felt by runs, ends when it is healed, and is in the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from mpreg_lab import Client, LocalCluster, Step, Workflow
from mpreg_lab.cluster.faults import Action, Cut, Delay, Heal, Kill, Pause, Restart
from mpreg_lab.errors import ClusterError, ClusterSpecError, NodeLostError, StepTimeoutError, UnknownNodeError
from mpreg_lab.testing.faults import random_script

PATIENCE_S = 20.0


@pytest.fixture(params=["memory", "ws"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster({"a": [], "b": ["w"], "c": ["x"]}, transport=request.param) as cluster:
        yield cluster


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in other threads."""
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < PATIENCE_S
        time.sleep(0.01)


def fan(function: str, count: int) -> Workflow:
    return Workflow([Step(f"s{i}", function, (i,)) for i in range(count)])


def test_a_step_beyond_a_cut_link_is_lost_and_one_after_healing_is_not(cluster):
    started: list[int] = []
    cluster.register(started.append, name="work", resources="w")
    cluster.faults.cut("a", "b")

    with pytest.raises(NodeLostError, match="node 'b' went away with step 'work' under way"):
        cluster.call("work", 1)
    cluster.faults.heal("a", "b")
    cluster.run(Workflow([Step("again", "work", (2,), retries=9, backoff_s=0.01)]))

    assert started == [2]


def test_a_cut_link_costs_no_node_its_place_while_others_reach_it(cluster):
    cluster.register(str, name="work", resources="w")
    cluster.faults.cut("a", "b")
    with pytest.raises(NodeLostError):
        cluster.call("work", 1)

    assert set(cluster.nodes) == {"a", "b", "c"}


def test_a_step_whose_call_is_dropped_ends_by_its_timeout_and_never_started(cluster):
    started: list[int] = []
    cluster.register(started.append, name="work", resources="w")
    cluster.call("work", 0)
    cluster.faults.drop("a", "b", 1.0)

    with pytest.raises(StepTimeoutError):
        cluster.run(Workflow([Step("s", "work", (1,), timeout_s=0.05)]))

    assert started == [0]


def test_what_is_delivered_twice_starts_once(cluster):
    started: list[int] = []

    @cluster.function(resources="w")
    def work(i):
        started.append(i)
        return i

    cluster.call("work", -1)
    cluster.faults.duplicate("a", "b", 1.0)

    run = cluster.run(fan("work", 20))

    assert run.results == {f"s{i}": i for i in range(20)}
    assert sorted(started) == list(range(-1, 20))


def test_a_run_over_slow_and_disordered_links_gives_what_it_always_gives(cluster):
    cluster.register(str, name="work", resources="w")
    cluster.faults.seed(7)
    cluster.faults.delay("a", "b", 0.002, jitter_s=0.005)
    cluster.faults.reorder("a", "b", 0.3, by_s=0.01)

    for _ in range(5):
        assert cluster.run(fan("work", 10)).results == {f"s{i}": str(i) for i in range(10)}


def test_the_other_side_of_a_partition_is_lost_and_comes_back(cluster):
    """A node that nobody reaches has left; after healing it is called again, by itself."""
    cluster.register(str, name="work", resources="w")
    cluster.faults.partition(["b"], ["a", "c"])

    with pytest.raises(NodeLostError):
        cluster.call("work", 1)
    cluster.faults.heal()

    with Client(cluster.url, token=cluster.token) as client:
        until(lambda: "b" in {member.name for member in client.members()})
    assert cluster.call("work", 2) == "2"


def test_a_script_is_followed_in_order_and_is_in_the_log(cluster):
    script: list[tuple[float, Action]] = [
        (0.02, Restart("c")),
        (0.0, Delay("a", "b", 0.01)),
        (0.01, Kill("c")),
        (0.03, Heal()),
    ]

    assert cluster.faults.play(script).wait(PATIENCE_S)

    assert [done.action for done in cluster.faults.log] == [Delay("a", "b", 0.01), Kill("c"), Restart("c"), Heal()]
    assert [done.at_s for done in cluster.faults.log] == sorted(done.at_s for done in cluster.faults.log)
    assert set(cluster.nodes) == {"a", "b", "c"}


def test_what_a_script_cannot_do_is_in_the_log_and_the_rest_is_done(cluster):
    assert cluster.faults.play([(0.0, Pause("a")), (0.0, Kill("b")), (0.0, Kill("b"))]).wait(PATIENCE_S)

    paused, killed, again = cluster.faults.log
    assert "cannot be paused by itself" in paused.error
    assert (killed.error, "has ended" in again.error) == ("", True)


def test_a_script_that_is_stopped_does_nothing_more(cluster):
    playing = cluster.faults.play([(1000.0, Kill("a"))])
    playing.stop()

    assert cluster.faults.log == ()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (Cut("a", "z"), UnknownNodeError, "there is no node 'z'"),
        (Cut("a", "a"), ClusterSpecError, "a link has two ends"),
        (Delay("a", "b", -1.0), ClusterSpecError, "delay_s of Delay is between 0 and 3600"),
        (Heal("z"), UnknownNodeError, "there is no node 'z'"),
    ],
)
def test_what_makes_no_sense_is_refused(cluster, action, error, message):
    with pytest.raises(error, match=message):
        cluster.faults.do(action)
    assert cluster.faults.log == ()


def test_links_between_processes_are_out_of_reach_but_their_nodes_are_not():
    with LocalCluster({"a": [], "b": []}, processes=True) as cluster:
        with pytest.raises(ClusterError, match="processes of their own cannot be reached"):
            cluster.faults.cut("a", "b")
        cluster.faults.pause("b")
        cluster.faults.resume("b")
        cluster.faults.kill("b")

        assert set(cluster.nodes) == {"a"}


def test_a_random_script_is_that_of_its_seed_and_leaves_all_well():
    script = random_script(["a", "b", "c"], seed=7, duration_s=20.0)

    assert script == random_script(["a", "b", "c"], seed=7, duration_s=20.0)
    assert script != random_script(["a", "b", "c"], seed=8, duration_s=20.0)
    assert script[-1] == (20.0, Heal())
    killed = [action for _, action in script if isinstance(action, Kill)]
    assert len(killed) == sum(isinstance(action, Restart) for _, action in script)
    assert [at_s for at_s, _ in script] == sorted(at_s for at_s, _ in script)
