from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mpreg_lab.workflow import record
from mpreg_lab.workflow.record import RunStatus, StepStatus

untyped: Any = record
Cancelled, Ended, Failed, Failure, Finished, Opened, Queued, Retrying, RunRecord, Sent, Skipped, Started, StepPlan = (
    untyped.Cancelled,
    untyped.Ended,
    untyped.Failed,
    untyped.Failure,
    untyped.Finished,
    untyped.Opened,
    untyped.Queued,
    untyped.Retrying,
    untyped.RunRecord,
    untyped.Sent,
    untyped.Skipped,
    untyped.Started,
    untyped.StepPlan,
)
FaultKind, FaultNote = untyped.FaultKind, untyped.FaultNote
OPENED = Opened(0.0, (StepPlan("a", "f"), StepPlan("b", "g", ("a",))))
FAILURE = Failure("ValueError", "no", "")


def folded(*events: Any) -> Any:
    return RunRecord.of([OPENED, *events])


def test_a_record_begins_with_all_steps_waiting():
    run = folded()

    assert [(s.name, s.status) for s in run.steps.values()] == [("a", StepStatus.WAITING), ("b", StepStatus.WAITING)]
    assert (run.status, run.duration_s, run.version) == (RunStatus.RUNNING, None, 1)


def test_a_step_goes_from_queued_to_running_to_done():
    events = Queued(1.0, "a"), Sent(1.5, "a", "n1"), Started(2.0, "a", "n1")

    assert [folded(*events[:n]).steps["a"].status for n in range(4)] == ["waiting", "queued", "queued", "running"]
    step = folded(*events).steps["a"]
    assert (step.node, step.attempts, step.ready_s, step.sent_s, step.started_s) == ("n1", 1, 1.0, 1.5, 2.0)
    assert step.ran_s is None


def test_one_event_tells_all_of_a_short_step():
    step = folded(Finished(3.0, "a", "n1", 1, 0.5, 1.0, 1.5, 2.5, "hello\n")).steps["a"]

    assert (step.status, step.node, step.attempts, step.printed) == (StepStatus.DONE, "n1", 1, "hello\n")
    assert (step.ready_s, step.sent_s, step.started_s, step.ended_s, step.known_s) == (0.5, 1.0, 1.5, 2.5, 3.0)


def test_the_time_of_a_step_is_split_into_queued_travelling_and_running():
    step = folded(Finished(3.0, "a", "n1", 1, 0.0, 0.0, 1.5, 2.5)).steps["a"]

    # The way back took 0.5 s, and so did the way there; before that it was queued.
    assert (step.queued_s, step.travel_s, step.ran_s) == (1.0, 1.0, 1.0)
    assert step.queued_s + step.travel_s + step.ran_s == step.known_s


def test_what_has_not_happened_has_no_time():
    step = folded(Queued(1.0, "a"), Sent(1.0, "a", "n1")).steps["a"]

    assert (step.queued_s, step.travel_s, step.ran_s) == (None, None, None)


def test_clocks_that_disagree_give_no_negative_times():
    step = folded(Finished(1.0, "a", "n1", 1, 2.0, 2.0, 1.9, 1.5)).steps["a"]

    assert (step.queued_s, step.travel_s, step.ran_s) == (0.0, 0.0, 0.0)


def test_a_failed_step_keeps_its_failure_and_output():
    step = folded(Failed(2.0, "a", FAILURE, "n1", 2, 0.5, 1.0, 1.2, 1.8, "so far")).steps["a"]

    assert (step.status, step.failure, step.attempts, step.printed) == (StepStatus.FAILED, FAILURE, 2, "so far")
    assert (step.started_s, step.ended_s, step.known_s) == (1.2, 1.8, 2.0)


def test_a_step_that_no_node_could_run_was_never_sent():
    step = folded(Failed(2.0, "a", FAILURE)).steps["a"]

    assert (step.status, step.node, step.attempts, step.sent_s, step.started_s) == (
        StepStatus.FAILED,
        None,
        0,
        None,
        None,
    )


