# ruff: noqa: T201 - what functions print is tested here
from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.errors import RemoteError, UnknownFunctionError, UnserialisableResultError
from mpreg_lab.node.executor import INLINE_BYTES, Executor, Job
from mpreg_lab.node.functions import FunctionTable
from mpreg_lab.protocol.messages import Call, CallFailed, CallReturned, CallStarted
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import FunctionName, NodeName, RunId, StepName
from mpreg_lab.workflow.model import Ref

RUN = RunId("run")


class Bench:
    """An executor, the functions that it has, and what it reports."""

    def __init__(self, slots: int = 2) -> None:
        self.functions = FunctionTable()
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.executor = Executor(self.functions, slots, self._report, node=NodeName("bench"))
        self._keys = count()
        self._names = count()

    def _report(self, run: RunId, outcomes: list[Any]) -> None:
        for outcome in outcomes:
            self.reports.put_nowait(outcome)

    def call(self, function: Callable[..., Any] | str, *args: Any, step: str = "", **kwargs: Any) -> Call:
        """One call, with a key of its own: the first is 0."""
        if not isinstance(function, str):
            name = f"f{next(self._names)}-{getattr(function, '__name__', '')}"
            self.functions.register(function, name=name)
            function = name
        key = next(self._keys)
        refers = any(isinstance(value, Ref) for value in (*args, *kwargs.values()))
        return Call(key, StepName(step or f"s{key}"), FunctionName(function), Payload.of((args, kwargs)), 1, refers)

    def submit(self, *calls: Call, pack: bool = False) -> None:
        self.executor.submit(Job(RUN, calls, {}, pack=pack))

    async def ended(self, count: int = 1) -> list[Any]:
        """The next outcomes that are ends."""
        found: list[Any] = []
        while len(found) < count:
            outcome = await asyncio.wait_for(self.reports.get(), 30)
            if not isinstance(outcome, CallStarted):
                found.append(outcome)
        return found

    async def idle(self) -> None:
        """Wait until nothing is queued or running."""
        while self.executor.running:  # noqa: ASYNC110 - an executor tells nobody that it is idle
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    bench.executor.stop()
    await asyncio.to_thread(bench.executor.join, 5)


def add(left: int, right: int) -> int:
    return left + right


