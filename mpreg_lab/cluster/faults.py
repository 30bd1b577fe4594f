"""Faults as a product: what can be done to a running cluster, at once or as a script, and a log of what was done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Any, Protocol

import msgspec

from mpreg_lab.client.verbs import twin, verb
from mpreg_lab.errors import MpregError, UnknownNodeError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.workflow.faults import lasting
from mpreg_lab.workflow.plan import did_you_mean
from mpreg_lab.workflow.record import FaultNote

from .base import Handle, Launcher
from .fault_actions import (
    CLIENT,
    Action,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Heal,
    Kill,
    OnLink,
    Pause,
    Reorder,
    Restart,
    Resume,
    Script,
    change,
    check,
    note,
)

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


class Done(msgspec.Struct, frozen=True):
    """A fault that was applied."""

    at_s: float
    """Seconds since the cluster was launched."""
    action: Action
    error: str = ""
    """Why it could not be done; empty if it was."""


class FaultLog:
    """What was done to a cluster, in order; its nodes are told of it, for the records of their runs.

    Args:
        handles: The nodes of the cluster, now and whenever something is done.
    """

    def __init__(self, launcher: Launcher[Any], handles: Sequence[Handle]) -> None:
        self._launcher = launcher
        self._handles = handles
        self._began_s = time.monotonic()
        self._lasting: tuple[FaultNote, ...] = ()
        self.done: list[Done] = []

    @property
    def names(self) -> list[str]:
        """Of the nodes that were launched, alive or not."""
        return [handle.spec.name for handle in self._handles]

    def failed(self, action: Action, error: str) -> None:
        """Something could not be done. From any thread."""
        self.done.append(Done(time.monotonic() - self._began_s, action, error))

    # --- on the loop ---

    async def befalls(self, action: Action, at_s: float | None = None) -> None:
        """Something is about to be done: first the nodes hear of it, since their runs may end by it.

        Args:
            at_s: When it was done, on the loop's clock, if it was.
        """
        if at_s is None:
            at_s = time.monotonic()
        self.done.append(Done(at_s - self._began_s, action))
        await self.tell(note(action, at_s))

    async def tell(self, fault: FaultNote) -> None:
        """Have all nodes take note of a fault."""
        self._lasting = lasting((*self._lasting, fault))
        await asyncio.gather(*(handle.befell(fault) for handle in self._handles if handle.alive))

    async def brief(self, handle: Handle) -> None:
        """Have a new node take note of what lasts."""
        for fault in self._lasting:
            await handle.befell(fault)

    async def on_links(self, action: OnLink | Heal) -> None:
        """Do something to links, and wait until those that are cut have ended."""
        await self.befalls(action)
        change(self._launcher.network, action)
        await self._launcher.rewire(self._handles)

    async def seed(self, seed: int) -> None:
        """Have chance begin anew on all links."""
        self._launcher.network.seed(seed)
        await self._launcher.rewire(self._handles)


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
    calls and heartbeats, in both directions, until it is healed. Runs that are under way meanwhile have all of it in
    `run.faults` and in their timelines.
    """

    def __init__(self, cluster: Nodes, loop: LoopThread, log: FaultLog) -> None:
        self._cluster = cluster
        self._loop = loop
        self._log = log

    @property
    def log(self) -> tuple[Done, ...]:
        """What was done, and when."""
        return tuple(self._log.done)

    @verb
    def seed(self, seed: int) -> None:
        """Have chance begin anew: the same seed decides the same about the n-th frame of each direction of a link."""
        self._loop.call(self._log.seed(seed), doing="cluster.faults")

    @verb
    def do(self, action: Action) -> None:
        """Apply a fault.

        Raises:
            UnknownNodeError: If there is no node of that name.
            ClusterSpecError: If a share is not between 0 and 1, or a time negative.
            ClusterError: If a node in this process shall pause.
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

    def cut(self, a: str, b: str, *, silent: bool = False) -> None:
        """Let nothing through between two nodes, see Cut."""
        self.do(Cut(a, b, silent))

    def delay(self, a: str, b: str, delay_s: float, *, jitter_s: float = 0.0) -> None:
        """Have frames between two nodes take longer, see Delay."""
        self.do(Delay(a, b, delay_s, jitter_s))

    def slow(self, node: str, delay_s: float = 0.2) -> None:
        """Have everything that a node sends or is sent take longer; 0 ends it. The client is its neighbour too."""
        self._check_end(node)
        for other in sorted({*self._log.names, CLIENT} - {node}):
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
        """As `cluster.kill`."""
        self.do(Kill(node))

    def restart(self, node: str) -> None:
        """As `cluster.restart`."""
        self.do(Restart(node))

    def pause(self, node: str) -> None:
        """As `cluster.pause`."""
        self.do(Pause(node))

    def resume(self, node: str) -> None:
        """As `cluster.resume`."""
        self.do(Resume(node))

    def play(self, script: Script) -> Playing:
        """Begin to follow a script, and go on meanwhile: `play([(0.5, Cut("a", "b")), (2.0, Heal())])`."""
        return Playing(self, self._log, sorted(script, key=lambda line: line[0]))

    seed_async = twin(seed)
    do_async = twin(do)
    cut_async = twin(cut)
    delay_async = twin(delay)
    slow_async = twin(slow)
    drop_async = twin(drop)
    duplicate_async = twin(duplicate)
    reorder_async = twin(reorder)
    heal_async = twin(heal)
    partition_async = twin(partition)
    kill_async = twin(kill)
    restart_async = twin(restart)
    pause_async = twin(pause)
    resume_async = twin(resume)

    def __repr__(self) -> str:
        return f"Faults({len(self._log.done)} done)"

    # --- links ---

    def _on_links(self, action: OnLink | Heal) -> None:
        for end in (action.a, action.b):
            if not (isinstance(action, Heal) and end == ""):
                self._check_end(end)
        if not isinstance(action, Heal):
            check(action)
        self._loop.call(self._log.on_links(action), doing="cluster.faults")

    def _check_end(self, end: str) -> None:
        own = {*self._log.names, CLIENT}
        # Who else is in the cluster it must be asked, which takes a while if its links are bad.
        if end not in own and end not in (ends := sorted({*own, *self._cluster.nodes})):
            raise UnknownNodeError(f"there is no node {end!r}. " + did_you_mean(str(end), ends, "Ends of links: "))


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

    wait_async = twin(wait)
    stop_async = twin(stop)

    def __repr__(self) -> str:
        count = len(self._script)
        last_s = max((at_s for at_s, _ in self._script), default=0.0)
        return f"Playing({count} fault{'' if count == 1 else 's'} in {last_s:g} s)"

    def _follow(self) -> None:
        began_s = time.monotonic()
        for at_s, action in self._script:
            if self._stop.wait(max(0.0, began_s + at_s - time.monotonic())):
                return
            try:
                self._faults.do(action)
            except MpregError as error:
                self._log.failed(action, str(error))
