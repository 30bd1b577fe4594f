"""The other nodes of our kind as one node knows them: who they are, the links to them, and what they say of themselves.

Who is a member is decided by membership, which steps a node is given by the router; here both hear what happens.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from mpreg_lab.errors import ClusterError, ConnectionLostError
from mpreg_lab.protocol.messages import Announce, Beat, Belief, Done, Goodbye, Hello, Member, Message, Refused, Welcome
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, NodeName
from mpreg_lab.workflow.record import FaultKind, FaultNote

from .gossip import HEARTBEATS, Heart
from .links import Dial, Link, say_hello
from .membership import Back, Event, Lost, Membership, Suspected
from .reach import LOOK_S, Reach
from .router import Router

__all__ = ["Neighbourly", "Neighbours"]


class Neighbourly(Protocol):
    """What the node does for them."""

    def meet_at(self, connection: Connection) -> Peer:
        """Speak over a connection that was opened to another node."""

    def lose_calls(self, name: NodeName) -> None:
        """What was under way between that node and this one will get no answer."""

    def lose_results(self, name: NodeName) -> None:
        """That node is gone: it will not ask for what was made for it."""

    def noticed(self, fault: FaultNote) -> None:
        """A node is not as it was."""

    def neighbours_changed(self) -> None:
        """A node came, went, or offers something else; perhaps this one."""

    def connections_changed(self) -> None:
        """A connection was opened or has ended."""


class Neighbours:
    """Begins with the node itself. On the node's loop.

    Args:
        dial: Opens a connection to another member.
    """

    def __init__(self, host: Neighbourly, itself: Member, cluster_id: ClusterId, dial: Dial, router: Router) -> None:
        self._host = host
        self._cluster_id = cluster_id
        self._dial = dial
        self._router = router
        self._membership = Membership(itself, rng=random.Random())
        self._heart = Heart(
            self._membership,
            cluster_id,
            dial,
            self._on_event,
            host.connections_changed,
            self._on_spoken,
            self._heard_s,
        )
        self._reach = Reach()
        self._look_due: asyncio.TimerHandle | None = None
        self._links: dict[NodeName, Link] = {}
        self._names: dict[Peer, NodeName] = {}
        """Of all connections but those for heartbeats: two nodes that dial each other at once have two."""
        self._out_of_touch: set[NodeName] = set()
        self._stopped = False
        router.update(itself)

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What is done with which message."""
        return {
            Hello: self._on_hello,
            Announce: self._on_announce,
            Goodbye: self._on_goodbye,
            Beat: self._heart.take,
            **dict.fromkeys(HEARTBEATS, self._heart.take_message),
        }

    @property
    def itself(self) -> Member:
        """How the node describes itself."""
        return self._membership.itself

    @property
    def members(self) -> tuple[Member, ...]:
        """All nodes of our kind, this one included."""
        return self._membership.members

    @property
    def beliefs(self) -> tuple[Belief, ...]:
        """What this node thinks of all others that it has heard of."""
        return self._membership.beliefs

    @property
    def connected(self) -> tuple[NodeName, ...]:
        """The nodes that a connection of any kind leads to, or comes from."""
        links = (name for name, link in self._links.items() if link.peer is not None)
        return tuple(sorted(self._heart.connected.union(links)))

    def knows(self, name: NodeName) -> bool:
        """Whether that node is a member."""
        return self._membership.get(name) is not None

    def change(self, **changes: Any) -> None:
        """Describe this node in another way; others hear of it by `announce`, or by and by."""
        changed = msgspec.structs.replace(self.itself, version=self.itself.version + 1, **changes)
        self._membership.update(changed)
        self._router.update(changed)
        self._host.neighbours_changed()

    def learn(self, members: Sequence[Member]) -> None:
        """Take these for members, in this order."""
        for member in members:
            self._membership.update(member)
        self._heart.wake()
        self._membership.order(tuple(member.name for member in members))
        for member in self._membership.members:
            self._router.remove(member.name)
            self._router.update(member)

    async def greet(self, peer: Peer) -> None:
        """Say Hello to a node, learn whom it knows, and be known to all of them.

        Raises:
            ClusterError: If it is in another cluster.
        """
        welcome = await say_hello(peer, self._hello())
        for member in welcome.members:
            self._take_in(member)
        self._accept(welcome.node, peer)
        await self.announce()

    async def announce(self) -> None:
        """Tell all others how this node is now, and wait until each has heard it or is lost."""
        asked = (self.ask(other.name, Announce(_unique(), self.itself)) for other in self._membership.others)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ConnectionError):
                raise reply

    def post(self, name: NodeName, message: Message) -> None:
        """Send a message to a node; it is lost if the node is."""
        self._link(name).post(message)
        self._look_soon()

    async def ask(self, name: NodeName, message: Message) -> Message:
        """Send a request to a node and wait for its reply; raises what Link.request does."""
        self._look_soon()
        return await self._link(name).request(message)

    def name_of(self, peer: Peer) -> NodeName:
        """The node at the other end of a connection."""
        return self._names.get(peer) or NodeName(peer.name)

    def closed(self, peer: Peer) -> None:
        """A connection has ended."""
        self._heart.drop(peer)
        self._names.pop(peer, None)
        for link in list(self._links.values()):
            if link.peer is peer:
                link.gone()
        self._host.connections_changed()

    def say_goodbye(self) -> None:
        """Tell all others that this node leaves; nobody is lost from here on."""
        self._end()
        for link in self._links.values():
            if link.peer is not None:
                link.post(Goodbye(self.itself.name, self.itself.generation))

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(
            self._heart.stop(), *(link.close() for link in self._links.values()), return_exceptions=True
        )

    def kill(self) -> None:
        """Cut all connections and say nothing."""
        self._end()
        self._heart.kill()
        for link in self._links.values():
            link.abort()

    def _end(self) -> None:
        self._stopped = True
        if self._look_due is not None:
            self._look_due.cancel()

    # --- messages ---

    def _on_hello(self, peer: Peer, hello: Hello) -> None:
        if hello.cluster_id != self._cluster_id:
            error = ClusterError(f"this is cluster {self._cluster_id!r}, not {hello.cluster_id!r}")
            peer.post(Refused(hello.u, Payload.of_error(error)))
            return
        if hello.member.name == self.itself.name:
            raise ClusterError(f"this is node {self.itself.name!r} itself. Give the other one another name")
        self._take_in(hello.member)
        self._accept(hello.member.name, peer)
        peer.post(Welcome(hello.u, self.members, self.itself.name))

    def _on_announce(self, peer: Peer, message: Announce) -> None:
        self._take_in(message.member)
        peer.post(Done(message.u))

    def _on_goodbye(self, _: Peer, message: Goodbye) -> None:
        self._heart.left(message.node, message.generation)

    # --- who comes and goes ---

    def _take_in(self, member: Member) -> None:
        self._membership.update(member)
        self._heart.wake()
        if not self.knows(member.name):
            # It is thought lost, but is perhaps the very one that speaks to us: it shall hear that, and contradict.
            self._heart.ask(member.name)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Lost):
            self._lose(event.name)
        elif isinstance(event, Suspected):
            self._router.doubt(event.name)
            if event.name not in self._out_of_touch:
                self._notice(FaultKind.SUSPECTED, f"{self.itself.name} suspects {event.name}", event.name)
        else:
            self._router.update(event.member)
            # Perhaps because others can reach it.
            self._in_touch(event.member.name, f"{self.itself.name} finds {event.member.name} alive")
            if isinstance(event, Back):
                self._router.trust(event.member.name)
        self._host.neighbours_changed()

    def _lose(self, name: NodeName) -> None:
        if self._stopped:
            return
        self._router.remove(name)
        self._reach.forget(name)
        link = self._links.pop(name, None)
        if link is not None:
            link.abort()
        self._lose_calls(name)
        self._host.lose_results(name)

    def _lose_calls(self, name: NodeName) -> None:
        # Before the runs hear of it: it may be their end.
        self._lose_touch(name)
        self._host.lose_calls(name)

    def _lose_touch(self, name: NodeName) -> None:
        if name not in self._out_of_touch:
            self._out_of_touch.add(name)
            self._notice(FaultKind.LOST, f"{self.itself.name} lost {name}", name)

    def _in_touch(self, name: NodeName, text: str) -> None:
        if name in self._out_of_touch:
            self._out_of_touch.remove(name)
            self._notice(FaultKind.BACK, text, name)

    def _notice(self, kind: FaultKind, text: str, name: NodeName) -> None:
        self._host.noticed(FaultNote(asyncio.get_running_loop().time(), kind, text, (name,)))

    # --- who can be reached from here ---

    def _on_spoken(self, name: NodeName) -> None:
        if self._reach.heard(name):
            self._router.trust(name)
            self._in_touch(name, f"{self.itself.name} reaches {name} again")

    def _heard_s(self, name: NodeName) -> float:
        """When that node said something last, heartbeats aside."""
        return max((peer.heard_s for peer, other in self._names.items() if other == name), default=-math.inf)

    def _look_soon(self) -> None:
        if self._look_due is None and not self._stopped:
            self._look_due = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        due, self._look_due = self._look_due, None
        if due is None or self._stopped:
            return
        owing = (self._router.busy | {name for name, link in self._links.items() if link.owed}) & self._links.keys()
        for name in owing:
            if self._heard_s(name) > due.when() - LOOK_S:
                self._on_spoken(name)
        found = self._reach.look(owing, asyncio.get_running_loop().time() - due.when())
        for name in found.silent:
            self._heart.ask(name)
        for name in found.unreached:
            self._give_up(name)
        if owing:
            self._look_soon()

    def _give_up(self, name: NodeName) -> None:
        """Others may reach it, and it stays a member; what it was given from here is lost."""
        # First, so that what is lost is not given to the same node again.
        self._router.doubt(name)
        self._links.pop(name).abort()
        self._lose_calls(name)

    # --- links ---

    def _hello(self) -> Hello:
        return Hello(_unique(), self._cluster_id, self.itself)

    def _accept(self, name: NodeName, peer: Peer) -> None:
        """Take a connection for the way to that node, unless there is one already, or it has ended meanwhile."""
        if peer.closed:
            return
        self._names[peer] = name
        if name not in self._links:
            self._links[name] = Link.accepted(name, peer, self._link_lost)
            self._host.connections_changed()

    def _link(self, name: NodeName) -> Link:
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(name, lambda: self._open_peer(name), self._link_lost)
        return link

    async def _open_peer(self, name: NodeName) -> Peer:
        member = self._membership.get(name)
        if member is None:
            raise ConnectionLostError(f"node {name!r} has left the cluster")
        peer = self._host.meet_at(await self._dial(member))
        self._names[peer] = name
        await say_hello(peer, self._hello())
        self._in_touch(name, f"{self.itself.name} reaches {name} again")
        self._host.connections_changed()
        return peer

    def _link_lost(self, link: Link) -> None:
        if self._links.get(link.name) is link:
            del self._links[link.name]
            if not self._stopped:
                self._lose_touch(link.name)
            # First, so that what is lost with the connection is not given to the same node again.
            self._heart.broken(link.name)
            if not self._stopped:
                self._lose_calls(link.name)


def _unique() -> str:
    return secrets.token_hex(8)
