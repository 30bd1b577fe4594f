"""One run as its entry node coordinates it: between a RunMachine, the nodes that do the work, and the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Protocol

import msgspec

from mpreg_lab.engine.base import Driver
from mpreg_lab.errors import MpregError, RunTimeoutError, StepNotFinishedError, UnknownStepError
from mpreg_lab.protocol.messages import (
    Caching,
    Call,
    CallReturned,
    Calls,
    CallStarted,
    CancelCalls,
    Lane,
    Message,
    Outcome,
    Rerun,
    RunDone,
    StepError,
    Submit,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.machine import Abort, Began, Execute, Happening, Lost, Placer, Raised, Returned, RunMachine
from mpreg_lab.workflow.model import Step
from mpreg_lab.workflow.plan import Plan
from mpreg_lab.workflow.record import FaultNote, RunEvent, StepStatus
from mpreg_lab.workflow.reuse import Earlier, Reuse

from .run_log import RunLog

__all__ = ["EntryRun", "Held", "Workers"]


class Held(msgspec.Struct, frozen=True):
    """A result that stays on the node that made it until somebody fetches it."""

    node: NodeName
    run: RunId | None = None
    """Of which it is a result. None: of the run at hand."""


class Workers(Protocol):
    """What a run needs of the node that coordinates it."""

    @property
    def name(self) -> NodeName:
        """The coordinating node, which may work too."""

    def give(self, node: NodeName, message: Calls | CancelCalls) -> None:
        """Have a node do something, or leave it."""

    def fetch(self, node: NodeName, run: RunId, step: StepName) -> Awaitable[Payload]:
        """Get a result from the node that holds it."""

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done in the background."""


