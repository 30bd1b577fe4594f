"""cluster.faults: what is done to links and nodes is felt by runs, ends when it is healed, and is in the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mpreg_lab import Client, LocalCluster, Ref, Step, Workflow
from mpreg_lab.client.run import Run
from mpreg_lab.cluster.fault_actions import note
from mpreg_lab.cluster.faults import Action, Cut, Delay, Drop, Duplicate, Heal, Kill, Pause, Reorder, Restart, Resume
from mpreg_lab.cluster.faults import Done as FaultDone
from mpreg_lab.errors import ClusterSpecError, ConnectionLostError, NodeLostError, StepTimeoutError, UnknownNodeError
from mpreg_lab.testing.faults import random_script
from mpreg_lab.types import StepName
from tests.cluster.launching import WAYS, launched

PATIENCE_S = 30.0
STEP = StepName("s")
NODES: dict[str, list[str]] = {"a": [], "b": ["w"], "c": ["x"]}


@pytest.fixture(params=WAYS)
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with launched(NODES, request.param) as cluster:
        yield cluster


class Starts:
    """A function that gives back its argument, and a file with a line for each of its starts, in whatever process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        name = str(path)

        def work(i: int) -> int:
            with Path(name).open("a") as file:
                file.write(f"{i}\n")
            return i

        self.work = work

    def __call__(self) -> list[int]:
        return sorted(map(int, self._path.read_text().split())) if self._path.exists() else []


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path / "starts")


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in other threads."""
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < PATIENCE_S
        time.sleep(0.01)


def fan(function: str, count: int) -> Workflow:
    return Workflow([Step(f"s{i}", function, (i,)) for i in range(count)])


def test_a_step_beyond_a_cut_link_is_lost_and_one_after_healing_is_not(cluster, starts):
    cluster.register(starts.work, resources="w")
    cluster.faults.cut("a", "b")

    with pytest.raises(NodeLostError, match="node 'b' went away with step 'work' under way"):
        cluster.call("work", 1)
    cluster.faults.heal("a", "b")
    cluster.run(Workflow([Step("again", "work", (2,), retries=9, backoff_s=0.01)]))

    assert starts() == [2]


def test_a_cut_link_costs_no_node_its_place_while_others_reach_it(cluster):
    cluster.register(str, name="work", resources="w")
    cluster.faults.cut("a", "b")
    with pytest.raises(NodeLostError):
        cluster.call("work", 1)

    assert set(cluster.nodes) == {"a", "b", "c"}


def test_a_step_whose_call_is_dropped_ends_by_its_timeout_and_never_started(cluster, starts):
    cluster.register(starts.work, resources="w")
    cluster.call("work", 0)
    cluster.faults.drop("a", "b", 1.0)

    with pytest.raises(StepTimeoutError):
        cluster.run(Workflow([Step("s", "work", (1,), timeout_s=0.05)]))

    assert starts() == [0]


def test_what_is_delivered_twice_starts_once(cluster, starts):
    cluster.register(starts.work, resources="w")
    cluster.call("work", -1)
    cluster.faults.duplicate("a", "b", 1.0)

    run = cluster.run(fan("work", 20))

    assert run.results == {f"s{i}": i for i in range(20)}
    assert starts() == list(range(-1, 20))


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
    with Client(cluster.url, token=cluster.token) as client:
        until(lambda: "b" not in {member.name for member in client.members()})
        cluster.faults.heal()
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


def test_what_a_script_cannot_do_is_in_the_log_and_the_rest_is_done():
    with LocalCluster(NODES) as cluster:
        assert cluster.faults.play([(0.0, Pause("a")), (0.0, Kill("b")), (0.0, Kill("b"))]).wait(PATIENCE_S)

        paused, killed, again = cluster.faults.log
        assert "cannot be paused by itself" in paused.error
        assert (killed.error, "has ended" in again.error) == ("", True)


def test_a_script_that_is_stopped_does_nothing_more(cluster):
    playing = cluster.faults.play([(1000.0, Kill("a"))])
    assert repr(playing) == "Playing(1 fault in 1000 s)"
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


@pytest.mark.parametrize("do", [Drop("a", "b", 1.0), Cut("a", "b", silent=True)], ids=["dropped", "cut silently"])
def test_a_link_that_lets_nothing_through_is_noticed_though_others_reach_the_node(cluster, starts, do):
    """B stays a member, since c reaches it; what a gave it is lost, and a verb that waits for it ends."""
    cluster.register(starts.work, resources="w")
    cluster.call("work", 0)
    cluster.faults.do(do)

    with pytest.raises(NodeLostError, match="node 'b' went away with step 'work' under way"):
        cluster.call("work", 1)

    assert "b" in cluster.nodes
    cluster.register(str, name="more")
    cluster.faults.heal()
    until(lambda: cluster.run(fan("work", 1), check=False).exception is None)


def test_what_a_dead_link_swallowed_is_tried_again_elsewhere(starts):
    with LocalCluster({"a": [], "b": ["w"], "c": ["w"]}) as cluster:
        cluster.register(starts.work, resources="w")
        cluster.run(fan("work", 4))
        cluster.faults.drop("a", "b", 1.0)

        run = cluster.run(Workflow([Step(f"s{i}", "work", (10 + i,), retries=1) for i in range(4)]))
        after = cluster.run(fan("work", 4))

    assert {step.node for step in run.record.steps.values()} == {"c"}
    assert {step.attempts for step in run.record.steps.values()} == {1, 2}
    assert starts()[-4:] == [10, 11, 12, 13]
    # The link is known to be bad, and avoided.
    assert {(step.node, step.attempts) for step in after.record.steps.values()} == {("c", 1)}


def test_the_link_of_our_own_client_suffers_too(cluster):
    cluster.register(str, name="work", resources="w")
    cluster.faults.cut("client", "a")
    cluster.faults.cut("client", "b")

    assert cluster.call("work", 1) == "1"  # by way of c

    cluster.faults.cut("client", "c")
    with pytest.raises(ConnectionError):
        cluster.call("work", 2)
    cluster.faults.heal()
    assert cluster.call("work", 3) == "3"


def test_a_result_that_was_made_is_there_after_its_node_was_out_of_reach_for_a_moment(cluster):
    """A big one stays there until somebody asks for it."""
    cluster.register(bytes, name="make", resources="w")
    cluster.register(len, name="measure", resources="w")
    run = cluster.run(Workflow([Step("x", "make", (1_000_000,)), Step("y", "measure", (Ref("x"),))]))

    cluster.faults.cut("a", "b")
    cluster.faults.heal()

    assert run["x"] == bytes(1_000_000)


def test_a_node_that_comes_up_again_suffers_from_what_lasts(cluster, starts):
    cluster.register(starts.work, resources="w")
    cluster.faults.cut("a", "b")
    cluster.kill("a")
    cluster.restart("a")

    with Client(cluster.nodes["a"].url, token=cluster.token) as client, pytest.raises(NodeLostError):
        client.call("work", 1)

    assert starts() == []


def test_a_node_hears_of_links_that_are_healed_while_it_comes_up():
    with LocalCluster(NODES, processes=True) as cluster:
        cluster.register(str, name="work", resources="w")
        cluster.kill("a")
        cluster.faults.cut("a", "b")
        before = set(psutil.Process().children())

        restarting = threading.Thread(target=cluster.restart, args=("a",))
        restarting.start()
        until(lambda: bool(set(psutil.Process().children()) - before))
        cluster.faults.heal()
        restarting.join(PATIENCE_S)

        with Client(cluster.nodes["a"].url, token=cluster.token) as client:
            workflow = Workflow([Step("s", "work", (1,), retries=20, backoff_s=0.05, wait_for_s=PATIENCE_S)])
            assert client.run(workflow, timeout=PATIENCE_S).results == {"s": "1"}


# --- in the records of runs ---


def ended(run: Run) -> Run:
    assert run.join(PATIENCE_S)
    return run


def kinds(run: Run) -> list[str]:
    """What befell the run; a suspicion comes before a loss or not, as the connections of a node end one by one."""
    return [fault.kind.value for fault in run.record.faults if fault.kind.value != "suspected"]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which steps wait, in whatever process."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def under_way(cluster: LocalCluster, gate: Path, *, client: Client | None = None, **options) -> Run:
    """A run of one step on b, which runs until the gate is opened."""
    name = str(gate)

    def stay() -> None:
        while not Path(name).exists():
            time.sleep(0.01)

    cluster.register(stay, resources="w")
    run = (client or cluster).submit(Workflow([Step("s", "stay", **options)]))
    until(lambda: run.record.steps[STEP].status == "running")
    return run


def test_a_run_has_what_befell_the_cluster_meanwhile(cluster, gate):
    run = under_way(cluster, gate)
    cluster.faults.delay("a", "c", 0.001)
    cluster.faults.heal()
    gate.touch()

    faults = ended(run).record.faults

    assert [(fault.kind, fault.text, fault.nodes) for fault in faults] == [
        ("delay", "a-c delayed by 0.001 s", ("a", "c")),
        ("heal", "all links healed", ()),
    ]
    step = run.record.steps[STEP]
    assert step.started_s is not None
    assert step.ended_s is not None
    assert step.started_s < faults[0].now_s <= faults[1].now_s < step.ended_s
    assert list(run.faults["text"]) == [fault.text for fault in faults]


def test_a_run_that_ends_by_a_fault_has_it(cluster, gate):
    run = under_way(cluster, gate)
    cluster.kill("b")

    assert kinds(ended(run)) == ["kill", "lost"]
    assert isinstance(run.exception, NodeLostError)


def test_a_run_whose_entry_node_is_killed_has_that_too(cluster, gate):
    run = under_way(cluster, gate)
    cluster.kill("a")

    assert kinds(ended(run)) == ["kill"]
    assert isinstance(run.exception, ConnectionLostError)


def test_a_node_that_is_restarted_while_it_lives_is_stopped_and_comes_back(cluster, gate):
    run = under_way(cluster, gate, retries=3, wait_for_s=PATIENCE_S)
    cluster.restart("b")
    gate.touch()

    told = kinds(ended(run))
    assert told.index("kill") < told.index("restart")
    assert run.record.faults[0].text == "b stopped"


def test_what_began_before_a_run_and_lasts_is_in_it_from_before_its_begin(cluster):
    cluster.register(str, name="work", resources="w")
    cluster.faults.delay("b", "c", 0.001)
    cluster.faults.drop("b", "c", 0.5)
    cluster.faults.drop("b", "c", 0.0)

    (fault,) = cluster.run(fan("work", 1)).record.faults

    assert fault.text == "b-c delayed by 0.001 s"
    assert fault.now_s < 0.0


def test_runs_of_other_clients_have_it_and_runs_that_have_ended_do_not(cluster, gate):
    before = cluster.run(Workflow([Step("s", "echo", (1,))]))
    with Client(cluster.url, token=cluster.token) as client:
        run = under_way(cluster, gate, client=client)
        cluster.faults.delay("b", "c", 0.001)
        gate.touch()

        assert kinds(ended(run)) == ["delay"]
    assert before.record.faults == ()


def test_a_pause_is_in_the_run_from_when_it_began_though_the_entry_node_was_halted(gate):
    with LocalCluster(NODES, processes=True) as cluster:
        run = under_way(cluster, gate)
        for node in ("a", "b"):
            cluster.pause(node)
        cluster.faults.delay("b", "c", 0.001)
        for node in ("b", "a"):
            cluster.resume(node)
        # What was said to the halted node is in its socket, and it reads that as it reads of the end of the step.
        until(lambda: any(fault.text == "a resumed" for fault in run.record.faults))
        gate.touch()

        faults = [fault for fault in ended(run).record.faults if not fault.kind.noticed]

    assert [fault.text for fault in faults] == [
        "a paused",
        "b paused",
        "b-c delayed by 0.001 s",
        "b resumed",
        "a resumed",
    ]
    assert [fault.now_s for fault in faults] == sorted(fault.now_s for fault in faults)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Cut("a", "b"), "a-b cut"),
        (Cut("a", "b", silent=True), "a-b cut silently"),
        (Delay("a", "client", 0.2, 0.1), "a-client delayed by 0.2 to 0.3 s"),
        (Drop("a", "b", 0.125), "a-b drops 12.5 % of the frames"),
        (Duplicate("a", "b", 1.0), "a-b doubles 100 % of the frames"),
        (Reorder("a", "b", 0.5), "a-b disorders 50 % of the frames"),
        (Reorder("a", "b", 0.0), "a-b: no reorder any more"),
        (Heal("a"), "a healed"),
        (Resume("c"), "c resumed"),
    ],
)
def test_actions_have_words(action, text):
    assert note(action, 1.0).text == text


# --- by seed or by script ---


def played(seed: int) -> tuple[FaultDone, ...]:
    """The log of a script, less its times, which are those of this machine."""
    with LocalCluster(NODES) as cluster:
        script = random_script(list(NODES), seed=seed, duration_s=0.5, every_s=0.03)
        assert cluster.faults.play(script).wait(PATIENCE_S)
        assert [done.action for done in cluster.faults.log] == [action for _, action in script]
        return tuple(FaultDone(0.0, done.action, done.error) for done in cluster.faults.log)


def test_the_same_seed_does_the_same_twice():
    assert played(7) == played(7) != played(8)


def test_a_random_script_is_that_of_its_seed_and_leaves_all_well():
    script = random_script(["a", "b", "c"], seed=7, duration_s=20.0)

    assert script == random_script(["a", "b", "c"], seed=7, duration_s=20.0)
    assert script != random_script(["a", "b", "c"], seed=8, duration_s=20.0)
    assert (20.0, Heal()) in script[-2:]
    killed = [action for _, action in script if isinstance(action, Kill)]
    assert len(killed) == sum(isinstance(action, Restart) for _, action in script)
    assert [at_s for at_s, _ in script] == sorted(at_s for at_s, _ in script)
