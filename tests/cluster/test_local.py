# ruff: noqa: T201 - what functions print is tested here
from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mpreg_lab.cluster.inprocess import InProcessHandle
from mpreg_lab.cluster.local import LocalCluster, find_cluster, running_clusters
from mpreg_lab.errors import (
    ClusterSpecError,
    ClusterStoppedError,
    ConnectionLostError,
    FunctionError,
    NoClusterError,
    RoutingError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
    StepSkippedError,
    StepTimeoutError,
    UnknownFunctionError,
    UnknownNodeError,
    WrongThreadError,
)
from mpreg_lab.protocol.messages import Member
from mpreg_lab.workflow.model import Group, Ref, Step, Workflow
from tests.cluster.ledger import Hanging

PATIENCE_S = 30.0
"""How long a test waits for what must happen: only a mistake makes it wait so long."""


@pytest.fixture(scope="module", params=["memory", "ws"])
def shared(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    nodes = {"plain": [], "gpu": ["gpu"], "disk": ["disk"], "both": ["gpu", "disk"]}
    with LocalCluster(nodes, transport=request.param, slots=2) as cluster:
        yield cluster


@pytest.fixture(params=["memory", "ws"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Callable[..., LocalCluster]]:
    """Makes clusters that end with the test."""
    made: list[LocalCluster] = []

    def make(nodes: Any = 3, **options: Any) -> LocalCluster:
        made.append(LocalCluster(nodes, **{"transport": request.param, **options}))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


def one(function: str, *args: Any, **options: Any) -> Workflow:
    """A workflow of one step, `s`."""
    return Workflow([Step("s", function, args, **options)])


def node_of(run: Any, step: str = "s") -> str:
    return str(run.record.steps[step].node)


# --- where functions run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "wanted", "nodes"),
    [
        ([], [], {"plain", "gpu", "disk", "both"}),
        (["gpu"], [], {"gpu", "both"}),
        (["gpu"], ["gpu"], {"gpu", "both"}),
        ([], ["disk"], {"disk", "both"}),
        (["gpu"], ["disk"], {"both"}),
        (["gpu", "disk"], [], {"both"}),
        ("gpu", ["disk", "gpu"], {"both"}),
    ],
)
def test_a_step_runs_where_the_function_and_all_resources_are(shared, held, wanted, nodes):
    shared.register(lambda: None, name="work", resources=held)
    steps = [Step(f"s{i}", "work", resources=wanted) for i in range(8)]
    run = shared.run(Workflow(steps))

    assert {node_of(run, step.name) for step in steps} == nodes


def test_the_least_loaded_node_is_chosen(fresh):
    cluster = fresh(3, slots=1)
    everybody = threading.Barrier(3, timeout=PATIENCE_S)
    cluster.register(everybody.wait, name="meet")
    run = cluster.run(Workflow([Step(name, "meet") for name in "abc"]))

    assert {node_of(run, name) for name in "abc"} == {"node-1", "node-2", "node-3"}


def test_a_step_can_be_bound_to_a_node(shared):
    for node in shared.nodes:
        assert node_of(shared.run(one("echo", 1, node=node))) == node


def test_echo_and_echos_are_on_every_node(shared):
    steps = [Step(f"{name}-{node}", name, (1,), node=node) for node in shared.nodes for name in ("echo", "echos")]
    results = shared.run(Workflow(steps)).results

    assert results == {step.name: 1 if step.function == "echo" else [1] for step in steps}


def test_a_function_that_is_defined_again_is_replaced(shared):
    def defined(text: str, **options: Any) -> None:
        @shared.function(**options)
        def answer() -> str:
            return text

    defined("old")
    assert shared.call("answer") == "old"
    defined("new", resources="disk")

    runs = [shared.run(one("answer")) for _ in range(4)]
    assert {run["s"] for run in runs} == {"new"}
    assert {node_of(run) for run in runs} <= {"disk", "both"}
    with pytest.raises(RoutingError):
        shared.run(one("answer", node="plain"))


def test_the_decorator_leaves_the_function_as_it_is(shared):
    def double(x: int) -> int:
        return 2 * x

    assert shared.function(double) is double
    assert shared.function(name="twice")(double) is double
    assert shared.call("double", 4) == shared.call("twice", x=4) == 8


def test_a_function_can_be_taken_away(shared):
    shared.register(len, name="size")
    shared.unregister("size")
    shared.unregister("size")

    with pytest.raises(UnknownFunctionError):
        shared.call("size", "x")


def test_sync_functions_run_in_threads_and_async_ones_on_the_loop(shared):
    def thread() -> str:
        return threading.current_thread().name

    async def loop() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    shared.register(thread)
    shared.register(loop)
    assert shared.call("thread").startswith("mpreg-slot-")
    assert shared.call("loop") == f"mpreg-{shared.name}"


def test_a_node_runs_as_many_sync_functions_at_once_as_it_has_slots(shared):
    both = threading.Barrier(2, timeout=PATIENCE_S)
    lock, inside, most = threading.Lock(), [0], [0]

    def work() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        both.wait()
        with lock:
            inside[0] -= 1

    shared.register(work)
    shared.run(Workflow([Step(f"s{i}", "work", node="gpu") for i in range(6)]))
    assert most == [2]


def test_a_function_may_run_another_workflow(shared):
    def outer(x: int) -> Any:
        return shared.call("echo", x)

    shared.register(outer)
    assert shared.call("outer", 5) == 5


# --- what cannot be registered ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (5, {}, "only something that can be called can be registered, not 5"),
        (lambda: 1, {}, "a lambda has no name of its own. Give it one: register(..., name='my_function')"),
        (len, {"name": "echo"}, "'echo' is on every node already. Give yours another name: name='my_echo'"),
        (
            len,
            {"resources": ["quantum", "gpu"]},
            "no node holds the resources of function 'len': 'gpu', 'quantum'. They hold: plain: none; gpu: gpu; "
            "disk: disk; both: disk, gpu. Add a node: cluster.add('my-node', ['gpu', 'quantum'])",
        ),
    ],
    ids=["no function", "lambda", "echo", "resources"],
)
def test_what_cannot_be_registered_is_refused(shared, function, options, message):
    with pytest.raises(FunctionError) as caught:
        shared.register(function, **options)
    assert str(caught.value) == message


