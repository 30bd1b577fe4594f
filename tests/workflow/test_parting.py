"""A run of which nothing more will be heard: what its record says in the end."""

from __future__ import annotations

from mpreg_lab.types import FunctionName, NodeName, StepName
from mpreg_lab.workflow.parting import farewell, in_doubt
from mpreg_lab.workflow.record import (
    Failure,
    Finished,
    Opened,
    Queued,
    RunEvent,
    RunRecord,
    RunStatus,
    Sent,
    Started,
    StepPlan,
    StepStatus,
)

A, B, C, D, E = map(StepName, "abcde")
NODE = NodeName("n")
FAILURE = Failure("ConnectionLostError", "gone")
RUNNING: tuple[RunEvent, ...] = (
    Opened(
        0.0,
        (
            StepPlan(E, FunctionName("f"), (D,)),
            StepPlan(D, FunctionName("f"), (B,)),
            StepPlan(A, FunctionName("f")),
            StepPlan(B, FunctionName("f"), (A,)),
            StepPlan(C, FunctionName("f")),
        ),
    ),
    Queued(0.0, A),
    Sent(0.1, A, NODE, 1),
    Finished(0.3, A, NODE, queued_s=0.0, sent_s=0.1, started_s=0.2, ended_s=0.3),
    Queued(0.3, B),
    Sent(0.3, B, NODE, 1),
    Started(0.5, B, NODE),
)


def closed(failure: Failure | None, now_s: float = 2.0) -> RunRecord:
    record = RunRecord.of(RUNNING)
    return RunRecord.of([*RUNNING, *farewell(record, failure, now_s)])


def test_what_was_under_way_failed_what_needs_it_is_skipped_and_the_rest_is_cancelled():
    record = closed(FAILURE)

    assert {name: step.status for name, step in record.steps.items()} == {
        A: StepStatus.DONE,
        B: StepStatus.FAILED,
        C: StepStatus.CANCELLED,
        D: StepStatus.SKIPPED,
        E: StepStatus.SKIPPED,
    }
    assert (record.steps[D].because, record.steps[E].because) == (B, B)
    assert (record.steps[B].failure, record.steps[B].node, record.steps[B].ran_s) == (FAILURE, NODE, 1.5)
    assert (record.status, record.duration_s) == (RunStatus.FAILED, 2.0)


def test_of_a_cancelled_run_all_that_had_not_ended_is_cancelled():
    record = closed(None)

    assert record.count(StepStatus.CANCELLED) == 4
    assert record.status is RunStatus.CANCELLED


def test_it_does_not_end_before_what_was_heard_last():
    assert closed(FAILURE, now_s=0.0).duration_s == 0.5


def test_a_step_that_was_never_sent_is_not_in_doubt():
    record = RunRecord.of([*RUNNING, Queued(0.6, C)])

    assert [step.name for step in in_doubt(record)] == [B]
