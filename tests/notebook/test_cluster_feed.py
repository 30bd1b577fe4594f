"""The feed with a real cluster: what is shown, and what a click does. The screen only remembers."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from mpreg_lab import Client, LocalCluster, Step, Workflow
from mpreg_lab.client.status import ClusterStatus, NodeState
from mpreg_lab.notebook.cluster_feed import Showing
from mpreg_lab.notebook.view.cluster_orders import Notice, Order
from mpreg_lab.notebook.widgets.cluster_view import ClusterView

WAIT_S = 30.0


class Screen:
    """Remembers, and can be waited for."""

    def __init__(self) -> None:
        self.statuses: list[ClusterStatus] = []
        self.notices: list[Notice] = []
        self._news = threading.Condition()

    def update(self, status: ClusterStatus) -> None:
        with self._news:
            self.statuses.append(status)
            self._news.notify_all()

    def tell(self, notice: Notice) -> None:
        with self._news:
            self.notices.append(notice)
            self._news.notify_all()

    def shows(self, wanted: Callable[[ClusterStatus], bool]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: bool(self.statuses) and wanted(self.statuses[-1]), WAIT_S), self.statuses

    def end_of(self, number: int) -> Notice:
        """What became of an order."""
        with self._news:
            assert self._news.wait_for(lambda: any(n.number == number and not n.busy for n in self.notices), WAIT_S)
            return next(notice for notice in self.notices if notice.number == number and not notice.busy)


class Desk:
    """A cluster, its screen, and its feed."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster, self.screen = cluster, Screen()
        self.showing = Showing(cluster, self.screen)
        self._orders = 0

    def order(self, verb: str, node: str = "", other: str = "", *resources: str) -> Notice:
        """Have something done, and wait until it is."""
        self._orders += 1
        self.showing.order(Order(verb, node, other, resources))
        return self.screen.end_of(self._orders)


