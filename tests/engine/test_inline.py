from __future__ import annotations

import time

import pytest

from mpreg_lab.engine.inline import InlineEngine
from mpreg_lab.errors import StepTimeoutError, UnknownFunctionError, UnknownStepError
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.record import Ended, Opened, RunRecord


async def test_the_events_go_from_opened_to_ended():
    run = InlineEngine({"f": object}).run(Workflow([Step("a", "f"), Step("b", "f")]))
    events = [event async for event in run]

    assert type(events[0]) is Opened
    assert type(events[-1]) is Ended
    assert RunRecord.of(events).status == "done"


async def test_objects_go_from_step_to_step_as_they_are():
    seen: list[object] = []
    engine = InlineEngine({"make": object, "look": seen.append})
    run = engine.run(Workflow([Step("a", "make"), Step("b", "look", (Ref("a"),))]))
    async for _ in run:
        pass

    assert seen == [run.results["a"]]  # type: ignore[index]  # names are plain


async def test_a_function_that_is_not_there_fails_its_step():
    run = InlineEngine({"train": print}).run(Workflow([Step("a", "trian")]))
    record = RunRecord.of([event async for event in run])

    error = next(iter(run.errors.values()))
    assert type(error) is UnknownFunctionError
    assert str(error) == "step 'a': there is no function 'trian'. Did you mean 'train'?"
    assert record.status == "failed"


async def test_a_sync_step_that_took_too_long_fails_when_it_returns():
    def spin() -> str:
        end_s = time.monotonic() + 0.002
        while time.monotonic() < end_s:
            pass
        return "too late"

    run = InlineEngine({"spin": spin}).run(Workflow([Step("a", "spin", timeout_s=0.001)]))
    RunRecord.of([event async for event in run])

    assert [type(error) for error in run.errors.values()] == [StepTimeoutError]
    assert run.results == {}


def test_a_workflow_is_checked_before_it_is_iterated():
    with pytest.raises(UnknownStepError):
        InlineEngine({"f": print}).run(Workflow([Step("a", "f", (Ref("b"),))]))


async def test_a_system_exit_of_a_function_ends_the_program():
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async for _ in InlineEngine({"leave": leave}).run(Workflow([Step("a", "leave")])):
            pass