# --- one cluster --------------------------------------------------------------------------------------------------


def test_a_cluster_shows_nodes_resources_and_functions(fresh):
    cluster = fresh({"ingest": ["csv-parser"], "work": ["gpu", "disk"], "idle": []}, name="shop", slots=3)
    cluster.register(len, name="count", resources=["gpu"])

    assert repr(cluster) == (
        "LocalCluster('shop', 3 nodes)\n"
        "  ingest  resources: csv-parser  functions: -\n"
        "  work    resources: disk, gpu  functions: count\n"
        "  idle    resources: -  functions: -"
    )
    html = cluster._repr_html_()
    for text in ("shop", "3 nodes", "ingest", "csv-parser", "<code>count</code>", "<td>3</td>", "<code>echo</code>"):
        assert text in html
    cluster.stop()
    assert repr(cluster) == "LocalCluster('shop', stopped)"
    assert cluster._repr_html_() == "<div><strong>LocalCluster</strong> shop: stopped</div>"


def test_names_are_no_html(fresh):
    evil = "<script>alert(1)</script>"
    cluster = fresh({evil: [f"{evil}&"]}, name=evil)
    cluster.register(len, name=f"{evil}'")

    assert "<script>" not in cluster._repr_html_()
    assert "&lt;script&gt;" in cluster._repr_html_()
    assert cluster.call(f"{evil}'", "four") == 4


def test_a_repr_has_no_ports_and_no_token(fresh):
    cluster = fresh(2)
    for text in (repr(cluster), cluster._repr_html_()):
        assert cluster.token not in text
        assert cluster.url.rpartition(":")[2] not in text


