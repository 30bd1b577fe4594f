"""The runs that a node coordinates for clients, from Submit to RunDone, and their results until they are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from mpreg_lab.errors import ClusterError, MpregError, ProtocolError, RoutingError, RunCancelledError
from mpreg_lab.protocol.messages import (
    CallsDone,
    Cancel,
    Fetch,
    Fetched,
    Forget,
    Message,
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
from .runs import EntryRun, Workers

__all__ = ["ClientRuns", "RunHost"]

KEPT_RUNS = 64
"""Ended runs of one node whose results are kept, unless their clients forget them earlier; the oldest goes first."""


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


class ClientRuns:
    """All runs of one entry node. On the node's loop."""

    def __init__(self, host: RunHost, router: Router) -> None:
        self._host = host
        self._router = router
        self._runs: dict[RunId, EntryRun] = {}
        self._ended: OrderedDict[RunId, None] = OrderedDict()
        self._loans = Loans()
        self._runs_of: dict[Peer, set[RunId]] = {}
        self._faults: tuple[FaultNote, ...] = ()
        self._stopped = False

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What is done with which message."""
        return {
            Submit: self._on_submit,
            Cancel: self._on_cancel,
            Fetch: self._on_fetch,
            Forget: self._on_forget,
            CallsDone: self._on_calls_done,
        }

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> None:
        """Run a workflow on behalf of the other end of a connection, and give `send` what there is to say."""

        def tell(message: Message) -> None:
            send(message)
            if isinstance(message, RunDone):
                self._keep_ended(peer, message.u)

        try:
            run = self._admit(peer, submit, tell)
        except MpregError as error:
            send(RunDone(submit.u, refused=Payload.of_error(error)))
            return
        run.start(self._faults)

    def befell(self, fault: FaultNote) -> None:
        """Something befell the cluster, at a time of the loop.

        It becomes part of the runs that are under way and, if it lasts, of those that begin meanwhile.
        """
        self._faults = lasting((*self._faults, fault))
        for run in list(self._runs.values()):
            run.note(fault)

    def heard(self, run: RunId) -> Callable[[NodeName, list[Any]], None]:
        """Who is to be told what became of calls of that run."""
        return self._runs[run].heard

    def lost(self, name: NodeName) -> None:
        """A node is gone, with the steps that it was given."""
        for run in list(self._runs.values()):
            run.lost(name)

    def closed(self, peer: Peer) -> None:
        """A connection has ended: its runs are cancelled and their results forgotten."""
        for run_id in self._runs_of.pop(peer, set()):
            run = self._runs.get(run_id)
            if run is not None:
                run.cancel(RunCancelledError("the client went away"))
                self._forget(run_id)

    def stop(self) -> None:
        """Cancel all runs and take no more."""
        self._stopped = True
        for run in list(self._runs.values()):
            run.cancel(RunCancelledError(f"node {self._host.name!r}, which coordinated the run, was stopped"))

    def kill(self) -> None:
        """Drop everything and tell nobody."""
        self._stopped = True
        self._runs.clear()
        self._runs_of.clear()

    # --- messages ---

    def _on_submit(self, peer: Peer, submit: Submit) -> None:
        self.begin(peer, submit, lambda message: _answer(peer, message))

    def _on_cancel(self, _: Peer, message: Cancel) -> None:
        run = self._runs.get(message.run)
        if run is not None:
            run.cancel(RunCancelledError("the run was cancelled"))

    def _on_fetch(self, peer: Peer, message: Fetch) -> None:
        self._host.reply(peer, message.u, self._fetched(message))

    async def _fetched(self, message: Fetch) -> Fetched:
        run = self._runs.get(message.run)
        value = self._host.held(message.run, message.step) if run is None else await run.result(message.step)
        return Fetched(message.u, value)

    def _on_forget(self, _: Peer, message: Forget) -> None:
        run = self._runs.get(message.run)
        if run is not None and not run.over:
            run.cancel(RunCancelledError("the run was forgotten before it had ended"))
        self._forget(message.run)

    def _on_calls_done(self, peer: Peer, message: CallsDone) -> None:
        run = self._runs.get(message.run)
        if run is not None:
            run.heard(self._host.name_of(peer), message.outcomes)

    # --- the life of a run ---

    def _admit(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> EntryRun:
        if self._stopped:
            raise ClusterError(f"node {self._host.name!r} is stopping")
        self._host.check_room()
        if submit.u in self._runs:
            raise ProtocolError(f"a run {submit.u!r} exists already")
        source = None if submit.rerun is None else self._runs.get(submit.rerun.run)
        run = EntryRun(submit, self._plan(submit), self._router, self._host, send, source, self._router.nodes)
        self._loans.lend(run.sources)
        self._runs[run.id] = run
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

    def _keep_ended(self, peer: Peer, run_id: RunId) -> None:
        self._ended[run_id] = None
        if peer.foreign:
            # Who is of another kind cannot ask for results afterwards.
            self._runs_of.get(peer, set()).discard(run_id)
            self._forget(run_id)
        elif len(self._ended) > KEPT_RUNS:
            self._forget(next(iter(self._ended)))

    def _forget(self, run_id: RunId) -> None:
        run = self._runs.pop(run_id, None)
        self._ended.pop(run_id, None)
        if run is not None:
            for free, nodes in self._loans.forget(run_id, run.nodes, run.sources).items():
                self._host.forget_calls(free, nodes)
        elif run_id not in self._loans:
            self._host.forget_calls(run_id, ())


def _answer(peer: Peer, message: Message) -> None:
    try:
        peer.post(message)
    except MpregError as error:
        # The results cannot be written as the client wants them: it must hear of its run all the same.
        if isinstance(message, RunDone):
            peer.post(RunDone(message.u, refused=Payload.of_error(error)))
