"""Faults as a product: what can be done to a running cluster, at once or as a script, and a log of what was done."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import combinations
from typing import Protocol

import msgspec

from mpreg_lab.client.verbs import verb
from mpreg_lab.errors import ClusterError, ClusterSpecError, MpregError, UnknownNodeError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.transport.faulty import Cable, LinkFaults, Network
from mpreg_lab.workflow.plan import did_you_mean

__all__ = [
    "CLIENT",
    "Action",
    "Cut",
    "Delay",
    "Done",
    "Drop",
    "Duplicate",
    "FaultLog",
    "Faults",
    "Heal",
    "Kill",
    "Pause",
    "Playing",
    "Reorder",
    "Restart",
    "Resume",
    "Script",
]

CLIENT = "client"
"""The name, at the end of a link, of the client that is in the cluster object itself."""


class _OnLink(msgspec.Struct, frozen=True):
    """Something done to the link between two nodes, in both directions. `b` may be "client"."""

    a: str
    b: str


class Cut(_OnLink, frozen=True):
    """Let nothing through.

    Attributes:
        silent: Whether frames vanish and nobody is told. Else connections break at once, and none can be opened.
    """

    silent: bool = False


class Delay(_OnLink, frozen=True):
    """Have every frame take longer, each way; the order stays. 0 ends it."""

    delay_s: float
    jitter_s: float = 0.0
    """At most so much more, by chance."""


class Drop(_OnLink, frozen=True):
    """Lose a share of the frames, between 0 and 1, but never the first of a connection. 0 ends it."""

    share: float


class Duplicate(_OnLink, frozen=True):
    """Deliver a share of the frames twice. 0 ends it."""

    share: float


class Reorder(_OnLink, frozen=True):
    """Hold back a share of the frames for a while, so that later ones overtake them. 0 ends it."""

    share: float
    by_s: float = 0.05


class Heal(msgspec.Struct, frozen=True):
    """End whatever was done to a link; without `b` to all links of `a`, without either to all."""

    a: str = ""
    b: str = ""


class _OnNode(msgspec.Struct, frozen=True):
    node: str


class Kill(_OnNode, frozen=True):
    """End a node as a crash would."""


class Restart(_OnNode, frozen=True):
    """Launch a node again."""


class Pause(_OnNode, frozen=True):
    """Halt a node that has a process of its own."""


class Resume(_OnNode, frozen=True):
    """Have a paused node go on."""


OnLink = Cut | Delay | Drop | Duplicate | Reorder
Action = OnLink | Heal | Kill | Restart | Pause | Resume
Script = Iterable[tuple[float, Action]]
"""What to do when: seconds from the beginning of the script, and an action."""


class Done(msgspec.Struct, frozen=True):
    """A fault that was applied."""

    at_s: float
    """Seconds since the cluster was launched."""
    action: Action
    error: str = ""
    """Why it could not be done; empty if it was."""


class FaultLog:
    """What was done, in order."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.done: list[Done] = []

    def note(self, action: Action, error: str = "") -> None:
        """Something was done, or could not be."""
        self.done.append(Done(time.monotonic() - self._began_s, action, error))


class Nodes(Protocol):
    """What a fault may do to nodes: the verbs of LocalCluster."""

    @property
    def nodes(self) -> Collection[str]:
        """Their names."""

    def kill(self, name: str) -> None:
        """End one."""

    def restart(self, name: str) -> None:
        """Launch one again."""

    def pause(self, name: str) -> None:
        """Halt one."""

    def resume(self, name: str) -> None:
        """Have one go on."""


