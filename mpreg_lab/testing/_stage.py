"""What servers of one process share: a loop thread and a network for each cluster id, and one loop for all clients.

Nobody lives on the loop of a test: so a server works with any loop, any plugin and any scope of fixtures, and goes on
while the test is busy.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

import msgspec

from mpreg_lab.cluster.faults import FaultLog, Faults
from mpreg_lab.cluster.inprocess import InProcessHandle, InProcessLauncher
from mpreg_lab.cluster.opening import Doorway, cluster_token
from mpreg_lab.errors import ClusterError, MpregError, UnknownNodeError
from mpreg_lab.loop_thread import LoopThread
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.tokens import TokenFile
from mpreg_lab.types import ClusterId, NodeName
from mpreg_lab.workflow.plan import did_you_mean

__all__ = [
    "Actor",
    "Stage",
    "actors",
    "borrow_loop",
    "check_asyncio",
    "enter",
    "heard",
    "in_background",
    "leave",
    "return_loop",
]

T = TypeVar("T")


class Actor(Protocol):
    """What a stage knows of a server."""

    @property
    def url(self) -> str:
        """Where it listens; empty if it does not."""

    def kill(self) -> None:
        """End it as a crash would."""

    def restart(self) -> None:
        """Launch it again."""

    def close(self) -> None:
        """End it, and wait."""


class _Launcher(InProcessLauncher):
    """Starts nodes that are dialled by addresses alone, before their names are known."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.cluster_id, door=Doorway(stage.token), transport="ws")
        self._stage = stage

    async def dial(self, ours: str, member: Member) -> Connection:
        """A connection from one server to another.

        Raises:
            ClusterError: If a server of another cluster id is there.
        """
        _check_cluster(self._stage, member.url)
        name = member.name or self._stage.name_at(member.url)
        return await super().dial(ours, msgspec.structs.replace(member, name=name))


class Stage:
    """All servers of one cluster id: they share a token, and have a network between them that can be made worse.

    It is also the `Nodes` of their faults.

    Attributes:
        handles: Of all servers, those that were killed too.
    """

    def __init__(self, cluster_id: str) -> None:
        self.cluster_id = ClusterId(cluster_id)
        self.loop = LoopThread(f"mpreg-servers-{cluster_id}")
        self.token = cluster_token()
        self.actors: dict[NodeName, Actor] = {}
        self.handles: list[InProcessHandle] = []
        self.launcher = _Launcher(self)
        self.fault_log = FaultLog(self.launcher, self.handles)
        self._token_file = TokenFile(self.cluster_id, self.token)

    @property
    def faults(self) -> Faults:
        """What can be done to these servers."""
        return Faults(self, self.loop, self.fault_log)

    def tell_addresses(self) -> None:
        """Have other programs of this user, and clients here, find the token by the address."""
        self._token_file.write(actor.url for actor in self.actors.values() if actor.url)

    def forget_addresses(self) -> None:
        """Nobody is found by them any more."""
        self._token_file.remove()

    def name_at(self, url: str) -> NodeName:
        """The name of the server at an address; empty if there is none of this stage."""
        return next((name for name, actor in self.actors.items() if actor.url == url), NodeName(""))

    @property
    def nodes(self) -> list[NodeName]:
        """Their names."""
        return list(self.actors)

    def kill(self, name: str) -> None:
        """End one as a crash would."""
        self._actor(name).kill()

    def restart(self, name: str) -> None:
        """Launch one again."""
        self._actor(name).restart()

    def pause(self, name: str) -> None:
        """Servers of one process cannot be halted one by one."""
        raise UnknownNodeError(
            f"server {name!r} lives in this process and cannot be paused by itself. LocalCluster(3, processes=True) can"
        )

    def resume(self, name: str) -> None:
        """It was never paused."""

    def _actor(self, name: str) -> Actor:
        actor = self.actors.get(NodeName(name))
        if actor is None:
            raise UnknownNodeError(f"there is no server {name!r}. " + did_you_mean(name, self.actors, "Servers: "))
        return actor


_lock = threading.RLock()
_stages: dict[str, Stage] = {}
_client_loop: LoopThread | None = None
_borrowers = 0


def enter(cluster_id: str, actor: Actor, wanted: str) -> tuple[Stage, NodeName]:
    """Have a server enter the stage of its cluster id, under a name that nobody else there has, until it leaves."""
    with _lock:
        stage = _stages.get(cluster_id)
        if stage is None:
            stage = _stages[cluster_id] = Stage(cluster_id)
        name, number = wanted, 1
        while stage.actors.get(NodeName(name), actor) is not actor:
            number += 1
            name = f"{wanted}-{number}"
        stage.actors[NodeName(name)] = actor
        return stage, NodeName(name)


def _check_cluster(stage: Stage, url: str) -> None:
    """Its door would only say that the token is wrong, and that may change."""
    with _lock:
        for other in _stages.values():
            if other is not stage and any(actor.url == url for actor in other.actors.values()):
                raise ClusterError(f"the server at {url} is of cluster {other.cluster_id!r}, not {stage.cluster_id!r}")


def leave(stage: Stage, name: NodeName) -> None:
    """The server has ended; the last one ends the stage. Not on the stage's own loop."""
    with _lock:
        stage.actors.pop(name, None)
        if stage.actors:
            stage.tell_addresses()
            return
        _stages.pop(stage.cluster_id, None)
        # Before anybody can enter the next stage of this id: its file has the same name.
        stage.forget_addresses()
    stage.loop.stop()


def actors() -> list[Actor]:
    """All servers of this process that were started and have not ended."""
    with _lock:
        return [actor for stage in _stages.values() for actor in stage.actors.values()]


def borrow_loop() -> LoopThread:
    """The loop of all clients; give it back with `return_loop`."""
    global _client_loop, _borrowers
    with _lock:
        if _client_loop is None:
            _client_loop = LoopThread("mpreg-clients")
        _borrowers += 1
        return _client_loop


def return_loop() -> None:
    """One client less; the last one ends the loop."""
    global _client_loop, _borrowers
    with _lock:
        _borrowers -= 1
        if _borrowers or _client_loop is None:
            return
        loop, _client_loop = _client_loop, None
    loop.stop()


async def heard(future: Future[T]) -> T:
    """The result of something that happens elsewhere. Giving up the wait does not cancel it."""
    check_asyncio()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell(_: object) -> None:
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:
            # Nobody waits on a loop that was closed meanwhile.
            if not loop.is_closed():
                raise

    future.add_done_callback(tell)
    await done.wait()
    return future.result()


def check_asyncio() -> None:
    """Raise MpregError if the caller is not on a loop of asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError as exc:
        raise MpregError(
            "servers and clients are awaited on a loop of asyncio. "
            "With anyio's plugin, make a fixture anyio_backend that returns 'asyncio'"
        ) from exc


def in_background(work: Callable[[], None], name: str) -> Future[None]:
    """Do blocking work in a thread of its own, which says when it is over; what it raises goes to threading's hook."""
    over: Future[None] = Future()

    def run() -> None:
        try:
            work()
        finally:
            over.set_result(None)

    threading.Thread(target=run, name=name, daemon=True).start()
    return over