async def add_later(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


def values(outcomes: list[Any]) -> list[Any]:
    return [outcome.value.value() for outcome in outcomes]


def here() -> str:
    return threading.current_thread().name


# --- where functions run ---


async def test_a_sync_function_runs_in_a_thread_of_the_node(bench):
    bench.submit(bench.call(here))

    (outcome,) = await bench.ended()
    assert isinstance(outcome, CallReturned)
    assert values([outcome]) == ["mpreg-slot-1"]
    assert (outcome.key, outcome.attempt) == (0, 1)
    assert min(outcome.waited_s, outcome.ran_s, outcome.idle_s) >= 0


async def test_an_async_function_runs_on_the_loop(bench):
    async def where() -> str:
        return here()

    bench.submit(bench.call(where))

    assert values(await bench.ended()) == [here()]


async def test_as_many_sync_functions_run_at_once_as_there_are_slots(bench):
    both = threading.Barrier(2, timeout=30)
    inside, most = [0], [0]

    def meet() -> str:
        inside[0] += 1
        both.wait()
        most[0] = max(most[0], inside[0])
        both.wait()
        inside[0] -= 1
        both.wait()
        return here()

    for _ in range(6):
        bench.submit(bench.call(meet))

    assert set(values(await bench.ended(6))) == {"mpreg-slot-1", "mpreg-slot-2"}
    assert most == [2]


async def test_async_functions_need_no_slot(bench):
    everybody = asyncio.Event()
    waiting = []

    async def meet() -> None:
        waiting.append(True)
        if len(waiting) == 20:
            everybody.set()
        await everybody.wait()

    for _ in range(20):
        bench.submit(bench.call(meet))

    assert len(await bench.ended(20)) == 20


# --- lanes ---


@pytest.mark.parametrize("kinds", ["sss", "aaa", "sas", "asa", "ssaas"])
async def test_a_lane_hands_results_on(bench, kinds):
    functions = [add if kind == "s" else add_later for kind in kinds]
    calls = [bench.call(functions[0], 0, 1)]
    for i, function in enumerate(functions[1:]):
        calls.append(bench.call(function, Ref(f"s{i}"), right=1))
    bench.submit(*calls)

    outcomes = await bench.ended(len(kinds))
    assert [outcome.key for outcome in outcomes] == list(range(len(kinds)))
    assert values(outcomes) == list(range(1, len(kinds) + 1))
    await bench.idle()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_lane_ends_with_its_first_failure(bench, kind):
    async def fail_later() -> None:
        fail()

    bench.submit(bench.call(fail if kind == "sync" else fail_later), bench.call(add, 1, 1))
    (outcome,) = await bench.ended()
    await bench.idle()

    assert (type(outcome), outcome.key) == (CallFailed, 0)
    assert bench.reports.empty()


async def test_lanes_of_one_run_share_its_values(bench):
    shared: dict[StepName, Payload] = {}
    bench.executor.submit(Job(RUN, (bench.call(add, 1, 2, step="a"),), shared, pack=False))
    await bench.ended()
    bench.executor.submit(Job(RUN, (bench.call(add, Ref("a"), 4),), shared, pack=False))

    assert values(await bench.ended()) == [7]


async def test_results_go_on_as_the_objects_they_are(bench):
    made = [1, 2, 3]
    seen: list[object] = []

    def look(value: object) -> object:
        seen.append(value)
        return value

    bench.submit(bench.call(lambda: made), bench.call(look, Ref("s0")))
    outcomes = await bench.ended(2)

    assert seen[0] is made
    assert outcomes[1].value.value() is made


# --- what goes wrong ---


def fail() -> None:
    error = ValueError("no")
    error.add_note("a note")
    raise error


async def test_a_failure_has_the_exception_and_its_text(bench):
    bench.submit(bench.call(fail))
    (outcome,) = await bench.ended()
    error = outcome.error.value()

    assert (type(error), error.args, error.__notes__) == (ValueError, ("no",), ["a note"])
    assert (outcome.failure.type_name, outcome.failure.message) == ("ValueError", "no")
    assert "in fail" in outcome.failure.traceback
    assert "mpreg_lab/node" not in outcome.failure.traceback
    assert error.__traceback__.tb_frame.f_code.co_name == "fail"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("leave", "message"),
    [
        (SystemExit(3), "the function raised SystemExit(3)"),
        (KeyboardInterrupt(), "the function raised KeyboardInterrupt()"),
        (asyncio.CancelledError(), "the function raised CancelledError()"),
        (GeneratorExit(), "the function raised GeneratorExit()"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_function_cannot_end_its_node(bench, kind, leave, message):
    def leaves() -> None:
        raise leave

    async def leaves_async() -> None:
        raise leave

    bench.submit(bench.call(leaves if kind == "sync" else leaves_async))
    (outcome,) = await bench.ended()
    error = outcome.error.value()

    assert type(error) is RemoteError
    assert (str(error), error.type_name) == (message, type(leave).__name__)
    bench.submit(bench.call(add, 1, 1), bench.call(add_later, 1, 1))
    assert values(await bench.ended(2)) == [2, 2]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (threading.Lock, "its result is a lock (_thread.lock)"),
        (lambda: (x for x in [1]), "its result is a generator"),
        (lambda: {"rows": [1, threading.Lock()]}, "its result['rows'][1] is a lock (_thread.lock)"),
        (lambda: io.TextIOWrapper(io.BytesIO()), "its result is an open file (_io.TextIOWrapper)"),
    ],
    ids=["lock", "generator", "lock inside", "file"],
)
async def test_a_result_that_cannot_travel_is_a_failure_that_names_it(bench, function, what):
    bench.functions.register(function, name="make")
    bench.submit(bench.call("make", step="a"))
    (outcome,) = await bench.ended()
    error = outcome.error.value()

    assert type(error) is UnserialisableResultError
    assert str(error) == f"step 'a': make returned what cannot travel to another node: {what}. Return plain data"


async def test_a_function_that_was_taken_away_meanwhile_fails_its_step(bench):
    bench.submit(bench.call("gone", step="a"))
    (outcome,) = await bench.ended()

    assert type(outcome.error.value()) is UnknownFunctionError
    assert outcome.failure.message == "step 'a': the node has no function 'gone' any more"


async def test_a_reference_that_leads_nowhere_fails_its_step(bench):
    bench.submit(bench.call(add, 1, 2), bench.call(add, Ref("s0")["x"], 1))

    _, outcome = await bench.ended(2)
    assert outcome.failure.message == "the reference s0['x'] has no value: s0 is an int, it has no item 'x'"


# --- what leaves the process ---


async def test_a_small_result_is_packed_and_travels(bench):
    bench.submit(bench.call(lambda: b"x" * 100), pack=True)
    (outcome,) = await bench.ended()

    assert 100 < outcome.value.size_bytes < INLINE_BYTES


async def test_a_large_result_stays_until_it_is_fetched(bench):
    held: dict[StepName, Payload] = {}
    bench.executor.submit(Job(RUN, (bench.call(lambda: b"x" * 100_000, step="a"),), held, pack=True))
    (outcome,) = await bench.ended()

    assert type(outcome) is CallReturned
    assert outcome.value is None
    assert held[StepName("a")].value() == b"x" * 100_000


# --- cancelling ---


async def test_a_call_under_way_is_told_and_an_async_one_is_cancelled(bench):
    told = []

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told.append("cancelled")

    bench.submit(bench.call(hang), bench.call(add, 1, 1))
    started = await asyncio.wait_for(bench.reports.get(), 30)
    bench.executor.cancel(RUN, frozenset({0, 1}))
    await bench.idle()

    assert (type(started), started.key) == (CallStarted, 0)
    assert told == ["cancelled"]
    assert bench.reports.empty()


async def test_an_async_call_that_has_not_begun_never_begins(bench):
    begun = []

    async def begin() -> None:
        begun.append(True)

    bench.submit(bench.call(begin))
    bench.executor.cancel(RUN, frozenset({0}))
    await bench.idle()

    assert begun == []
    assert bench.reports.empty()


async def test_the_result_of_a_cancelled_thread_is_dropped_and_its_lane_ends(bench):
    begun, go = threading.Event(), threading.Event()
    after: list[int] = []

    def wait() -> None:
        begun.set()
        go.wait(30)

    bench.submit(bench.call(wait), bench.call(after.append, 1))
    await asyncio.to_thread(begun.wait, 5)
    bench.executor.cancel(RUN, frozenset({0}))
    go.set()
    await bench.idle()

    assert after == []
    assert [o for o in drained(bench) if not isinstance(o, CallStarted)] == []


async def test_calls_that_wait_for_a_slot_can_be_cancelled(bench):
    begun, go = threading.Barrier(3, timeout=30), threading.Event()
    after: list[int] = []

    def wait() -> None:
        begun.wait()
        go.wait(30)

    bench.submit(bench.call(wait))
    bench.submit(bench.call(wait))
    bench.submit(bench.call(after.append, 1))
    await asyncio.to_thread(begun.wait)
    bench.executor.cancel(RUN, frozenset({2}))
    go.set()
    await bench.ended(2)
    await bench.idle()

    assert after == []


async def test_a_run_is_cancelled_as_a_whole_and_others_go_on(bench):
    go = asyncio.Event()

    async def wait() -> str:
        await go.wait()
        return "done"

    bench.submit(bench.call(wait), bench.call(add, 1, 1))
    bench.executor.submit(Job(RunId("other"), (bench.call(wait),), {}, pack=False))
    await asyncio.sleep(0)
    bench.executor.cancel(RUN)
    go.set()

    assert values(await bench.ended()) == ["done"]
    await bench.idle()
    assert [o for o in drained(bench) if not isinstance(o, CallStarted)] == []


async def test_after_stop_nothing_starts_and_nothing_is_reported(bench):
    begun, go, over = threading.Event(), threading.Event(), threading.Event()
    after: list[int] = []

    def wait() -> None:
        begun.set()
        go.wait(30)
        over.set()

    bench.submit(bench.call(wait), bench.call(after.append, 1))
    await asyncio.to_thread(begun.wait, 5)
    bench.executor.stop()
    bench.submit(bench.call(after.append, 2))
    go.set()
    await asyncio.to_thread(over.wait, 5)
    await asyncio.to_thread(bench.executor.join, 5)
    await asyncio.sleep(0)

    assert after == []
    assert [o for o in drained(bench) if not isinstance(o, CallStarted)] == []


# --- what functions print ---


async def test_what_a_function_prints_stays_with_its_step(bench, capsys):
    def say(text: str) -> None:
        print(text)
        print(text.upper(), file=sys.stderr)

    async def say_later(text: str) -> None:
        print(text)
        await asyncio.gather(*(say_part(text, i) for i in range(2)))
        await asyncio.to_thread(print, text, "in a thread")

    async def say_part(text: str, part: int) -> None:
        await asyncio.sleep(0)
        print(text, part)

    bench.submit(bench.call(say, "a"), bench.call(say_later, "b"), bench.call(say, "c"))
    outcomes = await bench.ended(3)

    assert [o.printed for o in outcomes] == ["a\nA\n", "b\nb 0\nb 1\nb in a thread\n", "c\nC\n"]
    assert capsys.readouterr() == ("", "")


async def test_what_async_steps_print_does_not_mix(bench):
    turn = asyncio.Condition()
    said: list[str] = []

    async def say(name: str) -> None:
        for _ in range(3):
            async with turn:
                await turn.wait_for(lambda: not said or said[-1] != name)
                said.append(name)
                print(name)
                turn.notify_all()

    bench.submit(bench.call(say, "a"))
    bench.submit(bench.call(say, "b"))

    assert sorted(o.printed for o in await bench.ended(2)) == ["a\n" * 3, "b\n" * 3]


async def test_what_was_printed_before_a_failure_is_kept(bench):
    def say_and_fail() -> None:
        print("so far")
        fail()

    bench.submit(bench.call(say_and_fail))

    assert (await bench.ended())[0].printed == "so far\n"


def drained(bench: Bench) -> list[Any]:
    found = []
    while not bench.reports.empty():
        found.append(bench.reports.get_nowait())
    return found


def test_steps_that_wait_for_other_steps_lend_them_their_slots():
    with LocalCluster(1, slots=1) as cluster:
        cluster.register(lambda depth: depth if depth == 0 else cluster.call("dive", depth - 1), name="dive")
        steps = [Step(f"s{i}", "dive", args=(5,)) for i in range(8)]

        run = cluster.run(Workflow(steps), timeout=30)

        assert set(run.results.values()) == {0}


def test_lent_slots_are_taken_back():
    with LocalCluster(1, slots=2) as cluster:
        cluster.register(lambda x: cluster.call("echo", x), name="relay")
        cluster.run(Workflow([Step(f"s{i}", "relay", args=(i,)) for i in range(20)]), timeout=30)
        begun, most, now = threading.Semaphore(0), [0], [0]
        lock = threading.Lock()

        def count() -> None:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            begun.acquire(timeout=0.01)
            with lock:
                now[0] -= 1

        cluster.register(count)
        cluster.run(Workflow([Step(f"s{i}", "count") for i in range(20)]), timeout=30)

        assert most[0] <= 2
