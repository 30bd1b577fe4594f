"""Watching a cluster: each node says how it is when that changes; who looks on gets the whole, not too often."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from mpreg_lab.errors import MpregError
from mpreg_lab.protocol.messages import Describe, Described, Member, Message, NodeState, Watch, Watched
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import NodeName

from .status import Belief, ClusterStatus, FunctionStatus, Life, NodeStatus

__all__ = ["Look", "RemoteWatch", "StatusWatch", "node_status", "when_heard"]

EVERY_S = 0.1
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
"""Between two tries to reach a node that should be there; each pause is twice as long as the one before."""

Look = Callable[[Member], Awaitable[Connection]]
"""Opens a connection to a node; raises ConnectError."""

_BELIEF = {
    NodeState.ALIVE: Belief.ALIVE,
    NodeState.SUSPECTED: Belief.SUSPECTED,
    NodeState.LOST: Belief.LOST,
    NodeState.LEFT: Belief.LEFT,
}


class StatusWatch(ABC):
    """Watches the nodes of one cluster as long as somebody listens. Used on one loop; it holds no cluster.

    Every node is asked once, and then speaks by itself: while nothing changes, nothing is done.

    Args:
        look: How nodes are reached.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._listeners: dict[Callable[[ClusterStatus], object], ClusterStatus | None] = {}
        self._voices: dict[tuple[NodeName, int], _Voice] = {}
        self._elsewhere: dict[NodeName, Member] = {}
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._closed = False

    def add(self, listener: Callable[[ClusterStatus], object]) -> None:
        """Call it with the status soon, whenever that has changed, and at the end."""
        self._listeners[listener] = None
        if self._closed:
            listener(self.status())
        else:
            self.changed()

    def remove(self, listener: Callable[[ClusterStatus], object]) -> None:
        """Call it no more; after the last one nobody is watched."""
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._hush()

    def changed(self) -> None:
        """Something may be different now."""
        if self._listeners and self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_s, loop.time()), self._tell)

    def close(self) -> None:
        """The cluster is being stopped: say so, and end."""
        if not self._closed:
            self._closed = True
            self._hush()
            self._call_listeners()

    @abstractmethod
    def status(self) -> ClusterStatus:
        """How the cluster is."""

    @abstractmethod
    def members(self) -> Iterable[Member]:
        """The nodes that should answer, as far as they are known without asking."""

    # --- for those who know what a cluster is ---

    @property
    def closed(self) -> bool:
        """Whether the cluster was stopped."""
        return self._closed

    def heard(self, member: Member) -> NodeStatus | None:
        """What a node has said in this life; None if nothing."""
        voice = self._voices.get(_life(member))
        return None if voice is None or voice.said is None else node_status(voice.said, heard=voice.speaks)

    def strangers(self, known: Iterable[str]) -> list[NodeStatus]:
        """Nodes that others have told of."""
        found = []
        for member in self._elsewhere.values():
            if member.name not in known:
                status = self.heard(member) or node_status(Watched("", member), heard=False)
                found.append(msgspec.structs.replace(status, life=Life.ELSEWHERE))
        return found

    # --- helpers ---

    def _tell(self) -> None:
        self._timer = None
        self._next_s = asyncio.get_running_loop().time() + EVERY_S
        self._follow()
        self._call_listeners()

    def _call_listeners(self) -> None:
        status = self.status()
        for listener, before in tuple(self._listeners.items()):
            if status != before:
                self._listeners[listener] = status
                listener(status)

    def _follow(self) -> None:
        """Watch who should be there, and leave who should not."""
        remembered = {name for voice in self._voices.values() if voice.said for name, _ in voice.said.beliefs or ()}
        for name in self._elsewhere.keys() - remembered:
            if not any(voice.speaks for (of, _), voice in self._voices.items() if of == name):
                del self._elsewhere[name]
        wanted = {_life(member): member for member in (*self._elsewhere.values(), *self.members())}
        for life in self._voices.keys() - wanted.keys():
            self._voices.pop(life).stop()
        for life, member in wanted.items():
            if life not in self._voices:
                self._voices[life] = _Voice(member, self._look, self._said)

    def _said(self, voice: _Voice) -> None:
        self.changed()
        if voice.speaks and voice.said is not None and self._asking is None and self._unknown(voice.said):
            self._asking = asyncio.get_running_loop().create_task(self._ask_for_strangers(voice))
            self._asking.add_done_callback(self._asked)

    def _unknown(self, said: Watched) -> set[NodeName]:
        """Live nodes that we could not say anything of."""
        known = {name for (name, _), voice in self._voices.items() if voice.speaks or name not in self._elsewhere}
        return {name for name, state in said.beliefs or () if state <= NodeState.SUSPECTED} - known

    async def _ask_for_strangers(self, voice: _Voice) -> None:
        members = await voice.members()
        # Nodes of another kind do not say how they are: others have no beliefs about them either.
        beliefs = () if voice.said is None else voice.said.beliefs or ()
        strange = {name for name, _ in beliefs} - {member.name for member in self.members()}
        self._elsewhere |= {member.name: member for member in members if member.name in strange}

    def _asked(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is None:
            self.changed()

    def _hush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
        for voice in self._voices.values():
            voice.stop()
        self._voices.clear()


class RemoteWatch(StatusWatch):
    """Watches a cluster that somebody else launched, beginning with the node that a client speaks to.

    Args:
        describe: What that node says of the cluster.
        look: How nodes are reached.
    """

    def __init__(self, describe: Callable[[], Awaitable[Described]], look: Look) -> None:
        super().__init__(look)
        self._name = ""
        self._describe = describe
        self._first: Member | None = None

    async def find(self) -> None:
        """Learn with which node to begin.

        Raises:
            MpregError: If none can be reached.
        """
        described = await self._describe()
        self._name = described.node
        self._first = next((member for member in described.members if member.name == described.node), None)

    def members(self) -> Iterable[Member]:
        """The first one; the others are told of."""
        return () if self._first is None else (self._first,)

    def status(self) -> ClusterStatus:
        """How the cluster is."""
        nodes = []
        for member in self.members():
            status = self.heard(member) or node_status(Watched("", member), heard=False)
            nodes.append(msgspec.structs.replace(status, life=Life.ELSEWHERE))
        nodes += self.strangers({node.name for node in nodes})
        return ClusterStatus(self._name, "Client", not self.closed, tuple(sorted(nodes, key=lambda node: node.name)))


def _complete(status: ClusterStatus) -> bool:
    """Whether all nodes that should say how they are have done so, those that others tell of among them."""
    told = {name for node in status.nodes for name, belief in node.beliefs.items() if belief is Belief.ALIVE}
    heard = all(node.heard for node in status.nodes if node.life in (Life.ALIVE, Life.ELSEWHERE))
    return bool(status.nodes) and heard and told <= {node.name for node in status.nodes}


async def when_heard(watch: StatusWatch, timeout_s: float) -> ClusterStatus:
    """The status as soon as all nodes that should say how they are have done so, and after that time anyway."""
    complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(status: ClusterStatus) -> None:
        if _complete(status) and not complete.done():
            complete.set_result(None)

    watch.add(look)
    try:
        await asyncio.wait((complete,), timeout=timeout_s)
        return watch.status()
    finally:
        watch.remove(look)


class _Voice:
    """One life of one node, and what it says of itself."""

    def __init__(self, member: Member, look: Look, said: Callable[[_Voice], object]) -> None:
        self.said: Watched | None = None
        self.speaks = False
        self._member = member
        self._look = look
        self._tell = said
        self._peer: Peer | None = None
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._listen(), name=f"mpreg watches {member.name}")

    async def members(self) -> tuple[Member, ...]:
        """The cluster as this node sees it; nothing if it is gone."""
        if self._peer is None:
            return ()
        reply = await self._peer.request(Describe(self._peer.next_u()))
        return reply.members if isinstance(reply, Described) else ()

    def stop(self) -> None:
        """Listen no more."""
        self._tell = _nothing
        self._task.cancel()
        if self._peer is not None:
            self._peer.abort()

    async def _listen(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await self._look(self._member)
            except (MpregError, OSError):
                # Perhaps it has ended, which its launcher may hear of later than of the connection.
                self._tell(self)
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
                continue
            self._ended.clear()
            self._peer = Peer(connection, self._hear, on_close=self._end)
            self._peer.post(Watch(self._peer.next_u()))
            await self._ended.wait()
            self._peer = None
            await asyncio.sleep(pause_s)

    def _hear(self, _: Peer, message: Message) -> None:
        if not isinstance(message, Watched):
            return
        before = self.said
        if before is not None:
            same = {name: getattr(before, name) for name in _KEPT if getattr(message, name) is None}
            message = msgspec.structs.replace(message, **same)
        self.said, self.speaks = message, True
        self._tell(self)

    def _end(self, _: Peer) -> None:
        self.speaks = False
        self._ended.set()
        self._tell(self)


_KEPT = ("member", "beliefs", "connected")


def node_status(said: Watched, *, heard: bool) -> NodeStatus:
    """What a node has said of itself."""
    member = said.member
    assert member is not None
    return NodeStatus(
        name=member.name,
        heard=heard,
        resources=member.resources,
        functions=tuple(FunctionStatus(info.name, info.signature) for info in member.functions),
        slots=member.slots,
        running=said.running,
        waiting=said.waiting,
        ended=said.ended,
        late=said.late,
        beliefs={name: _BELIEF[state] for name, state in said.beliefs or ()},
        connected=frozenset(said.connected or ()),
    )


def _life(member: Member) -> tuple[NodeName, int]:
    return member.name, member.generation


def _nothing(_: object) -> None:
    """Nobody listens any more."""
