"""Node: one member of a cluster. A handler for each message; decisions are those of router, membership and machine.

It is long because there are many messages: each handler is a few lines, and all of them share the tables of the node.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from mpreg_lab.errors import (
    ClusterError,
    ConnectError,
    ConnectionLostError,
    MpregError,
    OverloadedError,
    ProtocolError,
    RemoteError,
    RoutingError,
    RunCancelledError,
    StepNotFinishedError,
)
from mpreg_lab.protocol.messages import (
    Announce,
    Beat,
    CallFailed,
    Calls,
    CallsDone,
    Cancel,
    CancelCalls,
    Describe,
    Described,
    Done,
    Fetch,
    Fetched,
    Forget,
    FunctionInfo,
    Goodbye,
    Hello,
    Meet,
    Member,
    Message,
    Outcome,
    Refused,
    Register,
    RunDone,
    Submit,
    Unregister,
    Welcome,
)
from mpreg_lab.protocol.payload import Payload, message_of
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.plan import make_plan

from . import executor
from .arrivals import load_function
from .executor import Executor, Job
from .failures import failure
from .foreign import Foreigners
from .functions import Function, FunctionTable
from .gossip import HEARTBEATS, Heart
from .links import Dial, Link, say_hello
from .membership import Back, Event, Lost, Membership, Suspected
from .router import Router
from .runs import EntryRun

__all__ = ["Node"]

KEPT_RUNS = 64
"""Ended runs of one node whose results are kept, unless their clients forget them earlier; the oldest goes first."""


_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
"""Between two tries to reach the seed of a cluster; each pause is twice as long as the one before."""


class Node:
    """One member of a cluster. Made, used and stopped on one loop.

    Args:
        dial: Opens a connection to another member.
        slots: How many sync functions run at once.
    """

    def __init__(
        self,
        name: NodeName,
        resources: Iterable[Resource] = (),
        *,
        cluster_id: ClusterId,
        dial: Dial,
        slots: int = 4,
    ) -> None:
        self.name = name
        self.cluster_id = cluster_id
        self._dial = dial
        self._functions = FunctionTable()
        generation = time.time_ns() // 1000
        itself = Member(name, "", tuple(sorted(resources)), self._functions.infos(), slots, 1, generation)
        self._membership = Membership(itself, rng=random.Random())
        self._heart = Heart(self._membership, cluster_id, dial, self._on_event)
        self._router = Router()
        self._router.update(itself)
        self._executor = Executor(self._functions, slots, self._report, name)
        self._foreign = Foreigners(self)
        self._links: dict[NodeName, Link] = {}
        self._peers: set[Peer] = set()
        self._runs: dict[RunId, EntryRun] = {}
        self._ended: OrderedDict[RunId, None] = OrderedDict()
        self._runs_of: dict[Peer, set[RunId]] = {}
        self._values: dict[RunId, dict[StepName, Payload]] = {}
        self._origins: dict[RunId, tuple[NodeName, Callable[[list[Outcome]], None]]] = {}
        self._taken: dict[RunId, set[tuple[int, int]]] = {}
        """The first call and attempt of what other nodes gave us."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # --- for whoever launched it ---

    @property
    def member(self) -> Member:
        """How the node describes itself."""
        return self._membership.itself

    @property
    def members(self) -> tuple[Member, ...]:
        """The cluster as this node sees it; nodes of another kind come last."""
        return self.own_members + self._foreign.members

    @property
    def own_members(self) -> tuple[Member, ...]:
        """The nodes of our kind."""
        return self._membership.members

    def accept(self, connection: Connection) -> None:
        """Serve whoever is at the other end, client or node."""
        peer = Peer(connection, self._on_message, on_close=self._on_close, on_foreign=self._foreign.take)
        self._peers.add(peer)

    def learn(self, members: Sequence[Member]) -> None:
        """Take these for members, in this order."""
        for member in members:
            self._membership.update(member)
        self._heart.wake()
        self._membership.order(tuple(member.name for member in members))
        for member in self._membership.members:
            self._router.remove(member.name)
            self._router.update(member)

    def set_url(self, url: str) -> None:
        """Where others reach this node."""
        self._change(url=url)

    def register(
        self, function: Function, *, name: str | None = None, resources: Iterable[Resource] = ()
    ) -> FunctionInfo:
        """Add or replace a function; others hear of it by `announce`.

        Raises:
            FunctionError: If it cannot be called, or has no name.
        """
        info = self._functions.register(function, name=name, resources=resources)
        self._change(functions=self._functions.infos())
        return info

    def hold(self, resources: Iterable[Resource]) -> None:
        """Hold these resources too; others hear of it by `announce`."""
        self._change(resources=tuple(sorted({*self.member.resources, *resources})))

    def unregister(self, name: FunctionName) -> None:
        """Take a function away; others hear of it by `announce`."""
        self._functions.remove(name)
        self._change(functions=self._functions.infos())

    async def announce(self) -> None:
        """Tell all other members how this node is now, and wait until each has heard it or is lost."""
        member = self.member
        asked = (self._ask(other.name, Announce(_unique(), member)) for other in self._membership.others)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ConnectionError):
                raise reply

    async def join(self, seed: Connection | str, *, timeout_s: float | None = None) -> None:
        """Enter the cluster of the node at the other end: learn its members and be known to all of them.

        Args:
            seed: A connection, or the address of any member; it may come up later than this node.
            timeout_s: How long to try an address. None: for ever.

        Raises:
            ClusterError: If it is a cluster of another name.
            ConnectError: If nobody has answered in time.
        """
        connection = await self._dial_patiently(seed, timeout_s) if isinstance(seed, str) else seed
        peer = Peer(connection, self._on_message, on_close=self._on_close)
        self._peers.add(peer)
        for member in await say_hello(peer, self._hello()):
            self._take_in(member)
        await self.announce()

    async def _dial_patiently(self, url: str, timeout_s: float | None) -> Connection:
        began_s = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._dial(Member(NodeName(""), url))
            except ConnectError:
                if timeout_s is not None and time.monotonic() + pause_s - began_s > timeout_s:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def stop(self) -> None:
        """Say goodbye, end all runs, and close everything. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        for run in list(self._runs.values()):
            run.cancel(RunCancelledError(f"node {self.name!r}, which coordinated the run, was stopped"))
        for link in self._links.values():
            if link.peer is not None:
                link.post(Goodbye(self.name))
        await self._foreign.stop()
        self._executor.stop()
        for task in self._tasks:
            task.cancel()
        closing = [
            self._heart.stop(),
            *(link.close() for link in self._links.values()),
            *(peer.close() for peer in self._peers),
        ]
        await asyncio.gather(*closing, *self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """End as a crash would: connections are cut, nobody is told anything. Cannot be undone."""
        self._stopped = True
        self._heart.kill()
        self._foreign.kill()
        self._runs.clear()
        self._runs_of.clear()
        self._executor.stop()
        for task in self._tasks:
            task.cancel()
        for link in self._links.values():
            link.abort()
        for peer in self._peers:
            peer.abort()

    def join_threads(self, timeout_s: float) -> None:
        """Wait until the node's threads have ended, at most so long. For another thread than the loop's."""
        self._executor.join(timeout_s)

    # --- what a run needs: Workers ---

    def give(self, node: NodeName, message: Calls | CancelCalls) -> None:
        """Have a node, perhaps this one, do something or leave it."""
        if node in self._foreign:
            self._give_foreign(node, message)
        elif node != self.name:
            self._link(node).post(message)
        elif isinstance(message, Calls):
            run = self._runs[message.run]
            self._take_calls(message, self.name, lambda outcomes: run.heard(self.name, outcomes), pack=self._packs)
        else:
            self._executor.cancel(message.run, frozenset(message.keys))

    def _give_foreign(self, node: NodeName, message: Calls | CancelCalls) -> None:
        if isinstance(message, CancelCalls):
            self._foreign.cancel(message)
            return
        run = self._runs[message.run]
        values = self._values.setdefault(message.run, {})
        self._foreign.give(node, message, values, lambda outcomes: run.heard(node, outcomes))

    async def fetch(self, node: NodeName, run: RunId, step: StepName) -> Payload:
        """Get a result from the node that holds it."""
        if node == self.name:
            return self._held(run, step)
        try:
            reply = await self._link(node).request(Fetch(_unique(), run, step))
        except MpregError:
            raise
        except Exception as exc:
            raise RemoteError(f"node {node!r}: {message_of(exc)}", type_name=type(exc).__name__) from exc
        if not isinstance(reply, Fetched):
            raise ProtocolError(
                f"node {node!r} answered a request for the result of {step!r} with {type(reply).__name__}"
            )
        return reply.value

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- messages ---

    def _on_message(self, peer: Peer, message: Message) -> None:
        handler = _HANDLERS.get(type(message))
        if handler is None:
            raise ProtocolError(f"a node takes no {type(message).__name__} that it did not ask for")
        if type(message) not in _FOR_GUESTS and not peer.connection.trusted:
            raise ProtocolError(f"{type(message).__name__} is only taken from who has shown the token of the cluster")
        handler(self, peer, message)

    def _reply(self, peer: Peer, u: str, work: Awaitable[Message]) -> None:
        """Have a request done in the background and answered, whatever becomes of it."""

        async def reply() -> None:
            try:
                peer.post(await work)
            except MpregError as error:
                peer.post(Refused(u, Payload.of_error(error)))
            except Exception as exc:  # noqa: BLE001 - as in Peer: a mistake must not leave a request without its reply
                peer.post(Refused(u, Payload.of_error(exc)))
                context = {"message": f"request {u!r} failed", "exception": exc}
                asyncio.get_running_loop().call_exception_handler(context)

        self.spawn(reply())

    def _on_submit(self, peer: Peer, submit: Submit) -> None:
        self.run_for(peer, submit, lambda message: self._answer(peer, message))

    def run_for(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> None:
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
        run.start()

    def _admit(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> EntryRun:
        if self._stopped:
            raise ClusterError(f"node {self.name!r} is stopping")
        self._check_room()
        if submit.u in self._runs:
            raise ProtocolError(f"a run {submit.u!r} exists already")
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
        run = EntryRun(submit, plan, self._router, self, send)
        self._runs[run.id] = run
        self._runs_of.setdefault(peer, set()).add(run.id)
        return run

    def _answer(self, peer: Peer, message: Message) -> None:
        try:
            peer.post(message)
        except MpregError as error:
            # The results cannot be written as the client wants them: it must hear of its run all the same.
            if isinstance(message, RunDone):
                peer.post(RunDone(message.u, refused=Payload.of_error(error)))

    def _on_cancel(self, _: Peer, message: Cancel) -> None:
        run = self._runs.get(message.run)
        if run is not None:
            run.cancel(RunCancelledError("the run was cancelled"))

    def _on_fetch(self, peer: Peer, message: Fetch) -> None:
        self._reply(peer, message.u, self._fetched(message))

    async def _fetched(self, message: Fetch) -> Fetched:
        run = self._runs.get(message.run)
        value = self._held(message.run, message.step) if run is None else await run.result(message.step)
        return Fetched(message.u, value)

    def _on_forget(self, _: Peer, message: Forget) -> None:
        run = self._runs.get(message.run)
        if run is not None and not run.over:
            run.cancel(RunCancelledError("the run was forgotten before it had ended"))
        self._forget(message.run)

    def _on_describe(self, peer: Peer, message: Describe) -> None:
        peer.post(Described(message.u, self.cluster_id, self.name, self.members))

    def _on_meet(self, peer: Peer, message: Meet) -> None:
        self._reply(peer, message.u, self._met(message))

    async def _met(self, message: Meet) -> Done:
        await self._foreign.meet(message.url)
        return Done(message.u)

    def _on_register(self, peer: Peer, message: Register) -> None:
        self._reply(peer, message.u, self._registered(message))

    async def _registered(self, message: Register) -> Done:
        function, name = await load_function(message)
        self.register(function, name=name, resources=message.resources)
        await self.announce()
        return Done(message.u)

    def _on_unregister(self, peer: Peer, message: Unregister) -> None:
        self.unregister(message.name)
        self._reply(peer, message.u, self._unregistered(message))

    async def _unregistered(self, message: Unregister) -> Done:
        await self.announce()
        return Done(message.u)

    def _on_hello(self, peer: Peer, hello: Hello) -> None:
        if hello.cluster_id != self.cluster_id:
            error = ClusterError(f"this is cluster {self.cluster_id!r}, not {hello.cluster_id!r}")
            peer.post(Refused(hello.u, Payload.of_error(error)))
            return
        if hello.member.name == self.name:
            raise ClusterError(f"this is node {self.name!r} itself. Give the other one another name")
        self._take_in(hello.member)
        if hello.member.name not in self._links:
            self._links[hello.member.name] = Link.accepted(hello.member.name, peer, self._link_lost)
        peer.post(Welcome(hello.u, self.own_members))

    def _on_announce(self, peer: Peer, message: Announce) -> None:
        self._take_in(message.member)
        peer.post(Done(message.u))

    def _on_goodbye(self, _: Peer, message: Goodbye) -> None:
        self._heart.left(message.node)

    def _on_beat(self, peer: Peer, beat: Beat) -> None:
        self._heart.take(peer, beat)

    def _on_heartbeat(self, peer: Peer, message: Message) -> None:
        self._heart.take_message(peer, message)

    def _on_calls(self, peer: Peer, calls: Calls) -> None:
        def report(outcomes: list[Outcome]) -> None:
            if not peer.closed:
                _report_to(peer, calls.run, outcomes)

        if calls.run in self._runs:
            raise ProtocolError(f"run {calls.run!r} is coordinated here: nobody else gives out its steps")
        if not all(lane.calls for lane in calls.lanes):
            raise ProtocolError("a lane without a call")
        if self._took_before(calls):
            return
        self._take_calls(calls, self._name_of(peer), report, pack=not peer.connection.carries_objects)

    def _took_before(self, calls: Calls) -> bool:
        """Whether this very message came already: a network may deliver it twice, and a step must not start twice."""
        if not calls.lanes:
            return False
        first, taken = calls.lanes[0].calls[0], self._taken.setdefault(calls.run, set())
        if (first.key, first.attempt) in taken:
            return True
        taken.add((first.key, first.attempt))
        return False

    def _on_calls_done(self, peer: Peer, message: CallsDone) -> None:
        run = self._runs.get(message.run)
        if run is not None:
            run.heard(self._name_of(peer), message.outcomes)

    def _on_cancel_calls(self, _: Peer, message: CancelCalls) -> None:
        self._executor.cancel(message.run, frozenset(message.keys))

    def _on_close(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._heart.drop(peer)
        self._foreign.closed(peer)
        for run_id in self._runs_of.pop(peer, set()):
            run = self._runs.get(run_id)
            if run is not None:
                run.cancel(RunCancelledError("the client went away"))
                self._forget(run_id)
        for link in list(self._links.values()):
            if link.peer is peer:
                link.gone()

    # --- calls ---

    @property
    def _packs(self) -> bool:
        """Whether what is made here may have to leave this process."""
        return any(not peer.connection.carries_objects for peer in self._peers)

    def _take_calls(
        self, calls: Calls, origin: NodeName, report: Callable[[list[Outcome]], None], *, pack: bool
    ) -> None:
        values = self._values.setdefault(calls.run, {})
        values.update(calls.values)
        self._origins[calls.run] = (origin, report)
        if calls.held:
            self.spawn(self._fetch_and_work(calls, values, pack=pack))
        else:
            self._work(calls, values, pack=pack)

    async def _fetch_and_work(self, calls: Calls, values: dict[StepName, Payload], *, pack: bool) -> None:
        fetched = [self.fetch(node, calls.run, step) for step, node in calls.held.items()]
        try:
            values.update(zip(calls.held, await asyncio.gather(*fetched), strict=True))
        except MpregError as error:
            self._fail(calls, error)
            return
        self._work(calls, values, pack=pack)

    def _fail(self, calls: Calls, error: MpregError) -> None:
        told = Payload.of_error(error)
        firsts = (lane.calls[0] for lane in calls.lanes)
        self._report(
            calls.run,
            [CallFailed(c.key, c.attempt, 0.0, None, 0.0, told, failure(error)) for c in firsts],
        )

    def _check_room(self) -> None:
        if self._executor.full:
            raise OverloadedError(
                f"node {self.name!r} has {self._executor.running} calls to make: at most {executor.MAX_LANES}. "
                "Call again later, or with retry(n), or add nodes with the function"
            )

    def _work(self, calls: Calls, values: dict[StepName, Payload], *, pack: bool) -> None:
        try:
            self._check_room()
        except OverloadedError as error:
            # Not at once: a run that is just giving out its steps cannot hear of one that has failed.
            asyncio.get_running_loop().call_soon(self._fail, calls, error)
            return
        for lane in calls.lanes:
            self._executor.submit(Job(calls.run, lane.calls, values, pack=pack))

    def _report(self, run: RunId, outcomes: list[Outcome]) -> None:
        origin = self._origins.get(run)
        if origin is not None:
            origin[1](outcomes)

    def _held(self, run: RunId, step: StepName) -> Payload:
        value = self._values.get(run, {}).get(step)
        if value is None:
            raise StepNotFinishedError(f"node {self.name!r} has no result of step {step!r} any more", step=step)
        return value

    def _forget(self, run_id: RunId) -> None:
        run = self._runs.pop(run_id, None)
        self._ended.pop(run_id, None)
        self._values.pop(run_id, None)
        self._origins.pop(run_id, None)
        self._taken.pop(run_id, None)
        if run is not None:
            for node in run.nodes - {self.name}:
                if self._membership.get(node) is not None:
                    self._link(node).post(Forget(run_id))

    def _keep_ended(self, peer: Peer, run_id: RunId) -> None:
        self._ended[run_id] = None
        if peer.foreign:
            # Who is of another kind cannot ask for results afterwards.
            self._runs_of.get(peer, set()).discard(run_id)
            self._forget(run_id)
        elif len(self._ended) > KEPT_RUNS:
            self._forget(next(iter(self._ended)))

    # --- other nodes ---

    def _change(self, **changes: Any) -> None:
        itself = self.member
        changed = msgspec.structs.replace(itself, version=itself.version + 1, **changes)
        self._membership.update(changed)
        self._router.update(changed)
        self._foreign.changed()

    def foreign_came(self, member: Member) -> None:
        """A node of another kind can be given steps, or offers something else now."""
        self._router.update(member)
        # Nodes of our kind come first: what travels as JSON loses its types.
        self._router.doubt(member.name)

    def foreign_left(self, name: NodeName) -> None:
        """A node of another kind cannot be given steps any more."""
        self._router.remove(name)
        for run in list(self._runs.values()):
            run.lost(name)

    def _take_in(self, member: Member) -> None:
        self._membership.update(member)
        self._heart.wake()
        if self._membership.get(member.name) is None:
            # It is thought lost, but is perhaps the very one that speaks to us: it shall hear that, and contradict.
            self._heart.ask(member.name)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Lost):
            self._lose(event.name)
        elif isinstance(event, Suspected):
            self._router.doubt(event.name)
        else:
            self._router.update(event.member)
            if isinstance(event, Back):
                self._router.trust(event.member.name)
        self._foreign.changed()

    def _hello(self) -> Hello:
        return Hello(_unique(), self.cluster_id, self.member)

    def _link(self, name: NodeName) -> Link:
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(name, lambda: self._open_peer(name), self._link_lost)
        return link

    async def _open_peer(self, name: NodeName) -> Peer:
        member = self._membership.get(name)
        if member is None:
            raise ConnectionLostError(f"node {name!r} has left the cluster")
        peer = Peer(await self._dial(member), self._on_message, on_close=self._on_close)
        self._peers.add(peer)
        await say_hello(peer, self._hello())
        return peer

    async def _ask(self, name: NodeName, message: Message) -> Message:
        return await self._link(name).request(message)

    def _link_lost(self, link: Link) -> None:
        if self._links.get(link.name) is link:
            del self._links[link.name]
            # First, so that what is lost with the connection is not given to the same node again.
            self._heart.broken(link.name)
            self._lose_calls(link.name)

    def _lose(self, name: NodeName) -> None:
        if self._stopped:
            return
        self._router.remove(name)
        link = self._links.pop(name, None)
        if link is not None:
            link.abort()
        self._lose_calls(name)

    def _lose_calls(self, name: NodeName) -> None:
        """What was under way between that node and this one will get no answer."""
        if self._stopped:
            return
        for run in list(self._runs.values()):
            run.lost(name)
        for run_id, (origin, _) in list(self._origins.items()):
            if origin == name:
                # It may give the same steps to another node.
                self._executor.cancel(run_id)
                self._values.pop(run_id, None)
                self._taken.pop(run_id, None)
                del self._origins[run_id]

    def _name_of(self, peer: Peer) -> NodeName:
        for name, link in self._links.items():
            if link.peer is peer:
                return name
        return NodeName(peer.name)


_HANDLERS: dict[type, Callable[[Node, Peer, Any], None]] = {
    Submit: Node._on_submit,
    Cancel: Node._on_cancel,
    Fetch: Node._on_fetch,
    Forget: Node._on_forget,
    Describe: Node._on_describe,
    Meet: Node._on_meet,
    Register: Node._on_register,
    Unregister: Node._on_unregister,
    Hello: Node._on_hello,
    Announce: Node._on_announce,
    Goodbye: Node._on_goodbye,
    Beat: Node._on_beat,
    **dict.fromkeys(HEARTBEATS, Node._on_heartbeat),
    Calls: Node._on_calls,
    CallsDone: Node._on_calls_done,
    CancelCalls: Node._on_cancel_calls,
}


_FOR_GUESTS = frozenset((Submit, Cancel, Fetch, Forget, Describe))
"""What is also taken from who has not shown the token, where such are let in at all."""


def _report_to(peer: Peer, run: RunId, outcomes: Sequence[Outcome]) -> None:
    """Send outcomes; those that cannot travel as the other end wants them become failures."""
    try:
        peer.post(CallsDone(run, tuple(outcomes)))
    except MpregError as error:
        if len(outcomes) > 1:
            for outcome in outcomes:
                _report_to(peer, run, (outcome,))
            return
        (bad,) = outcomes
        told = Payload.of_error(error)
        peer.post(CallsDone(run, (CallFailed(bad.key, bad.attempt, 0.0, None, 0.0, told, failure(error)),)))


def _unique() -> str:
    return secrets.token_hex(8)