class EntryRun:
    """One run, from Submit to RunDone, and its results until they are forgotten.

    Args:
        send: Gives a message to the client.
        kept: Whether what the client is told can be told again.
        source: The run whose results `submit.rerun` names, if it is known here.
        nodes: Of the cluster, in its order.
    """

    def __init__(
        self,
        submit: Submit,
        plan: Plan,
        placer: Placer,
        workers: Workers,
        send: Callable[[Message], None],
        source: EntryRun | None = None,
        nodes: Sequence[NodeName] = (),
        *,
        kept: bool = False,
    ) -> None:
        self.id = submit.u
        self.log = RunLog(submit.u, kept=kept)
        """What the client was told."""
        self.nodes: set[NodeName] = set()
        """All nodes that ever had to do with it."""
        self._plan = plan
        self._arguments = submit.arguments
        self._timeout_s = submit.timeout_s
        self._workers = workers
        self._send = send
        reuse = None if submit.rerun is None else _reuse(plan, submit.rerun, source)
        self.sources = _sources(reuse)
        """The runs whose results it uses, where these stayed on the nodes that made them."""
        self._gone: set[int] = set()  # results that went with their nodes
        self._machine = RunMachine(plan, placer, reuse, nodes)
        self._given_s: dict[int, float] = {}
        self._has: dict[NodeName, set[int]] = {}
        self._driver = Driver(self._machine, execute=self._execute, publish=self._publish, ended=self._ended)

    @property
    def over(self) -> bool:
        """Whether every step has ended."""
        return self._machine.done

    @property
    def late(self) -> int:
        """How many answers came when nobody waited for them any more."""
        return self._machine.late

    def start(self, faults: Iterable[FaultNote] = ()) -> None:
        """Begin.

        Args:
            faults: What befell the cluster before, and lasts.
        """
        if self._timeout_s is not None:
            self._driver.limit(self._timeout_s, self._too_slow)
        self._driver.start()
        for fault in faults:
            self._driver.note(fault)

    def note(self, fault: FaultNote) -> None:
        """Something befell the cluster, at a time of the loop."""
        self._driver.note(fault)

    def cancel(self, cause: MpregError) -> None:
        """Stop it, and say why in RunDone."""
        self._driver.cancel(cause)

    def lost(self, node: NodeName) -> None:
        """A node is gone."""
        self._has.pop(node, None)
        values = self._machine.values.items()
        self._gone.update(key for key, value in values if type(value) is Held and value.node == node)
        if self._machine.runs_on(node):
            self._driver.feed([Lost(self._driver.now_s, node)])

    def heard(self, node: NodeName, outcomes: Sequence[Outcome]) -> None:
        """A node says what became of calls."""
        now_s, count = self._driver.now_s, len(self._plan.needs)
        known = (outcome for outcome in outcomes if 0 <= outcome.key < count)
        self._driver.feed([self._happening(node, outcome, now_s) for outcome in known])

    def is_of(self, submit: Submit) -> bool:
        """Whether that is the message which it was made of, come twice."""
        steps = zip(self._plan.workflow.steps, submit.workflow.steps, strict=False)
        return submit.needs == self._plan.needs and all(_bare(one) == _bare(other) for one, other in steps)

    async def result(self, step: StepName) -> Payload:
        """The result of a step.

        Raises:
            UnknownStepError: If the run has no such step.
            StepNotFinishedError: If it has no result.
        """
        key = self._plan.keys.get(step)
        if key is None:
            raise UnknownStepError(f"the run has no step {step!r}", step=step)
        if key not in self._machine.values:
            raise StepNotFinishedError(f"step {step!r} has no result", step=step)
        return await self._value(key)

    def earlier(self, step: StepName) -> Earlier | None:
        """The result of a step, for another run; None if there is none any more."""
        key = self._plan.keys.get(step)
        if key is None or key in self._gone or key not in self._machine.values:
            return None
        value = self._machine.values[key]
        if type(value) is Held and value.run is None:
            value = Held(value.node, self.id)
        return Earlier(value, self._machine.node_of(key))

    # --- instructions to nodes ---

    def _execute(self, todo: list[Execute | Abort]) -> None:
        lanes: dict[NodeName, list[Lane]] = {}
        values: dict[NodeName, dict[StepName, Payload]] = {}
        held: dict[NodeName, dict[StepName, Held]] = {}
        aborted: dict[NodeName, list[int]] = {}
        now_s = self._driver.now_s
        for item in todo:
            node = item.node
            if type(item) is Abort:
                aborted.setdefault(node, []).append(item.key)
                continue
            assert type(item) is Execute
            if node not in lanes:
                lanes[node], values[node], held[node] = [], {}, {}
            pieces = (item, *item.then) if item.then else (item,)
            made = {piece.key for piece in item.then} | {item.key} if item.then else frozenset()
            for piece in pieces:
                self._given_s[piece.key] = now_s
                self._bring(piece.key, node, made, values[node], held[node])
            lanes[node].append(Lane(tuple(map(self._call, pieces))))
        self.nodes.update(lanes)
        for node, keys in aborted.items():
            self._workers.give(node, CancelCalls(self.id, tuple(keys)))
        for node, work in lanes.items():
            places = {step: place.node for step, place in held[node].items()}
            borrowed = {step: place.run for step, place in held[node].items() if place.run is not None}
            self._workers.give(node, Calls(self.id, tuple(work), values[node], places, borrowed))

    def _call(self, piece: Execute) -> Call:
        key, step = piece.key, piece.step
        return Call(
            key,
            step.name,
            step.function,
            self._arguments[key],
            piece.attempt,
            bool(self._plan.needs[key]),
            _caching(step),
        )

    def _bring(
        self,
        key: int,
        node: NodeName,
        made: Collection[int],
        values: dict[StepName, Payload],
        held: dict[StepName, Held],
    ) -> None:
        """Note what the step needs and the node neither has nor makes before it in the same lane."""
        has = self._has.setdefault(node, set())
        for need in self._plan.needs[key]:
            if need in has or need in made:
                continue
            has.add(need)
            name = self._name(need)
            value = self._machine.values[need]
            if type(value) is Held:
                held[name] = value
            else:
                values[name] = value

    # --- what nodes say ---

    def _happening(self, node: NodeName, outcome: Outcome, now_s: float) -> Happening:
        key = outcome.key
        if isinstance(outcome, CallStarted):
            return Began(now_s, key, outcome.attempt, now_s)
        ran_s, half_s = outcome.ran_s, 0.0
        if node != self._workers.name:
            there_s = outcome.waited_s + (ran_s or 0.0) + outcome.idle_s
            half_s = max(0.0, now_s - self._given_s.get(key, now_s) - there_s) / 2
        ended_s = now_s - outcome.idle_s - half_s
        if isinstance(outcome, CallReturned):
            started_s = ended_s - outcome.ran_s
            value = Held(node) if outcome.value is None else outcome.value
            self._has.setdefault(node, set()).add(key)
            return Returned(
                now_s,
                key,
                outcome.attempt,
                started_s,
                ended_s,
                value,
                outcome.printed,
                ended_s + half_s,
                outcome.cached,
            )
        began_s = None if ran_s is None else ended_s - ran_s
        return Raised(now_s, key, outcome.attempt, began_s, ended_s, outcome.error, outcome.failure, outcome.printed)

    # --- what the client hears ---

    def _publish(self, events: list[RunEvent]) -> None:
        self._send(self.log.update(events))

    def _ended(self) -> None:
        wanted = self._plan.wanted & self._machine.values.keys()
        if any(type(self._machine.values[key]) is Held for key in wanted):
            self._workers.spawn(self._collect(wanted))
        else:
            self._send_done({self._name(key): self._machine.values[key] for key in sorted(wanted)})

    async def _collect(self, wanted: frozenset[int]) -> None:
        results: dict[StepName, Payload] = {}
        for key in sorted(wanted):
            try:
                results[self._name(key)] = await self._value(key)
            except MpregError as error:
                # The step did succeed, but its result went with its node.
                self._machine.errors[key] = error
        self._send_done(results)

    def _send_done(self, results: dict[StepName, Payload]) -> None:
        errors = tuple(
            StepError(self._name(key), error if type(error) is Payload else Payload.of_error(error))
            for key, error in sorted(self._machine.errors.items())
        )
        cause = self._driver.cause
        done = RunDone(self.id, results, errors, None if cause is None else Payload.of_error(cause))
        self._send(self.log.end(done))

    async def _value(self, key: int) -> Payload:
        value = self._machine.values[key]
        if type(value) is Held:
            return await self._workers.fetch(value.node, value.run or self.id, self._name(key))
        assert type(value) is Payload
        return value

    def _name(self, key: int) -> StepName:
        return self._plan.workflow.steps[key].name

    def _too_slow(self) -> MpregError:
        out = [name for name, state in self._machine.states() if state in (StepStatus.QUEUED, StepStatus.RUNNING)]
        return RunTimeoutError(
            f"the run took longer than {self._timeout_s:g} s. Under way: {', '.join(out[:8])}"
            + (f" and {len(out) - 8} more" if len(out) > 8 else "")
        )


def _bare(step: Step) -> Step:
    return msgspec.structs.replace(step, args=(), kwargs={})


def _reuse(plan: Plan, rerun: Rerun, source: EntryRun | None) -> Reuse:
    keys = {plan.keys[step]: step for step in rerun.steps if step in plan.keys}
    found = {} if source is None else {key: source.earlier(step) for key, step in keys.items()}
    return Reuse(frozenset(keys), {key: earlier for key, earlier in found.items() if earlier is not None})


def _caching(step: Step) -> Caching | None:
    return Caching(tuple(sorted(step.resources)), step.cache_ttl_s) if step.cache else None


def _sources(reuse: Reuse | None) -> frozenset[RunId]:
    values = () if reuse is None else (earlier.value for earlier in reuse.results.values())
    return frozenset(value.run for value in values if type(value) is Held and value.run is not None)
