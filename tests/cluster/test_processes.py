"""Nodes in processes of their own, with real processes: what they are told, how they end, and that none is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mpreg_lab import Client, LocalCluster, Ref, Step, StepStatus, Workflow
from mpreg_lab.cluster.child import Child
from mpreg_lab.cluster.processes import ProcessHandle
from mpreg_lab.errors import (
    ClusterError,
    ClusterStoppedError,
    ConnectError,
    FunctionError,
    NodeLostError,
    RoutingError,
    UnknownNodeError,
)
from mpreg_lab.protocol.messages import Member
from mpreg_lab.types import NodeName

GONE_S = 30.0  # how long a test waits for what takes milliseconds
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster({"left": ["a"], "right": ["b"]}, processes=True) as cluster:
        yield cluster


def nodes_of(process: int | None = None) -> list[psutil.Process]:
    """The processes of nodes that a process, or this one, launched."""
    return [child for child in psutil.Process(process).children() if "mpreg node" in child.cmdline()]


@contextmanager
def launched(nodes: int) -> Iterator[tuple[LocalCluster, list[psutil.Process]]]:
    """A cluster, and the processes of its nodes."""
    others = nodes_of()
    with LocalCluster(nodes, processes=True) as cluster:
        yield cluster, [process for process in nodes_of() if process not in others]


def pid(cluster: LocalCluster, node: str) -> int:
    cluster.register(os.getpid, name="pid")
    run = cluster.run(Workflow((Step("pid", "pid", node=NodeName(node)),)))
    return int(run["pid"])


def on(node: str, function: str, *args: object, retries: int = 0) -> Workflow:
    return Workflow((Step("step", function, args=args, node=NodeName(node), retries=retries),))


# --- functions ------------------------------------------------------------------------------------------------------


def test_each_node_has_a_process_of_its_own(cluster):
    pids = {pid(cluster, "left"), pid(cluster, "right"), os.getpid()}

    assert len(pids) == 3


def test_a_function_goes_where_its_resources_are_and_works_with_others(cluster):
    @cluster.function(resources=["a"])
    def numbers(n):
        return list(range(n))

    @cluster.function(resources=["b"])
    def total(values):
        return sum(values)

    run = cluster.run(Workflow((Step("n", "numbers", args=(5,)), Step("t", "total", args=(Ref("n"),)))))

    assert run["t"] == 10
    assert [step.node for step in run.record.steps.values()] == ["left", "right"]


def test_a_redefined_function_is_sent_again(cluster):
    offset = 1

    @cluster.function
    def shifted(x):
        return x + offset

    before = cluster.call("shifted", 1)
    offset = 10
    cluster.register(shifted)

    assert (before, cluster.call("shifted", 1)) == (2, 11)


def test_functions_and_classes_of_main_travel_as_code():
    program = """
        import dataclasses
        from mpreg_lab import LocalCluster

        @dataclasses.dataclass
        class Point:
            x: int

        def twice(point):
            return Point(2 * point.x)

        with LocalCluster(2, processes=True) as cluster:
            cluster.register(twice)
            assert cluster.call("twice", Point(4)) == Point(8)
            print("equal")
    """

    assert python(program) == "equal\n"


def test_a_module_that_only_we_can_import_by_its_path_is_imported(tmp_path, monkeypatch, cluster):
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    with LocalCluster(1, processes=True) as other:
        other.register(only_here.answer)

        assert other.call("answer") == 42


def test_a_function_of_a_module_that_nodes_cannot_import_travels_as_code(cluster):
    module = type(sys)("made_up")
    exec("def helper():\n    return 6\n\ndef made():\n    return 7 * helper()\n", vars(module))
    sys.modules["made_up"] = module
    try:
        cluster.register(module.made)
    finally:
        del sys.modules["made_up"]

    assert cluster.call("made") == 42


def test_what_cannot_be_sent_is_named(cluster):
    lock = threading.Lock()

    def locked():
        return lock

    with pytest.raises(FunctionError, match=r"'locked' cannot be sent .* captured lock is a lock"):
        cluster.register(locked)


def test_a_function_is_taken_away_everywhere(cluster):
    cluster.register(len, name="length")
    cluster.unregister("length")

    with pytest.raises(RoutingError):
        cluster.call("length", "abc")
    assert all("length" not in {f.name for f in member.functions} for member in cluster.nodes.values())


# --- output and tracebacks ------------------------------------------------------------------------------------------


def test_what_a_step_prints_and_warns_comes_back_with_the_step(cluster):
    @cluster.function
    def talk(word):
        sys.stdout.write(f"{word}\n")
        warnings.warn(f"beware of {word}", UserWarning, stacklevel=1)
        sys.stderr.write("aside\n")

    run = cluster.run(Workflow(tuple(Step(word, "talk", args=(word,)) for word in ("one", "two"))))

    for word in ("one", "two"):
        printed = run.record.steps[word].printed
        assert printed.startswith(f"{word}\n")
        assert f"UserWarning: beware of {word}" in printed
        assert printed.endswith("aside\n")


def test_what_is_printed_outside_of_steps_is_in_the_log_of_the_node(cluster):
    @cluster.function
    def aside():
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        os.system("echo from a program")

    cluster.run(on("left", "aside"))

    until(lambda: "from a thread\nfrom a program\n" in cluster.log("left"))
    assert cluster.log("right") == ""


def test_a_chatty_node_never_blocks_and_its_log_is_bounded(cluster):
    @cluster.function
    def chat():
        for _ in range(200):
            os.write(2, b"x" * 9999 + b"\n")

    cluster.run(on("left", "chat"))

    assert len(cluster.log("left")) <= 256 * 1024


def test_input_in_a_step_does_not_wait_for_ever(cluster):
    cluster.register(lambda: input(), name="ask")

    with pytest.raises(EOFError):
        cluster.call("ask")


def test_a_traceback_shows_lines_of_code_that_is_in_no_file(cluster):
    import linecache

    text = "def fail(x):\n    raise KeyError(x)  # here\n"
    linecache.cache["<cell 7>"] = (len(text), None, text.splitlines(keepends=True), "<cell 7>")
    names: dict = {"__name__": "__main__"}
    exec(compile(text, "<cell 7>", "exec"), names)
    cluster.register(names["fail"])

    run = cluster.run(on("right", "fail", "z"), check=False)

    traceback = run.record.steps["step"].failure.traceback
    assert "raise KeyError(x)  # here" in traceback
    assert "mpreg_lab" not in traceback
    assert isinstance(run.exception, KeyError)
    assert "in step 'step' (fail) on node 'right', attempt 1" in run.exception.__notes__


# --- kill, restart, pause -------------------------------------------------------------------------------------------


def test_a_step_that_is_lost_with_its_node_says_so_and_a_retry_runs_elsewhere(tmp_path):
    with LocalCluster({"first": ["entry"], "one": ["w"], "two": ["w"]}, processes=True) as cluster:
        ledger = tmp_path / "ledger"

        @cluster.function(resources=["w"])
        def suicide(path):
            with Path(path).open("a") as file:
                file.write(f"{os.getpid()}\n")
            if len(Path(path).read_text().splitlines()) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return os.getpid()

        again = cluster.run(Workflow((Step("s", "suicide", args=(str(ledger),), retries=1),)))
        killed, survivor = ledger.read_text().split()

        assert again["s"] == int(survivor) != int(killed)
        assert len(cluster.nodes) == 2

        ledger.unlink()
        with pytest.raises(NodeLostError, match="may or may not have run"):
            cluster.run(Workflow((Step("s", "suicide", args=(str(ledger),)),)))


def test_a_killed_node_is_gone_at_once_and_a_restarted_one_is_as_before():
    with LocalCluster({"left": ["a"], "right": ["b"]}, processes=True) as cluster:
        cluster.register(os.getpid, name="where", resources=["b"])
        before = psutil.Process(cluster.call("where"))

        cluster.kill("right")

        assert not before.is_running()
        assert list(cluster.nodes) == ["left"]
        with pytest.raises(UnknownNodeError, match=r"node 'right' has ended. Alive: left"):
            cluster.kill("right")

        cluster.restart("right")

        assert cluster.call("where") not in (before.pid, os.getpid())
        assert list(cluster.nodes) == ["left", "right"]
        assert cluster.nodes["right"].resources == ("b",)


def test_the_node_that_the_client_speaks_to_may_be_killed_and_restarted():
    with LocalCluster(2, processes=True) as cluster:
        cluster.register(os.getpid, name="where")
        cluster.kill("node-1")
        first = cluster.call("where")
        cluster.restart("node-1")
        cluster.kill("node-2")
        second = cluster.call("where")

    assert first != second


def test_a_living_node_can_be_restarted(cluster):
    before = pid(cluster, "left")

    cluster.restart("left")

    assert pid(cluster, "left") != before
    assert not psutil.pid_exists(before)


def test_without_any_node_alive_a_call_says_what_to_do():
    with LocalCluster(1, processes=True) as cluster:
        cluster.kill("node-1")
        assert repr(cluster).endswith("0 nodes)")
        with pytest.raises(ConnectError, match=r"cluster.restart\('name'\)"):
            cluster.call("echo", 1)
        cluster.restart("node-1")

        assert cluster.call("echo", 1) == 1


def test_a_paused_node_goes_on_where_it_was(cluster):
    @cluster.function(resources=["b"])
    def there():
        return "there"

    process = psutil.Process(pid(cluster, "right"))
    cluster.pause("right")
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    with pytest.raises(ClusterError, match=r"paused. First: cluster.resume\('right'\)"):
        cluster.register(there, resources=["b"])
    cluster.resume("right")

    assert cluster.call("there") == "there"
    assert process.is_running()


@pytest.mark.parametrize("verb", ["kill", "restart", "pause", "resume", "log"])
def test_a_wrong_name_is_answered_with_the_right_ones(cluster, verb):
    with pytest.raises(UnknownNodeError, match=r"there is no node 'lef'\. Did you mean 'left'\?"):
        getattr(cluster, verb)("lef")


# --- the end --------------------------------------------------------------------------------------------------------


def test_after_stop_no_process_thread_or_file_is_left():
    process = psutil.Process()
    with launched(1):
        pass  # whatever is loaded once and kept is there now
    threads, files = set(threading.enumerate()), process.num_fds()
    with launched(2) as (cluster, children):
        cluster.register(os.getpid, name="where")
        cluster.call("where")
        cluster.kill("node-2")

    assert len(children) == 2
    assert not any(child.is_running() for child in children)
    assert set(threading.enumerate()) <= threads
    assert process.num_fds() <= files
    with pytest.raises(ClusterStoppedError):
        cluster.kill("node-1")


def test_a_node_that_crashed_can_be_restarted_and_leaves_nothing_behind():
    process = psutil.Process()
    with launched(2) as (cluster, (_, child)):
        cluster.register(os._exit, name="crash")
        files = process.num_fds()
        with pytest.raises(NodeLostError):
            cluster.run(on("node-2", "crash", 3))
        child.wait(GONE_S)
        cluster.restart("node-2")
        cluster.register(os.getpid, name="where")

        assert cluster.run(on("node-2", "where"))["step"] not in (child.pid, os.getpid())
        assert process.num_fds() <= files


@pytest.mark.parametrize("paused", [False, True])
def test_stop_ends_nodes_that_hang(paused):
    with launched(2) as (cluster, children):
        cluster.register(hang)
        run = cluster.submit(Workflow((Step("s", "hang"),)))
        until(lambda: run.record.count(StepStatus.RUNNING) == 1)
        if paused:
            cluster.pause("node-1")
            cluster.pause("node-2")

    assert len(children) == 2
    assert not any(child.is_running() for child in children)


def test_a_process_that_does_not_come_up_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "nonsense")
    others, threads = nodes_of(), set(threading.enumerate())

    with pytest.raises(ClusterError, match=r"(?s)process of node 'node-1' ended with code 1.*PYTHONHASHSEED"):
        LocalCluster(2, processes=True)
    assert nodes_of() == others
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "exit", "exception"])
def test_when_the_parent_ends_no_node_is_left(end, busy):
    with parent(busy=busy) as process:
        children = nodes_of(process.pid)
        assert len(children) == 2
        if end.startswith("SIG"):
            process.send_signal(signal.Signals[end])
        else:
            assert process.stdin is not None
            process.stdin.write(f"{end}\n")
            process.stdin.flush()
        _, left = psutil.wait_procs(children, timeout=GONE_S)

    assert left == []


def test_a_fork_of_the_parent_that_outlives_it_keeps_no_node_alive():
    with parent(fork=True) as process:
        children = nodes_of(process.pid)
        forks = [child for child in psutil.Process(process.pid).children() if child not in children]
        process.kill()
        _, left = psutil.wait_procs(children, timeout=GONE_S)
        still = [fork for fork in forks if fork.is_running()]
        for fork in forks:
            fork.kill()

    assert len(still) == 1
    assert left == []


def test_an_interrupt_from_the_terminal_does_not_reach_nodes():
    with launched(2) as (_, children):
        sessions = {os.getsid(child.pid) for child in children}

    assert sessions == {child.pid for child in children}


def test_the_token_is_in_no_argument_and_no_environment(monkeypatch):
    monkeypatch.setenv("MPREG_TOKEN", "of another cluster")
    with launched(1) as (cluster, (child,)):
        told = " ".join([*child.cmdline(), *child.environ().values()])

    assert str(cluster.token) not in told
    assert "of another cluster" not in told


def test_a_client_of_another_process_finds_the_cluster(cluster):
    with Client(cluster.url, token=cluster.token) as client:
        assert {member.name for member in client.members()} == {"left", "right"}
        assert client.call("echo", 3) == 3


# --- helpers --------------------------------------------------------------------------------------------------------


def hang():
    """A step that ends by no wish of anybody."""
    threading.Event().wait()


def until(condition) -> None:
    """Wait for what another process does."""
    waiting = threading.Event()
    for _ in range(int(GONE_S / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come true")


def python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


PARENT = """
import os, sys, threading
from mpreg_lab import LocalCluster, Step, StepStatus, Workflow

