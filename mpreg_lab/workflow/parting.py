"""How the record of a run is closed of which nothing more will be heard: pure, from what was heard last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mpreg_lab.types import StepName

from .record import Cancelled, Ended, Failed, Failure, RunEvent, RunRecord, RunStatus, Skipped, StepRecord, StepStatus

__all__ = ["farewell", "in_doubt"]

_UNDER_WAY = (StepStatus.QUEUED, StepStatus.RUNNING)


def in_doubt(record: RunRecord) -> list[StepRecord]:
    """The steps that were sent to a node and whose end was not heard: they may or may not have run."""
    return [step for step in record.steps.values() if step.status in _UNDER_WAY and step.sent_s is not None]


def farewell(record: RunRecord, failure: Failure | None, now_s: float) -> list[RunEvent]:
    """The events that end the run: steps under way failed, those below them are skipped, all others are cancelled.

    Args:
        failure: Of the steps that were under way. None: the run was cancelled, and they were too.
        now_s: Seconds since the run began, as the client counts them.
    """
    now_s = max(now_s, record.now_s)
    events: list[RunEvent] = []
    because: dict[StepName, StepName] = {}
    if failure is not None:
        lost = in_doubt(record)
        events += [_failed(step, failure, now_s) for step in lost]
        because = _below(record, [step.name for step in lost])
    for step in record.steps.values():
        if step.status.ended or because.get(step.name) == step.name:
            continue
        cause = because.get(step.name)
        events.append(Cancelled(now_s, step.name) if cause is None else Skipped(now_s, step.name, cause))
    return [*events, Ended(now_s, RunStatus.CANCELLED if failure is None else RunStatus.FAILED)]


def _below(record: RunRecord, lost: Iterable[StepName]) -> dict[StepName, StepName]:
    """Steps that can never run, each with a lost step that it needs, itself or by way of others; lost ones too."""
    dependents: defaultdict[StepName, list[StepName]] = defaultdict(list)
    for step in record.steps.values():
        for need in step.plan.needs:
            dependents[need].append(step.name)
    because = {name: name for name in lost}
    todo = list(because)
    while todo:
        name = todo.pop()
        for dependent in dependents[name]:
            if dependent not in because:
                because[dependent] = because[name]
                todo.append(dependent)
    return because


def _failed(step: StepRecord, failure: Failure, now_s: float) -> Failed:
    return Failed(
        now_s,
        step.name,
        failure,
        node=step.node,
        attempt=step.attempts,
        queued_s=step.ready_s or 0.0,
        sent_s=step.sent_s or 0.0,
        started_s=step.started_s,
        ended_s=now_s,
        printed=step.printed,
    )
