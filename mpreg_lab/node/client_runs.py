"""The runs that a node coordinates for clients, from Submit to RunDone, and their results until they are forgotten.

A run that asks for it outlives the connection of its client for KEEP_S: who knows its name may attach to it again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mpreg_lab.errors import (
    ClusterError,
    MpregError,
    ProtocolError,
    RoutingError,
    RunCancelledError,
    StepNotFinishedError,
)
from mpreg_lab.protocol.messages import (
    Attach,
    Attached,
    CallsDone,
    Cancel,
    Fetch,
    Fetched,
    Forget,
    Message,
    Outcome,
    RunDone,
    Submit,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import NodeName, RunId, StepName
from mpreg_lab.workflow.faults import lasting
from mpreg_lab.workflow.plan import Plan, make_plan
from mpreg_lab.workflow.record import FaultNote

from .loans import Loans
from .router import Router
from .run_log import PastRuns, RunLog
from .runs import EntryRun, Workers

__all__ = ["ClientRuns", "RunHost"]

KEPT_RUNS = 64
"""Ended runs of one node whose results are kept, unless their clients forget them earlier; the oldest goes first."""
KEEP_S = 30.0
"""As long as a run waits for a client whose connection was lost."""
MOST_ALONE = 50_000
"""Runs that wait for their clients, as many as one client may have: of more, the first to be left is cancelled."""
_SECRET_CHARACTERS = 32


class RunHost(Workers, Protocol):
    """What the node does for runs, besides working."""

    def check_room(self) -> None:
        """Raises OverloadedError if no more can be taken on."""

    def held(self, run: RunId, step: StepName) -> Payload:
        """A result that this node made for a run that another one coordinates; raises StepNotFinishedError."""

    def forget_calls(self, run: RunId, nodes: Collection[NodeName]) -> None:
        """Nobody wants the results of a run any more, neither here nor on those nodes."""

    def reply(self, peer: Peer, u: str, work: Awaitable[Message]) -> None:
        """Have a request done in the background and answered."""

    def name_of(self, peer: Peer) -> NodeName:
        """The node at the other end of a connection."""


@dataclass(slots=True, eq=False)
class _Served:
    """A run and who hears of it."""

    run: EntryRun
    peer: Peer | None
    """None: the connection was lost, and nobody has attached yet."""

    def tell(self, message: Message) -> None:
        """Tell whoever hears of the run; nobody, while its client is away."""
        if self.peer is not None:
            _answer(self.peer, message)


class ClientRuns:
    """All runs of one entry node. On the node's loop."""

    def __init__(self, host: RunHost, router: Router) -> None:
        self._host = host
        self._router = router
        self._life = secrets.token_hex(8)
        self._served: dict[RunId, _Served] = {}
        self._ended: OrderedDict[RunId, None] = OrderedDict()
        self._loans = Loans()
        self._runs_of: dict[Peer, set[RunId]] = {}
        self._alone: OrderedDict[RunId, asyncio.TimerHandle] = OrderedDict()
        self._past = PastRuns()
        self._faults: tuple[FaultNote, ...] = ()
        self._stopped = False
        self.late = 0
        """How many answers of nodes came when nobody waited for them any more, or twice."""

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What is done with which message."""
        return {
            Submit: self._on_submit,
            Attach: self._on_attach,
            Cancel: self._on_cancel,
            Fetch: self._on_fetch,
            Forget: self._on_forget,
            CallsDone: self._on_calls_done,
        }

    def __contains__(self, run: object) -> bool:
        return run in self._served

    def __len__(self) -> int:
        return len(self._served)

    def begin(self, peer: Peer, submit: Submit, send: Callable[[Message], None] | None = None) -> None:
        """Run a workflow on behalf of the other end of a connection.

        Args:
            send: Given what there is to say. None: it goes to the connection, or to the one that takes the run over.
        """
        try:
            run = self._admit(peer, submit, send)
        except MpregError as error:
            (send or peer.post)(RunDone(submit.u, refused=Payload.of_error(error)))
            return
        run.start(self._faults)

    def befell(self, fault: FaultNote) -> None:
        """Something befell the cluster, at a time of the loop.

        It becomes part of the runs that are under way and, if it lasts, of those that begin meanwhile.
        """
        self._faults = lasting((*self._faults, fault))
        for served in list(self._served.values()):
            served.run.note(fault)

    def heard(self, run: RunId, node: NodeName, outcomes: Sequence[Outcome]) -> None:
        """A node says what became of calls of that run."""
        served = self._served.get(run)
        if served is not None:
            before = served.run.late
            served.run.heard(node, outcomes)
            self.late += served.run.late - before

    def lost(self, name: NodeName) -> None:
        """A node is gone, with the steps that it was given."""
        for served in list(self._served.values()):
            served.run.lost(name)

    def closed(self, peer: Peer) -> None:
        """A connection has ended. If it was lost, runs that may be kept wait for their client; others are cancelled."""
        for run_id in self._runs_of.pop(peer, set()):
            served = self._served.get(run_id)
            if served is None:
                continue
            if peer.lost and served.run.log.kept and not self._stopped:
                self._leave_alone(run_id, served)
            else:
                self._end(run_id, served.run, "the client went away")

    def stop(self) -> None:
        """Cancel all runs and take no more."""
        self._stopped = True
        self._wait_for_nobody()
        for served in list(self._served.values()):
            served.run.cancel(RunCancelledError(f"node {self._host.name!r}, which coordinated the run, was stopped"))

    def kill(self) -> None:
        """Drop everything and tell nobody."""
        self._stopped = True
        self._wait_for_nobody()
        self._served.clear()
        self._runs_of.clear()

    # --- messages ---

    def _on_submit(self, peer: Peer, submit: Submit) -> None:
        served = self._served.get(submit.u)
        if served is None and submit.u not in self._past:
            self.begin(peer, submit)
        elif served is None or served.peer is not peer:
            error = ProtocolError("there is, or was, a run of that name. Choose another one, or attach to the run")
            peer.post(RunDone(submit.u, refused=Payload.of_error(error)))
        elif not served.run.is_of(submit):
            raise ProtocolError("there is a run of that name, of another workflow. Choose another name")
        # Else a network has delivered it twice: the run goes on, and its RunDone is the reply to both.

    def _on_attach(self, peer: Peer, message: Attach) -> None:
        logs: list[tuple[RunLog, int]] = []
        unknown: list[RunId] = []
        past: list[RunId] = []
        for run_id, seen in message.runs.items():
            log = self._taken_over(peer, run_id) or self._past.log(run_id)
            if log is not None:
                logs.append((log, seen))
            else:
                (past if run_id in self._past else unknown).append(run_id)
        for run_id in message.kept:
            self._taken_over(peer, run_id)
        peer.post(Attached(message.u, self._life, tuple(unknown), tuple(past)))
        for log, seen in logs:
            for missed in log.since(seen):
                _answer(peer, missed)

    def _on_cancel(self, peer: Peer, message: Cancel) -> None:
        served = self._of(peer, message.run)
        if served is not None:
            served.run.cancel(RunCancelledError("the run was cancelled"))

    def _on_fetch(self, peer: Peer, message: Fetch) -> None:
        self._host.reply(peer, message.u, self._fetched(peer, message))

    async def _fetched(self, peer: Peer, message: Fetch) -> Fetched:
        served = self._of(peer, message.run)
        if served is not None:
            return Fetched(message.u, await served.run.result(message.step))
        if not peer.connection.trusted:
            raise StepNotFinishedError(f"this connection has no run with a result of step {message.step!r}")
        return Fetched(message.u, self._host.held(message.run, message.step))

    def _on_forget(self, peer: Peer, message: Forget) -> None:
        served = self._of(peer, message.run)
        if served is not None and not served.run.over:
            served.run.cancel(RunCancelledError("the run was forgotten before it had ended"))
        if served is not None or peer.connection.trusted:
            self._forget(message.run)

    def _on_calls_done(self, peer: Peer, message: CallsDone) -> None:
        self.heard(message.run, self._host.name_of(peer), message.outcomes)

    def _of(self, peer: Peer, run_id: RunId) -> _Served | None:
        """The run, if the other end may do something to it: who has not shown the token owns what it began."""
        served = self._served.get(run_id)
        return served if served is not None and (peer.connection.trusted or served.peer is peer) else None

    # --- the life of a run ---

    def _admit(self, peer: Peer, submit: Submit, send: Callable[[Message], None] | None) -> EntryRun:
        if self._stopped:
            raise ClusterError(f"node {self._host.name!r} is stopping")
        if submit.keep and len(submit.u) < _SECRET_CHARACTERS:
            raise ProtocolError(
                f"a run that shall be kept needs a name that nobody can guess: `u` has {len(submit.u)} characters, and "
                f"must have {_SECRET_CHARACTERS}"
            )
        self._host.check_room()

        def tell(message: Message) -> None:
            (send or served.tell)(message)
            if isinstance(message, RunDone):
                self._keep_ended(served)

        source = None if submit.rerun is None else self._of(peer, submit.rerun.run)
        run = EntryRun(
            submit,
            self._plan(submit),
            self._router,
            self._host,
            tell,
            None if source is None else source.run,
            self._router.nodes,
            kept=submit.keep,
        )
        self._loans.lend(run.sources)
        served = self._served[run.id] = _Served(run, peer)
        self._runs_of.setdefault(peer, set()).add(run.id)
        return run

    def _plan(self, submit: Submit) -> Plan:
        plan = make_plan(submit.workflow, submit.needs)
        if len(submit.arguments) != len(plan.needs):
            raise ProtocolError("the arguments of the workflow do not fit its steps")
        if submit.shapes and len(submit.shapes) != len(plan.needs):
            raise ProtocolError("the shapes of the workflow do not fit its steps")
        shapes = submit.shapes or [(None, ())] * len(plan.needs)
        for step, (positional, keywords) in zip(submit.workflow.steps, shapes, strict=True):
            try:
                self._router.check(step, positional, keywords)
            except RoutingError:
                if step.wait_for_s is None:
                    raise
        return plan

    def _keep_ended(self, served: _Served) -> None:
        if self._served.get(served.run.id) is not served:
            return  # It was forgotten while its results were fetched.
        self._ended[served.run.id] = None
        if served.peer is not None and served.peer.foreign:
            # Who is of another kind cannot ask for results afterwards.
            self._forget(served.run.id)
        elif len(self._ended) > KEPT_RUNS:
            oldest = next(iter(self._ended))
            log = self._served[oldest].run.log
            self._forget(oldest)
            if log.kept:
                self._past.add(oldest, log)

    def _forget(self, run_id: RunId) -> None:
        served = self._served.pop(run_id, None)
        self._ended.pop(run_id, None)
        if served is not None:
            if served.peer is not None:
                self._runs_of.get(served.peer, set()).discard(run_id)
            self._wait_no_more(run_id)
        if run_id in self._past or (served is not None and served.run.log.kept):
            # Its Submit may come once more, late: it must not start again.
            self._past.add(run_id)
        if served is not None:
            for free, nodes in self._loans.forget(run_id, served.run.nodes, served.run.sources).items():
                self._host.forget_calls(free, nodes)
        elif run_id not in self._loans:
            self._host.forget_calls(run_id, ())

    def _end(self, run_id: RunId, run: EntryRun, why: str) -> None:
        run.cancel(RunCancelledError(why))
        self._forget(run_id)

    # --- clients that were lost ---

    def _leave_alone(self, run_id: RunId, served: _Served) -> None:
        served.peer = None
        timer = asyncio.get_running_loop().call_later(KEEP_S, self._give_up, run_id)
        self._alone[run_id] = timer
        if len(self._alone) > MOST_ALONE:
            self._give_up(next(iter(self._alone)))

    def _give_up(self, run_id: RunId) -> None:
        served = self._served.get(run_id)
        if served is not None and served.peer is None:
            self._end(run_id, served.run, f"the client did not come back within {KEEP_S:g} s")

    def _taken_over(self, peer: Peer, run_id: RunId) -> RunLog | None:
        """Have this connection hear of a run, in place of an earlier one; what was told of it so far."""
        served = self._served.get(run_id)
        if served is None or not served.run.log.kept:
            return None
        if served.peer is not peer:
            if served.peer is not None:
                self._runs_of.get(served.peer, set()).discard(run_id)
            self._wait_no_more(run_id)
            served.peer = peer
            self._runs_of.setdefault(peer, set()).add(run_id)
        return served.run.log

    def _wait_no_more(self, run_id: RunId) -> None:
        timer = self._alone.pop(run_id, None)
        if timer is not None:
            timer.cancel()

    def _wait_for_nobody(self) -> None:
        for run_id in list(self._alone):
            self._wait_no_more(run_id)


def _answer(peer: Peer, message: Message) -> None:
    try:
        peer.post(message)
    except MpregError as error:
        # The results cannot be written as the client wants them: it must hear of its run all the same.
        if isinstance(message, RunDone):
            peer.post(RunDone(message.u, refused=Payload.of_error(error), after=message.after))
