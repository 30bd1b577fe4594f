"""A run in one line, and as the plain state that a widget draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mpreg_lab.types import NodeName
from mpreg_lab.workflow.record import Attempt, Failure, RunRecord, RunStatus, StepRecord, StepStatus

from .estimate import estimate
from .events import EventRow, event_rows
from .faults import blamed
from .format import clip, counted, line, plain
from .graph_svg import group_status
from .latency import Latency, latency
from .preview import Preview, result_preview
from .timeline import Timeline, timeline
from .tracebacks import TracePart, trace_parts

__all__ = ["Preview", "detail", "headline", "planned", "result_preview", "run_repr", "state"]

_TEXT_LIMIT = 400_000
"""About how many characters of steps, and of results, one message to a widget carries."""
_RESULTS = 50
_EVENTS = 500


def headline(record: RunRecord) -> str:
    """`4 steps: 3 done, 1 failed`; while it runs, `17 of 40 done, 3 running`. The name, if any, first."""
    counts = {status: record.count(status) for status in StepStatus}
    name = f"{line(record.name)}, " if record.name else ""
    if record.status is not RunStatus.RUNNING:
        states = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n)
        return f"{name}{counted(len(record.steps), 'step')}: {states or 'none'}"
    shown = (StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED)
    rest = "".join(f", {counts[status]:,} {status}" for status in shown if counts[status])
    done = sum(n for status, n in counts.items() if status.succeeded)
    return f"{name}{done:,} of {len(record.steps):,} done{rest}"


def planned(record: RunRecord) -> str:
    """`7 steps, not run`: the headline of a workflow that nobody began."""
    return f"{line(record.name)}, " * bool(record.name) + f"{counted(len(record.steps), 'step')}, not run"


def run_repr(record: RunRecord) -> str:
    """`Run(4 steps: 4 done)`."""
    return f"Run({headline(record)})"


class StepStates(msgspec.Struct, frozen=True):
    """One list a field, one item a step, in the order of the record: much smaller than one struct a step."""

    status: list[StepStatus]
    node: list[str | None]
    attempts: list[int]
    ready_s: list[float | None]
    sent_s: list[float | None]
    started_s: list[float | None]
    ended_s: list[float | None]
    queued_s: list[float | None]
    ran_s: list[float | None]
    travel_s: list[float | None]


class RunState(msgspec.Struct, frozen=True):
    """What changes many times while a run goes on.

    Attributes:
        left_s: Seconds until the end, from `now_s` on; None if that is not known.
        at_least: Whether it may be more, because some functions have not returned yet.
        folded: For each box of several steps, by its index as a string, the state in which it is shown.
    """

    status: RunStatus
    headline: str
    counts: dict[str, int]
    now_s: float
    duration_s: float | None
    left_s: float | None
    at_least: bool
    steps: StepStates
    folded: dict[str, StepStatus]


class AttemptDetail(msgspec.Struct, frozen=True):
    """One try of a step that was tried more than once; times are seconds since the run began."""

    number: int
    node: str | None
    sent_s: float | None
    started_s: float | None
    ended_s: float | None
    outcome: str
    """`done`, `running`, …, or the exception."""
    status: StepStatus


class FailureDetail(msgspec.Struct, frozen=True):
    """An exception, with the frames of libraries set apart."""

    type_name: str
    message: str
    trace: tuple[TracePart, ...]


class StepDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person reads after opening a step."""

    failure: FailureDetail | None = None
    because: str | None = None
    fault: str = ""
    """What befell the node of the last attempt before that was lost."""
    printed: str = ""
    printed_chars: int = 0
    """How long the text is of which `printed` is the beginning; 0 if that is all of it."""
    attempts: tuple[AttemptDetail, ...] = ()
    """All of them, if there were several."""
    result: Preview | None = None


class Result(msgspec.Struct, frozen=True):
    """One result that the run returned: of the step or group `key`, which is written `name`."""

    name: str
    key: str
    preview: Preview


class RunDetail(msgspec.Struct, frozen=True):
    """What is looked at less often than the state.

    Attributes:
        steps: Index of the step, as a string, to its detail; steps without any are left out.
        results: At most the first 50.
        events: The last 500; `earlier_events` is how many are left out.
    """

    steps: dict[str, StepDetail]
    results: list[Result]
    timeline: Timeline
    latency: Latency
    events: tuple[EventRow, ...]
    earlier_events: int


