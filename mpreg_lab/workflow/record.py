"""What happened: the events of a run, and RunRecord, their fold. The client and the node use the same fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from enum import StrEnum
from typing import Any

import msgspec

from mpreg_lab.types import FunctionName, NodeName, Resource, StepName

from .model import Group

__all__ = [
    "Attempt",
    "Cancelled",
    "Ended",
    "Failed",
    "Failure",
    "FaultKind",
    "FaultNote",
    "Finished",
    "Gone",
    "Opened",
    "Queued",
    "Retrying",
    "Reused",
    "RunEvent",
    "RunRecord",
    "RunStatus",
    "Sent",
    "Skipped",
    "Started",
    "StepPlan",
    "StepRecord",
    "StepStatus",
]


class StepStatus(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    """For steps that it needs."""
    QUEUED = "queued"
    """Nothing is missing; it is with a node, or on its way, and waits for a slot."""
    RUNNING = "running"
    RETRYING = "retrying"
    """An attempt failed and another one will follow."""
    DONE = "done"
    REUSED = "reused"
    """Not run: its result is that of an earlier run."""
    CACHED = "cached"
    """Not run: its result is that of an equal call."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """A step that it needs failed."""
    CANCELLED = "cancelled"

    @property
    def succeeded(self) -> bool:
        """Whether the step has a result, however it came by it."""
        return self in _SUCCEEDED

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the step."""
        return self in _ENDED


_SUCCEEDED = frozenset((StepStatus.DONE, StepStatus.REUSED, StepStatus.CACHED))
_ENDED = _SUCCEEDED | {StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED}