def test_a_node_can_be_added(fresh):
    cluster = fresh({"a": []})
    cluster.register(len, name="count")
    cluster.add("b", ["gpu"])
    cluster.register(max, name="best", resources="gpu")

    assert list(cluster.nodes) == ["a", "b"]
    assert node_of(cluster.run(one("count", "xy", resources="gpu"))) == "b"
    assert cluster.call("best", [3, 7]) == 7
    assert (
        cluster.run(Workflow([Step("x", "echo", (1,), node="a"), Step("y", "echo", (Ref("x"),), node="b")]))["y"] == 1
    )
    with pytest.raises(ClusterSpecError):
        cluster.add("b")


def test_a_function_that_asks_for_resources_comes_with_the_node_that_holds_them(fresh):
    cluster = fresh({"a": ["gpu"]}, slots=1)
    cluster.register(len, name="count", resources="gpu")
    cluster.add("b", ["gpu"])
    cluster.add("c", ["disk"])

    run = cluster.run(Workflow([Step(f"s{i}", "count", ("x",)) for i in range(6)]))
    assert {node_of(run, step.name) for step in run.workflow.steps} == {"a", "b"}


# --- the life of a cluster ----------------------------------------------------------------------------------------


def test_a_function_of_named_nodes_stays_with_these(fresh):
    cluster = fresh({"a": ["gpu"], "b": ["gpu"]})

    cluster.register(len, name="size", resources="gpu", nodes="b")
    cluster.add("c", "gpu")
    cluster.restart("b")

    assert [n for n, node in cluster.nodes.items() if "size" in {f.name for f in node.functions}] == ["b"]
    with pytest.raises(UnknownNodeError, match=r"there is no node 'd'\. Nodes: a, b, c"):
        cluster.register(len, nodes=["b", "d"])
    with pytest.raises(FunctionError, match=r"no node holds the resources of function 'len': 'cpu'"):
        cluster.register(len, resources="cpu", nodes=["a"])


def test_stopping_twice_is_harmless(fresh):
    cluster = fresh(2)
    cluster.stop()
    cluster.stop()

    assert not cluster.running


@pytest.mark.parametrize(
    "use",
    [
        lambda cluster: cluster.call("echo", 1),
        lambda cluster: cluster.run(one("echo", 1)),
        lambda cluster: cluster.submit(one("echo", 1)),
        lambda cluster: asyncio.run(cluster.run_async(one("echo", 1))),
        lambda cluster: cluster.register(len),
        lambda cluster: cluster.add("x"),
        lambda cluster: cluster.unregister("x"),
        lambda cluster: cluster.url,
    ],
    ids=["call", "run", "submit", "run_async", "register", "add", "unregister", "url"],
)
def test_a_stopped_cluster_says_so(use):
    cluster = LocalCluster(2, name="old")
    cluster.stop()

    with pytest.raises(ClusterStoppedError) as caught:
        use(cluster)
    assert str(caught.value) == "cluster 'old' was stopped. Launch another: LocalCluster(2)"


def test_with_ends_the_cluster_whatever_happens():
    with pytest.raises(ZeroDivisionError), LocalCluster(1) as cluster:
        raise ZeroDivisionError
    assert not cluster.running


def test_results_outlive_their_cluster(fresh):
    cluster = fresh(2)
    run = cluster.run(Workflow([Step("a", "echo", (1,)), Step("b", "echo", (Ref("a"),))]))
    cluster.stop()

    assert run.results == {"b": 1}
    with pytest.raises(ConnectionError, match="'a'"):
        run["a"]


def test_a_run_ends_with_its_cluster(fresh):
    cluster = fresh(2)
    begun = threading.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    cluster.register(hang)
    run = cluster.submit(one("hang"))
    assert begun.wait(PATIENCE_S)
    cluster.stop()

    with pytest.raises(RunCancelledError) as caught:
        run.wait(PATIENCE_S)
    assert str(caught.value) == "node 'node-1', which coordinated the run, was stopped"
    assert run.status == "cancelled"


def test_a_function_may_stop_its_own_cluster(fresh):
    cluster = fresh(2)
    over = threading.Event()

    def stop() -> None:
        cluster.stop()
        over.set()

    cluster.register(stop)
    with pytest.raises(RunCancelledError):
        cluster.call("stop")
    assert over.wait(PATIENCE_S)
    assert not cluster.running


