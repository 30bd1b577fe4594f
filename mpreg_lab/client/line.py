"""A client's way to its node, dialled anew when it is lost, and the runs that are told over it.

The node keeps a run for a while whose client is away. Who comes back says how much it has heard of each, and is told
the rest. What the client cannot know, whether a step ran whose node has died, it does not guess: such runs are lost.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mpreg_lab.errors import ConnectError, ConnectionLostError, MpregError, RunCancelledError
from mpreg_lab.protocol.messages import Attach, Attached, Cancel, Forget, Message, RunDone, RunUpdate, Submit
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import RunId
from mpreg_lab.workflow.parting import in_doubt

from .run import Run

__all__ = ["FIRST_PAUSE_S", "Line", "Way", "pauses"]

FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
"""Between two tries to reach the cluster again; each pause is about twice as long as the one before."""
PATIENCE_S = 30.0
"""As long as a node keeps a run whose client is away."""
REFUSED_S = 5.0
"""So long nobody has listened at the address: the node has ended, and its runs with it."""


@dataclass(slots=True, eq=False)
class _Contact:
    """One connection, and which life of which node is at the other end; None until it has said so."""

    peer: Peer
    life: str | None = None


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A run whose end has not been heard."""

    run: Run
    contact: _Contact
    """Where it was submitted, or attached to."""
    submit: Submit | None
    """As long as nothing was heard of the run: perhaps it never came."""
    began_s: float
    """When it was submitted, by the clock of the loop."""
    seen: int = 0
    """Events of it that were heard, one after the other."""
    told: int = 0
    """Events of it that there are, as far as is known: more, if a network has lost or held back a message."""
    asked: int = -1
    """How many were heard when the missing ones were last asked for."""
    done: RunDone | None = None
    """Its end, as long as events before it are missing."""
    cancelled: bool = False


class Way(Protocol):
    """Where a client gets its connections from."""

    async def dial(self) -> Connection:
        """Connect to a node.

        Raises:
            ConnectError: If nobody answers.
            ConnectionLostError: If there is no use in trying again.
        """

    async def again(self) -> Connection:
        """Connect to the node that was dialled last, which has our runs; raises what `dial` does."""

    def ended(self) -> bool:
        """Whether that node is known to be no more."""


