"""What is said of a run in a test: claims that show the whole run when they are wrong, and a snapshot without times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mpreg_lab.errors import UnknownStepError
from mpreg_lab.types import StepName
from mpreg_lab.workflow.plan import did_you_mean
from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

__all__ = [
    "assert_ran_in_order",
    "assert_steps_failed",
    "assert_steps_ran",
    "assert_steps_skipped",
    "record_snapshot",
]


class HasRecord(Protocol):
    """A run, of a cluster or of a virtual clock."""

    @property
    def record(self) -> RunRecord:
        """What happened."""


def assert_steps_ran(
    run: HasRecord | RunRecord,
    *steps: str,
    on: Mapping[str, str] | None = None,
    attempts: Mapping[str, int] | None = None,
) -> None:
    """Claim that these steps, those of `on` among them, and no others have succeeded.

    Args:
        on: Step to node: where it ran.
        attempts: Step to number: how often it was started.

    Raises:
        AssertionError: If not; shows each step, and what was expected of it.
        UnknownStepError: If the run has no such step.
    """
    __tracebackhide__ = True
    record = _record(run)
    on, attempts = on or {}, attempts or {}
    claimed = {*steps, *on}
    _check_known(record, [*steps, *on, *attempts])
    wrong: dict[str, list[str]] = {}
    for name, step in record.steps.items():
        done = step.status is StepStatus.DONE
        if done is not (name in claimed):
            wrong.setdefault(name, []).append("expected: done" if not done else "expected: not done")
        if name in on and step.node != on[name]:
            wrong.setdefault(name, []).append(f"expected: on {on[name]}")
        if name in attempts and step.attempts != attempts[name]:
            wrong.setdefault(name, []).append(f"expected: {_times(attempts[name])}")
    _claim(record, wrong)


def assert_steps_failed(run: HasRecord | RunRecord, expected: Mapping[str, str | type[BaseException]]) -> None:
    """Claim that these steps, and no others, have failed, each with an exception of that class.

    Args:
        expected: Step to exception: a class, or the name of one.

    Raises:
        AssertionError: If not; shows each step.
        UnknownStepError: If the run has no such step.
    """
    __tracebackhide__ = True
    record = _record(run)
    _check_known(record, expected)
    wrong = {}
    for name, step in record.steps.items():
        if name in expected:
            kind = expected[name]
            wanted = kind if isinstance(kind, str) else kind.__name__
            if step.status is not StepStatus.FAILED or step.failure is None or step.failure.type_name != wanted:
                wrong[str(name)] = [f"expected: failed with {wanted}"]
        elif step.status is StepStatus.FAILED:
            wrong[str(name)] = ["expected: not failed"]
    _claim(record, wrong)


def assert_steps_skipped(run: HasRecord | RunRecord, expected: Mapping[str, str]) -> None:
    """Claim that these steps, and no others, were skipped, each because of that failed step.

    Raises:
        AssertionError: If not; shows each step.
        UnknownStepError: If the run has no such step.
    """
    __tracebackhide__ = True
    record = _record(run)
    _check_known(record, [*expected, *expected.values()])
    wrong = {}
    for name, step in record.steps.items():
        because = step.because if step.status is StepStatus.SKIPPED else None
        if because != expected.get(name):
            wanted = f"skipped because of {expected[name]}" if name in expected else "not skipped"
            wrong[str(name)] = [f"expected: {wanted}"]
    _claim(record, wrong)


def assert_ran_in_order(run: HasRecord | RunRecord, *steps: str) -> None:
    """Claim that each of these steps had ended before the next one began.

    Nodes in processes of their own have clocks of their own: times of two of them may be off by a millisecond.

    Raises:
        AssertionError: If not; shows each step.
        UnknownStepError: If the run has no such step.
    """
    __tracebackhide__ = True
    record = _record(run)
    _check_known(record, steps)
    wrong = {}
    ended_s, last = 0.0, ""
    for name in steps:
        step = record.steps[StepName(name)]
        if step.started_s is None or step.ended_s is None:
            wrong[name] = ["expected: to have run"]
            continue
        if step.started_s < ended_s:
            wrong[name] = [f"expected: after {last}, which ended {ended_s - step.started_s:.6f} s later than it began"]
        ended_s, last = step.ended_s, name
    _claim(record, wrong)


def record_snapshot(run: HasRecord | RunRecord, *, nodes: bool = False) -> dict[str, Any]:
    """What happened, as plain data that is the same in each run: no times, ids, addresses or frames.

    Made for `==` with what was stored, such as syrupy's `snapshot`.

    Args:
        nodes: With the node of each step: for runs in which only one can be chosen.
    """
    record = _record(run)
    return {
        "name": record.name,
        "status": str(record.status),
        "steps": {str(name): _snapshot(step, nodes) for name, step in record.steps.items()},
    }


def _snapshot(step: StepRecord, nodes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"function": str(step.plan.function), "status": str(step.status)}
    optional = {
        "needs": [str(need) for need in step.plan.needs],
        "resources": [str(resource) for resource in step.plan.resources],
        "node": str(step.node) if nodes and step.node is not None else "",
        "attempts": step.attempts if step.attempts > 1 else 0,
        "earlier": [f"{a.failure.type_name}: {a.failure.message}" for a in step.earlier],
        "failure": "" if step.failure is None else f"{step.failure.type_name}: {step.failure.message}",
        "because": str(step.because or ""),
        "printed": step.printed,
    }
    return found | {key: value for key, value in optional.items() if value}


def _record(run: HasRecord | RunRecord) -> RunRecord:
    return run if isinstance(run, RunRecord) else run.record


def _check_known(record: RunRecord, names: Iterable[str]) -> None:
    __tracebackhide__ = True
    for name in names:
        if name not in record.steps:
            raise UnknownStepError(
                f"the run has no step {name!r}. " + did_you_mean(name, record.steps, "Its steps: "), step=name
            )


def _claim(record: RunRecord, wrong: Mapping[str, list[str]]) -> None:
    __tracebackhide__ = True
    if not wrong:
        return
    width = max(map(len, record.steps))
    lines = []
    for name, step in record.steps.items():
        mark = ">" if name in wrong else " "
        lines.append(f"{mark} {name:<{width}}  {_told(step)}")
        lines += [f"  {'':<{width}}  {problem}" for problem in wrong.get(name, ())]
    count = "1 step is" if len(wrong) == 1 else f"{len(wrong)} steps are"
    raise AssertionError(f"{count} not as expected:\n" + "\n".join(lines))


def _told(step: StepRecord) -> str:
    parts = [str(step.status)]
    if step.node is not None:
        parts.append(f"on {step.node}")
    if step.attempts:
        parts.append(_times(step.attempts))
    if step.failure is not None:
        parts.append(f"{step.failure.type_name}: {step.failure.message}")
    if step.because is not None:
        parts.append(f"because of {step.because}")
    return ", ".join(parts)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