def test_a_cluster_of_the_same_name_replaces_the_first(fresh):
    first = fresh(2, name="mine")
    second = fresh(3, name="mine")

    assert (first.running, second.running) == (False, True)
    assert find_cluster("mine") is second
    assert [cluster for cluster in running_clusters() if cluster.name == "mine"] == [second]


def test_two_clusters_live_side_by_side(fresh):
    one_cluster, other = fresh(2), fresh(2)
    one_cluster.register(lambda: "one", name="who")
    other.register(lambda: "other", name="who")

    assert one_cluster.name != other.name
    assert one_cluster.url != other.url
    assert (one_cluster.call("who"), other.call("who")) == ("one", "other")
    one_cluster.stop()
    assert other.call("who") == "other"


def test_every_node_has_a_port_of_its_own(fresh):
    cluster = fresh(3)
    urls = [member.url for member in cluster.nodes.values()]

    assert len(set(urls)) == 3
    assert all(url.startswith("ws://127.0.0.1:") for url in urls)


def test_clusters_are_found_by_name_or_the_newest(fresh):
    fresh(1, name="a")
    fresh(1, name="b")

    assert find_cluster().name == "b"
    assert find_cluster("a").name == "a"
    with pytest.raises(NoClusterError, match=r"there is no running cluster 'c'. Running: .*a, b"):
        find_cluster("c")


def test_a_cluster_that_nobody_holds_stops_by_itself(fresh):
    cluster = LocalCluster(2)
    cluster.call("echo", 1)
    thread, gone = cluster._loop._thread, weakref.ref(cluster)
    del cluster
    gc.collect()

    assert gone() is None
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "pigeon"}, "transport must be 'memory' or 'ws', not 'pigeon'"),
        ({"name": ""}, "the name of a cluster must be a non-empty string, not ''"),
        ({"name": 5}, "the name of a cluster must be a non-empty string, not 5"),
        ({"slots": 0}, "slots must be a whole number, 1 or more, not 0"),
    ],
    ids=str,
)
def test_a_wrong_option_leaves_nothing_behind(options, message):
    before = set(threading.enumerate())
    with pytest.raises(ClusterSpecError) as caught:
        LocalCluster(2, **options)

    assert str(caught.value) == message
    assert set(threading.enumerate()) <= before


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_returns_its_leaves_or_what_was_asked_for(shared):
    steps = [Step("a", "echo", (1,)), Step("b", "echo", (Ref("a"),)), Step("c", "echos", (Ref("a"), 2))]

    assert shared.run(Workflow(steps)).results == {"b": 1, "c": [1, 2]}
    assert shared.run(Workflow(steps, returns=["c", "a"])).results == {"c": [1, 2], "a": 1}


def test_a_fan_out_is_one_result(shared):
    parts = [Step(f"parts[{i}]", "echo", (i,)) for i in range(3)]
    group = Group("parts", [part.name for part in parts])
    run = shared.run(Workflow(parts, groups=[group]))

    assert run.results == {"parts": [0, 1, 2]}
    assert run["parts"] == [0, 1, 2]
    assert run["parts[1]"] == 1


def test_a_fan_out_of_which_one_step_failed_is_no_result(shared):
    shared.register(lambda x: 1 / x, name="inverse")
    parts = [Step(f"parts[{i}]", "inverse", (i,)) for i in range(3)]
    run = shared.run(Workflow(parts, groups=[Group("parts", [part.name for part in parts])]), check=False)

    assert run.results == {}
    assert run["parts[2]"] == 0.5
    with pytest.raises(ZeroDivisionError):
        run["parts"]


def test_results_of_all_steps_can_be_had_also_large_ones_held_elsewhere(shared):
    shared.register(lambda n: b"x" * n, name="bytes_of")
    big = 300_000
    steps = [
        Step("big", "bytes_of", (big,), node="disk"),
        Step("there", "echo", (Ref("big"),), node="both"),
        Step("size", "echos", (Ref("there")[0], Ref("there")[big - 1]), node="gpu"),
    ]
    run = shared.run(Workflow(steps))

    assert run.results == {"size": [120, 120]}
    assert run["big"] == run["there"] == b"x" * big
    assert run["big"] is run["big"]


