"""What is said of a cluster, of its nodes and of its links: a status in, short texts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from mpreg_lab.client.status import Belief, ClusterStatus, LinkFault, NodeState, NodeStatus
from mpreg_lab.types import NodeName
from mpreg_lab.workflow.record import StepStatus

from .format import counted, line
from .palette import MARK_PATH, PALETTE, Colours

__all__ = [
    "NODE_MARK",
    "NODE_MARK_PATH",
    "NODE_PALETTE",
    "LinkState",
    "Look",
    "Reading",
    "doubt_words",
    "fault_words",
    "load_words",
]


class Look(StrEnum):
    """How a node is shown: its state, and whether all its links are slow."""

    UP = "up"
    SLOW = "slow"
    SUSPECTED = "suspected"
    LOST = "lost"
    PAUSED = "paused"
    STOPPED = "stopped"
    DEAD = "dead"
    SILENT = "silent"


class LinkState(StrEnum):
    """How a link is shown."""

    CONNECTED = "connected"
    CLOSED = "closed"
    """No connection is open."""
    FAULTY = "faulty"
    CUT = "cut"
    GONE = "gone"
    """One of its ends is gone."""


NODE_PALETTE: dict[Look, Colours] = {
    Look.UP: PALETTE[StepStatus.DONE],
    Look.SLOW: PALETTE[StepStatus.RETRYING],
    Look.SUSPECTED: PALETTE[StepStatus.RETRYING],
    Look.LOST: PALETTE[StepStatus.CANCELLED],
    Look.PAUSED: PALETTE[StepStatus.QUEUED],
    Look.STOPPED: PALETTE[StepStatus.SKIPPED],
    Look.DEAD: PALETTE[StepStatus.FAILED],
    Look.SILENT: PALETTE[StepStatus.WAITING],
}
"""No state is told by its colour alone: each has a mark, and words."""

NODE_MARK: dict[Look, str] = {
    Look.UP: "✓",
    Look.SLOW: "◔",
    Look.SUSPECTED: "?",
    Look.LOST: "≠",
    Look.PAUSED: "‖",
    Look.STOPPED: "■",
    Look.DEAD: "✕",
    Look.SILENT: "…",
}

NODE_MARK_PATH: dict[Look, str] = {
    Look.UP: MARK_PATH[StepStatus.DONE],
    Look.SLOW: MARK_PATH[StepStatus.QUEUED],
    Look.SUSPECTED: "M5.4 6A2.6 2.6 0 1 1 9 8.3Q8 8.8 8 10M8 12.9V13",
    Look.LOST: "M2.5 8H6M10 8H13.5M6.6 12L9.4 4",
    Look.PAUSED: "M5.8 4V12M10.2 4V12",
    Look.STOPPED: "M4.5 4.5H11.5V11.5H4.5Z",
    Look.DEAD: MARK_PATH[StepStatus.FAILED],
    Look.SILENT: "M3.5 8H3.6M8 8H8.1M12.4 8H12.5",
}
"""As in palette.MARK_PATH."""

_GONE = frozenset((NodeState.DEAD, NodeState.STOPPED))


class Reading:
    """A status, read: what is said of each node and link of it.

    Attributes:
        nodes: By name.
        looks: How each is shown.
    """

    def __init__(self, status: ClusterStatus) -> None:
        self.status = status
        self.nodes = {node.name: node for node in status.nodes}
        self._faults = {frozenset((fault.a, fault.b)): fault for fault in status.faults}
        self._states = status.states
        self._doubters: dict[NodeName, list[NodeName]] = {}
        for node in status.nodes:
            for other, belief in node.beliefs.items() if node.speaks else ():
                if belief in _DOUBTS:
                    self._doubters.setdefault(other, []).append(node.name)
        self.looks = {name: self._look(name) for name in self.nodes}

    @property
    def headline(self) -> str:
        """`3 nodes: 2 up, 1 dead; 1 link cut`."""
        if not self.status.running:
            return "stopped"
        counts = Counter(self.looks.values())
        states = ", ".join(f"{counts[state]} {state}" for state in Look if counts[state])
        head = f"{counted(len(self.nodes), 'node')}: {states}" if states else "no nodes"
        cuts = sum(fault.cut for fault in self.status.faults)
        return f"{head}; {counted(cuts, 'link')} cut" if cuts else head

    @property
    def work(self) -> str:
        """What all nodes do together: `5 steps running, 2 waiting`; empty if nothing."""
        running = sum(node.running for node in self.nodes.values())
        waiting = sum(node.waiting for node in self.nodes.values())
        parts = [f"{counted(running, 'step')} running"] if running else []
        return ", ".join(parts + ([f"{waiting:,} waiting"] if waiting else []))

    # --- nodes ---

    def line(self, name: NodeName) -> str:
        """The most important thing about a node, in few words."""
        node, look = self.nodes[name], self.looks[name]
        match look:
            case Look.SUSPECTED:
                return f"doubted by {self._few(self._doubters.get(name, []))}"
            case Look.LOST:
                return f"given up by {self._few(self.status.thinking(name, Belief.LOST))}"
            case Look.SLOW:
                return f"{load_words(node)}, {_late(self.slowed_s(name))}"
            case Look.SILENT:
                return "no answer"
            case Look.UP:
                return load_words(node)
            case _:
                return str(look)

    def words(self, name: NodeName) -> str:
        """A node for who hears and does not see: `b: suspected by a`."""
        said, look = self.line(name), self.looks[name]
        return f"{line(name)}: {said if said.startswith(look) else f'{look}, {said}'}"

    def doubters(self, name: NodeName) -> str:
        """Who thinks that a node is gone, or may be."""
        return ", ".join(map(line, self._doubters.get(name, [])))

    def is_gone(self, name: NodeName) -> bool:
        """Whether a node is known to have ended."""
        return self._states[name] in _GONE

    def slowed_s(self, name: NodeName) -> float:
        """How much later everything reaches a node, whoever sends it; 0 if one link of it is as quick as ever."""
        if not self._faults:
            return 0.0
        faults = (self.fault(name, other) for other in self.nodes if other != name)
        return min((0.0 if fault is None else fault.delay_s for fault in faults), default=0.0)

    @property
    def doubts(self) -> list[tuple[NodeName, NodeName, Belief]]:
        """Who doubts whom, of nodes that are not known to be gone."""
        return [doubt for node in self.nodes.values() for doubt in self._doubts_of(node)]

    def doubts_of(self, name: NodeName) -> str:
        """Whom a node doubts: `suspects b; has given up c, d`."""
        groups: dict[Belief, list[str]] = {}
        for _, other, belief in self._doubts_of(self.nodes[name]):
            groups.setdefault(belief, []).append(line(other))
        return "; ".join(f"{_DOUBTS[belief]} {', '.join(groups[belief])}" for belief in _DOUBTS if belief in groups)

    # --- links ---

    def fault(self, a: str, b: str) -> LinkFault | None:
        """What was done to the link between two nodes."""
        return self._faults.get(frozenset((a, b)))

    def link_state(self, a: NodeName, b: NodeName) -> LinkState:
        """How the link between two nodes is shown."""
        fault = self.fault(a, b)
        if fault is not None:
            return LinkState.CUT if fault.cut else LinkState.FAULTY
        if self.is_gone(a) or self.is_gone(b):
            return LinkState.GONE
        connected = b in self.nodes[a].connected or a in self.nodes[b].connected
        return LinkState.CONNECTED if connected else LinkState.CLOSED

    def link_words(self, a: NodeName, b: NodeName) -> str:
        """The state of a link in words."""
        fault = self.fault(a, b)
        return _LINK_WORDS[self.link_state(a, b)] if fault is None else fault_words(fault)

    @staticmethod
    def _few(names: Sequence[NodeName]) -> str:
        """Names if they fit in a box, or else how many."""
        listed = ", ".join(map(line, names))
        return listed if len(listed) <= _FEW else counted(len(names), "node")

    def _doubts_of(self, node: NodeStatus) -> list[tuple[NodeName, NodeName, Belief]]:
        return [
            (node.name, other, belief)
            for other, belief in (node.beliefs.items() if node.speaks else ())
            if belief in _DOUBTS and self._states.get(other, NodeState.DEAD) not in _GONE
        ]

    def _look(self, name: NodeName) -> Look:
        state = self._states[name]
        return Look.SLOW if state is NodeState.UP and self.slowed_s(name) else Look(state)


_FEW = 8
"""Characters."""
_DOUBTS = {Belief.SUSPECTED: "suspects", Belief.LOST: "has given up"}
_LINK_WORDS = {
    LinkState.CONNECTED: "connected",
    LinkState.CLOSED: "no connection open",
    LinkState.GONE: "one end is gone",
}


def load_words(node: NodeStatus) -> str:
    """`idle`, or `2 running, 3 waiting`."""
    parts = [f"{node.running:,} running"] if node.running else []
    parts += [f"{node.waiting:,} waiting"] if node.waiting else []
    return ", ".join(parts) or "idle"


def doubt_words(node: str, other: str, belief: Belief) -> str:
    """`a suspects b`."""
    return f"{line(node)} {_DOUBTS[belief]} {line(other)}"


def fault_words(fault: LinkFault) -> str:
    """`cut`, or `200 ms late, 10% dropped`."""
    if fault.cut:
        return "cut silently" if fault.silent else "cut"
    late = [_late(fault.delay_s, fault.jitter_s)] if fault.delay_s or fault.jitter_s else []
    shares = (("dropped", fault.drop), ("doubled", fault.duplicate), ("overtaken", fault.reorder))
    return ", ".join(late + [f"{share:.0%} {word}" for word, share in shares if share])


def _late(delay_s: float, jitter_s: float = 0.0) -> str:
    """`200 ms late`, `0 to 1.5 s late`."""
    longest_s = delay_s + jitter_s
    unit, scale = ("s", 1.0) if longest_s >= 1.0 else ("ms", 1000.0)
    least = f"{delay_s * scale:g} to " if jitter_s else ""
    return f"{least}{longest_s * scale:g} {unit} late"
