"""Virtual time: what waits takes none, and what was waited is known exactly."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path

import pytest

from mpreg_lab import Ref, Step, Workflow
from mpreg_lab.errors import ClockError, CycleError, StepTimeoutError, UnknownFunctionError
from mpreg_lab.testing import VirtualClock, assert_steps_failed, assert_steps_ran


def test_backoff_doubles_and_takes_no_time(virtual_clock: VirtualClock):
    def fail() -> None:
        raise OSError

    ran = virtual_clock.run(Workflow([Step("a", "fail", retries=10, backoff_s=60.0)]), {"fail": fail})

    a = ran.record.steps["a"]  # type: ignore[index]
    starts = [attempt.started_s for attempt in a.earlier] + [a.started_s]
    assert starts == pytest.approx([60.0 * (2**n - 1) for n in range(11)])
    assert virtual_clock.now_s == pytest.approx(61380.0)
    assert_steps_failed(ran, {"a": OSError})


async def test_a_step_that_sleeps_too_long_times_out_at_the_second(virtual_clock: VirtualClock):
    async def slow() -> None:
        await asyncio.sleep(3600)

    steps = Step("a", "slow", timeout_s=5.0, retries=1, backoff_s=1.0), Step("b", "echo", (Ref("a"),))
    ran = virtual_clock.run(Workflow(steps), {"slow": slow, "echo": lambda value: value})

    assert type(ran.errors["a"]) is StepTimeoutError
    assert virtual_clock.now_s == pytest.approx(11.0)


def test_a_sync_function_says_how_long_it_takes(virtual_clock: VirtualClock):
    def slow() -> str:
        virtual_clock.advance(2.5)
        return "done"

    ran = virtual_clock.run(Workflow([Step("a", "slow")]), {"slow": slow})
    late = virtual_clock.run(Workflow([Step("a", "slow", timeout_s=2.0)]), {"slow": slow})

    assert_steps_ran(ran, "a")
    assert ran.record.steps["a"].ran_s == pytest.approx(2.5)  # type: ignore[index]
    assert_steps_failed(late, {"a": "StepTimeoutError"})


def test_what_never_happens_is_told_at_once(virtual_clock: VirtualClock):
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ClockError, match="nothing is left that would ever happen") as caught:
        virtual_clock.run(Workflow([Step("a", "hang")]), {"hang": hang})

    line = hang.__code__.co_firstlineno + 1
    assert caught.value.__notes__ == [f"awaited at {__file__}:{line}, in hang"]
    assert [frame.path for frame in caught.traceback if not frame.ishidden(caught)] == [Path(__file__)]


def test_threads_are_refused(virtual_clock: VirtualClock):
    async def thread() -> None:
        await asyncio.to_thread(int)

    ran = virtual_clock.run(Workflow([Step("a", "thread")]), {"thread": thread})

    assert type(ran.errors["a"]) is ClockError


def test_what_cannot_run_is_refused_as_everywhere(virtual_clock: VirtualClock):
    with pytest.raises(CycleError):
        virtual_clock.run(Workflow([Step("a", "f", (Ref("a"),))]), {"f": int})
    with pytest.raises(UnknownFunctionError, match=r"step 'b': there is no function 'g'\. Functions: f"):
        virtual_clock.run(Workflow([Step("a", "f"), Step("b", "g")]), {"f": pytest.fail})


async def test_coroutines_of_ones_own_run_in_virtual_time_and_in_the_context_of_the_test(virtual_clock: VirtualClock):
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    async def work() -> tuple[float, str]:
        await asyncio.gather(asyncio.sleep(10), asyncio.sleep(20))
        return asyncio.get_running_loop().time(), variable.get()

    now_s, value = virtual_clock.run_coroutine(work())

    assert now_s == pytest.approx(20.0)
    assert value == "set"


def test_a_coroutine_may_fail_and_leave_tasks(virtual_clock: VirtualClock, no_leaks: None):
    ended = []

    async def background() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("background")

    async def work() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        raise OSError(task.get_name())

    with pytest.raises(OSError, match="Task"):
        virtual_clock.run_coroutine(work())

    assert ended == ["background"]


def test_time_does_not_go_back(virtual_clock: VirtualClock):
    for by_s in (-1, float("nan")):
        with pytest.raises(ClockError):
            virtual_clock.advance(by_s)
