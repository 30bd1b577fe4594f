"""Nodes of another kind: who is there, what they offer, calls to them and calls from them.

They are members of their own sort: not in the membership of our nodes, and alive as long as the connection that we
dialled is open; a lost one is dialled again. A node of theirs that offers functions for several sets of resources is
several members here, as a router knows one set for each. How they speak is the matter of a dialect.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from mpreg_lab.errors import ClusterError, ConnectError, MpregError, UnknownFunctionError
from mpreg_lab.protocol.dialect import (
    Ask,
    ForeignAnswer,
    ForeignCall,
    ForeignMessage,
    Offer,
    OtherCluster,
    Sighting,
    Sightings,
    Withdraw,
)
from mpreg_lab.protocol.messages import (
    Calls,
    CancelCalls,
    Done,
    Member,
    Message,
    Outcome,
    Refused,
    RunDone,
    Submit,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.peer import Peer
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.model import Step, Workflow

from ._foreign_calls import ForeignLane
from ._foreigner import Foreigner, offers_of

__all__ = ["Foreigners", "Host"]

MOST = 256
"""Nodes of another kind; a network of liars must not have us dial without end."""
SIGHTINGS_S = 10.0
"""They take a node of which nobody has spoken for 30 s for gone."""
MEET_S = 5.0
_SCHEMES = ("ws://", "wss://")
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_TRIES = 120
"""In vain, one after the other, until a node is forgotten: ten minutes."""


class Host(Protocol):
    """What the node does for them."""

    cluster_id: ClusterId

    @property
    def member(self) -> Member:
        """The node itself."""

    @property
    def own_members(self) -> tuple[Member, ...]:
        """The nodes of our kind, this one included."""

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done in the background."""

    def fetch(self, node: NodeName, run: RunId, step: StepName) -> Awaitable[Payload]:
        """Get a result from the node of our kind that holds it."""

    def run_for(self, peer: Peer, submit: Submit, send: Callable[[Message], None]) -> None:
        """Run a workflow on behalf of the other end of a connection."""

    def foreign_came(self, member: Member) -> None:
        """A node of another kind can be given steps, or offers something else now."""

    def foreign_left(self, name: NodeName) -> None:
        """It cannot be given steps any more; what it had is lost."""


