"""What a run takes over from an earlier run of the same workflow, and what of that must run all the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from mpreg_lab.types import NodeName, StepName

from .plan import Plan
from .record import StepRecord

__all__ = ["Earlier", "Reuse", "kept_steps", "reusable"]


class Earlier(msgspec.Struct, frozen=True):
    """A result that is there already.

    Attributes:
        value: Anything that stands for it, as in `Returned`.
        node: Who made it; None if that is not known.
    """

    value: Any
    node: NodeName | None = None


class Reuse(msgspec.Struct, frozen=True):
    """What a run may take over.

    Attributes:
        steps: The keys of the steps that should not run again.
        results: The results that are to be had, by key.
    """

    steps: frozenset[int]
    results: Mapping[int, Earlier]


def kept_steps(plan: Plan, steps: Mapping[StepName, StepRecord], again: Collection[StepName]) -> tuple[StepName, ...]:
    """The steps that succeeded in an earlier run, without those of `again` and what depends on these."""
    below = {plan.keys[name] for name in again}
    for key in plan.order:
        if not below.isdisjoint(plan.needs[key]):
            below.add(key)
    names = (step.name for key, step in enumerate(plan.workflow.steps) if key not in below)
    return tuple(name for name in names if steps[name].status.succeeded)


def reusable(plan: Plan, reuse: Reuse) -> frozenset[int]:
    """The keys of the steps that need not run.

    A step whose result is gone runs again if somebody asks for it: a step that runs, or who wants the results.
    """
    wanted = plan.wanted
    run: set[int] = set()
    for key in reversed(plan.order):
        if key in reuse.steps:
            asked_for = key in wanted or any(dependent in run for dependent in plan.dependents[key])
            if key in reuse.results or not asked_for:
                continue
        run.add(key)
    return frozenset(range(len(plan.needs))) - run
