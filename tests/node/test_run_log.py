from __future__ import annotations

from mpreg_lab.node.run_log import PastRuns, RunLog
from mpreg_lab.protocol.messages import RunDone, RunUpdate
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import RunId, StepName
from mpreg_lab.workflow.record import Ended, Queued, RunEvent, RunStatus

RUN = RunId("r")
EVENTS: list[RunEvent] = [Queued(0.0, StepName("a")), Queued(0.1, StepName("b")), Ended(0.2, RunStatus.DONE)]


def log(run: str = "r", *, value: bytes = b"") -> RunLog:
    """That of a run that is over."""
    told = RunLog(RunId(run), kept=True)
    told.update(EVENTS[:1])
    told.update(EVENTS[1:])
    payload = Payload.of(value)
    payload.pack()
    told.end(RunDone(RunId(run), {StepName("a"): payload}))
    return told


def test_events_are_numbered_from_the_beginning_of_the_run():
    told = RunLog(RUN, kept=True)

    assert [told.update(EVENTS[:2]).first, told.update(EVENTS[2:]).first] == [0, 2]
    assert told.end(RunDone(RUN)).after == 3


def test_who_knows_some_is_told_the_rest_and_the_end():
    update, done = log().since(1)

    assert isinstance(update, RunUpdate)
    assert (update.first, list(update.events)) == (1, EVENTS[1:])
    assert isinstance(done, RunDone)
    assert (done.after, list(done.results)) == (3, ["a"])
    assert [type(message) for message in log().since(3)] == [RunDone]


def test_a_log_that_is_not_kept_holds_nothing_and_numbers_nothing():
    told = RunLog(RUN, kept=False)

    assert [told.update(EVENTS[:2]).first, told.update(EVENTS[2:]).first] == [0, 0]
    assert told.end(RunDone(RUN)).after == 0
    assert (told.done, told.size_bytes) == (None, 0)


def test_of_past_runs_the_oldest_are_forgotten():
    past = PastRuns(most_runs=2)
    for name in "abc":
        past.add(RunId(name), log(name))

    assert [RunId(name) in past for name in "abc"] == [False, True, True]
    assert past.log(RunId("a")) is None


def test_of_past_runs_that_take_too_much_it_stays_known_that_they_were_here():
    past = PastRuns(most_bytes=3000)
    for name in "abc":
        past.add(RunId(name), log(name, value=bytes(500)))

    assert [RunId(name) in past for name in "abc"] == [True, True, True]
    assert [past.log(RunId(name)) is None for name in "abc"] == [True, False, False]


def test_a_run_that_its_client_has_forgotten_stays_known():
    past = PastRuns()
    past.add(RUN, log())
    past.add(RUN)

    assert RUN in past
    assert past.log(RUN) is None