class Foreigners:
    """The nodes of another kind that one node knows. All of it on the node's loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Foreigner] = {}
        self._by_name: dict[NodeName, Foreigner] = {}
        self._lanes: set[ForeignLane] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def members(self) -> tuple[Member, ...]:
        """Those that can be given steps."""
        live = (known for known in self._known.values() if known.link is not None)
        return tuple(known.member(resources) for known in live for resources in known.offers)

    # --- what they say ------------------------------------------------------------------------------------------------

    def take(self, peer: Peer, message: ForeignMessage) -> None:
        """Handle one message; every request gets its reply."""
        match message:
            case Offer():
                self._on_offer(peer, message)
            case ForeignCall():
                self._on_call(peer, message)
            case Withdraw():
                self._on_withdraw(peer, message)
            case Ask():
                peer.post(Done(message.u))
            case Sightings():
                self._on_sightings(message)
            case OtherCluster():
                self._turned_away(peer)

    def closed(self, peer: Peer) -> None:
        """A connection has ended."""
        for known in list(self._known.values()):
            known.greeters.discard(peer)
            if known.link is peer:
                self._down(known)
            if known.link is None and not known.greeters:
                # It died; when it is back, it says anew what it offers.
                known.offers.clear()

    def _on_offer(self, peer: Peer, offer: Offer) -> None:
        if offer.cluster_id != self._host.cluster_id:
            peer.post(OtherCluster(offer.u))
            self._host.spawn(peer.close())
            return
        if offer.url and not self._is_ours(offer.url):
            known = self._know(offer.url)
            known.greeters.add(peer)
            known.offers.setdefault(offer.resources, {}).update(dict.fromkeys(offer.functions))
            if known.link is not None:
                self._up(known, (offer.resources,))
        # Without an address nothing can be sent to it, as requests travel on connections that we dial.
        peer.post(Done(offer.u))

    def _on_withdraw(self, peer: Peer, message: Withdraw) -> None:
        for known in [known for known in self._known.values() if peer in known.greeters]:
            self._forget(known)
        peer.post(Done(message.u))

    def _on_sightings(self, message: Sightings) -> None:
        if message.cluster_id == self._host.cluster_id:
            for node in message.nodes:
                if node.url.startswith(_SCHEMES) and not self._is_ours(node.url) and len(self._known) < MOST:
                    self._know(node.url)

    def _on_reply(self, link: Peer, message: Message) -> None:
        for known in [known for known in self._known.values() if known.link is link and not known.met.done()]:
            if isinstance(message, Done):
                known.met.set_result(None)
            elif isinstance(message, Refused):
                self._forget(known, ClusterError(f"the node at {known.url} refuses us: {message.error.value()}"))

    def _turned_away(self, peer: Peer) -> None:
        for known in [known for known in self._known.values() if known.link is peer]:
            self._forget(known, ClusterError(f"the node at {known.url} does not belong to {self._host.cluster_id!r}"))

    def _on_call(self, peer: Peer, call: ForeignCall) -> None:
        def send(message: Message) -> None:
            if isinstance(message, RunDone):
                _answer(peer, call, message)

        having = [m.name for m in self._host.own_members if any(info.name == call.function for info in m.functions)]
        if not having:
            # Never passed on to one of theirs: two nodes could pass it back and forth for ever.
            error = UnknownFunctionError(f"no node of this kind has a function {call.function!r}")
            peer.post(ForeignAnswer(call.u, None, Payload.of_error(error), call.function))
            return
        here = self._host.member.name
        step = Step(call.function, call.function, node=here if here in having else having[0])
        run = RunId(f"foreign-{_unique()}")
        self._host.run_for(peer, Submit(run, Workflow((step,)), ((),), (call.arguments,)), send)

    # --- what we say --------------------------------------------------------------------------------------------------

    async def meet(self, url: str) -> None:
        """Be one cluster with the node at that address, and with those that it knows.

        Raises:
            ConnectError: If nobody answers there.
            ClusterError: If it belongs to another cluster, or is one of ours.
        """
        if self._is_ours(url):
            raise ClusterError(f"the node at {url} is one of this cluster already")
        known = self._know(url)
        try:
            async with asyncio.timeout(MEET_S):
                await asyncio.shield(known.met)
        except TimeoutError:
            self._forget(known)
            raise ConnectError(f"cannot connect to {url}: no answer in {MEET_S:g} s") from None

    def changed(self) -> None:
        """The node offers something else than before, or there are other nodes."""
        for known in self._known.values():
            if known.link is not None:
                self._greet(known, known.link)
                known.news.set()

    async def stop(self) -> None:
        """Say goodbye and close the connections that we dialled."""
        links = [known.link for known in self._known.values() if known.link is not None]
        for link in links:
            link.post(Withdraw(_unique()))
        self.kill()
        await asyncio.gather(*(link.close() for link in links), return_exceptions=True)

    def kill(self) -> None:
        """Dial nobody any more, and call nobody."""
        for lane in self._lanes:
            lane.stop()
        for known in self._known.values():
            if known.keeper is not None:
                known.keeper.cancel()
        self._known.clear()
        self._by_name.clear()

    # --- calls to them ------------------------------------------------------------------------------------------------

    def give(
        self, name: NodeName, calls: Calls, values: dict[StepName, Payload], report: Callable[[list[Outcome]], None]
    ) -> None:
        """Have one of them make calls.

        Args:
            values: The results of the run that are here; what it returns is added.
        """
        link = self._by_name[name].link
        assert link is not None
        values.update(calls.values)
        self._host.spawn(self._work(link, calls, values, report))

    def cancel(self, message: CancelCalls) -> None:
        """Do not wait for these calls: they cannot be stopped."""
        for lane in self._lanes:
            lane.cancel(message)

    async def _work(
        self, link: Peer, calls: Calls, values: dict[StepName, Payload], report: Callable[[list[Outcome]], None]
    ) -> None:
        lanes = {ForeignLane(link, calls.run, lane.calls, values, report) for lane in calls.lanes}
        self._lanes |= lanes
        try:
            fetched = await asyncio.gather(
                *(self._host.fetch(at, calls.borrowed.get(step, calls.run), step) for step, at in calls.held.items())
            )
            values.update(zip(calls.held, fetched, strict=True))
        except MpregError as error:
            for lane in lanes:
                lane.fail(error)
        else:
            await asyncio.gather(*(lane.run() for lane in lanes))
        finally:
            self._lanes -= lanes

    # --- connections --------------------------------------------------------------------------------------------------

    def _know(self, url: str) -> Foreigner:
        known = self._known.get(url)
        if known is None:
            if not url.startswith(_SCHEMES):
                raise ClusterError(f"a node of another kind cannot be at {url!r:.100}: an address begins with ws://")
            if len(self._known) >= MOST:
                raise ClusterError(f"this node knows {MOST} nodes of another kind and takes no more")
            known = self._known[url] = Foreigner(url)
            known.met.add_done_callback(_look)
            known.keeper = asyncio.ensure_future(self._keep(known))
        return known

    async def _keep(self, known: Foreigner) -> None:
        """Dial a node, say what we offer and who is there, and dial again when it is lost."""
        pause_s, tries = _PAUSE_S, 0
        while tries < _TRIES:
            try:
                connection = await transport_for(known.url).connect(known.url)
            except (MpregError, OSError, ValueError):
                tries += 1
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s, tries = _PAUSE_S, 0
            link = Peer(connection, self._on_reply, on_close=self.closed, on_foreign=self.take, foreign=True)
            try:
                await self._speak(known, link)
            finally:
                link.abort()
            await asyncio.sleep(pause_s)
        self._forget(known)

    async def _speak(self, known: Foreigner, link: Peer) -> None:
        known.link = link
        known.told.clear()
        self._greet(known, link)
        self._up(known, known.offers)
        self._others_hear(known)
        while not link.closed:
            known.news.clear()
            link.post(self._sightings())
            try:
                async with asyncio.timeout(SIGHTINGS_S):
                    await known.news.wait()
            except TimeoutError:
                continue

    def _greet(self, known: Foreigner, link: Peer) -> None:
        """Say what was not said on this connection yet: once for each set of resources and the functions for it."""
        for functions, resources in offers_of(self._host.member):
            if (functions, resources) not in known.told:
                known.told.add((functions, resources))
                link.post(Offer(_unique(), self._host.cluster_id, self._host.member.url, functions, resources))

    def _sightings(self) -> Sightings:
        ours = (
            Sighting(m.url, tuple(info.name for info in m.functions), m.resources)
            for m in self._host.own_members
            if m.url
        )
        theirs = (known.sighting() for known in self._known.values() if known.link is not None)
        return Sightings(self._host.cluster_id, (*ours, *theirs))

    def _up(self, known: Foreigner, sets: Iterable[tuple[Resource, ...]]) -> None:
        for resources in sets:
            member = known.member(resources)
            self._by_name[member.name] = known
            self._host.foreign_came(member)

    def _down(self, known: Foreigner) -> None:
        known.link = None
        known.news.set()
        for resources in known.offers:
            name = known.name(resources)
            if self._by_name.pop(name, None) is not None:
                self._host.foreign_left(name)

    def _others_hear(self, known: Foreigner) -> None:
        for other in self._known.values():
            if other is not known:
                other.news.set()

    def _forget(self, known: Foreigner, why: MpregError | None = None) -> None:
        if self._known.get(known.url) is known:
            del self._known[known.url]
        if not known.met.done():
            known.met.set_exception(why or ConnectError(f"cannot connect to {known.url}"))
        link = known.link
        self._down(known)
        if link is not None:
            self._host.spawn(link.close())
        if known.keeper is not None and known.keeper is not asyncio.current_task():
            known.keeper.cancel()

    def _is_ours(self, url: str) -> bool:
        return any(member.url == url for member in self._host.own_members)


def _answer(peer: Peer, call: ForeignCall, done: RunDone) -> None:
    value = done.results.get(StepName(call.function))
    errors = [error.error for error in done.errors]
    error = done.refused if done.refused is not None else errors[0] if errors else None
    try:
        peer.post(ForeignAnswer(call.u, value if error is None else None, error, call.function))
    except MpregError as exc:
        peer.post(ForeignAnswer(call.u, None, Payload.of_error(exc), call.function))


def _look(met: asyncio.Future[None]) -> None:
    """Nobody waits for a node that came by itself; asyncio would complain that nobody looked."""
    if not met.cancelled():
        met.exception()


def _unique() -> str:
    return secrets.token_hex(8)
