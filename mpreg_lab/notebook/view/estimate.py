"""How long a run will go on, as far as its own past tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from mpreg_lab.types import FunctionName, StepName
from mpreg_lab.workflow.record import RunRecord, RunStatus, StepRecord, StepStatus

from ._layering import neighbours, topological

__all__ = ["Estimate", "estimate", "most_at_once"]

_MOST_STEPS = 10_000
"""Larger runs are not estimated: it would take longer than the time between two pictures."""


class Estimate(msgspec.Struct, frozen=True):
    """Seconds until the run ends.

    Attributes:
        at_least: Some functions have not returned yet: of their steps nothing is known, and they come on top.
    """

    left_s: float
    at_least: bool


def estimate(record: RunRecord) -> Estimate | None:
    """What is left: None if the run is over, or if no function that is still to run has returned before.

    A step takes as long as its function took on average. What remains takes as long as its longest chain, but no less
    than its work divided by the most steps that this run had under way at once.
    """
    steps = record.steps
    if record.status is not RunStatus.RUNNING or len(steps) > _MOST_STEPS:
        return None
    mean_s = _means(steps.values())
    rest = [step for step in steps.values() if not step.status.ended]
    left_s = {
        step.name: _left_s(step, mean_s[step.plan.function], record.now_s)
        for step in rest
        if step.plan.function in mean_s
    }
    if not left_s:
        return None
    work_s = sum(left_s.values()) / max(1, most_at_once(steps.values(), record.now_s))
    return Estimate(max(work_s, _longest_chain_s(rest, left_s)), at_least=len(left_s) < len(rest))


def most_at_once(steps: Collection[StepRecord], now_s: float) -> int:
    """How many steps ran at the same time, at most."""
    turns: list[tuple[float, int]] = []
    for step in steps:
        if step.started_s is not None:
            turns += ((step.started_s, 1), (now_s if step.ended_s is None else step.ended_s, -1))
    running = most = 0
    for _, turn in sorted(turns):
        running += turn
        most = max(most, running)
    return most


def _means(steps: Collection[StepRecord]) -> dict[FunctionName, float]:
    runs: dict[FunctionName, list[float]] = {}
    for step in steps:
        if step.status is StepStatus.DONE and step.ran_s is not None:
            runs.setdefault(step.plan.function, []).append(step.ran_s)
    return {function: sum(ran) / len(ran) for function, ran in runs.items()}


def _left_s(step: StepRecord, whole_s: float, now_s: float) -> float:
    if step.status is not StepStatus.RUNNING or step.started_s is None:
        return whole_s
    return max(0.0, whole_s - (now_s - step.started_s))


def _longest_chain_s(rest: Sequence[StepRecord], left_s: Mapping[StepName, float]) -> float:
    number = {step.name: i for i, step in enumerate(rest)}
    links = [(number[need], i) for i, step in enumerate(rest) for need in step.plan.needs if need in number]
    up, _ = neighbours(len(rest), links)
    end_s = [0.0] * len(rest)
    for i in topological(len(rest), links):
        end_s[i] = max((end_s[u] for u in up[i]), default=0.0) + left_s.get(rest[i].name, 0.0)
    return max(end_s, default=0.0)
