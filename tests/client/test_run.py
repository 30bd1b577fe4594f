from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import weakref
from concurrent.futures import Future
from typing import Any

import pytest

from mpreg_lab.client.run import Run
from mpreg_lab.errors import (
    ConnectionLostError,
    RunCancelledError,
    RunFailedError,
    StepNotFinishedError,
    StepSkippedError,
    UnknownStepError,
    UnserialisableResultError,
    UnserialisableRunError,
)
from mpreg_lab.protocol.messages import RunDone, StepError
from mpreg_lab.protocol.payload import CannotTravelError, Payload
from mpreg_lab.types import RunId
from mpreg_lab.workflow import record
from mpreg_lab.workflow.model import Group, Ref, Step, Workflow
from mpreg_lab.workflow.plan import validate
from mpreg_lab.workflow.record import RunStatus

untyped: Any = record
Ended, Failed, Failure, Finished, Queued, Reused, Skipped = (
    untyped.Ended,
    untyped.Failed,
    untyped.Failure,
    untyped.Finished,
    untyped.Queued,
    untyped.Reused,
    untyped.Skipped,
)
NO = Failure("ValueError", "no", "")


class Client:
    """What a run may ask of its client: notes what it did."""

    here = False

    def __init__(self, values: dict[str, object] | None = None) -> None:
        self.asked: list[str] = []
        self.values = values or {}

    def cancel(self, run: RunId) -> None:
        self.asked.append("cancel")

    def forget(self, run: RunId) -> None:
        self.asked.append("forget")

    def fetch(self, run: RunId, step: str) -> Future[Payload]:
        self.asked.append(f"fetch {step}")
        found: Future[Payload] = Future()
        if step in self.values:
            found.set_result(Payload.of(self.values[step]))
        else:
            found.set_exception(StepNotFinishedError(f"no result of {step!r} any more"))
        return found

    def again(self, run: Run, keep: tuple[str, ...], timeout: float | None) -> Future[Run]:
        self.asked.append(f"again {' '.join(keep)}")
        found: Future[Run] = Future()
        found.set_result(Run(RunId("again"), run.plan, self, timeout=timeout, source=run))
        return found


PARTS = [Step(f"parts[{i}]", "f", (Ref("a"),)) for i in range(2)]
STEPS = [Step("a", "f"), Step("b", "g", (Ref("a"),)), *PARTS]
GROUPS = [Group("parts", [part.name for part in PARTS])]


def begun(client: Client | None = None, **options: Any) -> Any:
    return Run(RunId("r"), validate(Workflow(STEPS, groups=GROUPS, **options)), client or Client())


def done(results: dict[str, object] | None = None, errors: dict[str, Exception] | None = None, **more: Any) -> Any:
    told: Any = RunDone
    return told(
        "r",
        {name: Payload.of(value) for name, value in (results or {}).items()},
        tuple(StepError(name, Payload.of_error(error)) for name, error in (errors or {}).items()),  # type: ignore[arg-type]
        **more,
    )


def ended(client: Client | None = None) -> Any:
    """A run that did well, of which the leaves came."""
    run = begun(client)
    names = ["a", "b", "parts[0]", "parts[1]"]
    run.apply([*(Finished(1.0, name, "n1", 1) for name in names), Ended(2.0, RunStatus.DONE)])
    run.finish(done({"b": "B", "parts[0]": 0, "parts[1]": 1}))
    return run


def failed() -> Any:
    """A run of which b failed on its second attempt, and the first part was skipped for want of it."""
    run = begun()
    run.apply([Finished(1.0, "a", "n1"), Failed(2.0, "b", NO, "n2", 2), Skipped(2.0, "parts[0]", "b")])
    run.apply([Finished(2.0, "parts[1]", "n1"), Ended(2.0, RunStatus.FAILED)])
    run.finish(done({"parts[1]": 1}, {"b": ValueError("no")}))
    return run


# --- results ------------------------------------------------------------------------------------------------------


def test_results_are_those_that_were_asked_for():
    run = ended()

    assert run.results == {"b": "B", "parts": [0, 1]}
    assert (run["b"], run["parts"], run["parts[1]"]) == ("B", [0, 1], 1)


def test_other_results_are_fetched_once():
    client = Client({"a": "A"})
    run = ended(client)

    assert (run["a"], run["a"]) == ("A", "A")
    assert client.asked == ["fetch a"]


def test_a_run_under_way_has_no_results_yet():
    run = begun()
    run.apply([Queued(1.0, "a")])

    assert run.results == {}
    with pytest.raises(StepNotFinishedError) as caught:
        run["a"]
    assert str(caught.value) == "step 'a' is queued. Wait for it: run.wait()"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("party", "the run has no step 'party'. Did you mean 'parts'?"),
        ("zebra", "the run has no step 'zebra'. Its steps: a, b, parts[0], parts[1], parts"),
    ],
)
def test_an_unknown_step_is_named_with_what_there_is(name, message):
    with pytest.raises(UnknownStepError) as caught:
        ended()[name]
    assert str(caught.value) == message


def test_a_result_that_cannot_be_loaded_here_says_so():
    run = begun()
    run.apply([Finished(1.0, "b", "n1")])
    run.finish(RunDone(RunId("r"), {"b": Payload.packed(b"no pickle")}))  # type: ignore[dict-item]  # names are plain

    with pytest.raises(UnserialisableResultError, match="the value cannot be loaded here"):
        run["b"]