def spin():
    while True:
        pass

cluster = LocalCluster(2, processes=True)
cluster.register(spin)
if {busy}:
    run = cluster.submit(Workflow(tuple(Step(f"s{{i}}", "spin") for i in range(2))))
    while run.record.count(StepStatus.RUNNING) < 2:
        threading.Event().wait(0.01)
if {fork}:
    if os.fork() == 0:
        threading.Event().wait()
print("ready", flush=True)
if sys.stdin.readline() == "exception\\n":
    raise RuntimeError("on purpose")
"""


@contextmanager
def parent(*, busy: bool = False, fork: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A Python process with a cluster of two nodes; ends when its stdin gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(busy=busy, fork=fork)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_node_enters_by_way_of_one_that_is_not_paused(monkeypatch):
    tried: list[str] = []
    join = ProcessHandle.join

    async def told(self: ProcessHandle, seed: Member) -> None:
        tried.append(seed.name)
        await join(self, seed)

    with launched(3) as (cluster, _):
        monkeypatch.setattr(ProcessHandle, "join", told)
        cluster.pause("node-1")
        cluster.kill("node-2")
        cluster.restart("node-2")

    assert tried == ["node-3"]


async def test_a_process_whose_end_nobody_waits_for_leaves_no_open_pipes():
    """As when Ctrl-C ends a launch, and then what the launch was doing to clean up."""
    child = Child("interrupted")
    await child.open()
    ending = asyncio.ensure_future(child.kill())
    await asyncio.wait((ending,), timeout=0)

    ending.cancel()
    await asyncio.wait((ending,))

    assert [pipe.is_closing() for pipe in child._pipes] == [True, True]
    await child.kill()
    assert not child.alive