class Faults:
    """Faults of one cluster: `cluster.faults`.

    Links are named by their two ends; "client" is the client in the cluster object. What is done to a link is done to
    calls and heartbeats, in both directions, until it is healed.

    Args:
        network: That of the nodes. None: they have processes of their own, whose links cannot be reached from here.
    """

    def __init__(self, cluster: Nodes, loop: LoopThread, network: Network | None, log: FaultLog) -> None:
        self._cluster = cluster
        self._loop = loop
        self._network = network
        self._log = log

    @property
    def log(self) -> tuple[Done, ...]:
        """What was done, and when."""
        return tuple(self._log.done)

    @verb
    def seed(self, seed: int) -> None:
        """Have chance begin anew: the same seed decides the same about the n-th frame of each direction of a link."""
        network = self._of_links()
        self._on_loop(partial(network.seed, seed))

    @verb
    def do(self, action: Action) -> None:
        """Apply a fault.

        Raises:
            UnknownNodeError: If there is no node of that name.
            ClusterSpecError: If a share is not between 0 and 1, or a time negative.
            ClusterError: If links of nodes in processes of their own are meant, or a node in this one shall pause.
        """
        if isinstance(action, Kill):
            self._cluster.kill(action.node)
        elif isinstance(action, Restart):
            self._cluster.restart(action.node)
        elif isinstance(action, Pause):
            self._cluster.pause(action.node)
        elif isinstance(action, Resume):
            self._cluster.resume(action.node)
        else:
            self._on_links(action)
        self._log.note(action)

    def cut(self, a: str, b: str, *, silent: bool = False) -> None:
        """Let nothing through between two nodes, see Cut."""
        self.do(Cut(a, b, silent))

    def delay(self, a: str, b: str, delay_s: float, *, jitter_s: float = 0.0) -> None:
        """Have frames between two nodes take longer, see Delay."""
        self.do(Delay(a, b, delay_s, jitter_s))

    def slow(self, node: str, delay_s: float = 0.2) -> None:
        """Have everything that a node sends or is sent take longer; 0 ends it. The client is its neighbour too."""
        ends = {*self._cluster.nodes, CLIENT}
        for other in sorted(ends - {node}) if node in ends else (CLIENT,):
            self.delay(node, other, delay_s)

    def drop(self, a: str, b: str, share: float) -> None:
        """Lose a share of the frames between two nodes, see Drop."""
        self.do(Drop(a, b, share))

    def duplicate(self, a: str, b: str, share: float) -> None:
        """Deliver a share of the frames between two nodes twice, see Duplicate."""
        self.do(Duplicate(a, b, share))

    def reorder(self, a: str, b: str, share: float, *, by_s: float = 0.05) -> None:
        """Have frames between two nodes overtake others, see Reorder."""
        self.do(Reorder(a, b, share, by_s))

    def heal(self, a: str = "", b: str = "") -> None:
        """End what was done to one link, to all links of one node, or to all."""
        self.do(Heal(a, b))

    def partition(self, *sides: Iterable[str]) -> None:
        """Cut all links between nodes of different sides, silently: `partition(["a"], ["b", "c"])`."""
        for one, other in combinations([tuple(side) for side in sides], 2):
            for a in one:
                for b in other:
                    self.cut(a, b, silent=True)

    def kill(self, node: str) -> None:
        """As `cluster.kill`, with a line in the log."""
        self.do(Kill(node))

    def restart(self, node: str) -> None:
        """As `cluster.restart`, with a line in the log."""
        self.do(Restart(node))

    def pause(self, node: str) -> None:
        """As `cluster.pause`, with a line in the log."""
        self.do(Pause(node))

    def resume(self, node: str) -> None:
        """As `cluster.resume`, with a line in the log."""
        self.do(Resume(node))

    def play(self, script: Script) -> Playing:
        """Begin to follow a script, and go on meanwhile: `play([(0.5, Cut("a", "b")), (2.0, Heal())])`."""
        return Playing(self, self._log, sorted(script, key=lambda line: line[0]))

    def __repr__(self) -> str:
        return f"Faults({len(self._log.done)} done)"

    # --- links ---

    def _of_links(self) -> Network:
        if self._network is None:
            raise ClusterError(
                "links between nodes in processes of their own cannot be reached. Use kill, pause, restart, or nodes "
                "in this process: LocalCluster(3, transport='ws')"
            )
        return self._network

    def _on_links(self, action: OnLink | Heal) -> None:
        network = self._of_links()
        ends = sorted({*self._cluster.nodes, CLIENT})
        for end in (action.a, action.b):
            if end not in ends and not (isinstance(action, Heal) and end == ""):
                raise UnknownNodeError(f"there is no node {end!r}. " + did_you_mean(str(end), ends, "Ends of links: "))
        if isinstance(action, Heal):
            self._on_loop(partial(network.heal, action.a, action.b))
            return
        if action.a == action.b:
            raise ClusterSpecError(f"a link has two ends, not {action.a!r} twice")
        _check(action)
        self._on_loop(partial(_change, network, action))

    def _on_loop(self, change: partial[None]) -> None:
        network = self._of_links()

        async def changed() -> None:
            change()
            await network.settled()

        self._loop.call(changed(), doing="cluster.faults")


class Playing:
    """A script that is being followed, in a thread of its own. What fails is in the log, and the script goes on."""

    def __init__(self, faults: Faults, log: FaultLog, script: Sequence[tuple[float, Action]]) -> None:
        self._faults, self._log, self._script = faults, log, script
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mpreg faults", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the script is through, at most so long; whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Do nothing more of it."""
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        began_s = time.monotonic()
        for at_s, action in self._script:
            if self._stop.wait(max(0.0, began_s + at_s - time.monotonic())):
                return
            try:
                self._faults.do(action)
            except MpregError as error:
                self._log.note(action, str(error))


def _check(action: OnLink) -> None:
    for field, least, most in (
        ("share", 0.0, 1.0),
        ("delay_s", 0.0, 3600.0),
        ("jitter_s", 0.0, 3600.0),
        ("by_s", 0.0, 3600.0),
    ):
        value = getattr(action, field, 0.0)
        if not least <= value <= most:
            raise ClusterSpecError(
                f"{field} of {type(action).__name__} is between {least:g} and {most:g}, not {value!r}"
            )


def _change(network: Network, action: OnLink) -> None:
    changes: dict[str, object]
    if isinstance(action, Cut):
        changes = {"cable": Cable.DEAD if action.silent else Cable.BROKEN}
    elif isinstance(action, Delay):
        changes = {"delay_s": action.delay_s, "jitter_s": action.jitter_s}
    elif isinstance(action, Drop):
        changes = {"drop": action.share}
    elif isinstance(action, Duplicate):
        changes = {"duplicate": action.share}
    else:
        changes = {"reorder": action.share, "reorder_s": action.by_s if action.share else LinkFaults().reorder_s}
    for source, target in ((action.a, action.b), (action.b, action.a)):
        network.change(source, target, msgspec.structs.replace(network.faults(source, target), **changes))