class RunStatus(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Failure(msgspec.Struct, frozen=True):
    """An exception as text: enough to read, whatever its class."""

    type_name: str
    message: str
    traceback: str = ""
    """The frames of the function and what it called, as Python prints them; none of ours."""


class FaultKind(StrEnum):
    """What befalls links and nodes, on purpose, and what the node that coordinates a run notices of others."""

    CUT = "cut"
    DELAY = "delay"
    DROP = "drop"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    HEAL = "heal"
    KILL = "kill"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    SUSPECTED = "suspected"
    LOST = "lost"
    BACK = "back"

    @property
    def noticed(self) -> bool:
        """Whether it was noticed, and not done."""
        return self in (FaultKind.SUSPECTED, FaultKind.LOST, FaultKind.BACK)


class StepPlan(msgspec.Struct, frozen=True):
    """What is known of a step before it runs."""

    name: StepName
    function: FunctionName
    needs: tuple[StepName, ...] = ()
    resources: tuple[Resource, ...] = ()
    """Sorted."""


# --- events -------------------------------------------------------------------------------------------------------
# Times are seconds since the run began, on the clock of the entry node.


class RunEvent(msgspec.Struct, frozen=True, tag_field="event", gc=False):
    """Something that happened to a run or to one of its steps, `now_s` seconds after the run began."""

    now_s: float


class Opened(RunEvent, frozen=True, tag="opened"):
    """The run began: these are its steps."""

    steps: tuple[StepPlan, ...]
    groups: tuple[Group, ...] = ()
    name: str = ""
    """Of the workflow; may be empty."""
    nodes: tuple[NodeName, ...] = ()
    """Of the cluster, as far as they are known, in its order."""


class Reused(RunEvent, frozen=True, tag="reused"):
    """The step does not run: its result is that of an earlier run."""

    step: StepName
    node: NodeName | None = None
    """Who made the result; None if that is not known."""


class Gone(RunEvent, frozen=True, tag="gone"):
    """The result of an earlier run was to be used again, but is not to be had any more: the step runs."""

    step: StepName


class Queued(RunEvent, frozen=True, tag="queued"):
    """Everything that the step needs is there."""

    step: StepName


class Sent(RunEvent, frozen=True, tag="sent"):
    """The step was given to a node."""

    step: StepName
    node: NodeName
    attempt: int = 1


class Started(RunEvent, frozen=True, tag="started"):
    """The node called the function."""

    step: StepName
    node: NodeName
    attempt: int = 1


class Finished(RunEvent, frozen=True, tag="finished"):
    """The function returned. Carries all times, so that a short step needs no other event."""

    step: StepName
    node: NodeName
    attempt: int = 1
    queued_s: float = 0.0
    """When the step was ready."""
    sent_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    """When the function returned, on the node; `now_s` is when the entry node knew."""
    printed: str = ""
    """What the function printed, capped."""
    cached: bool = False
    """Whether it was not called, because the result of an equal call was there."""


class Failed(RunEvent, frozen=True, tag="failed"):
    """An attempt ended badly, and there will be no other."""

    step: StepName
    failure: Failure
    node: NodeName | None = None
    """None if no node could be found."""
    attempt: int = 1
    queued_s: float = 0.0
    sent_s: float = 0.0
    started_s: float | None = None
    """None if the function was not called, or if that is not known."""
    ended_s: float = 0.0
    printed: str = ""


class Retrying(RunEvent, frozen=True, tag="retrying"):
    """An attempt ended badly; the next is due at `due_s`."""

    step: StepName
    failure: Failure
    node: NodeName | None
    attempt: int
    due_s: float
    sent_s: float = 0.0
    started_s: float | None = None


class Skipped(RunEvent, frozen=True, tag="skipped"):
    """The step will not run, because `because` failed."""

    step: StepName
    because: StepName


class Cancelled(RunEvent, frozen=True, tag="cancelled"):
    """The run was cancelled before the step ended."""

    step: StepName


class FaultNote(RunEvent, frozen=True, tag="fault"):
    """Something befell the cluster while the run went on, or before and lasts: `now_s` is then negative."""

    kind: FaultKind
    text: str
    """In words, such as `a-b cut`."""
    nodes: tuple[NodeName, ...] = ()
    """The node, or the two ends of the link; all if there are none. One end may be "client"."""
    over: bool = False
    """Whether what `kind` says ends with it, and does not begin."""


class Ended(RunEvent, frozen=True, tag="ended"):
    """The run is over."""

    status: RunStatus


# --- the fold -----------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct):
    """One try of a step that failed and was followed by another."""

    node: NodeName | None
    sent_s: float
    started_s: float | None
    ended_s: float
    failure: Failure


class StepRecord(msgspec.Struct):
    """All that is known of one step. Changed by RunRecord.apply alone; times are seconds since the run began."""

    plan: StepPlan
    status: StepStatus = StepStatus.WAITING
    node: NodeName | None = None
    attempts: int = 0
    """How often it was sent."""
    ready_s: float | None = None
    """When nothing was missing any more."""
    sent_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    """When the function returned or raised, on the node."""
    known_s: float | None = None
    """When the entry node knew of the end."""
    failure: Failure | None = None
    because: StepName | None = None
    """The failed step for which it was skipped."""
    printed: str = ""
    earlier: list[Attempt] = []
    """Attempts before the last."""
    gone: bool = False
    """Whether it ran because its result of an earlier run was not to be had any more."""

    @property
    def name(self) -> StepName:
        return self.plan.name

    @property
    def queued_s(self) -> float | None:
        """Seconds from being ready until the function was called, less the way there; None if it never was."""
        if self.ready_s is None or self.started_s is None:
            return None
        return max(0.0, self.started_s - self.ready_s - (self.travel_s or 0.0) / 2)

    @property
    def ran_s(self) -> float | None:
        """Seconds that the function ran in the last attempt; None if it did not, or has not ended."""
        if self.started_s is None or self.ended_s is None:
            return None
        return max(0.0, self.ended_s - self.started_s)

    @property
    def travel_s(self) -> float | None:
        """Seconds on the way: the call out and the result back, taken as equal halves; None if not known."""
        if self.ended_s is None or self.known_s is None or self.started_s is None:
            return None
        return max(0.0, 2 * (self.known_s - self.ended_s))


class RunRecord:
    """The state of one run: a fold of its events, in the order in which they came.

    Attributes:
        steps: Name to record, in the order in which the workflow lists them.
        groups: Fan-outs.
        name: Of the workflow; may be empty.
        nodes: Those of the cluster when the run began, in its order, as far as they are known.
        status: Of the whole run.
        duration_s: Seconds from begin to end; None until it has ended.
        now_s: The time of the latest event, seconds since the run began.
        faults: What befell the cluster meanwhile, by time.
        version: Counts the events; equal versions, equal records.
    """

    __slots__ = ("duration_s", "faults", "groups", "name", "nodes", "now_s", "status", "steps", "version")

    def __init__(self) -> None:
        self.steps: dict[StepName, StepRecord] = {}
        self.groups: tuple[Group, ...] = ()
        self.name = ""
        self.nodes: tuple[NodeName, ...] = ()
        self.status = RunStatus.RUNNING
        self.duration_s: float | None = None
        self.now_s = 0.0
        self.faults: tuple[FaultNote, ...] = ()
        self.version = 0

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> RunRecord:
        """The record after these events."""
        record = cls()
        for event in events:
            record.apply(event)
        return record

    def apply(self, event: RunEvent) -> None:
        """Take in one event. An event of a step that the record does not know is an error of the sender: KeyError."""
        self.version += 1
        self.now_s = max(self.now_s, event.now_s)
        _APPLY[type(event)](self, event)

    def copy(self) -> RunRecord:
        """The record as it is now; later events change only the original."""
        twin = RunRecord()
        twin.groups, twin.name, twin.nodes, twin.status = self.groups, self.name, self.nodes, self.status
        twin.duration_s, twin.now_s, twin.version = self.duration_s, self.now_s, self.version
        twin.faults = self.faults
        # Lists in a step are replaced, never changed, so that the copy may share them.
        twin.steps = {name: copy(step) for name, step in self.steps.items()}
        return twin

    def count(self, status: StepStatus) -> int:
        """How many steps are in that state."""
        return sum(step.status is status for step in self.steps.values())

    @property
    def failed(self) -> tuple[StepRecord, ...]:
        """The steps that failed, in the order of the workflow."""
        return tuple(s for s in self.steps.values() if s.status is StepStatus.FAILED)

    @property
    def skipped(self) -> tuple[StepRecord, ...]:
        """The steps that were skipped, in the order of the workflow."""
        return tuple(s for s in self.steps.values() if s.status is StepStatus.SKIPPED)

    def __repr__(self) -> str:
        counts = ((status, self.count(status)) for status in StepStatus)
        states = ", ".join(f"{n} {status}" for status, n in counts if n)
        return f"RunRecord({len(self.steps)} step{'' if len(self.steps) == 1 else 's'}: {states or 'none'})"


def _opened(record: RunRecord, event: Opened) -> None:
    record.steps = {plan.name: StepRecord(plan) for plan in event.steps}
    record.groups, record.name, record.nodes = event.groups, event.name, event.nodes


def _reused(record: RunRecord, event: Reused) -> None:
    step = record.steps[event.step]
    step.status, step.node = StepStatus.REUSED, event.node


def _gone(record: RunRecord, event: Gone) -> None:
    record.steps[event.step].gone = True


def _queued(record: RunRecord, event: Queued) -> None:
    step = record.steps[event.step]
    step.status, step.ready_s = StepStatus.QUEUED, event.now_s


def _sent(record: RunRecord, event: Sent) -> None:
    step = record.steps[event.step]
    step.status, step.node, step.attempts = StepStatus.QUEUED, event.node, event.attempt
    step.sent_s, step.started_s, step.ended_s = event.now_s, None, None


def _started(record: RunRecord, event: Started) -> None:
    step = record.steps[event.step]
    step.status, step.started_s = StepStatus.RUNNING, event.now_s


def _finished(record: RunRecord, event: Finished) -> None:
    step = record.steps[event.step]
    if event.cached:
        step.status, step.node, step.ready_s, step.known_s = StepStatus.CACHED, event.node, event.queued_s, event.now_s
        step.attempts, step.sent_s, step.started_s, step.ended_s = len(step.earlier), None, None, None
        return
    step.status, step.node, step.attempts = StepStatus.DONE, event.node, event.attempt
    step.ready_s, step.sent_s, step.started_s = event.queued_s, event.sent_s, event.started_s
    step.ended_s, step.known_s, step.printed = event.ended_s, event.now_s, event.printed


def _failed(record: RunRecord, event: Failed) -> None:
    step = record.steps[event.step]
    step.status, step.node, step.failure = StepStatus.FAILED, event.node, event.failure
    step.started_s, step.ended_s, step.known_s = event.started_s, event.ended_s, event.now_s
    if event.node is not None:
        step.attempts, step.ready_s, step.sent_s = event.attempt, event.queued_s, event.sent_s
    step.printed = event.printed


def _retrying(record: RunRecord, event: Retrying) -> None:
    step = record.steps[event.step]
    step.status = StepStatus.RETRYING
    step.attempts = event.attempt
    attempt = Attempt(event.node, event.sent_s, event.started_s, event.now_s, event.failure)
    step.earlier = [*step.earlier, attempt]


def _skipped(record: RunRecord, event: Skipped) -> None:
    step = record.steps[event.step]
    step.status, step.because = StepStatus.SKIPPED, event.because


def _cancelled(record: RunRecord, event: Cancelled) -> None:
    step = record.steps[event.step]
    step.status = StepStatus.CANCELLED
    if step.started_s is not None:
        step.ended_s = step.known_s = event.now_s


def _fault(record: RunRecord, event: FaultNote) -> None:
    # Notes of different nodes may come in another order than that of their times.
    record.faults = tuple(sorted((*record.faults, event), key=lambda note: note.now_s))


def _ended(record: RunRecord, event: Ended) -> None:
    record.status, record.duration_s = event.status, event.now_s


_APPLY: dict[type, Callable[[RunRecord, Any], None]] = {
    Opened: _opened,
    Reused: _reused,
    Gone: _gone,
    Queued: _queued,
    Sent: _sent,
    Started: _started,
    Finished: _finished,
    Failed: _failed,
    Retrying: _retrying,
    Skipped: _skipped,
    Cancelled: _cancelled,
    FaultNote: _fault,
    Ended: _ended,
}