def test_large_results_that_were_asked_for_come_with_the_run(shared):
    shared.register(lambda n: list(range(n)), name="numbers")
    run = shared.run(Workflow([Step(f"s{node}", "numbers", (50_000,), node=node) for node in shared.nodes]))

    assert {len(value) for value in run.results.values()} == {50_000}


def test_what_a_step_printed_is_in_its_record(shared, capsys):
    def talk() -> None:
        print("hello")

    shared.register(talk)
    run = shared.run(one("talk"))

    assert run.record.steps["s"].printed == "hello\n"
    assert capsys.readouterr().out == ""


def test_a_chain_runs_on_one_node_and_every_step_is_told(shared):
    steps = [Step("s0", "echo", (0,)), *(Step(f"s{i}", "echo", (Ref(f"s{i - 1}"),)) for i in range(1, 50))]
    run = shared.run(Workflow(steps))

    assert len({step.node for step in run.record.steps.values()}) == 1
    assert repr(run) == "Run(50 steps: 50 done)"


# --- runs that fail -----------------------------------------------------------------------------------------------


class OurError(Exception):
    """Takes more than a message."""

    def __init__(self, table: str, row: int) -> None:
        super().__init__(f"{table}, row {row}")
        self.table, self.row = table, row


def break_down(row: int) -> None:
    error = OurError("sales", row)
    error.add_note("look at the source")
    raise error from KeyError("amount")


def test_an_exception_keeps_type_message_fields_notes_and_cause(shared):
    shared.register(break_down)
    with pytest.raises(OurError) as caught:
        shared.run(Workflow([Step("bad", "break_down", (7,), node="gpu"), Step("below", "echo", (Ref("bad"),))]))
    error = caught.value

    assert (str(error), error.table, error.row) == ("sales, row 7", "sales", 7)
    assert error.__notes__ == [
        "look at the source",
        "in step 'bad' (break_down) on node 'gpu', attempt 1",
        "skipped because of it: below",
    ]
    assert repr(error.__cause__) == "KeyError('amount')"


def test_a_run_that_failed_keeps_what_succeeded(shared):
    shared.register(break_down)
    steps = [
        Step("good", "echo", (1,)),
        Step("bad", "break_down", (7,)),
        Step("never", "echos", (Ref("bad"), Ref("good"))),
    ]
    run = shared.run(Workflow(steps, returns=["good", "never"]), check=False)

    assert run.status == "failed"
    assert run.results == {"good": 1}
    assert run["good"] == 1
    assert type(run.exception) is OurError
    assert list(run.errors) == ["bad"]
    with pytest.raises(OurError):
        run["bad"]
    with pytest.raises(StepSkippedError, match="step 'never' was skipped, because 'bad' failed"):
        run["never"]


def test_several_failures_are_a_group(shared):
    shared.register(break_down)
    with pytest.raises(RunFailedError) as caught:
        shared.run(Workflow([Step(name, "break_down", (row,)) for row, name in enumerate("abc")]))
    error = caught.value

    assert str(error) == "3 steps failed: a, b, c"
    assert [each.row for each in error.exceptions if isinstance(each, OurError)] == [0, 1, 2]
    assert error.run.status == "failed"
    assert error.split(OurError)[1] is None


def test_a_step_that_no_node_can_run_stops_the_run_before_it_begins(shared):
    calls: list[int] = []
    shared.register(calls.append, name="note")
    steps = [Step("first", "note", (1,)), Step("second", "echo", (Ref("first"),), resources="quantum")]
    with pytest.raises(RoutingError) as caught:
        shared.run(Workflow(steps))

    assert str(caught.value) == (
        "step 'second': no node can run function 'echo' with resource ['quantum']. "
        "Nodes with 'echo': plain, gpu, disk, both. Nodes with 'quantum': none. "
        "Add a node: cluster.add('my-node', ['quantum'])"
    )
    assert caught.value.step == "second"
    assert calls == []


