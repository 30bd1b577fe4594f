"""Checking a workflow before anything is sent, and the order in which its steps can run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from mpreg_lab.errors import (
    CycleError,
    DuplicateStepError,
    EmptyWorkflowError,
    InvalidStepError,
    UnknownStepError,
    WorkflowError,
)
from mpreg_lab.types import NodeName, StepName

from .model import Workflow
from .record import Opened, StepPlan
from .references import references

__all__ = ["MAX_STEPS", "Plan", "did_you_mean", "levels", "make_plan", "plan_of", "validate"]

MAX_STEPS = 100_000


class Plan(msgspec.Struct, frozen=True):
    """A checked workflow. Steps are named by their positions in it, which are called keys."""

    workflow: Workflow
    keys: dict[StepName, int]
    needs: tuple[tuple[int, ...], ...]
    """For each step, the steps that it refers to, each once."""
    dependents: tuple[tuple[int, ...], ...]
    """For each step, the steps that refer to it."""
    order: tuple[int, ...]
    """All steps, each after those that it needs; otherwise as in the workflow."""
    returns: tuple[StepName, ...]
    """Steps and groups whose results are wanted, in the order of the workflow or as asked for."""

    @property
    def wanted(self) -> frozenset[int]:
        """The steps whose results are wanted."""
        groups = {group.name: group.steps for group in self.workflow.groups}
        return frozenset(self.keys[step] for name in self.returns for step in groups.get(name, (name,)))

    def opened(self, nodes: Sequence[NodeName] = ()) -> Opened:
        """The first event of a run of it, on a cluster of these nodes."""
        steps = self.workflow.steps
        plans = (
            StepPlan(s.name, s.function, tuple(steps[k].name for k in needs), tuple(sorted(s.resources)))
            for s, needs in zip(steps, self.needs, strict=True)
        )
        return Opened(0.0, tuple(plans), self.workflow.groups, self.workflow.name, tuple(nodes))


def validate(workflow: Workflow) -> Plan:
    """Check a workflow as a person wrote it.

    Raises:
        EmptyWorkflowError: If there are no steps.
        DuplicateStepError: If two steps, or a step and a group, have one name.
        UnknownStepError: If a reference, a group or the return list names no step.
        CycleError: If steps wait for each other.
        InvalidStepError: If a reference stands where a result cannot be put.
    """
    if not isinstance(workflow, Workflow):
        raise InvalidStepError(
            f"expected a Workflow, not {type(workflow).__name__}. Text in the notation goes into a "
            "%%mpreg_workflow cell, or through parse_workflow(text, names).workflow"
        )
    keys = _keys(workflow)
    needs = []
    for step in workflow.steps:
        found = references(step)
        for ref in found:
            if ref.step not in keys:
                raise UnknownStepError(
                    f"step {step.name!r} refers to {ref.step!r}, which is no step of this workflow. "
                    + did_you_mean(ref.step, keys, "Its steps: "),
                    step=step.name,
                )
        needs.append(tuple(dict.fromkeys(keys[ref.step] for ref in found)))
    return plan_of(workflow, keys, needs)


def make_plan(workflow: Workflow, needs: Sequence[Sequence[int]]) -> Plan:
    """Check a workflow that came without its arguments, given the positions of the steps that each one needs.

    Raises:
        WorkflowError: As `validate`.
    """
    keys = _keys(workflow)
    count = len(keys)
    if len(needs) != count or any(not 0 <= k < count for ks in needs for k in ks):
        raise UnknownStepError("the needs of the workflow do not fit its steps")
    return plan_of(workflow, keys, needs)


def plan_of(workflow: Workflow, keys: dict[StepName, int], needs: Sequence[Sequence[int]]) -> Plan:
    """The plan of a workflow whose names are known to be good; raises CycleError and UnknownStepError."""
    count = len(keys)
    dependents: list[list[int]] = [[] for _ in range(count)]
    for key, wanted in enumerate(needs):
        for need in wanted:
            dependents[need].append(key)
    order = _order(workflow, needs, dependents)
    return Plan(
        workflow,
        keys,
        tuple(map(tuple, needs)),
        tuple(map(tuple, dependents)),
        order,
        _returns(workflow, keys, dependents),
    )


def levels(workflow: Workflow) -> tuple[tuple[StepName, ...], ...]:
    """Group step names so that every step needs only earlier groups: for drawing, nothing waits for a level.

    Raises:
        WorkflowError: As `validate`.
    """
    plan = validate(workflow)
    level = [0] * len(plan.needs)
    for key in plan.order:
        level[key] = 1 + max((level[need] for need in plan.needs[key]), default=-1)
    groups: list[list[StepName]] = [[] for _ in range(max(level) + 1)]
    for key, step in enumerate(workflow.steps):
        groups[level[key]].append(step.name)
    return tuple(map(tuple, groups))


def did_you_mean(name: str, known: Iterable[str], listing: str) -> str:
    """A hint for a mistyped name: the nearest known one, or else a short list of them after `listing`."""
    names = list(known)
    near = difflib.get_close_matches(name, names[:10_000], 1, 0.75) if len(name) < 80 else []
    if near:
        return f"Did you mean {near[0]!r}?"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return listing + ", ".join(names[:8]) + more if names else listing + "none"


def _keys(workflow: Workflow) -> dict[StepName, int]:
    if not workflow.steps:
        raise EmptyWorkflowError(
            "the workflow has no steps. Give it at least one, such as Step('hello', 'echo', args=('hi',))"
        )
    if len(workflow.steps) > MAX_STEPS:
        raise WorkflowError(
            f"the workflow has {len(workflow.steps):,} steps, at most {MAX_STEPS:,}. Make several of it"
        )
    keys: dict[StepName, int] = {}
    for key, step in enumerate(workflow.steps):
        if keys.setdefault(step.name, key) != key:
            raise DuplicateStepError(f"two steps are called {step.name!r}. Rename one of them", step=step.name)
    names: set[StepName] = set()
    for group in workflow.groups:
        if group.name in keys or group.name in names:
            raise DuplicateStepError(f"the group {group.name!r} has a name that is taken. Rename it", step=group.name)
        names.add(group.name)
        for member in group.steps:
            if member not in keys:
                raise UnknownStepError(
                    f"the group {group.name!r} has a member {member!r}, which is no step of this workflow"
                )
    return keys


def _order(workflow: Workflow, needs: Sequence[Sequence[int]], dependents: list[list[int]]) -> tuple[int, ...]:
    missing = [len(wanted) for wanted in needs]
    order = [key for key, count in enumerate(missing) if not count]
    for key in order:  # grows while it is read: Kahn 1962
        for dependent in dependents[key]:
            missing[dependent] -= 1
            if not missing[dependent]:
                order.append(dependent)
    if len(order) < len(missing):
        raise _cycle(workflow, needs, {key for key, count in enumerate(missing) if count})
    return tuple(order)


def _cycle(workflow: Workflow, needs: Sequence[Sequence[int]], stuck: set[int]) -> CycleError:
    # Every stuck step needs another stuck step, so that following the first such need must come round.
    path: dict[int, None] = {}
    key = min(stuck)
    while key not in path:
        path[key] = None
        key = next(need for need in needs[key] if need in stuck)
    ring = list(path)[list(path).index(key) :]
    start = ring.index(min(ring))
    names = tuple(workflow.steps[k].name for k in ring[start:] + ring[:start])
    if len(names) == 1:
        return CycleError(f"step {names[0]!r} refers to itself. A step can only use the results of others", steps=names)
    shown = [repr(name) for name in (names if len(names) <= 8 else names[:7])]
    shown += [f"({len(names) - 7} more)"] if len(names) > 8 else []
    return CycleError(
        f"steps wait for each other: {' needs '.join([*shown, repr(names[0])])}. Remove one of these references",
        steps=names,
    )


def _returns(workflow: Workflow, keys: dict[StepName, int], dependents: list[list[int]]) -> tuple[StepName, ...]:
    groups = {group.name: group.steps for group in workflow.groups}
    if workflow.returns is not None:
        for name in workflow.returns:
            if name not in keys and name not in groups:
                raise UnknownStepError(
                    f"the workflow should return {name!r}, which is none of its steps. "
                    + did_you_mean(name, [*keys, *groups], "Its steps: "),
                    step=name,
                )
        return tuple(dict.fromkeys(workflow.returns))
    whole = {
        member: name
        for name, members in groups.items()
        if members and not any(dependents[keys[member]] for member in members)
        for member in members
    }
    leaves = (step.name for key, step in enumerate(workflow.steps) if not dependents[key])
    return tuple(dict.fromkeys(whole.get(name, name) for name in leaves))
