"""What is seen of a cluster by who looks on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from mpreg_lab import Client, LocalCluster, Step, Workflow
from mpreg_lab.client.status import Belief, ClusterStatus, Life, NodeState
from mpreg_lab.client.watching import StatusWatch
from mpreg_lab.cluster.processes import ProcessHandle

WAIT_S = 30.0


class Onlooker:
    """Remembers what it was told, and can be waited for."""

    def __init__(self, cluster: LocalCluster | Client) -> None:
        self.seen: list[ClusterStatus] = []
        self._news = threading.Condition()
        self.stop = cluster.watch(self._see)

    def _see(self, status: ClusterStatus) -> None:
        with self._news:
            self.seen.append(status)
            self._news.notify_all()

    def sees(self, wanted: Callable[[ClusterStatus], bool]) -> ClusterStatus:
        with self._news:
            assert self._news.wait_for(lambda: bool(self.seen) and wanted(self.seen[-1]), WAIT_S), self.seen[-1:]
            return self.seen[-1]

    def sees_states(self, **states: NodeState) -> ClusterStatus:
        return self.sees(lambda status: {node.name: status.state(node.name) for node in status.nodes} == states)


UP, DEAD, STOPPED, PAUSED = NodeState.UP, NodeState.DEAD, NodeState.STOPPED, NodeState.PAUSED


@pytest.mark.parametrize("processes", [False, True])
def test_nodes_that_die_come_back_or_join_are_seen(processes: bool):
    with LocalCluster({"a": ["gpu"], "b": []}, processes=processes) as cluster:
        onlooker = Onlooker(cluster)
        onlooker.sees_states(a=UP, b=UP)

        cluster.kill("b")
        onlooker.sees(lambda s: s.state("b") is DEAD and s.thinking("b", Belief.LOST) == ("a",))
        cluster.restart("b")
        onlooker.sees(lambda s: s.state("b") is UP and s.thinking("b", Belief.ALIVE) == ("a",))
        cluster.stop_node("b")
        onlooker.sees(lambda s: s.state("b") is STOPPED and s.thinking("b", Belief.LEFT) == ("a",))
        cluster.add("c", ["disk"])
        status = onlooker.sees_states(a=UP, b=STOPPED, c=UP)

    assert [node.resources for node in status.nodes] == [("gpu",), (), ("disk",)]
    assert onlooker.seen[-1].running is False


def test_a_paused_node_is_seen_and_who_misses_it():
    with LocalCluster(2, processes=True) as cluster:
        onlooker, (a, b) = Onlooker(cluster), cluster.nodes

        cluster.pause(b)
        onlooker.sees(lambda s: s.state(b) is PAUSED)
        onlooker.sees(lambda s: s.thinking(b, Belief.SUSPECTED, Belief.LOST) == (a,))
        cluster.resume(b)

        onlooker.sees(lambda s: s.state(b) is UP and s.thinking(b, Belief.ALIVE) == (a,))


def test_a_process_that_somebody_else_kills_is_seen():
    with LocalCluster(2, processes=True) as cluster:
        onlooker, (_, b) = Onlooker(cluster), cluster.nodes
        onlooker.sees(lambda s: s.state(b) is UP)
        handle = cluster._handles[1]
        assert isinstance(handle, ProcessHandle)

        os.kill(handle.pid, signal.SIGKILL)

        onlooker.sees(lambda s: s.state(b) is DEAD)


def test_load_is_seen_while_steps_run():
    go = threading.Event()
    with LocalCluster({"a": []}, slots=2) as cluster:
        onlooker = Onlooker(cluster)
        cluster.register(lambda: go.wait(WAIT_S), name="wait")
        runs = [cluster.submit(Workflow([Step("s", "wait")])) for _ in range(3)]

        onlooker.sees(lambda s: (s.nodes[0].running, s.nodes[0].waiting) == (2, 1))
        go.set()
        for run in runs:
            run.wait()

        onlooker.sees(lambda s: (s.nodes[0].running, s.nodes[0].waiting, s.nodes[0].ended) == (0, 0, 3))
    assert [function.name for function in onlooker.seen[-1].nodes[0].functions][-1] == "wait"


def test_faults_and_lost_neighbours_are_seen_from_both_sides():
    with LocalCluster({"a": [], "b": []}) as cluster:
        onlooker = Onlooker(cluster)
        onlooker.sees(lambda s: "b" in s.nodes[0].connected)

        cluster.faults.cut("a", "b")
        status = onlooker.sees(lambda s: bool(s.faults) and s.state("a") is s.state("b") is NodeState.LOST)

        assert (status.faults[0].a, status.faults[0].b, status.faults[0].cut) == ("a", "b", True)
        assert status.nodes[0].connected == frozenset()
        cluster.faults.heal()
        onlooker.sees(lambda s: not s.faults and s.state("a") is s.state("b") is UP)


def test_nothing_is_told_while_nothing_changes():
    with LocalCluster(2) as cluster:
        onlooker = Onlooker(cluster)
        onlooker.sees(lambda s: all(len(node.connected) == 1 for node in s.nodes))
        told = len(onlooker.seen)

        for _ in range(3):
            assert cluster.status() == onlooker.seen[-1]

        assert len(onlooker.seen) == told


def test_the_last_onlooker_takes_the_connections_along():
    with LocalCluster(2) as cluster:
        watch: StatusWatch = cluster._watch
        onlookers = [Onlooker(cluster), Onlooker(cluster)]
        for onlooker in onlookers:
            onlooker.sees(lambda s: all(node.heard for node in s.nodes))

        onlookers[0].stop()
        cluster.status()
        assert len(watch._voices) == 2
        onlookers[1].stop()
        cluster._loop.call(_turn())

        assert watch._voices == {}


def test_a_status_needs_no_onlooker_and_outlives_the_cluster():
    cluster = LocalCluster({"a": [], "b": []})
    cluster.kill("b")

    assert repr(cluster.status()) == f"ClusterStatus({cluster.name!r}: a up, b dead)"
    cluster.stop()
    assert repr(cluster.status()) == f"ClusterStatus({cluster.name!r}, stopped)"


def test_a_client_sees_all_nodes_of_a_cluster_elsewhere_and_may_change_none():
    with LocalCluster({"a": ["gpu"], "b": []}, processes=True) as cluster, Client(cluster.url) as client:
        onlooker = Onlooker(client)

        status = onlooker.sees_states(a=UP, b=UP)
        cluster.kill("b")
        onlooker.sees_states(a=UP, b=DEAD)

        assert {node.life for node in status.nodes} == {Life.ELSEWHERE}
        assert (status.can_change, status.can_fault, status.can_pause) == (False, False, False)
        assert repr(client.status()) == "ClusterStatus('a': a up, b dead)"


def test_a_slow_node_has_slow_links_to_all_others_and_the_client():
    with LocalCluster({"a": [], "b": [], "c": []}) as cluster:
        cluster.faults.slow("b", 0.05)

        faults = {(fault.a, fault.b): fault.delay_s for fault in cluster.status().faults}
        assert faults == {("a", "b"): 0.05, ("b", "c"): 0.05, ("b", "client"): 0.05}

        cluster.faults.slow("b", 0)
        assert cluster.status().faults == ()


async def _turn() -> None:
    """What was asked of the loop before has been done."""