def test_a_step_is_tried_again_elsewhere(shared):
    tried = []

    def fail_once() -> str:
        tried.append(True)
        if len(tried) == 1:
            raise ConnectionError("try again")
        return "well"

    shared.register(fail_once, resources="gpu")
    run = shared.run(one("fail_once", retries=1))
    record = run.record.steps["s"]

    assert run["s"] == "well"
    assert {record.node, record.earlier[0].node} == {"gpu", "both"}


# --- cancelling and time-outs -------------------------------------------------------------------------------------


def test_cancelling_ends_an_async_step(shared):
    hanging = Hanging()
    shared.register(hanging.hang)
    run = shared.submit(Workflow([Step("a", "echo", (1,)), Step("b", "hang"), Step("c", "echo", (Ref("b"),))]))
    assert hanging.begun.wait(PATIENCE_S)
    run.cancel()

    with pytest.raises(RunCancelledError) as caught:
        run.wait(PATIENCE_S)
    assert str(caught.value) == "the run was cancelled"
    assert caught.value.run is run
    assert hanging.cancelled.wait(PATIENCE_S)
    assert (run.status, run.record.steps["b"].status, run.record.steps["c"].status) == ("cancelled",) * 3
    with pytest.raises(RunCancelledError, match="step 'b' has no result: the run was cancelled"):
        run["b"]
    run.cancel()


def test_cancelling_drops_the_result_of_a_sync_step(shared):
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(PATIENCE_S)
        over.set()

    shared.register(work)
    run = shared.submit(one("work"))
    assert begun.wait(PATIENCE_S)
    run.cancel()
    with pytest.raises(RunCancelledError):
        run.wait(PATIENCE_S)
    assert not over.is_set()
    go.set()

    assert over.wait(PATIENCE_S)
    assert shared.call("echo", 1) == 1
    assert run.status == "cancelled"


def test_a_run_that_takes_too_long_is_cancelled(shared):
    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    shared.register(hang)
    run = shared.run(Workflow([Step("quick", "echo", (1,)), Step("slow", "hang")]), timeout=0.5, check=False)

    assert type(run.exception) is RunTimeoutError
    assert str(run.exception) == "the run took longer than 0.5 s. Under way: slow"
    assert isinstance(run.exception, TimeoutError)
    assert run.results == {"quick": 1}
    assert run.record.steps["slow"].status == "cancelled"


def test_a_sync_step_that_takes_too_long_fails_and_its_thread_is_left_alone(shared):
    go = threading.Event()
    shared.register(lambda: go.wait(PATIENCE_S), name="wait")
    with pytest.raises(StepTimeoutError, match=r"took longer than 0\.05 s"):
        shared.run(one("wait", timeout_s=0.05))
    go.set()

    assert shared.call("wait") is True


def test_waiting_may_end_before_the_run(shared):
    go = threading.Event()
    shared.register(lambda: go.wait(PATIENCE_S), name="wait")
    run = shared.submit(one("wait"))

    assert run.join(0.01) is False
    with pytest.raises(TimeoutError) as caught:
        run.wait(0.01)
    assert str(caught.value) == "the run has not ended after 0.01 s; it goes on. run.cancel() stops it"
    go.set()
    assert run.wait(PATIENCE_S) is run


