"""When each step waited, travelled and ran, one lane a node, what befell them, and the chain that took the longest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Literal

import msgspec

from mpreg_lab.types import NodeName, StepName
from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

from .faults import FaultBand, Outage, fault_bands, outages
from .format import duration

__all__ = ["Bar", "Lane", "Span", "SpanKind", "Tick", "Timeline", "critical_path", "ticks", "timeline"]

SpanKind = Literal["waiting", "travelling", "running"]


class Span(msgspec.Struct, frozen=True):
    """A part of an attempt; seconds since the run began."""

    kind: SpanKind
    start_s: float
    end_s: float


class Bar(msgspec.Struct, frozen=True):
    """One attempt of a step.

    Attributes:
        row: 0-based, in its lane. Two bars of a row never run at the same time.
        status: How the attempt ended: `done`, `failed`, …, `retrying` if another one followed.
        spans: In the order of time, without gaps.
        critical: Whether it is the last attempt of a step on the critical path.
    """

    step: StepName
    attempt: int
    row: int
    status: StepStatus
    spans: tuple[Span, ...]
    critical: bool = False

    @property
    def busy(self) -> tuple[float, float]:
        """From when to when it held its row: while it ran, so that there are as many rows as slots were used."""
        held = [s for s in self.spans if s.kind == "running"] or self.spans
        return held[0].start_s, held[-1].end_s


class Lane(msgspec.Struct, frozen=True):
    """What one node did. `node` is None for attempts for which no node was found."""

    node: NodeName | None
    rows: int
    bars: tuple[Bar, ...]
    outages: tuple[Outage, ...] = ()
    """When it was not there."""


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis of time."""

    at_s: float
    label: str


class Timeline(msgspec.Struct, frozen=True):
    """All attempts of a run, up to `end_s` seconds after it began."""

    end_s: float
    lanes: tuple[Lane, ...]
    critical: tuple[StepName, ...]
    ticks: tuple[Tick, ...]
    faults: tuple[FaultBand, ...] = ()


def timeline(record: RunRecord) -> Timeline:
    """Who did what when. Lanes are in the order of the cluster's nodes, the lane of no node last.

    A bar that is still running ends now.
    """
    end_s = record.now_s if record.duration_s is None else record.duration_s
    critical = critical_path(record)
    lanes: dict[NodeName | None, list[Bar]] = {}
    on_path = frozenset(critical)
    for step in record.steps.values():
        for node, bar in _attempts(step, end_s, step.name in on_path):
            lanes.setdefault(node, []).append(bar)
    order = _order(record.nodes)
    ordered = sorted(lanes.items(), key=lambda lane: order(lane[0]))
    packed = (_packed(node, bars, outages(record, node, end_s)) for node, bars in ordered)
    return Timeline(end_s, tuple(packed), critical, ticks(end_s), fault_bands(record, end_s))


def _order(nodes: Sequence[NodeName]) -> Callable[[NodeName | None], tuple[Any, ...]]:
    """Where a node belongs; nodes that came later are ordered by name, in which numbers count as numbers."""
    places = {node: i for i, node in enumerate(nodes)}

    def place(node: NodeName | None) -> tuple[Any, ...]:
        if node is None:
            return (len(nodes) + 1,)
        # Text and numbers take turns, so that like is compared with like.
        words = [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d{1,18})", node))]
        return places.get(node, len(nodes)), words

    return place


def critical_path(record: RunRecord) -> tuple[StepName, ...]:
    """The chain of steps that made the run as long as it was, in the order in which they ran.

    It ends with the step whose end was known last; before each step stands the one, of those that it needs, whose end
    was known last. Of equals the first in the workflow counts. Empty while no step has ended.
    """
    ends = {name: end for name, s in record.steps.items() if (end := _known_end(s)) is not None}
    path: list[StepName] = []
    candidates: Iterable[StepName] = ends
    while step := max((c for c in candidates if c in ends), key=ends.__getitem__, default=None):
        path.append(step)
        candidates = record.steps[step].plan.needs
    return tuple(reversed(path))