def state(record: RunRecord, folded: Mapping[int, Sequence[int]] | None = None) -> dict[str, Any]:
    """The run now, as plain JSON: a RunState.

    Args:
        record: The run.
        folded: Index of each box of several steps to the indices of these; None: there are none.
    """
    steps = list(record.steps.values())
    counts = Counter(s.status for s in steps)
    nodes = {node: None if node is None else line(node) for node in {s.node for s in steps}}
    boxes = (folded or {}).items()
    rest = estimate(record)
    return _plain_json(
        RunState(
            status=record.status,
            headline=headline(record),
            counts={status.value: counts[status] for status in StepStatus if counts[status]},
            now_s=record.now_s,
            duration_s=record.duration_s,
            left_s=None if rest is None else round(rest.left_s, 3),
            at_least=rest is not None and rest.at_least,
            steps=StepStates(
                status=[s.status for s in steps],
                node=[nodes[s.node] for s in steps],
                attempts=[s.attempts for s in steps],
                ready_s=[_us(s.ready_s) for s in steps],
                sent_s=[_us(s.sent_s) for s in steps],
                started_s=[_us(s.started_s) for s in steps],
                ended_s=[_us(s.ended_s) for s in steps],
                queued_s=[_us(s.queued_s) for s in steps],
                ran_s=[_us(s.ran_s) for s in steps],
                travel_s=[_us(s.travel_s) for s in steps],
            ),
            folded={str(box): group_status(Counter(steps[i].status for i in inside)) for box, inside in boxes},
        )
    )


def detail(record: RunRecord, results: Mapping[str, object]) -> dict[str, Any]:
    """What there is to read and to draw besides the state, as plain JSON: a RunDetail.

    Args:
        record: The run.
        results: Those that are here, by name of step or group.
    """
    limit = max(500, min(20_000, _TEXT_LIMIT // max(1, len(record.steps))))
    of_step = _results_of_steps(record, results)
    events = event_rows(record)
    steps = ((i, _step_detail(record, s, of_step, limit)) for i, s in enumerate(record.steps.values()))
    return _plain_json(
        RunDetail(
            steps={str(i): shown for i, shown in steps if shown is not None},
            results=[Result(line(n), n, result_preview(v, 4000)) for n, v in list(results.items())[:_RESULTS]],
            timeline=timeline(record),
            latency=latency(record),
            events=tuple(map(_shown_event, events[-_EVENTS:])),
            earlier_events=max(0, len(events) - _EVENTS),
        )
    )


def _shown_event(row: EventRow) -> EventRow:
    return row if row.node is None else msgspec.structs.replace(row, node=NodeName(line(row.node)))


def _results_of_steps(record: RunRecord, results: Mapping[str, object]) -> dict[str, object]:
    """Results by name of step alone: that of a group is the list of those of its steps."""
    of_step = dict(results)
    for group in record.groups:
        values = of_step.pop(group.name, None)
        if isinstance(values, list) and len(values) == len(group.steps):
            of_step.update(zip(group.steps, values, strict=True))
    return of_step


def _step_detail(record: RunRecord, step: StepRecord, results: Mapping[str, object], limit: int) -> StepDetail | None:
    has_result = step.name in results
    if not (step.failure or step.because or step.printed or step.earlier or has_result):
        return None
    text = plain(step.printed)
    return StepDetail(
        failure=None if step.failure is None else _failure(step.failure, limit),
        because=None if step.because is None else line(step.because),
        fault=blamed(record, step),
        printed=clip(text, limit),
        printed_chars=len(text) if len(text) > limit else 0,
        attempts=_attempts(record, step) if step.earlier else (),
        result=result_preview(results[step.name], limit) if has_result else None,
    )


def _attempts(record: RunRecord, step: StepRecord) -> tuple[AttemptDetail, ...]:
    earlier = [_earlier(number, attempt, blamed(record, attempt)) for number, attempt in enumerate(step.earlier, 1)]
    if step.attempts <= len(earlier):
        return tuple(earlier)
    node = None if step.node is None else line(step.node)
    end = "" if step.failure is None else f": {step.failure.type_name}"
    times = _us(step.sent_s), _us(step.started_s), _us(step.ended_s)
    return (*earlier, AttemptDetail(step.attempts, node, *times, line(step.status + end), step.status))


def _earlier(number: int, attempt: Attempt, fault: str) -> AttemptDetail:
    node = None if attempt.node is None else line(attempt.node)
    times = _us(attempt.sent_s), _us(attempt.started_s), _us(attempt.ended_s)
    after = f"after {fault}: " if fault else ""
    outcome = line(f"{after}{attempt.failure.type_name}: {attempt.failure.message}", 200)
    return AttemptDetail(number, node, *times, outcome, StepStatus.FAILED)


def _failure(failure: Failure, limit: int) -> FailureDetail:
    # The end of a traceback is where it was raised.
    trace = plain(failure.traceback)
    kept = trace if len(trace) <= limit else "…" + trace[-limit:]
    return FailureDetail(line(failure.type_name), clip(plain(failure.message), limit), trace_parts(kept))


def _us(seconds: float | None) -> float | None:
    # Whole microseconds: half as many digits to send.
    return None if seconds is None else round(seconds, 6)


def _plain_json(struct: msgspec.Struct) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(struct)
    return values