def waits(thread: threading.Thread) -> bool:
    """Whether the thread has come to where it waits for something."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and (frame.f_code.co_name, frame.f_globals["__name__"]) == ("wait", "threading")


@pytest.mark.parametrize("verb", ["run", "run at once", "call", "call at once", "wait"])
def test_an_interrupt_cancels_the_run(shared, verb):
    """Also one that comes before the verb knows that its run has begun."""
    cancelled = threading.Event()
    here = threading.current_thread()

    async def interrupt() -> None:
        while "at once" not in verb and not waits(here):  # noqa: ASYNC110 - no thread tells that it waits
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)  # which Python tells the main thread, where the test waits
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    shared.register(interrupt)
    use: Callable[[], object] = {
        "run": lambda: shared.run(one("interrupt")),
        "call": lambda: shared.call("interrupt"),
        "wait": lambda: shared.submit(one("interrupt")).wait(),
    }[verb.partition(" ")[0]]
    with pytest.raises(KeyboardInterrupt):
        use()

    assert cancelled.wait(PATIENCE_S)
    assert shared.call("echo", 1) == 1


# --- from a loop --------------------------------------------------------------------------------------------------


async def test_every_verb_has_an_awaitable_twin(shared):
    assert await shared.call_async("echo", 5) == 5
    assert (await shared.run_async(one("echo", 6))).results == {"s": 6}
    run = await shared.submit_async(one("echo", 7))
    assert (await run)["s"] == 7
    assert await run is run


async def test_an_awaited_run_raises_what_went_wrong(shared):
    shared.register(break_down)
    with pytest.raises(OurError):
        await shared.run_async(one("break_down", 1))
    run = await shared.run_async(one("break_down", 2), check=False)
    with pytest.raises(OurError):
        await run


async def test_cancelling_who_awaits_a_run_cancels_it(shared):
    begun = threading.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    shared.register(hang)
    run = shared.submit(one("hang"))
    awaiting = asyncio.ensure_future(run.ended())
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    awaiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await awaiting

    assert await asyncio.to_thread(run.join, PATIENCE_S)
    assert run.status == "cancelled"


@pytest.mark.parametrize("verb", ["run", "submit", "call", "register", "unregister", "add", "stop", "join", "result"])
def test_a_blocking_verb_in_an_async_function_says_what_to_do(shared, verb):
    go = threading.Event()
    shared.register(lambda: go.wait(PATIENCE_S), name="wait")
    other = shared.submit(
        Workflow([Step("a", "echo", (1,)), Step("b", "wait"), Step("c", "echos", (Ref("b"), Ref("a")))])
    )
    verbs: dict[str, Callable[[], object]] = {
        "run": lambda: shared.run(one("echo", 1)),
        "submit": lambda: shared.submit(one("echo", 1)),
        "call": lambda: shared.call("echo", 1),
        "register": lambda: shared.register(len, name="count"),
        "unregister": lambda: shared.unregister("count"),
        "add": lambda: shared.add("new"),
        "stop": lambda: shared.stop(),
        "join": lambda: other.join(),
        "result": lambda: finished["a"],
    }
    finished = shared.run(Workflow([Step("a", "echo", (1,)), Step("b", "echo", (Ref("a"),))]))

    async def blocking() -> None:
        verbs[verb]()

    shared.register(blocking)
    with pytest.raises(WrongThreadError) as caught:
        shared.call("blocking")
    go.set()
    assert str(caught.value) == {
        "join": "waiting for a run on the cluster's own loop would wait for ever. Await the run",
        "result": "fetching a result on the cluster's own loop would wait for ever. "
        "Ask for it: Workflow(..., returns=['a'])",
    }.get(
        verb,
        f"{verb}() would wait for itself: an async function runs on the cluster's own loop. "
        "Await run_async() or call_async() there, or make the function a plain `def`",
    )
    assert other.wait(PATIENCE_S)["c"] == [True, 1]
    assert shared.call("echo", 1) == 1


def test_an_async_function_may_await_the_twins(shared):
    async def outer(x: int) -> Any:
        run = await shared.run_async(one("echo", x))
        return [run.results["s"], await shared.call_async("echo", x)]

    shared.register(outer)
    assert shared.call("outer", 3) == [3, 3]


def test_a_node_enters_by_way_of_the_next_one_when_the_first_is_lost_meanwhile(monkeypatch):
    tried: list[str] = []
    join = InProcessHandle.join

    async def breaks_once(self: InProcessHandle, seed: Member) -> None:
        tried.append(seed.name)
        if len(tried) == 1:
            raise ConnectionLostError("the connection to the first was lost")
        await join(self, seed)

    with LocalCluster({"a": [], "b": [], "c": []}) as cluster:
        monkeypatch.setattr(InProcessHandle, "join", breaks_once)
        cluster.kill("c")
        cluster.restart("c")

        assert tried == ["a", "b"]
        assert cluster.run(Workflow([Step("x", "echo", (1,), node="c")])).results == {"x": 1}