def test_earlier_attempts_are_kept():
    run = folded(
        Queued(0.0, "a"),
        Sent(0.0, "a", "n1"),
        Retrying(1.0, "a", FAILURE, "n1", 1, 2.0, 0.0, 0.5),
    )
    assert run.steps["a"].status is StepStatus.RETRYING
    assert run.steps["a"].earlier == [record.Attempt("n1", 0.0, 0.5, 1.0, FAILURE)]  # type: ignore[arg-type]

    run.apply(Finished(4.0, "a", "n2", 2, 2.0, 2.0, 3.0, 4.0))
    step = run.steps["a"]
    assert (step.status, step.node, step.attempts, len(step.earlier)) == (StepStatus.DONE, "n2", 2, 1)


def test_two_records_do_not_share_their_earlier_attempts():
    one = folded(Retrying(1.0, "a", FAILURE, "n1", 1, 2.0))

    assert one.steps["b"].earlier == []
    assert folded().steps["a"].earlier == []


def test_a_skipped_step_names_the_failed_one():
    run = folded(Failed(1.0, "a", FAILURE, "n1"), Skipped(1.0, "b", "a"), Ended(1.0, RunStatus.FAILED))

    assert [s.name for s in run.failed] == ["a"]
    assert [(s.name, s.because) for s in run.skipped] == [("b", "a")]
    assert (run.status, run.duration_s) == (RunStatus.FAILED, 1.0)


def test_a_cancelled_step_ran_until_then():
    run = folded(
        Queued(0.0, "a"), Sent(0.0, "a", "n1"), Started(1.0, "a", "n1"), Cancelled(3.0, "a"), Cancelled(3.0, "b")
    )

    assert run.steps["a"].ran_s == 2.0
    assert (run.steps["b"].status, run.steps["b"].ended_s) == (StepStatus.CANCELLED, None)


def test_time_never_goes_back_and_versions_count_events():
    run = folded(Queued(5.0, "a"), Sent(2.0, "a", "n1"))

    assert (run.now_s, run.version) == (5.0, 3)


def test_an_event_of_an_unknown_step_is_an_error_of_the_sender():
    with pytest.raises(KeyError):
        folded(Queued(1.0, "zebra"))


def test_a_record_says_how_many_steps_are_where():
    assert repr(RunRecord()) == "RunRecord(0 steps: none)"
    assert repr(folded(Finished(1.0, "a", "n1"))) == "RunRecord(2 steps: 1 waiting, 1 done)"
    assert repr(RunRecord.of([Opened(0.0, (StepPlan("a", "f"),))])) == "RunRecord(1 step: 1 waiting)"


def test_every_event_is_the_same_on_the_wire():
    events = [
        OPENED,
        Queued(1.0, "a"),
        Sent(1.0, "a", "n1"),
        Started(1.0, "a", "n1"),
        Finished(1.0, "a", "n1", printed="é"),
        Failed(1.0, "a", FAILURE),
        Retrying(1.0, "a", FAILURE, "n1", 1, 2.0),
        Skipped(1.0, "b", "a"),
        Cancelled(1.0, "b"),
        Ended(1.0, RunStatus.DONE),
    ]
    for event in events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event


def test_faults_are_kept_by_time_and_change_no_step():
    kill = FaultNote(2.0, FaultKind.KILL, "b killed", ("b",))
    before = FaultNote(-1.0, FaultKind.CUT, "a-b cut", ("a", "b"))

    run = folded(kill, before)

    assert run.faults == (before, kill)
    assert run.steps == folded().steps
    assert run.copy().faults == run.faults
    assert folded().faults == ()


def test_only_some_states_are_ends_and_few_are_successes():
    assert {s for s in StepStatus if s.ended} == {"done", "reused", "cached", "failed", "skipped", "cancelled"}
    assert {s for s in StepStatus if s.succeeded} == {"done", "reused", "cached"}
