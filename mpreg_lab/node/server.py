"""Node: one member of a cluster, put together from its parts. Each part has the handlers of the messages about it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from mpreg_lab.errors import ConnectError, MpregError, ProtocolError, RemoteError
from mpreg_lab.protocol.messages import (
    Attach,
    Calls,
    Cancel,
    CancelCalls,
    Describe,
    Described,
    Done,
    Fetch,
    Fetched,
    Forget,
    FunctionInfo,
    Meet,
    Member,
    Message,
    Register,
    Submit,
    Unregister,
    Watched,
)
from mpreg_lab.protocol.payload import Payload, message_of
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.record import FaultNote

from .arrivals import load_function
from .background import Background
from .cache import Cache
from .client_runs import ClientRuns
from .foreign import Foreigners
from .functions import Function, FunctionTable
from .given_calls import GivenCalls, Report
from .links import Dial
from .neighbours import Neighbours
from .router import Router
from .watchers import Watchers

__all__ = ["Node"]

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
"""Between two tries to reach the seed of a cluster, or the holder of a result; each pause is twice the one before."""

_FETCH_AGAIN_S = 5.0
"""So long a result is asked for anew: its node may be one that others reach, and this one does not."""

_FOR_GUESTS = frozenset((Submit, Attach, Cancel, Fetch, Forget, Describe))
"""What is also taken from who has not shown the token, where such are let in at all."""


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
        self._router = Router()
        self._background = Background()
        generation = time.time_ns() // 1000
        itself = Member(name, "", tuple(sorted(resources)), self._functions.infos(), slots, 1, generation)
        self._watchers = Watchers(self)
        self._neighbours = Neighbours(self, itself, cluster_id, dial, self._router)
        self._foreign = Foreigners(self)
        self._cache = Cache(self)
        self._calls = GivenCalls(self, self._functions, slots, self._cache)
        self._runs = ClientRuns(self, self._router)
        self._peers: set[Peer] = set()
        self._stopped = False
        self._handlers: dict[type, Callable[[Peer, Any], None]] = {
            **self._neighbours.handlers,
            **self._cache.handlers,
            **self._calls.handlers,
            **self._runs.handlers,
            **self._watchers.handlers,
            Describe: self._on_describe,
            Meet: self._on_meet,
            Register: self._on_register,
            Unregister: self._on_unregister,
        }

    # --- for whoever launched it ---

    @property
    def member(self) -> Member:
        """How the node describes itself."""
        return self._neighbours.itself

    @property
    def members(self) -> tuple[Member, ...]:
        """The cluster as this node sees it; nodes of another kind come last."""
        return self.own_members + self._foreign.members

    @property
    def own_members(self) -> tuple[Member, ...]:
        """The nodes of our kind."""
        return self._neighbours.members

    def accept(self, connection: Connection) -> None:
        """Serve whoever is at the other end, client or node."""
        peer = Peer(connection, self._on_message, on_close=self._on_close, on_foreign=self._foreign.take)
        self._peers.add(peer)

    def learn(self, members: Sequence[Member]) -> None:
        """Take these for members, in this order."""
        self._neighbours.learn(members)

    def set_url(self, url: str) -> None:
        """Where others reach this node."""
        self._neighbours.change(url=url)

    def register(
        self, function: Function, *, name: str | None = None, resources: Iterable[Resource] = ()
    ) -> FunctionInfo:
        """Add or replace a function; others hear of it by `announce`.

        Raises:
            FunctionError: If it cannot be called, or has no name.
        """
        info = self._functions.register(function, name=name, resources=resources)
        self._neighbours.change(functions=self._functions.infos())
        return info

    def hold(self, resources: Iterable[Resource]) -> None:
        """Hold these resources too; others hear of it by `announce`."""
        self._neighbours.change(resources=tuple(sorted({*self.member.resources, *resources})))

    def unregister(self, name: FunctionName) -> None:
        """Take a function away; others hear of it by `announce`."""
        self._functions.remove(name)
        self._neighbours.change(functions=self._functions.infos())

    def befell(self, fault: FaultNote) -> None:
        """Take note of a fault of the cluster, at a time of the loop, for the records of runs."""
        self._runs.befell(fault)

    async def announce(self) -> None:
        """Tell all other members how this node is now, and wait until each has heard it or is lost."""
        await self._neighbours.announce()

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
        await self._neighbours.greet(self.meet_at(connection))

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
        self._runs.stop()
        self._neighbours.say_goodbye()
        await self._foreign.stop()
        self._calls.stop()
        self._background.cancel()
        closing = [self._neighbours.close(), *(peer.close() for peer in self._peers), self._background.ended()]
        await asyncio.gather(*closing, return_exceptions=True)

    def kill(self) -> None:
        """End as a crash would: connections are cut, nobody is told anything. Cannot be undone."""
        self._stopped = True
        self._neighbours.kill()
        self._foreign.kill()
        self._runs.kill()
        self._calls.stop()
        self._background.cancel()
        for peer in self._peers:
            peer.abort()

    def join_threads(self, timeout_s: float) -> None:
        """Wait until the node's threads have ended, at most so long. For another thread than the loop's."""
        self._calls.join(timeout_s)

    # --- what runs and calls need: RunHost, GivingHost ---

    def give(self, node: NodeName, message: Calls | CancelCalls) -> None:
        """Have a node, perhaps this one, do something or leave it."""
        if node in self._foreign:
            self._give_foreign(node, message)
        elif node != self.name:
            self._neighbours.post(node, message)
        elif isinstance(message, Calls):
            self._calls.take(message, self.name, self._hearing(message.run, self.name), pack=self._packs)
        else:
            self._calls.cancel(message)

    def _give_foreign(self, node: NodeName, message: Calls | CancelCalls) -> None:
        if isinstance(message, CancelCalls):
            self._foreign.cancel(message)
            return
        values = self._calls.values(message.run)
        self._foreign.give(node, message, values, self._hearing(message.run, node))

    def _hearing(self, run: RunId, node: NodeName) -> Report:
        return lambda outcomes: self._runs.heard(run, node, outcomes)

    async def fetch(self, node: NodeName, run: RunId, step: StepName) -> Payload:
        """Get a result from the node that holds it."""
        if node == self.name:
            return self.held(run, step)
        try:
            reply = await self._ask_for(node, run, step)
        except MpregError:
            raise
        except Exception as exc:
            raise RemoteError(f"node {node!r}: {message_of(exc)}", type_name=type(exc).__name__) from exc
        if not isinstance(reply, Fetched):
            raise ProtocolError(
                f"node {node!r} answered a request for the result of {step!r} with {type(reply).__name__}"
            )
        return reply.value

    async def _ask_for(self, node: NodeName, run: RunId, step: StepName) -> Message:
        """Ask for what was made already: again, for that does no harm, if the connection was lost but not the node."""
        loop = asyncio.get_running_loop()
        began_s, pause_s = loop.time(), _FIRST_PAUSE_S
        while True:
            try:
                return await self._neighbours.ask(node, Fetch(_unique(), run, step))
            except ConnectionError:
                if not self._neighbours.knows(node) or loop.time() - began_s > _FETCH_AGAIN_S:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def held(self, run: RunId, step: StepName) -> Payload:
        """A result that this node has; raises StepNotFinishedError."""
        return self._calls.held(run, step)

    def check_room(self) -> None:
        """Raises OverloadedError if this node takes no more calls."""
        self._calls.check_room()

    def coordinates(self, run: RunId) -> bool:
        """Whether this is the entry node of that run."""
        return run in self._runs

    def forget_calls(self, run: RunId, nodes: Collection[NodeName]) -> None:
        """Nobody wants the results of a run any more, neither here nor on those nodes."""
        self._calls.forget(run)
        for node in nodes:
            if node != self.name and self._neighbours.knows(node):
                self._neighbours.post(node, Forget(run))

    def ask(self, node: NodeName, message: Message) -> Awaitable[Message]:
        """Send a request to another node."""
        return self._neighbours.ask(node, message)

    def tell(self, node: NodeName, message: Message) -> None:
        """Send another node what needs no reply; it is lost if the node is."""
        if self._neighbours.knows(node):
            self._neighbours.post(node, message)

    def name_of(self, peer: Peer) -> NodeName:
        """The node at the other end of a connection."""
        return self._neighbours.name_of(peer)

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done in the background."""
        self._background.spawn(work)

    def reply(self, peer: Peer, u: str, work: Awaitable[Message]) -> None:
        """Have a request done in the background and answered, whatever becomes of it."""
        self._background.reply(peer, u, work)

    @property
    def _packs(self) -> bool:
        """Whether what is made here may have to leave this process."""
        return any(not peer.connection.carries_objects for peer in self._peers)

    # --- what the other nodes of our kind need: Neighbourly ---

    def meet_at(self, connection: Connection) -> Peer:
        """Speak over a connection that was opened to another node."""
        peer = Peer(connection, self._on_message, on_close=self._on_close)
        self._peers.add(peer)
        return peer

    def lose_calls(self, name: NodeName) -> None:
        """What was under way between that node and this one will get no answer."""
        self._runs.lost(name)
        self._calls.lose(name)

    def lose_results(self, name: NodeName) -> None:
        """That node is gone: it will not ask for what was made for it."""
        self._calls.forget_for(name)

    def noticed(self, fault: FaultNote) -> None:
        """A node is not as it was."""
        self._runs.befell(fault)

    def neighbours_changed(self) -> None:
        """A node of our kind came, went, or offers something else; perhaps this one."""
        self._foreign.changed()
        self._watchers.changed()

    def connections_changed(self) -> None:
        """A connection to a node of our kind was opened or has ended."""
        self._watchers.changed()

    # --- what those who watch need: Watchable ---

    def got_busy(self) -> None:
        """There is something to do after there was nothing."""
        self._watchers.changed()

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        load = self._calls.load
        return load.running + load.waiting > 0

    @property
    def condition(self) -> Watched:
        """How this node is, for those who watch it."""
        neighbours, load = self._neighbours, self._calls.load
        return Watched(
            "",
            self.member,
            neighbours.beliefs,
            neighbours.connected,
            load.running,
            load.waiting,
            load.ended,
            load.late + self._runs.late,
        )

    # --- what nodes of another kind need: Host ---

    def run_for(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> None:
        """Run a workflow on behalf of the other end of a connection, and give `send` what there is to say."""
        self._runs.begin(peer, submit, send)

    def foreign_came(self, member: Member) -> None:
        """A node of another kind can be given steps, or offers something else now."""
        self._router.update(member)
        # Nodes of our kind come first: what travels as JSON loses its types.
        self._router.doubt(member.name)

    def foreign_left(self, name: NodeName) -> None:
        """A node of another kind cannot be given steps any more."""
        self._router.remove(name)
        self._runs.lost(name)

    # --- messages ---

    def _on_message(self, peer: Peer, message: Message) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError(f"a node takes no {type(message).__name__} that it did not ask for")
        if type(message) not in _FOR_GUESTS and not peer.connection.trusted:
            raise ProtocolError(f"{type(message).__name__} is only taken from who has shown the token of the cluster")
        handler(peer, message)

    def _on_close(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._watchers.closed(peer)
        self._foreign.closed(peer)
        self._runs.closed(peer)
        self._neighbours.closed(peer)

    def _on_describe(self, peer: Peer, message: Describe) -> None:
        peer.post(Described(message.u, self.cluster_id, self.name, self.members))

    def _on_meet(self, peer: Peer, message: Meet) -> None:
        async def met() -> Done:
            await self._foreign.meet(message.url)
            return Done(message.u)

        self.reply(peer, message.u, met())

    def _on_register(self, peer: Peer, message: Register) -> None:
        async def registered() -> Done:
            function, name = await load_function(message)
            self.register(function, name=name, resources=message.resources)
            await self.announce()
            return Done(message.u)

        self.reply(peer, message.u, registered())

    def _on_unregister(self, peer: Peer, message: Unregister) -> None:
        async def announced() -> Done:
            await self.announce()
            return Done(message.u)

        self.unregister(message.name)
        self.reply(peer, message.u, announced())


def _unique() -> str:
    return secrets.token_hex(8)