class Line:
    """All of it on one loop.

    Args:
        way: How connections are opened.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._dialling = asyncio.Lock()
        self._contact: _Contact | None = None
        self._under_way: dict[RunId, _UnderWay] = {}
        # A run that nobody holds any more is forgotten on the nodes too: hence weak.
        self._runs: weakref.WeakValueDictionary[RunId, Run] = weakref.WeakValueDictionary()
        self._returning: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many runs are under way."""
        return len(self._under_way)

    @property
    def peer(self) -> Peer | None:
        """The connection that was opened last; None if there is none."""
        return None if self._contact is None else self._contact.peer

    async def connect(self) -> Peer:
        """The open connection; a new one if it has ended.

        Raises:
            ConnectError: If nobody answers.
        """
        async with self._dialling:
            if self._contact is None or self._contact.peer.closed:
                back = self._under_way and not self._way.ended()
                self.take(await (self._way.again() if back else self._way.dial()))
            assert self._contact is not None
            return self._contact.peer

    def take(self, connection: Connection) -> None:
        """Use this connection, and hear over it of all runs."""
        contact = self._contact = _Contact(Peer(connection, self._on_message, on_close=self._on_close))
        seen = {run_id: under_way.seen for run_id, under_way in self._under_way.items()}
        kept = tuple(run_id for run_id in self._runs if run_id not in seen)
        contact.peer.post(Attach(_unique(), seen, kept))
        for run_id, under_way in self._under_way.items():
            if under_way.cancelled:
                contact.peer.post(Cancel(run_id))

    def submit(self, run: Run, submit: Submit) -> None:
        """Start a run over the connection that was opened last.

        Raises:
            UnserialisableResultError: If something in it cannot travel; nothing was sent.
        """
        assert self._contact is not None
        self._contact.peer.post(submit)
        self._runs[run.id] = run
        self._under_way[run.id] = _UnderWay(run, self._contact, submit, asyncio.get_running_loop().time())
        if self._contact.peer.closed:
            self._come_back()

    def cancel(self, run_id: RunId) -> None:
        """Ask for a run to be cancelled, now or when the connection is back."""
        under_way = self._under_way.get(run_id)
        if under_way is not None:
            under_way.cancelled = True
            self._post(Cancel(run_id))

    def forget(self, run_id: RunId) -> None:
        """Nobody wants the results of a run any more."""
        self._post(Forget(run_id))

    async def close(self, why: str = "the connection to the cluster ended before the run did") -> None:
        """End the connection and what goes on over it. It is opened again when it is used."""
        contact, self._contact = self._contact, None
        if self._returning is not None:
            self._returning.cancel()
        self._lose_all(why)
        if contact is not None:
            await contact.peer.close()

    # --- what the node says ---

    def _on_message(self, peer: Peer, message: Message) -> None:
        if isinstance(message, Attached):
            if self._contact is not None and self._contact.peer is peer:
                self._on_attached(self._contact, message)
            return
        if not isinstance(message, RunUpdate | RunDone):
            return
        under_way = self._under_way.get(message.u)
        if under_way is None:
            return  # It came twice, or it was lost already.
        under_way.submit = None
        if isinstance(message, RunUpdate):
            under_way.told = max(under_way.told, message.first + len(message.events))
            self._on_update(under_way, message)
        else:
            under_way.told = max(under_way.told, message.after)
            under_way.done = message
        self._go_on(under_way)

    def _on_update(self, under_way: _UnderWay, update: RunUpdate) -> None:
        if update.first <= under_way.seen:
            new = update.events[under_way.seen - update.first :]
            under_way.seen += len(new)
            if new:
                under_way.run.apply(new)

    def _go_on(self, under_way: _UnderWay) -> None:
        """End the run if all of it was heard; what is missing shall be said again."""
        if under_way.seen >= under_way.told:
            if under_way.done is not None:
                del self._under_way[under_way.run.id]
                under_way.run.finish(under_way.done)
        elif under_way.asked != under_way.seen:
            under_way.asked = under_way.seen
            self._post(Attach(_unique(), {under_way.run.id: under_way.seen}))

    def _on_attached(self, contact: _Contact, attached: Attached) -> None:
        contact.life = attached.life
        for run_id in attached.unknown:
            if run_id in self._under_way:
                self._on_unknown(self._under_way[run_id], contact)
        for run_id in attached.past:
            self._lose(run_id, "the cluster gave the run up, as its client was away for too long")
        for under_way in self._under_way.values():
            under_way.contact = contact

    def _on_unknown(self, under_way: _UnderWay, contact: _Contact) -> None:
        """The node does not know the run: it died with it, or the run never came, and then it is sent once more."""
        if under_way.submit is None or under_way.contact.life != contact.life:
            self._lose(under_way.run.id, "the node that coordinated the run has ended")
        elif under_way.cancelled:
            self._part(under_way, RunCancelledError("the run was cancelled before it began", run=under_way.run))
        elif under_way.contact is not contact:
            contact.peer.post(under_way.submit)

    # --- the end of a connection ---

    def _on_close(self, peer: Peer) -> None:
        if self._under_way and self._contact is not None and self._contact.peer is peer:
            self._come_back()

    def _come_back(self) -> None:
        if self._returning is None or self._returning.done():
            self._returning = asyncio.get_running_loop().create_task(self._return(), name="mpreg client returns")

    async def _return(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = refused_since_s = loop.time()
        for pause_s in pauses():
            if self._way.ended():
                self._lose_all("the node that coordinated the run has ended")
                return
            try:
                await self.connect()
                return
            except ConnectionLostError:
                self._lose_all("the connection to the cluster ended before the run did")
                return
            except ConnectError as error:
                now_s = loop.time()
                if not isinstance(error.__cause__, ConnectionRefusedError):
                    refused_since_s = now_s
                if now_s - began_s > PATIENCE_S or now_s - refused_since_s > REFUSED_S:
                    self._lose_all(f"the connection to the cluster was lost, and did not come back: {error}")
                    return
            await asyncio.sleep(pause_s)

    def _lose_all(self, why: str) -> None:
        for run_id in list(self._under_way):
            self._lose(run_id, why)

    def _lose(self, run_id: RunId, why: str) -> None:
        if run_id in self._under_way:
            self._part(self._under_way[run_id], _lost(self._under_way[run_id].run, why))

    def _part(self, under_way: _UnderWay, error: MpregError) -> None:
        """Nothing more will be heard of a run."""
        del self._under_way[under_way.run.id]
        under_way.run.lose(error, asyncio.get_running_loop().time() - under_way.began_s)

    def _post(self, message: Message) -> None:
        if self._contact is not None:
            self._contact.peer.post(message)


def pauses(first_s: float = FIRST_PAUSE_S) -> Iterator[float]:
    """Seconds to wait between tries, without end: longer each time, and by chance, so that not all come at once."""
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.5, 1.5)
        pause_s = min(max(first_s, _LONGEST_PAUSE_S), 2 * pause_s)


def _lost(run: Run, why: str) -> MpregError:
    """Names what may or may not have run. Nothing is started again: nobody knows how often it was started already."""
    out = [step.name for step in in_doubt(run.record)]
    listed = ", ".join(map(repr, out[:8])) + (f" and {len(out) - 8} more" if len(out) > 8 else "")
    doubt = f". Under way, and may or may not have run: {listed}" if out else ""
    return ConnectionLostError(why + doubt, step=out[0] if len(out) == 1 else None)


def _unique() -> str:
    return secrets.token_hex(8)
