"""What a run takes over from an earlier one: decided without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from mpreg_lab.workflow import reuse
from mpreg_lab.workflow.machine import Execute, Returned, RunMachine
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import Plan, validate
from mpreg_lab.workflow.record import RunRecord, RunStatus, StepStatus
from mpreg_lab.workflow.reuse import Reuse, reusable

untyped: Any = reuse
Earlier, kept_steps = untyped.Earlier, untyped.kept_steps


def plan(needs: dict[str, str], returns: tuple[str, ...] | None = None) -> Plan:
    """Each step with what it needs: `plan({"a": "", "b": "a", "c": "a b"})`."""
    return validate(Workflow([Step(name, "f", map(Ref, some.split())) for name, some in needs.items()], returns))


def names(of: Plan, keys: frozenset[int]) -> str:
    return "".join(sorted(of.workflow.steps[key].name for key in keys))


def offered(of: Plan, steps: str, there: str | None = None) -> Reuse:
    """These steps shall be used again; of them the results that are there, which may be all."""
    found = steps if there is None else there
    return Reuse(
        frozenset(of.keys[name] for name in steps),  # type: ignore[index]
        {of.keys[name]: Earlier(f"{name}!", "n1") for name in found},  # type: ignore[index]
    )


def record(of: Plan, **states: StepStatus) -> Any:
    found: Any = RunRecord.of([of.opened()])
    for name in found.steps:
        found.steps[name].status = states.get(name, StepStatus.DONE)
    return found


DIAMOND = {"a": "", "b": "a", "c": "a", "d": "b c"}
CHAIN = {"a": "", "b": "a", "c": "b"}


@pytest.mark.parametrize(
    ("again", "kept"), [((), "abcd"), (("a",), ""), (("b",), "ac"), (("d",), "abc"), (("b", "c"), "a")]
)
def test_from_a_step_on_it_and_all_below_it_run(again: tuple[str, ...], kept: str):
    whole = plan(DIAMOND)

    assert "".join(kept_steps(whole, record(whole).steps, again)) == kept


def test_only_what_succeeded_is_kept():
    whole = plan(DIAMOND)
    steps = record(whole, a=StepStatus.REUSED, b=StepStatus.FAILED, d=StepStatus.SKIPPED).steps

    assert kept_steps(whole, steps, ()) == ("a", "c")


def test_results_that_are_there_are_used():
    whole = plan(DIAMOND)

    assert names(whole, reusable(whole, offered(whole, "abc"))) == "abc"


def test_a_result_that_is_gone_is_computed_again_if_a_step_needs_it():
    whole = plan(DIAMOND)

    assert names(whole, reusable(whole, offered(whole, "abc", there="ac"))) == "ac"


def test_what_it_was_computed_from_is_computed_again_too():
    whole = plan(CHAIN)

    assert names(whole, reusable(whole, offered(whole, "ab", there=""))) == ""


def test_a_result_that_is_gone_and_that_nobody_needs_stays_as_it_is():
    whole = plan(CHAIN)

    assert names(whole, reusable(whole, offered(whole, "ab", there="b"))) == "ab"


def test_a_result_that_is_wanted_is_needed():
    whole = plan(CHAIN, ("a", "c"))

    assert names(whole, reusable(whole, offered(whole, "ab", there="b"))) == "b"


class One:
    """A placer with one node."""

    def choose(self, step: Any, near: Any, avoid: Any) -> Any:
        self.near = set(near)
        return "n1"

    def can_run(self, step: Any, node: str) -> bool:
        return True

    def began(self, node: str, steps: int) -> None: ...
    def ended(self, node: str, steps: int) -> None: ...


def started(whole: Plan, take: Reuse) -> tuple[RunMachine, list[str], Any]:
    machine = RunMachine(whole, One(), take)
    todo = [item for item in machine.start(0.5) if isinstance(item, Execute)]
    told: Any = RunRecord.of(machine.take_events())
    return machine, [piece.step.name for item in todo for piece in (item, *item.then)], told


def test_a_machine_begins_with_what_is_not_there():
    whole = plan(DIAMOND)
    machine, todo, told = started(whole, offered(whole, "ab"))

    assert todo == ["c", "d"]
    assert [s.status for s in told.steps.values()] == ["reused", "reused", "queued", "waiting"]
    assert (told.steps["a"].node, told.steps["a"].attempts) == ("n1", 0)
    machine.handle(Returned(1.0, 2, 1, 0.9, 1.0, "c!"), Returned(1.0, 3, 1, 1.0, 1.0, "d!"))
    assert machine.done
    assert machine.status is RunStatus.DONE
    assert machine.values == {0: "a!", 1: "b!", 2: "c!", 3: "d!"}


def test_a_run_of_which_all_is_there_ends_at_once():
    whole = plan(DIAMOND)
    machine, todo, told = started(whole, offered(whole, "abcd"))

    assert todo == []
    assert machine.done
    assert (told.status, told.count(StepStatus.REUSED)) == (RunStatus.DONE, 4)


def test_the_record_says_what_had_to_run_because_it_was_gone():
    whole = plan(DIAMOND)
    _, todo, told = started(whole, offered(whole, "abc", there="ac"))

    assert todo == ["b", "d"]
    assert {name: step.gone for name, step in told.steps.items()} == {"a": False, "b": True, "c": False, "d": False}
