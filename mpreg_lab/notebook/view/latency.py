"""How long functions run, and where the time of steps goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from mpreg_lab.types import FunctionName
from mpreg_lab.workflow.record import RunRecord, StepRecord

from .timeline import Tick, ticks

__all__ = ["FunctionLatency", "Latency", "Share", "latency", "percentile"]


class FunctionLatency(msgspec.Struct, frozen=True):
    """How long the calls of one function ran, in seconds: the last attempt of each step that has ended.

    Attributes:
        runs_s: All of them, sorted.
    """

    function: FunctionName
    count: int
    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    runs_s: tuple[float, ...]


class Share(msgspec.Struct, frozen=True):
    """Where the time of a step, or of all steps of a function, went: seconds, all attempts together.

    They add up to the time from being ready to the end being known. Running is the time of the function, travelling
    the way of the call and of the result, waiting the rest: for a slot, or between two attempts.
    """

    name: str
    waiting_s: float
    travelling_s: float
    running_s: float

    @property
    def total_s(self) -> float:
        """Seconds from being ready until the end was known."""
        return self.waiting_s + self.travelling_s + self.running_s

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Waiting, travelling, running as parts of 1; all 0 if it took no time."""
        total = self.total_s
        if total <= 0:
            return 0.0, 0.0, 0.0
        return self.waiting_s / total, self.travelling_s / total, self.running_s / total


class Latency(msgspec.Struct, frozen=True):
    """The latencies of a run; functions and steps are in the order of the workflow."""

    functions: tuple[FunctionLatency, ...]
    by_function: tuple[Share, ...]
    by_step: tuple[Share, ...]
    ticks: tuple[Tick, ...]
    """From 0 to the slowest call."""


def latency(record: RunRecord) -> Latency:
    """The latencies of the steps that have run and ended."""
    calls: dict[FunctionName, list[StepRecord]] = {}
    ended = [step for step in record.steps.values() if step.ran_s is not None]
    for step in ended:
        calls.setdefault(step.plan.function, []).append(step)
    functions = tuple(_function(name, (s.ran_s or 0.0 for s in steps)) for name, steps in calls.items())
    return Latency(
        functions,
        tuple(_sum(name, [_share(s) for s in steps]) for name, steps in calls.items()),
        tuple(map(_share, ended)),
        ticks(max((f.max_s for f in functions), default=0.0)),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sorted values lie, by linear interpolation: numpy's default.

    Raises:
        ValueError: If there are no values.
    """
    if not ordered:
        raise ValueError("no values have no percentile")
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _function(name: FunctionName, values: Iterable[float]) -> FunctionLatency:
    runs = tuple(sorted(values))
    p50_s, p90_s, p99_s = (percentile(runs, p) for p in (50, 90, 99))
    return FunctionLatency(name, len(runs), math.fsum(runs) / len(runs), p50_s, p90_s, p99_s, runs[-1], runs)


def _share(step: StepRecord) -> Share:
    earlier_s = math.fsum(a.ended_s - a.started_s for a in step.earlier if a.started_s is not None)
    running_s, travelling_s = earlier_s + (step.ran_s or 0.0), step.travel_s or 0.0
    begun_s = step.sent_s if step.ready_s is None else step.ready_s
    known_s = step.ended_s if step.known_s is None else step.known_s
    total_s = 0.0 if begun_s is None or known_s is None else known_s - begun_s
    return Share(step.name, max(0.0, total_s - running_s - travelling_s), travelling_s, running_s)


def _sum(name: FunctionName, shares: Sequence[Share]) -> Share:
    waiting, travelling, running = zip(*((s.waiting_s, s.travelling_s, s.running_s) for s in shares), strict=True)
    return Share(name, math.fsum(waiting), math.fsum(travelling), math.fsum(running))
