"""The scheduler of one run, with no I/O and no clock: happenings in, instructions and events out.

A step is ready when all that it needs is there; it is placed at once, never held back for others of its level.
A chain, steps of which each needs only the one before and nobody else wants that one's end to go on, is given to a
node as one piece (`Execute.then`): there it runs through on one thread, with no frame in between.

It is long because every transition of a step stands here, in one place where all of them can be tested in milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import msgspec

from mpreg_lab.errors import MpregError, NodeLostError, StepTimeoutError
from mpreg_lab.types import NodeName, StepName

from .model import Step
from .plan import Plan
from .record import (
    Cancelled,
    Ended,
    Failed,
    Failure,
    FaultNote,
    Finished,
    Gone,
    Queued,
    Retrying,
    Reused,
    RunEvent,
    RunStatus,
    Sent,
    Skipped,
    Started,
    StepStatus,
)
from .reuse import Reuse, reusable

__all__ = [
    "Abort",
    "Began",
    "Cancel",
    "Execute",
    "Happening",
    "Lost",
    "Placer",
    "Raised",
    "Returned",
    "RunMachine",
    "Tick",
    "failure_of",
]

CHAIN_LIMIT = 1000
"""Steps that travel as one piece at most: a longer chain goes on in a second one, so that frames stay small."""

LOOK_AGAIN_S = 0.05
"""How often a step that waits for a node that can run it is placed again."""


class Placer(Protocol):
    """Chooses nodes. Told of every start and end, so that it knows how busy they are."""

    def choose(self, step: Step, near: Collection[NodeName], avoid: Collection[NodeName]) -> NodeName:
        """The node that shall run the step; raises RoutingError if none can.

        Args:
            near: Nodes that hold something the step needs. avoid: Nodes that it failed on: the last choice.
        """

    def can_run(self, step: Step, node: NodeName) -> bool:
        """Whether the node has the function and all resources."""

    def began(self, node: NodeName, steps: int) -> None:
        """The node was given so many steps."""

    def ended(self, node: NodeName, steps: int) -> None:
        """The node is rid of so many steps."""


# --- what happens -------------------------------------------------------------------------------------------------


class _Happening(msgspec.Struct, frozen=True, gc=False):
    now_s: float


class Began(_Happening, frozen=True):
    """A node called the function."""

    key: int
    attempt: int
    started_s: float


class Returned(_Happening, frozen=True):
    """A function returned. `value` is anything that stands for the result: the machine only keeps it."""

    key: int
    attempt: int
    started_s: float
    ended_s: float
    value: Any
    printed: str = ""
    known_s: float | None = None
    """When the result could have been here, had it not been held back for others. None: now."""
    cached: bool = False
    """Whether the function was not called, because the result of an equal call was there."""


class Raised(_Happening, frozen=True):
    """An attempt failed."""

    key: int
    attempt: int
    started_s: float | None
    ended_s: float
    error: Any
    """Anything that stands for the exception: the machine only keeps it."""
    failure: Failure
    printed: str = ""


class Lost(_Happening, frozen=True):
    """A node is gone, and everything on it."""

    node: NodeName


class Tick(_Happening, frozen=True):
    """Time passed: at least until `RunMachine.due_s`."""


class Cancel(_Happening, frozen=True):
    """The run is to stop."""


Happening = Began | Returned | Raised | Lost | Tick | Cancel


# --- what to do ---------------------------------------------------------------------------------------------------


class Execute(msgspec.Struct, frozen=True, gc=False):
    """Have a node run one attempt of a step."""

    step: Step
    key: int
    node: NodeName
    attempt: int = 1
    then: tuple[Execute, ...] = ()
    """To be run after it on the same node, one after the other, as long as none fails."""


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Nobody waits for this attempt any more."""

    key: int
    node: NodeName
    attempt: int