def ticks(end_s: float, most: int = 6) -> tuple[Tick, ...]:
    """At most about so many marks from 0 to `end_s`, at round numbers."""
    if end_s <= 0:
        return (Tick(0.0, "0"),)
    power = 10.0 ** math.floor(math.log10(end_s / most))
    steps_s = (power, 2 * power, 5 * power, 10 * power) if end_s <= 60 else (*_LONG_TICKS_S, end_s)
    step_s = next(s for s in steps_s if s * most >= end_s * 0.999)
    count = math.floor(end_s / step_s * 1.000001)
    return Tick(0.0, "0"), *(Tick(i * step_s, _round_duration(i * step_s)) for i in range(1, count + 1))


_LONG_TICKS_S = (10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)


def _round_duration(seconds: float) -> str:
    return re.sub(r"\.?0+(?= )", "", text) if "." in (text := duration(seconds)) else text.removesuffix(" 0 s")


def _known_end(step: StepRecord) -> float | None:
    return step.ended_s if step.known_s is None else step.known_s


def _attempts(step: StepRecord, now_s: float, critical: bool) -> Iterable[tuple[NodeName | None, Bar]]:
    ready_s = step.ready_s
    for number, earlier in enumerate(step.earlier, 1):
        started_s = earlier.ended_s if earlier.started_s is None else earlier.started_s
        waited_s = earlier.sent_s if ready_s is None else min(ready_s, earlier.sent_s)
        cuts = (waited_s, earlier.sent_s, started_s, earlier.ended_s)
        yield earlier.node, Bar(step.name, number, 0, StepStatus.RETRYING, _spans(cuts))
        ready_s = earlier.ended_s
    if step.sent_s is None or step.status is StepStatus.RETRYING or step.attempts <= len(step.earlier):
        return
    yield step.node, Bar(step.name, step.attempts, 0, step.status, _spans(_cuts(step, ready_s, now_s)), critical)


def _cuts(step: StepRecord, ready_s: float | None, now_s: float) -> tuple[float, ...]:
    """Where the last attempt was ready, left, was called, returned, and was known to have returned."""
    sent_s = 0.0 if step.sent_s is None else step.sent_s
    ready_s = sent_s if ready_s is None else min(ready_s, sent_s)
    if step.started_s is None:
        return ready_s, now_s if step.known_s is None else step.known_s
    # The way there takes as long as the way back, but it began after the step was sent.
    left_s = max(sent_s, step.started_s - (step.travel_s or 0.0) / 2)
    ended_s = now_s if step.ended_s is None else step.ended_s
    return ready_s, left_s, step.started_s, ended_s, ended_s if step.known_s is None else step.known_s


_KINDS: tuple[SpanKind, ...] = ("waiting", "travelling", "running", "travelling")


def _spans(cuts: Sequence[float]) -> tuple[Span, ...]:
    pairs = zip(_KINDS, cuts, cuts[1:], strict=False)
    spans = tuple(Span(kind, a, max(a, b)) for kind, a, b in pairs)
    # The running part stays even if it took no time: it is what is looked for.
    return tuple(s for s in spans if s.end_s > s.start_s or s.kind == "running") or spans


def _packed(node: NodeName | None, bars: Sequence[Bar], outages: tuple[Outage, ...]) -> Lane:
    """Each bar in the uppermost row that is free when it begins."""
    held: list[tuple[float, int]] = []
    free: list[int] = []
    placed: list[Bar] = []
    for bar in sorted(bars, key=lambda b: b.busy):
        start_s, end_s = bar.busy
        while held and held[0][0] <= start_s:
            heappush(free, heappop(held)[1])
        row = heappop(free) if free else len(held)
        heappush(held, (end_s, row))
        placed.append(msgspec.structs.replace(bar, row=row))
    return Lane(node, 1 + max(bar.row for bar in placed), tuple(placed), outages)