@pytest.fixture(params=[False, True], ids=["in-process", "processes"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with LocalCluster({"a": [], "b": ["gpu"]}, processes=request.param) as cluster:
        yield Desk(cluster)


@pytest.fixture
def here() -> Iterator[Desk]:
    """With nodes in this process, whose links can be reached."""
    with LocalCluster({"a": [], "b": []}) as cluster:
        yield Desk(cluster)


UP, DEAD, STOPPED = NodeState.UP, NodeState.DEAD, NodeState.STOPPED


def test_a_click_on_kill_ends_the_node_and_one_on_start_brings_it_back(desk: Desk):
    desk.cluster.register(lambda: 5, name="five", resources=["gpu"])

    assert desk.order("kill", "b") == Notice(1, "")
    assert not desk.cluster._handles[1].alive
    desk.screen.shows(lambda s: s.state("b") is DEAD)

    assert desk.order("restart", "b") == Notice(2, "")
    desk.screen.shows(lambda s: s.state("b") is UP)
    assert desk.cluster.call("five") == 5
    assert [type(done.action).__name__ for done in desk.cluster.faults.log] == ["Kill", "Restart"]


def test_a_node_is_stopped_politely_and_another_one_added(desk: Desk):
    desk.order("stop", "b")
    desk.screen.shows(lambda s: s.state("b") is STOPPED)

    desk.order("add", "c", "", "disk", "big-memory")

    desk.screen.shows(lambda s: [node.name for node in s.nodes] == ["a", "b", "c"] and s.state("c") is UP)
    assert desk.cluster.nodes["c"].resources == ("big-memory", "disk")


def test_a_process_is_paused_and_goes_on():
    with LocalCluster(2, processes=True) as cluster:
        desk, (_, b) = Desk(cluster), cluster.nodes

        desk.order("pause", b)
        desk.screen.shows(lambda s: s.state(b) is NodeState.PAUSED)
        desk.order("resume", b)

        desk.screen.shows(lambda s: s.state(b) is UP)


def test_links_are_cut_and_healed_and_nodes_slowed_down(here: Desk):
    def faults() -> list[tuple[str, str, bool, bool, float, float]]:
        return [(f.a, f.b, f.cut, f.silent, f.delay_s, f.drop) for f in here.cluster.status().faults]

    for verb, fault in {
        "cut": (True, False, 0.0, 0.0),
        "cut_silently": (True, True, 0.0, 0.0),
        "delay": (False, False, 0.2, 0.0),
        "drop": (False, False, 0.0, 0.1),
    }.items():
        assert not here.order(verb, "a", "b").failed
        assert faults() == [("a", "b", *fault)]
        here.order("heal", "b", "a")
        assert faults() == []
    here.order("slow", "b")
    assert [(a, b, delay_s) for a, b, *_, delay_s, _ in faults()] == [("a", "b", 0.2), ("b", "client", 0.2)]
    here.order("quick", "b")
    assert faults() == []
    here.order("cut", "a", "b")
    here.order("heal_all")
    assert faults() == []


def test_what_cannot_be_done_is_told_in_a_line(here: Desk):
    assert here.order("pause", "a") == Notice(
        1,
        "node 'a' lives in this process and cannot be paused by itself. "
        "Give nodes processes of their own: LocalCluster(3, processes=True)",
        failed=True,
    )
    assert here.order("add", "a").text.startswith("there is a node 'a' already")
    assert here.order("kill", "nobody").text.startswith("there is no node 'nobody'")
    assert here.order("explode", "a").text.startswith("the view of a cluster cannot 'explode'")
    assert here.order("kill", "b") == Notice(5, "")


def test_an_order_is_told_while_it_is_done(here: Desk):
    here.order("cut", "a", "b")

    assert here.screen.notices == [Notice(1, "cut a to b…", busy=True), Notice(1, "")]


def test_the_end_of_the_cluster_is_the_end_of_the_feed():
    with LocalCluster(2) as cluster:
        desk = Desk(cluster)
        desk.screen.shows(lambda s: len(s.nodes) == 2)

    assert desk.showing.wait(WAIT_S)
    assert desk.screen.statuses[-1].running is False
    assert left_over() == []


def threads_of_feeds() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name in ("mpreg-cluster-feed", "mpreg-cluster-orders")]


def left_over() -> list[threading.Thread]:
    """Threads that are still there a moment later: they may be about to end."""
    for thread in (threads := threads_of_feeds()):
        thread.join(WAIT_S)
    return [thread for thread in threads if thread.is_alive()]


def test_however_many_screens_show_a_cluster_one_thread_does_and_none_when_they_are_closed():
    with LocalCluster({"a": [], "b": []}) as cluster:
        screens = [Screen() for _ in range(20)]
        showings = [Showing(cluster, screen) for screen in screens]
        for screen in screens:
            screen.shows(lambda s: len(s.nodes) == 2)
        assert len(threads_of_feeds()) == 1

        for showing in showings[:-1]:
            showing.close()
        cluster.kill("b")
        screens[-1].shows(lambda s: s.state("b") is DEAD)
        assert screens[0].statuses[-1].state("b") is not DEAD
        assert len(threads_of_feeds()) == 1

        showings[-1].close()
        showings[-1].close()
        assert left_over() == []

        again = Desk(cluster)
        again.screen.shows(lambda s: s.state("b") is DEAD)
        again.order("restart", "b")
        again.screen.shows(lambda s: s.state("b") is UP)
    assert again.showing.wait(WAIT_S)
    assert left_over() == []
    again.showing.close()


def test_a_screen_that_comes_later_is_told_although_nothing_changes():
    with LocalCluster({"a": [], "b": []}) as cluster:
        first = Desk(cluster)
        first.screen.shows(lambda s: s.state("a") is s.state("b") is UP)

        later = Desk(cluster)

        later.screen.shows(lambda s: s.state("a") is s.state("b") is UP)


def test_a_view_that_is_closed_is_updated_no_more():
    with LocalCluster(1) as cluster:
        view = ClusterView()
        view.on_close(Showing(cluster, view).close)

        view.close()

        assert left_over() == []


def test_a_feed_does_not_keep_a_cluster_that_nobody_holds():
    cluster = LocalCluster(1)
    showing = Showing(cluster, Screen())
    gone = weakref.ref(cluster)

    del cluster
    gc.collect()

    assert gone() is None
    assert showing.wait(WAIT_S)


def test_two_views_of_one_cluster_show_the_same():
    with LocalCluster({"a": [], "b": []}) as cluster:
        desks = [Desk(cluster), Desk(cluster)]

        desks[0].order("kill", "b")

        for desk in desks:
            desk.screen.shows(lambda s: s.state("b") is DEAD)


def test_a_foreign_cluster_is_only_looked_at():
    with LocalCluster({"a": [], "b": []}, processes=True) as cluster, Client(cluster.url) as client:
        screen = Screen()
        showing = Showing(client, screen)
        screen.shows(lambda s: len(s.nodes) == 2 and not s.can_change)

        showing.order(Order("kill", "b"))

        assert screen.end_of(1).failed
        assert cluster.status().state("b") is UP


def test_steps_are_seen_while_they_run(here: Desk):
    go = threading.Event()
    here.cluster.register(lambda: go.wait(WAIT_S), name="wait")
    run = here.cluster.submit(Workflow([Step("s", "wait")]))

    here.screen.shows(lambda s: sum(node.running for node in s.nodes) == 1)
    go.set()
    run.wait()

    here.screen.shows(lambda s: sum(node.ended for node in s.nodes) == 1)
