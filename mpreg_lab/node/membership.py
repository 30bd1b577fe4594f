"""Who is in the cluster, as one node knows it: SWIM as a state machine without I/O, clock or threads.

A. Das, I. Gupta, A. Motivala: SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol, 2002:
probes and indirect probes, rumours on the back of them, suspicion and incarnation numbers.
A. Dadgar, J. Phillips, J. Currey: Lifeguard: Local Health Awareness for More Accurate Failure Detection, 2018: local
health, suspicions that end sooner when shared, and the buddy system.
docs/membership.md has the numbers, and where this differs from the papers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import msgspec

from mpreg_lab.protocol.messages import Ack, Gossip, Member, NodeState, Ping, PingRequest, Pull, Rumour
from mpreg_lab.types import NodeName

from ._roster import Record, Roster, Round
from ._rumours import News, Suspicion, Timing

__all__ = [
    "Back",
    "Changed",
    "Event",
    "Heartbeat",
    "Joined",
    "Lost",
    "Membership",
    "Roster",
    "Send",
    "Suspected",
    "Timing",
]

Heartbeat = Ping | Ack | PingRequest | Gossip | Pull
"""What members say to each other about who is there."""


class Send(NamedTuple):
    """A message to be sent."""

    to: NodeName
    message: Heartbeat


class Joined(NamedTuple):
    """A node that was not known."""

    member: Member


class Changed(NamedTuple):
    """A member describes itself anew."""

    member: Member


class Suspected(NamedTuple):
    """A member may be gone: better choose another."""

    name: NodeName


class Lost(NamedTuple):
    """A member is gone: it died, cannot be reached, began a new life, or left."""

    name: NodeName


class Back(NamedTuple):
    """A node that was suspected or lost is there."""

    member: Member


Event = Joined | Changed | Suspected | Lost | Back


class Membership:
    """One node's view of the cluster.

    Every method that takes `now_s` is one step; the messages that it makes must be sent, and `events` be taken, after it.
    Time is any clock that never goes back.

    Args:
        itself: The node's own description.
        rng: The only source of chance.
        roster: Who is known at the beginning; must have `itself`.

    Attributes:
        events: What happened and was not taken yet.
    """

    def __init__(
        self,
        itself: Member,
        *,
        rng: random.Random | None = None,
        timing: Timing = Timing(),  # noqa: B008 - it is frozen
        roster: Roster | None = None,
    ) -> None:
        self.events: list[Event] = []
        self._name = itself.name
        self._rng = rng or random.Random(itself.name)
        self._timing = timing
        self._roster = Roster([itself]) if roster is None else roster
        self._round = Round(self._rng)
        self._news = News()
        self._health = 0
        self._silent = False
        self._number = 0
        self._timer_number = 0
        self._timers: list[tuple[float, int, _Alarm, Any]] = []
        self._probes: dict[int, _Probe] = {}
        self._relays: dict[int, _Relay] = {}
        self._suspicions: dict[NodeName, Suspicion] = {}
        self._doubted: set[NodeName] = set()
        self._retries: dict[NodeName, float] = {}
        self._asked_s: dict[NodeName, float] = {}
        self._differs_since_s: float | None = None

    # --- the table ---

    @property
    def itself(self) -> Member:
        """This node's own description."""
        return self._mine.member

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, this node included, in the order in which they became known."""
        return tuple(record.member for record in self._roster if record.live)

    @property
    def others(self) -> tuple[Member, ...]:
        """All but this node."""
        return tuple(member for member in self.members if member.name != self._name)

    @property
    def size(self) -> int:
        """How many members there are, this node included."""
        return self._roster.live

    def get(self, name: NodeName) -> Member | None:
        """The member of that name."""
        record = self._roster.get(name)
        return record.member if record is not None and record.live else None

    def state(self, name: NodeName) -> NodeState | None:
        """What is thought of a node; None if it is not known."""
        record = self._roster.get(name)
        return None if record is None else record.state

    def incarnation(self, name: NodeName) -> tuple[int, int] | None:
        """Generation and incarnation of a node, which never go back; None if it is not known."""
        record = self._roster.get(name)
        return None if record is None else (record.member.generation, record.incarnation)

    def address(self, name: NodeName) -> Member | None:
        """Where a node is or was: also of those that are lost, which are tried again."""
        record = self._roster.get(name)
        return None if record is None else record.member

    def order(self, names: tuple[NodeName, ...]) -> None:
        """Keep the members in this order, those not named last: every node then lists them alike."""
        self._roster.order(names)

    def update(self, member: Member) -> bool:
        """Take in a description that a node gave of itself, or others at a time when it was alive; whether it was news.

        A node that is lost does not come back by this: it may be old news. It is asked.
        """
        known = self._roster.get(member.name)
        if member.name == self._name:
            if member.version <= self.itself.version:
                self._outlive(member)
                return False
            self._put(msgspec.structs.replace(self._mine, member=member))
            return True
        if known is None:
            self._put(Record(member))
            self.events.append(Joined(member))
            return True
        before = known.member
        if member.generation > before.generation:
            self._begin_anew(known, member)
            return True
        if member.generation < before.generation or member.version <= before.version:
            return False
        self._put(msgspec.structs.replace(known, member=member))
        if known.live:
            self.events.append(Changed(member))
        return known.live

    # --- steps ---

    @property
    def due_s(self) -> float | None:
        """When `tick` must be called next; None: never, unless something else happens."""
        timers = self._timers
        while timers:
            due_s, _, alarm, key = timers[0]
            if alarm in _OF_PROBES and key not in self._probes:
                heappop(timers)  # It was answered: nothing to wake up for.
                continue
            return due_s
        return None

    def start(self, now_s: float) -> None:
        """Begin to probe, at a random moment of the first period: nodes that start together do not probe together."""
        self._at(now_s + self._rng.random() * self._timing.period_s, Membership._probe_next)

    def tick(self, now_s: float) -> list[Send]:
        """Do what is due."""
        self._forgive(now_s)
        out: list[Send] = []
        timers = self._timers
        while timers and timers[0][0] <= now_s:
            _, _, alarm, key = heappop(timers)
            alarm(self, key, now_s, out)
        return out

    def handle(self, message: Heartbeat, now_s: float) -> list[Send]:
        """Take a message from another node."""
        self._forgive(now_s)
        out: list[Send] = []
        if not self._silent:
            _HANDLERS[type(message)](self, message, now_s, out)
        return out

    def broken(self, name: NodeName, now_s: float) -> list[Send]:
        """A connection to that node has ended: ask it at once."""
        out: list[Send] = []
        if self._is_other(name):
            self._doubt(name)
            self._probe(name, now_s, out)
        return out

    def refused(self, name: NodeName, now_s: float) -> list[Send]:
        """Nobody listens where that node should be: it is lost, unless others reach it at once."""
        out: list[Send] = []
        if self._is_other(name):
            self._doubt(name)
            self._refuse_relays(name, out)
            if not any(probe.target == name and probe.refused for probe in self._probes.values()):
                self._number += 1
                probe = self._probes[self._number] = _Probe(name, refused=True)
                self._at(now_s + self._timing.refused_s * (1 + self._health), Membership._judge, self._number)
                self._ask_helpers(self._number, now_s, out)
                if not probe.asked:
                    self._judge(self._number, now_s, out)
        return out

    def leave(self, now_s: float) -> list[Send]:
        """Say goodbye. From then on this node is silent."""
        mine = self._mine
        self._roster.put(msgspec.structs.replace(mine, state=NodeState.LEFT))
        self._silent = True
        self._timers.clear()
        told = self._roster.sample(8, self._rng, self._is_live_other)
        goodbye = Gossip(self._name, (self._rumour(self._name, now_s),))
        return [Send(record.member.name, goodbye) for record in told]

    def left(self, name: NodeName, now_s: float) -> None:
        """A node has said goodbye."""
        record = self._roster.get(name)
        if record is not None and record.live and name != self._name:
            self._bury(record, NodeState.LEFT, now_s)

    # --- timers ---

    def _at(self, when_s: float, alarm: _Alarm, key: Any = None) -> None:
        self._timer_number += 1
        heappush(self._timers, (when_s, self._timer_number, alarm, key))

    def _forgive(self, now_s: float) -> None:
        """If this process itself was stopped or starved, nobody else is to blame: everything is due so much later."""
        due_s = self._timers[0][0] if self._timers else now_s
        late_s = now_s - due_s
        if late_s <= self._timing.pause_s:
            return
        self._timers = [(when_s + late_s, number, alarm, key) for when_s, number, alarm, key in self._timers]
        heapify(self._timers)
        for suspicion in self._suspicions.values():
            suspicion.began_s += late_s
            suspicion.ends_s += late_s
        self._fitter(-1)

    def _fitter(self, step: int) -> None:
        """Local health (Lifeguard, section IV-A): 0 is well; each more makes this node wait longer before it blames."""
        self._health = min(self._timing.max_health, max(0, self._health - step))

    # --- probes ---

    def _probe_next(self, _: None, now_s: float, out: list[Send]) -> None:
        self._at(now_s + self._timing.period_s, Membership._probe_next)
        record = self._round.next(self._roster, self._is_live_other)
        if record is not None:
            self._probe(record.member.name, now_s, out)

    def _probe(self, name: NodeName, now_s: float, out: list[Send]) -> None:
        timing, wait = self._timing, 1 + self._health
        self._number += 1
        self._probes[self._number] = _Probe(name)
        self._at(now_s + timing.direct_s * wait, Membership._ask_helpers, self._number)
        self._at(now_s + timing.period_s * wait, Membership._judge, self._number)
        self._ping(name, self._number, now_s, out)

    def _ping(self, name: NodeName, number: int, now_s: float, out: list[Send]) -> None:
        rumours = self._rumours_for(name, now_s)
        out.append(Send(name, Ping(self._name, name, number, self._roster.digest, rumours)))

    def _ask_helpers(self, number: int, now_s: float, out: list[Send]) -> None:
        probe = self._probes.get(number)
        if probe is None:
            return
        target = probe.target
        helpers = self._roster.sample(
            self._timing.helpers,
            self._rng,
            lambda record: record.state is NodeState.ALIVE and record.member.name not in (self._name, target),
        )
        probe.asked = len(helpers)
        for helper in helpers:
            name = helper.member.name
            out.append(Send(name, PingRequest(self._name, number, target, self._rumours_for(name, now_s))))

    def _judge(self, number: int, now_s: float, out: list[Send]) -> None:
        """Nobody has reached the node in time."""
        probe = self._probes.pop(number, None)
        if probe is None:
            return
        if not probe.refused:
            self._fitter(-(probe.asked - probe.nacks if probe.asked else 1))
        record = self._roster.get(probe.target)
        if record is None or not record.live:
            return
        if probe.refused:
            self._bury(record, NodeState.LOST, now_s)
            self._tell_some(probe.target, now_s, out)
        elif record.state is NodeState.ALIVE:
            self._suspect(record, now_s, 0.0, (self._name,))
            # The buddy system (Lifeguard, section IV-C): the suspect hears of it first, and may contradict.
            self._number += 1
            self._ping(probe.target, self._number, now_s, out)
        else:
            self._confirm(probe.target, (self._name,))

    def _reached(self, name: NodeName) -> None:
        self._fitter(1)
        record = self._roster.get(name)
        if name in self._doubted and record is not None and record.state is NodeState.ALIVE:
            self._doubted.discard(name)
            self.events.append(Back(record.member))

    # --- messages ---

    def _on_ping(self, ping: Ping, now_s: float, out: list[Send]) -> None:
        if ping.to != self._name:
            return  # The address was another node's before.
        self._hear(ping.sender, ping.rumours, now_s, out)
        self._compare(ping.sender, ping.digest, now_s, out)
        if self._roster.get(ping.sender) is None:
            self._pull(ping.sender, [ping.sender], now_s, out)
        rumours = self._rumours_for(ping.sender, now_s)
        out.append(Send(ping.sender, Ack(self._name, ping.number, self._roster.digest, rumours)))

    def _on_ack(self, ack: Ack, now_s: float, out: list[Send]) -> None:
        self._hear(ack.sender, ack.rumours, now_s, out)
        self._compare(ack.sender, ack.digest, now_s, out)
        relay = self._relays.pop(ack.number, None)
        if relay is not None:
            out.append(Send(relay.asker, Ack(self._name, relay.number, self._roster.digest)))
        probe = self._probes.get(ack.number)
        if probe is None:
            return
        if ack.reached:
            del self._probes[ack.number]
            self._reached(probe.target)
            return
        probe.nacks += 1
        if probe.refused and probe.nacks >= probe.asked:
            self._judge(ack.number, now_s, out)

    def _on_ping_request(self, request: PingRequest, now_s: float, out: list[Send]) -> None:
        self._hear(request.sender, request.rumours, now_s, out)
        record = self._roster.get(request.target)
        if record is None or not record.live:
            out.append(Send(request.sender, Ack(self._name, request.number, self._roster.digest, reached=False)))
            return
        self._number += 1
        self._relays[self._number] = _Relay(request.sender, request.number, request.target)
        # Before the asker's own wait ends, so that it can tell a slow helper from a dead target.
        self._at(now_s + self._timing.direct_s, Membership._give_up_relay, self._number)
        self._ping(request.target, self._number, now_s, out)

    def _give_up_relay(self, number: int, _: float, out: list[Send]) -> None:
        relay = self._relays.pop(number, None)
        if relay is not None:
            out.append(Send(relay.asker, Ack(self._name, relay.number, self._roster.digest, reached=False)))

    def _refuse_relays(self, target: NodeName, out: list[Send]) -> None:
        for number in [number for number, relay in self._relays.items() if relay.target == target]:
            self._give_up_relay(number, 0.0, out)

    def _on_gossip(self, gossip: Gossip, now_s: float, out: list[Send]) -> None:
        for member in gossip.members:
            self._asked_s.pop(member.name, None)
            self.update(member)
        self._hear(gossip.sender, gossip.rumours, now_s, out)

    def _on_pull(self, pull: Pull, now_s: float, out: list[Send]) -> None:
        if not pull.names:
            out.append(Send(pull.sender, Gossip(self._name, tuple(self._rumour_of(r, now_s) for r in self._roster))))
            return
        found = [record for record in map(self._roster.get, pull.names) if record is not None]
        rumours = tuple(self._rumour_of(record, now_s) for record in found)
        members = tuple(record.member for record in found if record.live)
        out.append(Send(pull.sender, Gossip(self._name, rumours, members)))

    def _compare(self, sender: NodeName, digest: int, now_s: float, out: list[Send]) -> None:
        """Rumours may all have missed this node: if others know something else for long, ask one for everything."""
        if digest == self._roster.digest:
            self._differs_since_s = None
        elif self._differs_since_s is None:
            self._differs_since_s = now_s
        elif now_s - self._differs_since_s > self._timing.differ_s:
            self._differs_since_s = None
            out.append(Send(sender, Pull(self._name)))

    # --- rumours ---

    def _rumours_for(self, to: NodeName, now_s: float) -> tuple[Rumour, ...]:
        """What rides on a message: first what is thought of the receiver, if it should contradict."""
        record = self._roster.get(to)
        in_doubt = record is not None and record.state is not NodeState.ALIVE
        if not in_doubt and not self._news:
            return ()
        names = self._news.take(self._timing.rumours_a_message, self._timing.transmissions(self._roster.live))
        if in_doubt and to not in names:
            names.insert(0, to)
        return tuple(self._rumour(name, now_s) for name in names)

    def _rumour(self, name: NodeName, now_s: float) -> Rumour:
        record = self._roster.get(name)
        assert record is not None
        return self._rumour_of(record, now_s)

    def _rumour_of(self, record: Record, now_s: float) -> Rumour:
        member = record.member
        suspicion = self._suspicions.get(member.name)
        age_s, by = (0.0, ()) if suspicion is None else (now_s - suspicion.began_s, suspicion.by)
        return Rumour(member.name, member.generation, record.incarnation, member.version, record.state, age_s, by)

    def _tell_some(self, name: NodeName, now_s: float, out: list[Send]) -> None:
        message = Gossip(self._name, (self._rumour(name, now_s),))
        for record in self._roster.sample(self._timing.helpers, self._rng, self._is_live_other):
            out.append(Send(record.member.name, message))

    def _hear(self, sender: NodeName, rumours: tuple[Rumour, ...], now_s: float, out: list[Send]) -> None:
        wanted: list[NodeName] = []
        for rumour in rumours:
            if rumour.name == self._name:
                self._contradict(rumour)
                continue
            record = self._roster.get(rumour.name)
            undescribed = record is None or _life(rumour) > (record.member.generation, record.member.version)
            if undescribed and rumour.state <= NodeState.SUSPECTED:
                wanted.append(rumour.name)
            if record is not None:
                self._believe(record, rumour, now_s)
        if wanted:
            self._pull(sender, wanted, now_s, out)

    def _pull(self, sender: NodeName, names: list[NodeName], now_s: float, out: list[Send]) -> None:
        again_s = now_s - self._timing.period_s
        names = [name for name in names if self._asked_s.get(name, again_s) <= again_s]
        if names:
            self._asked_s.update(dict.fromkeys(names, now_s))
            out.append(Send(sender, Pull(self._name, tuple(names))))

    def _believe(self, record: Record, rumour: Rumour, now_s: float) -> None:
        """Of two rumours of one life the higher incarnation counts, of one incarnation the worse state."""
        generation = record.member.generation
        if rumour.generation > generation and rumour.state > NodeState.SUSPECTED:
            member = msgspec.structs.replace(record.member, generation=rumour.generation)
            self._bury(record, rumour.state, now_s, member=member, incarnation=rumour.incarnation)
        if rumour.generation != generation:
            return
        if (rumour.incarnation, rumour.state) > (record.incarnation, record.state):
            record = msgspec.structs.replace(record, incarnation=rumour.incarnation)
            match rumour.state:
                case NodeState.ALIVE:
                    self._revive(record)
                case NodeState.SUSPECTED:
                    self._suspect(record, now_s, rumour.age_s, rumour.suspected_by)
                case state:
                    self._bury(record, state, now_s, incarnation=rumour.incarnation)
        elif rumour.state is record.state is NodeState.SUSPECTED and rumour.incarnation == record.incarnation:
            self._confirm(rumour.name, rumour.suspected_by)

    def _contradict(self, rumour: Rumour) -> None:
        """Someone thinks that this node is gone, or remembers a later life of it than this one."""
        mine = self._mine
        generation = mine.member.generation
        if rumour.generation > generation:
            if rumour.state <= NodeState.SUSPECTED:
                self._silent = True  # Another node has taken the name: two must not fight for it.
                self._timers.clear()
            else:
                self._outlive(msgspec.structs.replace(mine.member, generation=rumour.generation))
        elif rumour.generation == generation and (rumour.incarnation, rumour.state) > (mine.incarnation, mine.state):
            worse = rumour.state is not NodeState.ALIVE
            self._put(msgspec.structs.replace(mine, incarnation=rumour.incarnation + worse))
            self._fitter(-1)

    def _outlive(self, former: Member) -> None:
        """Others remember this very node with a later clock: count on from there."""
        mine = self._mine
        if former.generation > mine.member.generation:
            itself = msgspec.structs.replace(mine.member, generation=former.generation + 1)
            self._put(Record(itself))

    # --- changes of the table ---

    @property
    def _mine(self) -> Record:
        record = self._roster.get(self._name)
        assert record is not None
        return record

    def _is_live_other(self, record: Record) -> bool:
        return record.state <= NodeState.SUSPECTED and record.member.name != self._name

    def _is_other(self, name: NodeName) -> bool:
        record = self._roster.get(name)
        return not self._silent and record is not None and self._is_live_other(record)

    def _put(self, record: Record) -> None:
        self._roster.put(record)
        self._news.add(record.member.name)

    def _doubt(self, name: NodeName) -> None:
        if name not in self._doubted:
            self._doubted.add(name)
            self.events.append(Suspected(name))

    def _suspect(self, record: Record, now_s: float, age_s: float, by: tuple[NodeName, ...]) -> None:
        name = record.member.name
        came_back = not record.live
        self._put(msgspec.structs.replace(record, state=NodeState.SUSPECTED))
        if came_back:
            self._retries.pop(name, None)
            self.events.append(Back(record.member))
        self._suspicions[name] = Suspicion(now_s - age_s, by)
        self._schedule_end(name)
        self._doubt(name)

    def _confirm(self, name: NodeName, by: tuple[NodeName, ...]) -> None:
        at_most = 1 + self._timing.wanted(self._roster.live)
        if self._suspicions[name].confirm(by, at_most):
            self._news.add(name)
            self._schedule_end(name)

    def _schedule_end(self, name: NodeName) -> None:
        suspicion = self._suspicions[name]
        lasts_s = self._timing.suspicion_s(self._roster.live, len(suspicion.by) - 1)
        suspicion.ends_s = suspicion.began_s + lasts_s
        self._at(suspicion.ends_s, Membership._end_suspicion, name)

    def _end_suspicion(self, name: NodeName, now_s: float, _: list[Send]) -> None:
        suspicion, record = self._suspicions.get(name), self._roster.get(name)
        if suspicion is not None and record is not None and suspicion.ends_s <= now_s:
            self._bury(record, NodeState.LOST, now_s)

    def _revive(self, record: Record) -> None:
        name = record.member.name
        was_doubted = name in self._doubted or not record.live
        self._put(msgspec.structs.replace(record, state=NodeState.ALIVE))
        self._suspicions.pop(name, None)
        self._doubted.discard(name)
        self._retries.pop(name, None)
        if was_doubted:
            self.events.append(Back(record.member))

    def _begin_anew(self, known: Record, member: Member) -> None:
        if known.live:
            self.events.append(Lost(member.name))
        self._suspicions.pop(member.name, None)
        self._doubted.discard(member.name)
        self._retries.pop(member.name, None)
        self._put(Record(member))
        self.events.append(Back(member))

    def _bury(
        self,
        record: Record,
        state: NodeState,
        now_s: float,
        *,
        member: Member | None = None,
        incarnation: int | None = None,
    ) -> None:
        name = record.member.name
        told = record if incarnation is None else msgspec.structs.replace(record, incarnation=incarnation)
        self._put(msgspec.structs.replace(told, state=state, member=member or record.member))
        self._suspicions.pop(name, None)
        self._doubted.discard(name)
        if record.live:
            self.events.append(Lost(name))
            self._at(now_s + self._timing.forget_s, Membership._forget, name)
        if state is NodeState.LOST and name not in self._retries:
            # Across the cluster about ten nodes a second try it, however many there are.
            self._retries[name] = max(self._timing.retry_s, self._roster.live / 10)
            self._schedule_retry(name, now_s)

    # --- the lost ---

    def _schedule_retry(self, name: NodeName, now_s: float) -> None:
        self._at(now_s + self._retries[name] * (0.5 + self._rng.random()), Membership._retry, name)

    def _retry(self, name: NodeName, now_s: float, out: list[Send]) -> None:
        """Ask a lost node: it hears that it is thought lost, and contradicts. So two halves of a cluster find together."""
        record = self._roster.get(name)
        if record is None or record.state is not NodeState.LOST or name not in self._retries:
            return
        self._number += 1
        self._ping(name, self._number, now_s, out)
        most_s = max(self._timing.retry_at_most_s, self._roster.live / 10)
        self._retries[name] = min(most_s, 2 * self._retries[name])
        self._schedule_retry(name, now_s)

    def _forget(self, name: NodeName, _: float, __: list[Send]) -> None:
        record = self._roster.get(name)
        if record is not None and not record.live:
            self._roster.forget(name)
            self._news.drop(name)
            self._retries.pop(name, None)


class _Probe:
    __slots__ = ("asked", "nacks", "refused", "target")

    def __init__(self, target: NodeName, *, refused: bool = False) -> None:
        self.target = target
        self.refused = refused
        self.asked = 0
        self.nacks = 0


class _Relay(NamedTuple):
    asker: NodeName
    number: int
    target: NodeName


_Alarm = Callable[[Membership, Any, float, list[Send]], None]

_OF_PROBES: frozenset[Any] = frozenset((Membership._ask_helpers, Membership._judge))

_HANDLERS: dict[type, _Alarm] = {
    Ping: Membership._on_ping,
    Ack: Membership._on_ack,
    PingRequest: Membership._on_ping_request,
    Gossip: Membership._on_gossip,
    Pull: Membership._on_pull,
}


def _life(rumour: Rumour) -> tuple[int, int]:
    return rumour.generation, rumour.version