class RunMachine:
    """One run of one plan.

    `start` and `handle` return what is to be done; `take_events` what became known since it was last called, where a
    step that went through several states gives only what its record needs: a short step is one event.

    Args:
        reuse: What was done in an earlier run. None: everything runs.
        nodes: Of the cluster, in its order: only to be told.

    Attributes:
        values: Key to whatever `Returned` gave as the value.
        errors: Key of a failed step to whatever stands for its exception.
        status: Of the run.
        late: How many answers came after their attempt was given up, or twice; they were dropped.
    """

    def __init__(self, plan: Plan, placer: Placer, reuse: Reuse | None = None, nodes: Sequence[NodeName] = ()) -> None:
        count = len(plan.needs)
        self.plan = plan
        self._reuse = reuse
        self._nodes = nodes
        self.values: dict[int, Any] = {}
        self.errors: dict[int, Any] = {}
        self.status = RunStatus.RUNNING
        self.late = 0
        self._placer = placer
        self._steps = plan.workflow.steps
        self._missing = [len(needs) for needs in plan.needs]
        self._left = count
        self._over = False  # the end has been told
        self._state = [StepStatus.WAITING] * count
        self._attempt = [0] * count
        self._node: list[NodeName | None] = [None] * count
        self._ready_s = [0.0] * count
        self._sent_s = [0.0] * count
        self._started_s: list[float | None] = [None] * count
        self._next = [-1] * count  # the step that follows in the same chain
        self._told = [0] * count  # events given out for the attempt: 1 queued, 2 sent, 3 started
        self._patience: dict[int, float] = {}  # when a step that waits for a node gives up
        self._failed_on: dict[int, set[NodeName]] = {}
        self._timers: list[tuple[float, int, int, StepStatus]] = []  # (due_s, key, attempt, state), a heap
        self._dirty: dict[int, None] = {}
        self._log: list[RunEvent] = []
        self._final: dict[int, RunEvent] = {}
        self._todo: list[Execute | Abort] = []

    @property
    def done(self) -> bool:
        """Whether every step has ended."""
        return not self._left

    @property
    def due_s(self) -> float | None:
        """When a Tick is due: a retry, another look for a node, or the end of a time-out. None: never."""
        while self._timers and not self._still_means_something(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def runs_on(self, node: NodeName) -> bool:
        """Whether a step is under way on that node."""
        return any(self._node[key] == node and self._is_out(key) for key in self.plan.order)

    def node_of(self, key: int) -> NodeName | None:
        """Who has the step, or made its result; None if it was given to nobody."""
        return self._node[key]

    def states(self) -> list[tuple[StepName, StepStatus]]:
        """Where each step is, in the order of the workflow."""
        return [(step.name, state) for step, state in zip(self._steps, self._state, strict=True)]

    def start(self, now_s: float = 0.0) -> list[Execute | Abort]:
        """Begin: all steps that need nothing, or only what is there already."""
        self._log.append(self.plan.opened(self._nodes))
        if self._reuse is not None:
            self._take_over(self._reuse, now_s)
        for key, missing in enumerate(self._missing):
            if not missing and self._state[key] is StepStatus.WAITING:
                self._ready(key, now_s)
        return self._take_todo(now_s)

    def handle(self, *happenings: Happening) -> list[Execute | Abort]:
        """Take in what happened; what came too late, or after the end, changes nothing."""
        now_s = 0.0
        for happening in happenings:
            now_s = happening.now_s
            if self._left:
                _HANDLE[type(happening)](self, happening)
            else:
                self.late += isinstance(happening, (Returned, Raised))
        return self._take_todo(now_s)

    def note(self, fault: FaultNote) -> None:
        """Something befell the cluster: it is told, and changes nothing. After the end it is not told."""
        if not self._over:
            self._log.append(fault)

    def take_events(self) -> list[RunEvent]:
        """What became known since the last call, in an order that RunRecord.apply takes."""
        events, self._log = self._log, []
        ended = events.pop() if events and type(events[-1]) is Ended else None
        for key in self._dirty:
            final = self._final.pop(key, None)
            if final is not None:
                events.append(final)
            else:
                self._tell(key, events)
        self._dirty.clear()
        if ended is not None:
            events.append(ended)
        return events

    # --- happenings ---

    def _began(self, event: Began) -> None:
        key = event.key
        if self._is_current(key, event.attempt):
            self._started_s[key] = event.started_s
            self._state[key] = StepStatus.RUNNING
            self._dirty[key] = None

    def _returned(self, event: Returned) -> None:
        key = event.key
        if not self._is_current(key, event.attempt):
            self.late += 1
            return
        node = self._node[key]
        assert node is not None
        self._state[key] = StepStatus.CACHED if event.cached else StepStatus.DONE
        self.values[key] = event.value
        self._final[key] = Finished(
            event.now_s if event.known_s is None else event.known_s,
            self._steps[key].name,
            node,
            event.attempt,
            self._ready_s[key],
            self._sent_s[key],
            event.started_s,
            event.ended_s,
            event.printed,
            event.cached,
        )
        self._dirty[key] = None
        self._left -= 1
        self._placer.ended(node, 1)
        missing = self._missing
        follower = self._next[key]
        for dependent in self.plan.dependents[key]:
            missing[dependent] -= 1
            if dependent == follower:
                self._ready_s[dependent] = self._sent_s[dependent] = event.ended_s
                self._dirty[dependent] = None
            elif not missing[dependent] and self._state[dependent] is StepStatus.WAITING:
                self._ready(dependent, event.now_s)

    def _raised(self, event: Raised) -> None:
        key = event.key
        if not self._is_current(key, event.attempt):
            self.late += 1
            return
        node = self._node[key]
        assert node is not None
        self._placer.ended(node, 1)
        self._unchain(key)
        self._failed_on.setdefault(key, set()).add(node)
        step = self._steps[key]
        if event.attempt <= step.retries:
            self._retry(key, event, node)
            return
        final = Failed(
            event.now_s,
            step.name,
            event.failure,
            node,
            event.attempt,
            self._ready_s[key],
            self._sent_s[key],
            event.started_s,
            event.ended_s,
            event.printed,
        )
        self._fail(key, event.error, final)

    def _lost(self, event: Lost) -> None:
        # In the order of the plan: a step that follows in a chain is set free before it is looked at.
        for key in self.plan.order:
            if self._node[key] == event.node and self._is_out(key):
                step, attempt = self._steps[key], self._attempt[key]
                error = NodeLostError(
                    f"node {event.node!r} went away with step {step.name!r} under way (attempt {attempt}): "
                    f"it may or may not have run. Allow another start with retry(n), if that does no harm",
                    step=step.name,
                )
                started_s = self._started_s[key]
                self._raised(Raised(event.now_s, key, attempt, started_s, event.now_s, error, failure_of(error)))

    def _tick(self, event: Tick) -> None:
        while self._timers and self._timers[0][0] <= event.now_s:
            timer = heapq.heappop(self._timers)
            if not self._still_means_something(timer):
                continue
            _, key, _, state = timer
            if state is StepStatus.RUNNING:
                self._time_out(key, event.now_s)
            else:
                self._ready(key, event.now_s)

    def _cancel(self, event: Cancel) -> None:
        self.status = RunStatus.CANCELLED
        for key, state in enumerate(self._state):
            if state.ended:
                continue
            node = self._node[key]
            if self._is_out(key) and node is not None:
                self._todo.append(Abort(key, node, self._attempt[key]))
                self._placer.ended(node, 1)
            self._end(key, StepStatus.CANCELLED, Cancelled(event.now_s, self._steps[key].name))

    # --- one step ---

    def _take_over(self, reuse: Reuse, now_s: float) -> None:
        reused = reusable(self.plan, reuse)
        for key, step in enumerate(self._steps):
            if key in reused:
                earlier = reuse.results.get(key)
                if earlier is not None:
                    self.values[key], self._node[key] = earlier.value, earlier.node
                self._state[key] = StepStatus.REUSED
                self._left -= 1
                for dependent in self.plan.dependents[key]:
                    self._missing[dependent] -= 1
                self._log.append(Reused(now_s, step.name, self._node[key]))
            elif key in reuse.steps:
                self._log.append(Gone(now_s, step.name))

    def _ready(self, key: int, now_s: float) -> None:
        """Nothing is missing: place the step, with what can follow it in one piece."""
        step = self._steps[key]
        if key not in self._patience:
            self._ready_s[key] = now_s
        near = {node for need in self.plan.needs[key] if (node := self._node[need]) is not None}
        try:
            node = self._placer.choose(step, near, self._failed_on.get(key, ()))
        except MpregError as error:
            if not self._waits_on(key, now_s):
                self._fail(key, error, Failed(now_s, step.name, failure_of(error), None, self._attempt[key]))
            return
        self._patience.pop(key, None)
        # Before what follows it, so that the events of a chain come in its order.
        self._dirty[key] = None
        followers = self._followers(key, node)
        then = tuple(self._send(k, node, now_s) for k in followers)
        self._todo.append(self._send(key, node, now_s, then))
        self._placer.began(node, 1 + len(then))

    def _waits_on(self, key: int, now_s: float) -> bool:
        """Whether the step may wait for a node that can run it; then it is placed again soon."""
        wait_for_s = self._steps[key].wait_for_s
        if wait_for_s is None:
            return False
        until_s = self._patience.setdefault(key, now_s + wait_for_s)
        if now_s >= until_s:
            return False
        again_s = min(until_s, now_s + LOOK_AGAIN_S)
        heapq.heappush(self._timers, (again_s, key, self._attempt[key], self._state[key]))
        return True

    def _followers(self, key: int, node: NodeName) -> list[int]:
        chain: list[int] = []
        last = key
        while len(chain) < CHAIN_LIMIT - 1:
            # An attempt that is given up may have ended unheard, and the node gone on: starting the step again would
            # start what follows it twice.
            if self._steps[last].retries or self._steps[last].timeout_s is not None:
                break
            dependents = self.plan.dependents[last]
            if len(dependents) != 1 or self._missing[dependents[0]] != 1:
                break
            follower = dependents[0]
            step = self._steps[follower]
            if self._state[follower] is not StepStatus.WAITING or step.timeout_s is not None:
                break
            if not self._placer.can_run(step, node):
                break
            self._next[last] = follower
            chain.append(follower)
            last = follower
        return chain

    def _send(self, key: int, node: NodeName, now_s: float, then: tuple[Execute, ...] = ()) -> Execute:
        self._attempt[key] += 1
        self._node[key] = node
        self._sent_s[key] = now_s
        self._started_s[key] = None
        self._state[key] = StepStatus.QUEUED
        self._told[key] = 0
        self._dirty[key] = None
        step = self._steps[key]
        if step.timeout_s is not None:
            heapq.heappush(self._timers, (now_s + step.timeout_s, key, self._attempt[key], StepStatus.RUNNING))
        return Execute(step, key, node, self._attempt[key], then)

    def _unchain(self, key: int) -> None:
        """What should have followed the step in its chain waits again, as if it had never been sent."""
        follower, self._next[key] = self._next[key], -1
        while follower >= 0:
            node = self._node[follower]
            if self._is_out(follower) and node is not None:
                self._placer.ended(node, 1)
                self._state[follower] = StepStatus.WAITING
                self._attempt[follower] -= 1
                self._node[follower] = None
                self._dirty.pop(follower, None)
            # Not in one assignment: its second target would be looked up with the new follower.
            after, self._next[follower] = self._next[follower], -1
            follower = after

    def _retry(self, key: int, event: Raised, node: NodeName) -> None:
        step = self._steps[key]
        due_s = event.now_s + step.backoff_s * 2.0 ** (event.attempt - 1)
        self._tell(key, self._log)
        self._log.append(
            Retrying(
                event.now_s,
                step.name,
                event.failure,
                node,
                event.attempt,
                due_s,
                self._sent_s[key],
                event.started_s,
            )
        )
        self._state[key] = StepStatus.RETRYING
        self._dirty.pop(key, None)
        if due_s <= event.now_s:
            self._ready(key, event.now_s)
        else:
            heapq.heappush(self._timers, (due_s, key, event.attempt, StepStatus.RETRYING))

    def _time_out(self, key: int, now_s: float) -> None:
        step, node, attempt = self._steps[key], self._node[key], self._attempt[key]
        assert node is not None
        started_s = self._started_s[key]
        state = "it was running" if started_s is not None else "it was waiting for a free slot, or had just begun"
        error = StepTimeoutError(
            f"step {step.name!r} ({step.function}) on node {node!r} took longer than {step.timeout_s:g} s; {state}",
            step=step.name,
        )
        self._todo.append(Abort(key, node, attempt))
        self._raised(Raised(now_s, key, attempt, started_s, now_s, error, failure_of(error)))

    def _fail(self, key: int, error: object, final: Failed) -> None:
        self.errors[key] = error
        self._end(key, StepStatus.FAILED, final)
        below = list(self.plan.dependents[key])
        for dependent in below:  # grows while it is read
            if self._state[dependent] is StepStatus.WAITING:
                because = self._steps[key].name
                self._end(dependent, StepStatus.SKIPPED, Skipped(final.now_s, self._steps[dependent].name, because))
                below.extend(self.plan.dependents[dependent])

    def _end(self, key: int, state: StepStatus, final: RunEvent) -> None:
        self._state[key] = state
        self._final[key] = final
        self._dirty[key] = None
        self._left -= 1

    # --- helpers ---

    def _is_out(self, key: int) -> bool:
        state = self._state[key]
        return state is StepStatus.QUEUED or state is StepStatus.RUNNING

    def _is_current(self, key: int, attempt: int) -> bool:
        return self._attempt[key] == attempt and self._is_out(key)

    def _still_means_something(self, timer: tuple[float, int, int, StepStatus]) -> bool:
        """Whether that attempt is still out, for a time-out; or still waits to be followed, for a retry."""
        _, key, attempt, state = timer
        if self._attempt[key] != attempt:
            return False
        return self._is_out(key) if state is StepStatus.RUNNING else self._state[key] is state

    def _tell(self, key: int, events: list[RunEvent]) -> None:
        """The events that bring a step's record up to its present state, where it has not ended."""
        state, told = self._state[key], self._told[key]
        node, started_s = self._node[key], self._started_s[key]
        if node is None or self._missing[key]:
            return
        name, attempt = self._steps[key].name, self._attempt[key]
        if told < 2:
            events.append(Queued(self._ready_s[key], name))
            events.append(Sent(self._sent_s[key], name, node, attempt))
        if told < 3 and state is StepStatus.RUNNING and started_s is not None:
            events.append(Started(started_s, name, node, attempt))
            told = 3
        self._told[key] = max(told, 2)

    def _take_todo(self, now_s: float) -> list[Execute | Abort]:
        if not self._left and not self._over:
            self._over = True
            if self.status is RunStatus.RUNNING:
                self.status = RunStatus.FAILED if self.errors else RunStatus.DONE
            self._log.append(Ended(now_s, self.status))
        todo, self._todo = self._todo, []
        return todo


_HANDLE: dict[type, Callable[[RunMachine, Any], None]] = {
    Began: RunMachine._began,
    Returned: RunMachine._returned,
    Raised: RunMachine._raised,
    Lost: RunMachine._lost,
    Tick: RunMachine._tick,
    Cancel: RunMachine._cancel,
}


def failure_of(error: BaseException, traceback: str = "") -> Failure:
    """An exception as text."""
    return Failure(type(error).__name__, str(error), traceback)
