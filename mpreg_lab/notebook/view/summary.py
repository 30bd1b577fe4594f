"""A run in one line, and as the plain state that a widget draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mpreg_lab.workflow.record import Attempt, Failure, RunRecord, RunStatus, StepRecord, StepStatus

from .faults import blamed
from .format import clip, counted, line, plain
from .graph_svg import group_status
from .latency import Latency, latency
from .preview import Preview, result_preview
from .timeline import Timeline, timeline

__all__ = ["Preview", "detail", "headline", "result_preview", "run_repr", "state"]

_TEXT_LIMIT = 400_000
"""About how many characters of steps, and of results, one message to a widget carries."""
_RESULTS = 50


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
        folded: For each box of several steps, by its index as a string, the state in which it is shown.
    """

    status: RunStatus
    headline: str
    counts: dict[str, int]
    now_s: float
    duration_s: float | None
    steps: StepStates
    folded: dict[str, StepStatus]


class StepDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person reads after opening a step."""

    failure: Failure | None = None
    because: str | None = None
    fault: str = ""
    """What befell the node of the last attempt before that was lost."""
    printed: str = ""
    earlier: tuple[str, ...] = ()
    """One line for each attempt before the last."""
    result: Preview | None = None


class Result(msgspec.Struct, frozen=True):
    """One result that the run returned."""

    name: str
    preview: Preview


class RunDetail(msgspec.Struct, frozen=True):
    """What is looked at less often than the state.

    Attributes:
        steps: Index of the step, as a string, to its detail; steps without any are left out.
        results: At most the first 50.
    """

    steps: dict[str, StepDetail]
    results: list[Result]
    timeline: Timeline
    latency: Latency


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
    return _plain_json(
        RunState(
            status=record.status,
            headline=headline(record),
            counts={status.value: counts[status] for status in StepStatus if counts[status]},
            now_s=record.now_s,
            duration_s=record.duration_s,
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
    steps = ((i, _step_detail(record, s, of_step, limit)) for i, s in enumerate(record.steps.values()))
    return _plain_json(
        RunDetail(
            steps={str(i): shown for i, shown in steps if shown is not None},
            results=[Result(line(n), result_preview(v, 4000)) for n, v in list(results.items())[:_RESULTS]],
            timeline=timeline(record),
            latency=latency(record),
        )
    )


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
    return StepDetail(
        failure=step.failure and _failure(step.failure, limit),
        because=None if step.because is None else line(step.because),
        fault=blamed(record, step),
        printed=clip(plain(step.printed), limit),
        earlier=tuple(_attempt_line(number, a, blamed(record, a)) for number, a in enumerate(step.earlier, 1)),
        result=result_preview(results[step.name], limit) if has_result else None,
    )


def _attempt_line(number: int, attempt: Attempt, fault: str) -> str:
    where = "" if attempt.node is None else f" on {attempt.node}"
    after = f", after {fault}" if fault else ""
    return line(f"Attempt {number}{where}{after}: {attempt.failure.type_name}: {attempt.failure.message}", 200)


def _failure(failure: Failure, limit: int) -> Failure:
    # The end of a traceback is where it was raised.
    trace = plain(failure.traceback)
    kept = trace if len(trace) <= limit else "…" + trace[-limit:]
    return Failure(line(failure.type_name), clip(plain(failure.message), limit), kept)


def _us(seconds: float | None) -> float | None:
    # Whole microseconds: half as many digits to send.
    return None if seconds is None else round(seconds, 6)


def _plain_json(struct: msgspec.Struct) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(struct)
    return values
