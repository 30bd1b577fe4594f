"""Carries what a Membership says, on connections for heartbeats alone, and wakes it up when something is due.

Calls travel on other connections: behind a large answer a heartbeat would come too late, and a busy node look dead.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import get_args

from mpreg_lab.errors import ConnectError, ProtocolError
from mpreg_lab.protocol.messages import Beat, Member, Message
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, NodeName

from .links import Dial
from .membership import Event, Heartbeat, Lost, Membership, Send, Suspected

__all__ = ["HEARTBEATS", "Heart"]

HEARTBEATS: tuple[type, ...] = get_args(Heartbeat)

_MOST_WAITING = 64
_MOST_OPEN = 32
"""So many connections that this node has opened are kept; of more, the one not used for longest is closed."""


class Heart:
    """Beats for one node, on the loop that it is made on.

    Args:
        dial: Opens a connection to another member.
        heard: Called with each event, once its heartbeats are on their way.
        moved: Called when connections were opened or have ended.
        spoken: Called with the name of a node that said something to this one itself.
        elsewhere_s: When a node said something last on other connections; long ago, if it never did.
    """

    def __init__(
        self,
        membership: Membership,
        cluster_id: ClusterId,
        dial: Dial,
        heard: Callable[[Event], None],
        moved: Callable[[], object] = lambda: None,
        spoken: Callable[[NodeName], object] = lambda _: None,
        elsewhere_s: Callable[[NodeName], float] = lambda _: -math.inf,
    ) -> None:
        self._membership = membership
        self._cluster_id = cluster_id
        self._dial = dial
        self._heard = heard
        self._moved = moved
        self._spoken = spoken
        self._elsewhere_s = elsewhere_s
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._started = False
        self._stopped = False
        self._nodes: dict[Peer, NodeName] = {}
        self._opened: dict[Peer, NodeName] = {}
        self._ways: dict[NodeName, Peer] = {}
        self._dialling: dict[NodeName, asyncio.Task[None]] = {}
        self._waiting: dict[NodeName, deque[Message]] = {}

    def wake(self) -> None:
        """The membership has changed: report it, and beat from the time on when there is somebody to beat for."""
        if not self._started and self._membership.size > 1:
            self._started = True
            self._membership.start(self._loop.time())
        self._carry_out([])

    def ask(self, name: NodeName) -> None:
        """See at once whether a node is there, be it a member or lost."""
        self._carry_out(self._membership.ask(name, self._loop.time()))

    def broken(self, name: NodeName) -> None:
        """A connection to that node, of whatever kind, was lost."""
        if not self._stopped:
            self._carry_out(self._membership.broken(name, self._loop.time()))

    def left(self, name: NodeName, generation: int | None = None) -> None:
        """That node has said goodbye, in that life of it."""
        self._membership.left(name, self._loop.time(), generation)
        self._carry_out([])

    async def stop(self) -> None:
        """Say goodbye to all that a connection leads to, and close those connections. May be called twice."""
        goodbyes = self._membership.leave(self._loop.time())
        for peer in self._nodes:
            if goodbyes:
                peer.post(goodbyes[0].message)
        peers = list(self._nodes)
        self._end()
        await asyncio.gather(*(peer.close() for peer in peers))

    def kill(self) -> None:
        """Cut all connections and say nothing."""
        peers = list(self._nodes)
        self._end()
        for peer in peers:
            peer.abort()

    def _end(self) -> None:
        self._stopped = True
        self._set_alarm()
        for dialling in self._dialling.values():
            dialling.cancel()
        self._nodes.clear()

    # --- connections ---

    @property
    def connected(self) -> frozenset[NodeName]:
        """The nodes that connections for heartbeats lead to or come from."""
        return frozenset(self._nodes.values())

    def take(self, peer: Peer, beat: Beat) -> None:
        """Another node has opened a connection for heartbeats.

        Raises:
            ProtocolError: If it is of another cluster.
        """
        if beat.cluster_id != self._cluster_id:
            raise ProtocolError(
                f"heartbeats of cluster {beat.cluster_id!r} are for others, this is {self._cluster_id!r}"
            )
        if not self._stopped:
            self._nodes[peer] = beat.node
            self._ways.setdefault(beat.node, peer)
            self._moved()

    def take_message(self, peer: Peer, message: Message) -> None:
        """Something has come on a connection for heartbeats.

        Raises:
            ProtocolError: If it is no heartbeat, or the connection is none for them.
        """
        if self._stopped:
            return
        if not isinstance(message, HEARTBEATS) or peer not in self._nodes:
            raise ProtocolError(f"{type(message).__name__} does not belong on this connection")
        self._spoken(self._nodes[peer])
        self._carry_out(self._membership.handle(message, self._loop.time()))  # type: ignore[arg-type]  # it is in HEARTBEATS

    def drop(self, peer: Peer) -> None:
        """A connection has ended. If it was not closed but lost, something may be wrong with the node behind it."""
        name = self._nodes.pop(peer, None)
        self._opened.pop(peer, None)
        if name is None:
            return
        self._moved()
        if self._ways.get(name) is peer:
            del self._ways[name]
        if peer.lost:
            self.broken(name)

    def _cut(self, name: NodeName) -> None:
        """Not closed politely: that would wait for the very node that does not answer."""
        self._ways.pop(name, None)
        self._moved()
        for peer in [peer for peer, node in self._nodes.items() if node == name]:
            del self._nodes[peer]
            peer.abort()

    async def _open(self, name: NodeName) -> None:
        member = self._membership.address(name)
        waiting = self._waiting[name]
        try:
            if member is None:
                return
            peer = Peer(await self._dial(member), self.take_message, on_close=self.drop)
        except ConnectError as error:
            if _nobody_there(error) and member is not None:
                # Later, when nothing of this try is left: the next heartbeat must try again.
                self._loop.call_soon(self._refused, member)
            return
        finally:
            del self._dialling[name], self._waiting[name]
        if self._stopped:
            peer.abort()
            return
        self._nodes[peer] = self._opened[peer] = name
        self._ways[name] = peer
        self._moved()
        peer.post(Beat(self._cluster_id, self._membership.itself.name))
        for message in waiting:
            peer.post(message)
        self._close_unused()

    def _refused(self, member: Member) -> None:
        now = self._membership.address(member.name)
        # The node may have been started again, behind another door or the same.
        if not self._stopped and now is not None and (now.url, now.generation) == (member.url, member.generation):
            self._carry_out(self._membership.refused(member.name, self._loop.time()))

    def _close_unused(self) -> None:
        if len(self._opened) <= _MOST_OPEN:
            return
        for name, peer in self._ways.items():
            if peer in self._opened:
                del self._ways[name], self._opened[peer], self._nodes[peer]
                self._moved()
                self._loop.create_task(peer.close())
                return

    # --- heartbeats ---

    def _carry_out(self, sends: list[Send]) -> None:
        if self._stopped:
            return
        events = self._membership.take_events()
        for event in events:
            if isinstance(event, (Suspected, Lost)):
                self._cut(event.name)
        for name, message in sends:
            self._send(name, message)
        self._set_alarm()
        for event in events:
            self._heard(event)

    def _send(self, name: NodeName, message: Message) -> None:
        way = self._ways.pop(name, None)
        if way is not None and not way.closed:
            self._ways[name] = way  # Last, as the one that was used last.
            way.post(message)
            return
        if name not in self._dialling:
            self._waiting[name] = deque(maxlen=_MOST_WAITING)
            self._dialling[name] = self._loop.create_task(self._open(name), name=f"mpreg heart dials {name}")
        self._waiting[name].append(message)

    def _set_alarm(self) -> None:
        due_s = None if self._stopped else self._membership.due_s
        if self._alarm is not None:
            if self._alarm.when() == due_s:
                return
            self._alarm.cancel()
        self._alarm = None if due_s is None else self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._alarm = None
        now_s, sends = self._loop.time(), []
        # Asked for when it matters, not told of each frame.
        for name in self._membership.awaited:
            sends += self._membership.spoke(name, self._elsewhere_s(name), now_s)
        self._carry_out(sends + self._membership.tick(now_s))


def _nobody_there(error: ConnectError) -> bool:
    """Whether a shut door was found at once; not if there was no answer, or this process itself had no socket left."""
    return error.__cause__ is None or isinstance(error.__cause__, ConnectionRefusedError)
