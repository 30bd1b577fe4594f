"""Claims about runs: they hold, or show the whole run."""

from __future__ import annotations

import json

import pytest

from mpreg_lab import LocalCluster, Ref, Step, Workflow
from mpreg_lab.errors import UnknownStepError
from mpreg_lab.testing import (
    Ran,
    VirtualClock,
    assert_ran_in_order,
    assert_steps_failed,
    assert_steps_ran,
    assert_steps_skipped,
    record_snapshot,
)


def fail() -> None:
    raise ZeroDivisionError("no")


def works_at(attempt: int):
    calls: list[int] = []

    def works() -> int:
        calls.append(1)
        if len(calls) < attempt:
            raise OSError(f"attempt {len(calls)}")
        return len(calls)

    return works


@pytest.fixture
def ran() -> Ran:
    """`good` and `again` succeed, `bad` fails, `below` is skipped."""
    steps = (
        Step("good", "echo", (1,)),
        Step("again", "works", retries=2, backoff_s=1.0, resources={"disk"}),
        Step("bad", "fail"),
        Step("below", "echo", (Ref("bad"),)),
    )
    functions = {"echo": lambda value: value, "works": works_at(2), "fail": fail}
    return VirtualClock().run(Workflow(steps, name="four"), functions)


def test_what_is_true_may_be_claimed(ran: Ran):
    assert_steps_ran(ran, "good", "again", on={"good": "here"}, attempts={"again": 2, "good": 1})
    assert_steps_ran(ran.record, "again", "good")
    assert_steps_failed(ran, {"bad": ZeroDivisionError})
    assert_steps_failed(ran, {"bad": "ZeroDivisionError"})
    assert_steps_skipped(ran, {"below": "bad"})
    assert_ran_in_order(ran, "good", "again")


def test_a_wrong_claim_shows_the_run_and_what_was_expected(ran: Ran):
    with pytest.raises(AssertionError) as caught:
        assert_steps_ran(ran, "good", "bad", on={"good": "b"}, attempts={"again": 3})

    assert str(caught.value) == (
        "3 steps are not as expected:\n"
        "> good   done, on here, 1 attempt\n"
        "         expected: on b\n"
        "> again  done, on here, 2 attempts\n"
        "         expected: not done\n"
        "         expected: 3 attempts\n"
        "> bad    failed, on here, 1 attempt, ZeroDivisionError: no\n"
        "         expected: done\n"
        "  below  skipped, because of bad"
    )


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        (lambda ran: assert_steps_failed(ran, {}), "expected: not failed"),
        (lambda ran: assert_steps_failed(ran, {"bad": OSError}), "expected: failed with OSError"),
        (lambda ran: assert_steps_failed(ran, {"bad": "ZeroDivisionError", "good": OSError}), "> good"),
        (lambda ran: assert_steps_skipped(ran, {}), "expected: not skipped"),
        (lambda ran: assert_steps_skipped(ran, {"below": "good"}), "expected: skipped because of good"),
        (lambda ran: assert_ran_in_order(ran, "again", "good"), "expected: after again, which ended"),
        (lambda ran: assert_ran_in_order(ran, "below"), "expected: to have run"),
    ],
)
def test_other_wrong_claims(ran: Ran, claim, line):
    with pytest.raises(AssertionError) as caught:
        claim(ran)

    assert line in str(caught.value)


def test_a_step_that_there_is_not_is_a_mistake_and_no_wrong_claim(ran: Ran):
    for claim in (
        lambda: assert_steps_ran(ran, "god"),
        lambda: assert_steps_failed(ran, {"god": OSError}),
        lambda: assert_ran_in_order(ran, "god"),
    ):
        with pytest.raises(UnknownStepError, match="Did you mean 'good'"):
            claim()


def test_a_snapshot_is_plain_data_without_times(ran: Ran):
    snapshot = record_snapshot(ran)

    assert json.loads(json.dumps(snapshot)) == snapshot
    assert snapshot == {
        "name": "four",
        "status": "failed",
        "steps": {
            "good": {"function": "echo", "status": "done"},
            "again": {
                "function": "works",
                "status": "done",
                "resources": ["disk"],
                "attempts": 2,
                "earlier": ["OSError: attempt 1"],
            },
            "bad": {"function": "fail", "status": "failed", "failure": "ZeroDivisionError: no"},
            "below": {"function": "echo", "status": "skipped", "needs": ["bad"], "because": "bad"},
        },
    }


def test_snapshots_and_claims_of_a_real_run():
    with LocalCluster({"a": [], "b": ["gpu"]}) as cluster:
        cluster.register(lambda: print("said") or 1, name="speak", resources=["gpu"])  # noqa: T201
        workflow = Workflow([Step("x", "speak", resources={"gpu"}), Step("y", "echo", (Ref("x"),), node="a")])
        first, second = cluster.run(workflow), cluster.run(workflow)

        assert record_snapshot(first, nodes=True) == record_snapshot(second, nodes=True)
        steps = record_snapshot(first, nodes=True)["steps"]
        assert steps["x"] == {
            "function": "speak", "status": "done", "node": "b", "resources": ["gpu"], "printed": "said\n"
        }  # fmt: skip
        assert_steps_ran(first, "x", "y", on={"x": "b", "y": "a"})
        assert_ran_in_order(first, "x", "y")
