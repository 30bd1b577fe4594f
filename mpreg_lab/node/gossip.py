"""Carries what a Membership says, on connections for heartbeats alone, and wakes it up when something is due.

Calls travel on other connections: behind a large answer a heartbeat would come too late, and a busy node look dead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mpreg_lab.errors import ConnectError, MpregError
from mpreg_lab.protocol.messages import Ack, Beat, Gossip, Message, Ping, PingRequest, Pull
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import ClusterId, NodeName

from .links import Dial
from .membership import Event, Heartbeat, Lost, Membership, Send, Suspected

__all__ = ["HEARTBEATS", "Heart"]

HEARTBEATS = (Ping, Ack, PingRequest, Gossip, Pull)

_QUEUED = 64
_OPEN = 32
"""So many connections are kept that this node has opened; the one that was idle longest goes first."""


class Heart:
    """Beats for one node, on the loop that it is made on.

    Args:
        dial: Opens a connection to another member.
        heard: Called with each event, soon after it happened.
    """

    def __init__(
        self, membership: Membership, cluster_id: ClusterId, dial: Dial, heard: Callable[[Event], None]
    ) -> None:
        self._membership = membership
        self._name = membership.itself.name
        self._cluster_id = cluster_id
        self._dial = dial
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._started = False
        self._stopped = False
        self._taken: dict[Peer, NodeName] = {}
        self._channels: dict[NodeName, _Channel] = {}

    def wake(self) -> None:
        """The membership has changed: report events, and beat from the time on when there is somebody to beat for."""
        if self._stopped:
            return
        if not self._started and self._membership.size > 1:
            self._started = True
            self._membership.start(self._loop.time())
        self._carry_out([])

    def ask(self, name: NodeName) -> None:
        """See at once whether a node is there."""
        self._carry_out(self._membership.ask(name, self._loop.time()))

    def broken(self, name: NodeName) -> None:
        """A connection to that node, of whatever kind, has ended."""
        self._carry_out(self._membership.broken(name, self._loop.time()))

    def said_goodbye(self, name: NodeName) -> None:
        """That node leaves."""
        self._membership.left(name, self._loop.time())
        self._carry_out([])

    # --- connections that others open ---

    def take(self, peer: Peer, beat: Beat) -> None:
        """Another node has opened a connection for heartbeats."""
        if beat.cluster_id != self._cluster_id or self._stopped:
            peer.abort()
            return
        self._taken[peer] = beat.node
        channel = self._channels.get(beat.node)
        if channel is None or not channel.open:
            self._channels[beat.node] = _Channel(self, beat.node, peer)

    def on_message(self, peer: Peer, message: Heartbeat) -> None:
        """A heartbeat has come. Only on connections that were opened for them."""
        if peer in self._taken:
            self._carry_out(self._membership.handle(message, self._loop.time()))

    def on_close(self, peer: Peer) -> None:
        """A connection has ended: those of heartbeats tell that something may be wrong with the node."""
        name = self._taken.pop(peer, None)
        if name is None:
            return
        channel = self._channels.get(name)
        if channel is not None and channel.peer is peer:
            del self._channels[name]
        if not self._stopped:
            self.broken(name)

    # --- the end ---

    async def stop(self) -> None:
        """Say goodbye, and close the connections that this node has opened."""
        if self._stopped:
            return
        for send in self._membership.leave(self._loop.time()):
            channel = self._channels.get(send.to)
            if channel is not None and channel.peer is not None:
                channel.peer.post(send.message)
        channels = self._end()
        await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)

    def kill(self) -> None:
        """Cut all connections and say nothing."""
        if not self._stopped:
            for channel in self._end():
                channel.abort()

    def _end(self) -> list[_Channel]:
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        channels = list(self._channels.values())
        self._channels.clear()
        return channels

    # --- carrying out ---

    def _on_alarm(self) -> None:
        self._alarm = None
        self._carry_out(self._membership.tick(self._loop.time()))

    def _carry_out(self, sends: list[Send]) -> None:
        if self._stopped:
            return
        events = self._membership.take_events()
        for event in events:
            if isinstance(event, (Suspected, Lost)):
                # Not closed politely: that would wait for the very node that does not answer.
                self._cut(event.name)
        for send in sends:
            self._send(send)
        self._set_alarm()
        for event in events:
            self._heard(event)

    def _set_alarm(self) -> None:
        due_s = self._membership.due_s
        if self._alarm is not None:
            if self._alarm.when() == due_s:
                return
            self._alarm.cancel()
        self._alarm = None if due_s is None else self._loop.call_at(due_s, self._on_alarm)

    def _send(self, send: Send) -> None:
        channel = self._channels.get(send.to)
        if channel is None or not channel.open:
            channel = self._channels[send.to] = _Channel(self, send.to)
            self._close_idle()
        else:
            # The one that was used last stands last.
            self._channels[send.to] = self._channels.pop(send.to)
        channel.post(send.message)

    def _cut(self, name: NodeName) -> None:
        channel = self._channels.pop(name, None)
        if channel is not None:
            channel.abort()
        for peer in [peer for peer, node in self._taken.items() if node == name]:
            del self._taken[peer]
            peer.abort()

    def _close_idle(self) -> None:
        if len(self._channels) > _OPEN:
            for name, channel in list(self._channels.items()):
                if channel.ours and channel.peer is not None:
                    del self._channels[name]
                    self._loop.create_task(channel.close())
                    return


class _Channel:
    """The way to one other node: a connection that it or we have opened; heartbeats wait until it is there."""

    def __init__(self, heart: Heart, name: NodeName, peer: Peer | None = None) -> None:
        self.peer = peer
        self.ours = peer is None
        self._heart = heart
        self._name = name
        self._queue: deque[Message] = deque(maxlen=_QUEUED)
        self._opening = heart._loop.create_task(self._open()) if peer is None else None

    @property
    def open(self) -> bool:
        """Whether something may get through."""
        return self._opening is not None if self.peer is None else not self.peer.closed

    def post(self, message: Message) -> None:
        if self.peer is not None:
            self.peer.post(message)
        else:
            self._queue.append(message)

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self.peer is not None:
            self._heart._taken.pop(self.peer, None)
            await self.peer.close()

    def abort(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self.peer is not None:
            self._heart._taken.pop(self.peer, None)
            self.peer.abort()
