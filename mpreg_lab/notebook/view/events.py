"""What happened in a run, line by line in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from mpreg_lab.types import NodeName, StepName
from mpreg_lab.workflow.record import Failure, RunRecord, StepRecord, StepStatus

from .format import counted, duration, line, whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EventRow", "What", "event_rows", "events_frame"]

What = Literal[
    "began",
    "ready",
    "sent",
    "started",
    "done",
    "reused",
    "cached",
    "gone",
    "failed",
    "skipped",
    "cancelled",
    "fault",
    "ended",
]


class EventRow(msgspec.Struct, frozen=True):
    """One thing that happened.

    Attributes:
        at_s: Seconds since the run began.
        step: None: it happened to the run, or to the cluster meanwhile.
        what: `failed` is the end of an attempt: `text` says which, and another one may follow.
        text: What there is to say besides, on one line; may be empty.
    """

    at_s: float
    step: StepName | None
    what: What
    node: NodeName | None = None
    text: str = ""


def event_rows(record: RunRecord) -> tuple[EventRow, ...]:
    """All events of a run so far; those of one moment are in the order of the workflow."""
    rows = [EventRow(0.0, None, "began", text=counted(len(record.steps), "step"))]
    for step in record.steps.values():
        rows += _of_step(step, record)
    rows += (EventRow(f.now_s, None, "fault", _only(f.nodes), line(f.text)) for f in record.faults)
    rows.sort(key=lambda row: row.at_s)
    if record.duration_s is not None:
        rows.append(EventRow(record.duration_s, None, "ended", text=str(record.status)))
    return tuple(rows)


def events_frame(record: RunRecord) -> pd.DataFrame:
    """One row an event: at_s (seconds since the run began), step, what, node, text."""
    import pandas as pd

    rows = event_rows(record)
    return pd.DataFrame(
        {
            "at_s": pd.Series([row.at_s for row in rows], dtype="float64"),
            "step": pd.Series([row.step and whole(row.step) for row in rows], dtype="string"),
            "what": pd.Categorical([row.what for row in rows], categories=list(get_args(What))),
            "node": pd.Series([row.node for row in rows], dtype="string"),
            "text": pd.Series([row.text for row in rows], dtype="string"),
        }
    )


def _only(nodes: tuple[NodeName, ...]) -> NodeName | None:
    return nodes[0] if len(nodes) == 1 else None


def _of_step(step: StepRecord, record: RunRecord) -> Iterable[EventRow]:
    name = step.name
    if step.gone:
        yield EventRow(0.0, name, "gone", text="the result of the earlier run is not to be had any more")
    if step.status is StepStatus.REUSED:
        yield EventRow(0.0, name, "reused", step.node, "the result of an earlier run")
    if step.ready_s is not None:
        yield EventRow(min([step.ready_s, *(attempt.sent_s for attempt in step.earlier)]), name, "ready")
    for number, attempt in enumerate(step.earlier, 1):
        yield EventRow(attempt.sent_s, name, "sent", attempt.node, _which(number))
        if attempt.started_s is not None:
            yield EventRow(attempt.started_s, name, "started", attempt.node, _which(number))
        yield EventRow(attempt.ended_s, name, "failed", attempt.node, _because(attempt.failure, _which(number)))
    yield from _last_attempt(step)
    yield from _end(step, record)


def _last_attempt(step: StepRecord) -> Iterable[EventRow]:
    if step.attempts <= len(step.earlier):
        return
    which = _which(step.attempts) if step.attempts > 1 else ""
    if step.sent_s is not None:
        yield EventRow(step.sent_s, step.name, "sent", step.node, which)
    if step.started_s is not None:
        yield EventRow(step.started_s, step.name, "started", step.node, which)


def _end(step: StepRecord, record: RunRecord) -> Iterable[EventRow]:
    known_s = step.ended_s if step.known_s is None else step.known_s
    over_s = record.now_s if record.duration_s is None else record.duration_s
    if step.status is StepStatus.CACHED and known_s is not None:
        yield EventRow(known_s, step.name, "cached", step.node, "the result of an equal step")
    elif step.status is StepStatus.DONE and known_s is not None:
        yield EventRow(
            known_s, step.name, "done", step.node, "" if step.ran_s is None else f"ran {duration(step.ran_s)}"
        )
    elif step.status is StepStatus.FAILED and step.failure is not None:
        at_s = over_s if known_s is None else known_s
        which = _which(step.attempts) if step.attempts > 1 else ""
        yield EventRow(at_s, step.name, "failed", step.node, _because(step.failure, which))
    elif step.status is StepStatus.SKIPPED and step.because is not None:
        cause = record.steps[step.because]
        at_s = over_s if cause.known_s is None else cause.known_s
        yield EventRow(at_s, step.name, "skipped", text=f"{line(step.because)} failed")
    elif step.status is StepStatus.CANCELLED:
        yield EventRow(over_s if known_s is None else known_s, step.name, "cancelled", step.node)


def _which(attempt: int) -> str:
    return f"attempt {attempt}"


def _because(failure: Failure, which: str) -> str:
    return line(f"{which}{': ' if which else ''}{failure.type_name}: {failure.message}", 200)