# --- failures -----------------------------------------------------------------------------------------------------


def test_the_exception_of_one_failed_step_is_its_own():
    run = failed()

    assert type(run.exception) is ValueError
    assert run.exception.__notes__ == ["in step 'b' (g) on node 'n2', attempt 2", "skipped because of it: parts[0]"]
    assert run.results == {}
    with pytest.raises(ValueError, match="no"):
        run.wait()
    with pytest.raises(ValueError, match="no"):
        run["b"]
    with pytest.raises(StepSkippedError) as caught:
        run["parts"]
    assert str(caught.value) == "step 'parts[0]' was skipped, because 'b' failed"


def test_several_exceptions_are_a_group_in_the_order_of_the_steps():
    run = begun()
    run.apply([Finished(1.0, "a", "n1"), *(Failed(2.0, name, NO, "n1") for name in ("b", "parts[0]"))])
    run.finish(done({"parts[1]": 1}, {"b": ValueError("B"), "parts[0]": KeyError("P")}))
    error = run.exception

    assert type(error) is RunFailedError
    assert str(error) == "2 steps failed: b, parts[0]"
    assert [type(each) for each in error.exceptions] == [ValueError, KeyError]
    assert error.run is run


def test_notes_are_added_once():
    run = failed()
    run.finish(done({}, {"b": run.exception}))

    assert len(run.exception.__notes__) == 2


def test_a_run_that_was_cancelled_has_the_cause_and_what_had_ended():
    run = begun(returns=["a", "b"])
    run.apply([Finished(1.0, "a", "n1"), Ended(1.0, RunStatus.CANCELLED)])
    run.finish(done({"a": 1}, refused=Payload.of_error(RunCancelledError("the run was cancelled"))))

    assert run.results == {"a": 1}
    assert run.status is RunStatus.CANCELLED
    with pytest.raises(RunCancelledError) as caught:
        run.wait()
    assert caught.value.run is run


def test_a_run_whose_end_cannot_be_heard_has_failed():
    run = begun()
    run.lose(ConnectionLostError("gone"), 1.0)
    run.lose(ConnectionLostError("again"), 2.0)

    assert run.done
    assert run.record.duration_s == 1.0
    assert run.status is RunStatus.FAILED
    with pytest.raises(ConnectionLostError, match="gone"):
        run.wait()
    with pytest.raises(ConnectionLostError, match="gone"):
        run["a"]


def test_what_is_no_exception_is_told_as_what_it_is():
    run = begun()
    run.finish(done(refused=Payload.of("nonsense")))

    assert str(run.exception) == "no exception came, but 'nonsense'"


# --- waiting ------------------------------------------------------------------------------------------------------


def test_a_run_that_has_ended_is_not_cancelled():
    client = Client()
    run = ended(client)
    run.cancel()

    assert run.wait() is run
    assert client.asked == []


def test_who_waits_in_another_thread_is_woken():
    run = begun()
    waiting = threading.Thread(target=run.join)
    waiting.start()
    run.finish(done())
    waiting.join(30)

    assert not waiting.is_alive()


async def test_who_awaits_is_woken():
    run = begun()
    awaiting = [asyncio.ensure_future(run.ended()) for _ in range(3)]
    await asyncio.sleep(0)
    run.finish(done())

    assert await asyncio.gather(*awaiting) == [run] * 3
    assert await run is run


def test_changes_are_told_and_the_end_once():
    run, told = begun(), []
    run.on_change(lambda run: told.append((run.record.version, run.done)))
    run.apply([Queued(1.0, "a")])
    run.apply([Finished(1.0, "a", "n1"), Ended(1.0, RunStatus.DONE)])
    run.finish(done())

    assert told == [(2, False), (4, False), (4, True)]


def test_a_repr_counts_steps_by_state():
    assert repr(begun()) == "Run(4 steps: 4 waiting)"
    assert repr(failed()) == "Run(4 steps: 2 done, 1 failed, 1 skipped)"


# --- once more ----------------------------------------------------------------------------------------------------


def test_what_is_kept_of_a_run_that_runs_again():
    client = Client()
    run = ended(client)

    for options in ({}, {"from_failed": True}, {"from_step": "b"}, {"from_step": "parts"}, {"from_step": "a"}):
        run.rerun(wait=False, **options)
    assert client.asked == ["again ", "again a b parts[0] parts[1]", "again a parts[0] parts[1]", "again a b", "again "]


def test_the_earlier_run_is_held_until_its_results_were_taken_over():
    run = ended()
    again, held = run.rerun(wait=False), weakref.ref(run)

    del run
    gc.collect()
    assert held() is not None
    again.apply([Reused(0.0, "a", "n1")])
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_run_cannot_be_pickled_and_says_what_can(take: Any):
    with pytest.raises(UnserialisableRunError, match=r"run\.to_json\(\).*run\.record"):
        take(ended())


def test_a_run_that_is_an_argument_is_named_as_what_cannot_travel():
    with pytest.raises(CannotTravelError, match=r"Run at value\[0\]"):
        Payload.of([ended()]).pack()
