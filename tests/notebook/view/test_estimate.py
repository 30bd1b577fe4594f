"""How long a run will go on: from the durations it has seen, the chain that remains, and the slots it used."""

import pytest

from mpreg_lab.notebook.view.estimate import Estimate, estimate, most_at_once
from mpreg_lab.types import NodeName, StepName
from mpreg_lab.workflow.record import Ended, Finished, Opened, RunEvent, RunRecord, RunStatus, Started, StepPlan
from tests.notebook.view.runs import fan, pipeline, plan, running


def finished(step: str, started_s: float, ended_s: float) -> Finished:
    return Finished(ended_s, StepName(step), NodeName("a"), 1, 0.0, 0.0, started_s, ended_s)


def started(step: str, now_s: float) -> Started:
    return Started(now_s, StepName(step), NodeName("a"))


def record(plans: list[StepPlan], *events: RunEvent) -> RunRecord:
    return RunRecord.of([Opened(0.0, tuple(plans)), *events])


def test_a_chain_takes_as_long_as_its_steps():
    plans = [plan("a", "f"), plan("b", "f", "a"), plan("c", "f", "b")]

    assert estimate(record(plans, finished("a", 0.0, 4.0))) == Estimate(8.0, at_least=False)


def test_a_step_that_runs_has_only_the_rest_of_its_time_left():
    plans = [plan("a", "f"), plan("b", "f", "a"), plan("c", "f", "b")]

    assert estimate(record(plans, finished("a", 0.0, 4.0), started("b", 4.0))) == Estimate(8.0, at_least=False)
    later = record(plans, finished("a", 0.0, 4.0), started("b", 4.0))
    later.now_s = 7.0
    assert estimate(later) == Estimate(5.0, at_least=False)


def test_a_step_that_takes_longer_than_usual_is_taken_to_end_now():
    plans = [plan("a", "f"), plan("b", "f")]
    late = record(plans, finished("a", 0.0, 1.0), started("b", 1.0))
    late.now_s = 9.0

    assert estimate(late) == Estimate(0.0, at_least=False)


def test_steps_that_need_nothing_share_the_slots_that_were_seen():
    plans = [plan(f"s{i}", "f") for i in range(10)]

    two_at_once = record(plans, finished("s0", 0.0, 3.0), finished("s1", 0.0, 3.0))

    assert estimate(two_at_once) == Estimate(12.0, at_least=False)


def test_a_function_that_never_returned_makes_it_a_lower_bound():
    plans = [plan("a", "f"), plan("b", "f", "a"), plan("c", "g", "b")]

    assert estimate(record(plans, finished("a", 0.0, 4.0))) == Estimate(4.0, at_least=True)


@pytest.mark.parametrize(
    "unknown",
    [
        RunRecord(),
        record([plan("a", "f")]),
        running(),
        pipeline(),
        record([plan("a", "f")], Ended(1.0, RunStatus.FAILED)),
    ],
    ids=["no steps", "nothing ended", "only new functions left", "over", "failed"],
)
def test_nothing_is_said_where_nothing_is_known(unknown: RunRecord):
    assert estimate(unknown) is None


def test_very_large_runs_are_not_estimated():
    assert estimate(fan(200, ended=False)) is not None
    assert estimate(fan(10_000, ended=False)) is None


def test_how_many_ran_at_once():
    steps = record(
        [plan(name, "f") for name in "abc"],
        finished("a", 0.0, 2.0),
        finished("b", 1.0, 3.0),
        started("c", 3.0),
    ).steps.values()

    assert most_at_once(steps, 4.0) == 2
