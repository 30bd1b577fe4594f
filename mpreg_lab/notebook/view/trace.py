"""A run as a trace for Perfetto (ui.perfetto.dev) and chrome://tracing.

The format is that of "Trace Event Format" (Google, 2016): times are in microseconds; a node is a process, each of its
slots a thread, an attempt a complete event (X), and an arrow (s, f) goes from a step to each that needed it. What
befell the cluster is a process of its own, before the nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord

from .faults import FaultBand
from .format import plain
from .timeline import Bar, Lane, timeline

__all__ = ["trace"]


def trace(record: RunRecord) -> str:
    """The JSON text; what waits for a slot, or is on its way, stands in the arguments of the attempt."""
    drawn = timeline(record)
    events: list[dict[str, Any]] = []
    last: dict[StepName, dict[str, Any]] = {}
    for pid, lane in enumerate(drawn.lanes, 1):
        events += _about(pid, lane)
        for bar in lane.bars:
            event = _attempt(pid, bar, record)
            if event is not None:
                events.append(event)
                last[bar.step] = event
    events += _arrows(record, last)
    events += _faults(drawn.faults)
    about = {"name": _sound(record.name), "status": record.status, "steps": len(record.steps)}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}, ensure_ascii=True)


def _about(pid: int, lane: Lane) -> Iterable[dict[str, Any]]:
    name = "no node" if lane.node is None else _sound(lane.node)
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid in range(1, lane.rows + 1):
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": f"slot {tid}"}}


def _attempt(pid: int, bar: Bar, record: RunRecord) -> dict[str, Any] | None:
    ran = [span for span in bar.spans if span.kind == "running"]
    if not ran:
        return None
    step = record.steps[bar.step]
    spent = {kind: sum(s.end_s - s.start_s for s in bar.spans if s.kind == kind) for kind in ("waiting", "travelling")}
    return {
        "ph": "X",
        "name": _sound(bar.step),
        "cat": _sound(step.plan.function),
        "pid": pid,
        "tid": bar.row + 1,
        "ts": _us(ran[0].start_s),
        "dur": _us(ran[-1].end_s - ran[0].start_s),
        "args": {
            "attempt": bar.attempt,
            "status": bar.status,
            "resources": [_sound(resource) for resource in step.plan.resources],
            **{f"{kind}_ms": round(seconds * 1e3, 3) for kind, seconds in spent.items()},
        },
    }


def _faults(bands: Sequence[FaultBand]) -> Iterable[dict[str, Any]]:
    if bands:
        yield {"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": "faults"}}
    for band in bands:
        place = {"pid": 0, "tid": band.row + 1, "ts": _us(band.start_s)}
        yield {"ph": "X", "name": _sound(band.text), "cat": band.kind, **place, "dur": _us(band.end_s - band.start_s)}


def _arrows(record: RunRecord, last: dict[StepName, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    number = 0
    for step in record.steps.values():
        for need in step.plan.needs:
            if need in last and step.name in last:
                source, target = last[need], last[step.name]
                number += 1
                arrow = {"name": "result", "cat": "result", "id": number}
                yield {"ph": "s", **arrow, **_place(source), "ts": source["ts"] + source["dur"]}
                yield {"ph": "f", "bp": "e", **arrow, **_place(target), "ts": target["ts"]}


def _place(event: dict[str, Any]) -> dict[str, int]:
    return {"pid": event["pid"], "tid": event["tid"]}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _sound(text: str) -> str:
    """Without half characters, which no JSON reader has to take."""
    return plain(text).encode(errors="replace").decode()
