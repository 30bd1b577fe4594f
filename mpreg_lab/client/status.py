"""How a cluster is, as plain values: nodes, what they think of each other, connections, and faults on links."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from mpreg_lab.types import FunctionName, NodeName, Resource

__all__ = ["Belief", "ClusterStatus", "FunctionStatus", "Life", "LinkFault", "NodeState", "NodeStatus"]


class Belief(StrEnum):
    """What one node thinks of another."""

    ALIVE = "alive"
    SUSPECTED = "suspected"
    LOST = "lost"
    LEFT = "left"


class Life(StrEnum):
    """What is known of a node without asking any."""

    ALIVE = "alive"
    PAUSED = "paused"
    STOPPED = "stopped"
    """It was ended politely."""
    DEAD = "dead"
    """It was killed, or died."""
    ELSEWHERE = "elsewhere"
    """Somebody else launched it: only the nodes know."""


class NodeState(StrEnum):
    """How a node is, all things considered."""

    UP = "up"
    SUSPECTED = "suspected"
    """Some node thinks that it may be gone, or is."""
    LOST = "lost"
    """More than half of the others think that it is gone; if it is alive, they cannot reach each other."""
    PAUSED = "paused"
    STOPPED = "stopped"
    DEAD = "dead"
    SILENT = "silent"
    """It has not said how it is."""


class FunctionStatus(msgspec.Struct, frozen=True):
    """A function of a node."""

    name: FunctionName
    signature: str


class NodeStatus(msgspec.Struct, frozen=True):
    """One node.

    Attributes:
        heard: Whether it says how it is. Otherwise what follows is what was heard last, or nothing.
        running: Steps under way.
        waiting: Steps that it was given and has not begun.
        ended: Steps that have ended on it since it was started.
        late: Answers that it dropped, its own or those of others, as nobody waited for them any more.
        beliefs: What it thinks of the others.
        connected: Nodes that it has connections with.
    """

    name: NodeName
    life: Life = Life.ALIVE
    heard: bool = False
    resources: tuple[Resource, ...] = ()
    functions: tuple[FunctionStatus, ...] = ()
    slots: int = 1
    running: int = 0
    waiting: int = 0
    ended: int = 0
    late: int = 0
    beliefs: dict[NodeName, Belief] = {}
    connected: frozenset[NodeName] = frozenset()

    @property
    def speaks(self) -> bool:
        """Whether what it thinks is what it thinks now."""
        return self.heard and self.life in (Life.ALIVE, Life.ELSEWHERE)


class LinkFault(msgspec.Struct, frozen=True):
    """What was done to the link between two nodes; `b` may be "client". Shares are between 0 and 1.

    Attributes:
        cut: Whether nothing gets through.
        silent: Whether, if so, nobody is told.
    """

    a: str
    b: str
    cut: bool = False
    silent: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class ClusterStatus(msgspec.Struct, frozen=True):
    """One cluster.

    Attributes:
        name: That of the cluster, or of the node that a client speaks to.
        kind: The class of what it is held by: "LocalCluster" or "Client".
        running: Whether it has not been stopped, or its connection lost.
        faults: Links that something was done to.
        can_change: Whether nodes can be started and ended from here.
        can_pause: Whether they can be halted.
        can_fault: Whether something can be done to links.
    """

    name: str
    kind: str
    running: bool
    nodes: tuple[NodeStatus, ...] = ()
    faults: tuple[LinkFault, ...] = ()
    can_change: bool = False
    can_pause: bool = False
    can_fault: bool = False

    @property
    def states(self) -> dict[NodeName, NodeState]:
        """How each node is: what its launcher knows comes first, then what the others think."""
        speakers = [node for node in self.nodes if node.speaks]
        doubts: dict[NodeName, list[Belief]] = {node.name: [] for node in self.nodes}
        for speaker in speakers:
            for name, belief in speaker.beliefs.items():
                if belief is not Belief.ALIVE and name in doubts:
                    doubts[name].append(belief)
        return {node.name: _state(node, doubts[node.name], len(speakers) - node.speaks) for node in self.nodes}

    def state(self, name: str) -> NodeState:
        """How a node is.

        Raises:
            KeyError: If there is no node of that name.
        """
        return self.states[NodeName(name)]

    def at_rest(self) -> ClusterStatus:
        """The same with no steps: what is left changes only when something happens to nodes or links."""
        idle = (msgspec.structs.replace(node, running=0, waiting=0, ended=0, late=0) for node in self.nodes)
        return msgspec.structs.replace(self, nodes=tuple(idle))

    def thinking(self, name: str, *beliefs: Belief) -> tuple[NodeName, ...]:
        """The nodes that now think one of these things of a node."""
        return tuple(node.name for node in self.nodes if node.speaks and node.beliefs.get(NodeName(name)) in beliefs)

    def __repr__(self) -> str:
        if not self.running:
            return f"ClusterStatus({self.name!r}, stopped)"
        states = ", ".join(f"{name} {state}" for name, state in self.states.items())
        return f"ClusterStatus({self.name!r}: {states})"


_GONE = frozenset((Belief.LOST, Belief.LEFT))
_PLAINLY = {Life.PAUSED: NodeState.PAUSED, Life.STOPPED: NodeState.STOPPED, Life.DEAD: NodeState.DEAD}


def _state(node: NodeStatus, doubts: list[Belief], others: int) -> NodeState:
    """How a node is, of whom so many others may think that it is gone, and these do."""
    if node.life in _PLAINLY:
        return _PLAINLY[node.life]
    if node.life is Life.ELSEWHERE and not node.heard and _GONE.intersection(doubts):
        return NodeState.STOPPED if Belief.LEFT in doubts else NodeState.DEAD
    if 2 * doubts.count(Belief.LOST) > others:
        return NodeState.LOST
    if Belief.LOST in doubts or Belief.SUSPECTED in doubts:
        return NodeState.SUSPECTED
    return NodeState.UP if node.heard else NodeState.SILENT
