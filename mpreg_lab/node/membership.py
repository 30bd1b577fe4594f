"""Who is in the cluster, as one node knows it: SWIM as a state machine without I/O, clock or threads.

A. Das, I. Gupta, A. Motivala: SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol, 2002:
probes and indirect probes, rumours on the back of them, suspicion and incarnation numbers.
A. Dadgar, J. Phillips, J. Currey: Lifeguard: Local Health Awareness for More Accurate Failure Detection, 2018: local
health, suspicions that end sooner when shared, and the buddy system.
docs/membership.md has the numbers, and where this differs from the papers.
It is long because it is the whole protocol: what is done when is read in one place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mpreg_lab.protocol.messages import Ack, Belief, Gossip, Member, NodeState, Ping, PingRequest, Pull, Rumour
from mpreg_lab.types import NodeName

from ._beliefs import Back, Beliefs, Changed, Event, Joined, Lost, Suspected
from ._roster import Record, Roster, Round
from ._rumours import Timing
from ._timers import Alarm, Timers

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


class Membership:
    """One node's view of the cluster.

    Every method that takes `now_s` is one step. The messages that it gives back must be sent, and `take_events` called,
    after it. Time is any clock that never goes back.

    Args:
        itself: The node's own description.
        rng: The only source of chance. None: one that is seeded with the name.
        roster: Who is known at the beginning, `itself` among them. None: nobody else.
    """

    def __init__(
        self,
        itself: Member,
        *,
        rng: random.Random | None = None,
        timing: Timing | None = None,
        roster: Roster | None = None,
    ) -> None:
        self._name = itself.name
        self._rng = rng or random.Random(itself.name)
        self._timing = timing or Timing()
        self._roster = Roster([itself]) if roster is None else roster
        self._round = Round(self._rng)
        self._left = False
        self._number = 0
        self._probes: dict[int, _Probe] = {}
        self._relays: dict[int, _Relay] = {}
        self._asked_s: dict[NodeName, float] = {}
        self._differs_since_s: float | None = None
        self._heard_s = 0.0
        self._alone = False
        self._timers = Timers(self._probes)
        self._beliefs = Beliefs(self._name, self._roster, self._timing, self._rng, self._timers)

    # --- the table ---

    @property
    def itself(self) -> Member:
        """This node's own description."""
        return self._beliefs.mine.member

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, this node included, in the order in which they became known."""
        return tuple(record.member for record in self._roster if record.live)

    @property
    def others(self) -> tuple[Member, ...]:
        """All but this node."""
        return tuple(member for member in self.members if member.name != self._name)

    @property
    def beliefs(self) -> tuple[Belief, ...]:
        """What this node thinks of all others that it has heard of and not forgotten."""
        others = (record for record in self._roster if record.member.name != self._name)
        return tuple(Belief(record.member.name, record.state) for record in others)

    @property
    def size(self) -> int:
        """How many members there are, this node included."""
        return self._roster.live

    def get(self, name: NodeName) -> Member | None:
        """The member of that name."""
        record = self._roster.get(name)
        return record.member if record is not None and record.live else None

    def address(self, name: NodeName) -> Member | None:
        """Where a node is or was: also one that is lost, which is tried again."""
        record = self._roster.get(name)
        return None if record is None else record.member

    def state(self, name: NodeName) -> NodeState | None:
        """What is thought of a node; None if it is not known."""
        record = self._roster.get(name)
        return None if record is None else record.state

    def incarnation(self, name: NodeName) -> tuple[int, int] | None:
        """Generation and incarnation of a node, which never go back; None if it is not known."""
        record = self._roster.get(name)
        return None if record is None else (record.member.generation, record.incarnation)

    def order(self, names: tuple[NodeName, ...]) -> None:
        """Keep the members in this order, those not named last: every node then lists them alike."""
        self._roster.order(names)

    def update(self, member: Member) -> bool:
        """Take in a description of a node, perhaps of this one; whether it was news.

        A node that is lost does not come back by it, unless it began a new life: it may be old. `ask` it.
        """
        return self._beliefs.update(member)

    def take_events(self) -> list[Event]:
        """What happened since the last time."""
        events, self._beliefs.events = self._beliefs.events, []
        return events

    # --- steps ---

    @property
    def due_s(self) -> float | None:
        """When `tick` must be called next; None: never, unless something else happens."""
        return None if self._silent else self._timers.due_s

    def start(self, now_s: float) -> None:
        """Begin to probe, at a random moment of the first period: nodes that start together do not probe together."""
        self._heard_s = now_s
        self._timers.at(now_s + self._rng.random() * self._timing.period_s, Alarm.PROBE)

    def tick(self, now_s: float) -> list[Send]:
        """Do what is due."""
        out: list[Send] = []
        if not self._silent:
            self._forgive(now_s)
            while (due := self._timers.pop(now_s)) is not None:
                alarm, key = due
                _ALARMS[alarm](self, key, now_s, out)
        return out

    def handle(self, message: Heartbeat, now_s: float) -> list[Send]:
        """Take a message from another node."""
        out: list[Send] = []
        if not self._silent:
            self._forgive(now_s)
            self._heard_s, self._alone = now_s, False
            _HANDLERS[type(message)](self, message, now_s, out)
        return out

    def ask(self, name: NodeName, now_s: float) -> list[Send]:
        """See whether a node is there, be it a member or lost."""
        out: list[Send] = []
        record = self._roster.get(name)
        if record is not None and self._is_other(name):
            self._probe(record, now_s, out)
        elif not self._silent and record is not None:
            self._ping(name, now_s, out)
        return out

    @property
    def awaited(self) -> frozenset[NodeName]:
        """The nodes of which a sign of life would count now."""
        probed = (probe.target for probe in self._probes.values())
        return self._beliefs.suspects.union(probed, (relay.target for relay in self._relays.values()))

    def spoke(self, name: NodeName, at_s: float, now_s: float) -> list[Send]:
        """A node said something then, on a connection for other things: that is as good as an answer.

        A node in the middle of a large value, on a machine that has much else to do, answers late, but is there.
        """
        if self._silent:
            return []
        self._forgive(now_s)
        if at_s > self._heard_s:
            self._heard_s, self._alone = at_s, False
        for number in [n for n, probe in self._probes.items() if probe.target == name and probe.began_s <= at_s]:
            del self._probes[number]
            self._reached(name)
        heard = [n for n, relay in self._relays.items() if relay.target == name and relay.began_s <= at_s]
        relays = [self._relays.pop(number) for number in heard]
        self._beliefs.postpone(name, at_s)
        return [Send(relay.asker, self._ack(relay.number)) for relay in relays]

    def broken(self, name: NodeName, now_s: float) -> list[Send]:
        """A connection to that node has ended: ask it at once."""
        if not self._is_other(name):
            return []
        self._beliefs.doubt(name)
        return self.ask(name, now_s)

    def refused(self, name: NodeName, now_s: float) -> list[Send]:
        """Nobody listens where that node should be: it is lost, unless others reach it at once."""
        out: list[Send] = []
        for number in [number for number, relay in self._relays.items() if relay.target == name]:
            self._give_up_relay(number, now_s, out)
        record = self._roster.get(name)
        if record is None or not self._is_other(name):
            return out
        if not any(probe.refused and probe.is_of(record) for probe in self._probes.values()):
            self._beliefs.doubt(name)
            number = self._next_number()
            self._probes[number] = probe = _Probe(record, now_s, refused=True)
            self._timers.at(now_s + self._timing.refused_s * (1 + self._beliefs.health), Alarm.JUDGE, number)
            self._ask_helpers(number, now_s, out)
            if not probe.asked:
                self._judge(number, now_s, out)
        return out

    def leave(self, now_s: float) -> list[Send]:
        """Say goodbye. From then on this node is silent."""
        if self._silent:
            return []
        self._left = True
        self._roster.put(msgspec.structs.replace(self._beliefs.mine, state=NodeState.LEFT))
        return self._tell_some(self._name, now_s, _GOODBYES)

    def left(self, name: NodeName, now_s: float, generation: int | None = None) -> None:
        """A node has said goodbye, in that life of it. None: in the one that is known."""
        record = self._roster.get(name)
        if record is None or not self._is_live_other(record):
            return
        if generation is None or generation >= record.member.generation:
            self._beliefs.bury(record, NodeState.LEFT, now_s)

    def _forgive(self, now_s: float) -> None:
        """If this process itself was stopped or starved, nobody else is to blame: everything is due so much later."""
        due_s = self._timers.due_s
        late_s = 0.0 if due_s is None else now_s - due_s
        if late_s > self._timing.pause_s:
            if late_s > self._timing.stop_s:
                late_s += self._timing.period_s
            self._timers.put_off(late_s)
            self._beliefs.put_off(late_s)
            self._beliefs.fitter(-1)
            self._heard_s += late_s

    # --- probes ---

    def _probe_next(self, _: None, now_s: float, out: list[Send]) -> None:
        self._timers.at(now_s + self._timing.probe_every_s(self._roster.live), Alarm.PROBE)
        self._look_whether_alone(now_s)
        record = self._round.next(self._roster, self._is_live_other)
        if record is not None:
            self._probe(record, now_s, out)

    def _probe(self, record: Record, now_s: float, out: list[Send]) -> None:
        timing, wait = self._timing, 1 + self._beliefs.health
        number = self._ping(record.member.name, now_s, out)
        self._probes[number] = _Probe(record, now_s)
        self._timers.at(now_s + timing.direct_s * wait, Alarm.ASK_HELPERS, number)
        self._timers.at(now_s + timing.period_s * wait, Alarm.JUDGE, number)

    def _ping(self, name: NodeName, now_s: float, out: list[Send]) -> int:
        number = self._next_number()
        rumours = self._beliefs.rumours_for(name, now_s)
        out.append(Send(name, Ping(self._name, name, number, self._roster.digest, rumours)))
        return number

    def _ask_helpers(self, number: int, now_s: float, out: list[Send]) -> None:
        probe = self._probes[number]
        helpers = self._roster.sample(
            self._timing.helpers,
            self._rng,
            lambda record: record.state is NodeState.ALIVE and record.member.name not in (self._name, probe.target),
        )
        probe.asked = len(helpers)
        for helper in helpers:
            name = helper.member.name
            rumours = self._beliefs.rumours_for(name, now_s)
            out.append(Send(name, PingRequest(self._name, number, probe.target, rumours)))

    def _judge(self, number: int, now_s: float, out: list[Send]) -> None:
        """Nobody has reached the node in time."""
        probe = self._probes.pop(number)
        record = self._roster.get(probe.target)
        if record is not None and not probe.is_of(record):
            return  # It was started again meanwhile: what its former life did not answer says nothing of this one.
        if not probe.refused:
            self._beliefs.fitter(-(probe.asked - probe.nacks if probe.asked else 1))
        if record is None or not record.live:
            return
        if probe.refused:
            self._beliefs.bury(record, NodeState.LOST, now_s)
            out += self._tell_some(probe.target, now_s, self._timing.helpers)
        elif self._beliefs.suspect(record, now_s):
            # The buddy system (Lifeguard, section IV-C): the suspect hears of it first, and may contradict.
            self._ping(probe.target, now_s, out)

    def _retry(self, name: NodeName, now_s: float, out: list[Send]) -> None:
        """Ask a lost node: it hears that, and contradicts. So two halves of a cluster find each other again."""
        if self._beliefs.retry(name, now_s):
            self._ping(name, now_s, out)

    def _end_suspicion(self, name: NodeName, now_s: float, _: list[Send]) -> None:
        self._beliefs.end_suspicion(name, now_s)

    def _forget(self, name: NodeName, _: float, __: list[Send]) -> None:
        self._beliefs.forget(name)

    def _look_whether_alone(self, now_s: float) -> None:
        """Who hears nobody at all cannot wait until it has probed all others, nor until they share a suspicion."""
        if not self._alone and now_s - self._heard_s >= self._timing.silence_s:
            self._alone = True
            for record in filter(self._is_live_other, list(self._roster)):
                self._beliefs.suspect(record, now_s)
            self._timers.at(now_s + self._timing.least_suspicion_s, Alarm.GIVE_UP_ALL)

    def _give_up_all(self, _: None, now_s: float, __: list[Send]) -> None:
        """All had time enough to be heard of."""
        if now_s - self._heard_s >= self._timing.silence_s + self._timing.least_suspicion_s:
            for record in filter(self._is_live_other, list(self._roster)):
                self._beliefs.bury(record, NodeState.LOST, now_s)

    # --- messages ---

    def _on_ping(self, ping: Ping, now_s: float, out: list[Send]) -> None:
        if ping.to != self._name:
            return  # The address was another node's before.
        sender = ping.sender
        self._hear(sender, ping.rumours, ping.digest, now_s, out)
        if self._roster.get(sender) is None:
            self._pull(sender, [sender], now_s, out)
        out.append(Send(sender, self._ack(ping.number, rumours=self._beliefs.rumours_for(sender, now_s))))

    def _on_ack(self, ack: Ack, now_s: float, out: list[Send]) -> None:
        self._hear(ack.sender, ack.rumours, ack.digest, now_s, out)
        relay = self._relays.pop(ack.number, None)
        if relay is not None:
            out.append(Send(relay.asker, self._ack(relay.number)))
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

    def _reached(self, name: NodeName) -> None:
        self._beliefs.fitter(1)
        record = self._roster.get(name)
        if record is not None:
            self._beliefs.trust(record)

    def _on_ping_request(self, request: PingRequest, now_s: float, out: list[Send]) -> None:
        self._hear(request.sender, request.rumours, None, now_s, out)
        record = self._roster.get(request.target)
        if record is None or not record.live:
            out.append(Send(request.sender, self._ack(request.number, reached=False)))
            return
        number = self._ping(request.target, now_s, out)
        self._relays[number] = _Relay(request.sender, request.number, request.target, now_s)
        # Before the asker's own wait ends, so that it can tell a slow helper from a dead target.
        self._timers.at(now_s + self._timing.relay_s, Alarm.GIVE_UP_RELAY, number)

    def _give_up_relay(self, number: int, _: float, out: list[Send]) -> None:
        relay = self._relays.pop(number, None)
        if relay is not None:
            out.append(Send(relay.asker, self._ack(relay.number, reached=False)))

    def _on_gossip(self, gossip: Gossip, now_s: float, out: list[Send]) -> None:
        for member in gossip.members:
            self._asked_s.pop(member.name, None)
            if member.name != self._name:
                self._beliefs.update(member)
        self._hear(gossip.sender, gossip.rumours, None, now_s, out)

    def _on_pull(self, pull: Pull, now_s: float, out: list[Send]) -> None:
        records = [record for record in map(self._roster.get, pull.names) if record is not None]
        members = tuple(record.member for record in records if record.live)
        rumours = tuple(self._beliefs.rumour(record, now_s) for record in (records if pull.names else self._roster))
        out.append(Send(pull.sender, Gossip(self._name, rumours, members)))

    # --- what travels ---

    def _hear(
        self, sender: NodeName, rumours: tuple[Rumour, ...], digest: int | None, now_s: float, out: list[Send]
    ) -> None:
        if rumours:
            known = len(self._beliefs.events)
            wanted = self._beliefs.hear(rumours, now_s)
            if wanted:
                self._pull(sender, wanted, now_s, out)
            self._check_suspects(known, now_s, out)
        if digest == self._roster.digest:
            self._differs_since_s = None
        elif digest is not None:
            self._note_difference(sender, now_s, out)

    def _check_suspects(self, known: int, now_s: float, out: list[Send]) -> None:
        """See at once, some of all nodes, whether others suspect rightly: a suspicion that is shared ends sooner."""
        if self._timing.wanted(self._roster.live):
            for event in self._beliefs.events[known:]:
                if isinstance(event, Suspected) and self._rng.random() * self._roster.live < self._timing.checks:
                    out += self.ask(event.name, now_s)

    def _note_difference(self, sender: NodeName, now_s: float, out: list[Send]) -> None:
        """Rumours may all have missed this node: if others know something else for long, ask one for everything."""
        if self._differs_since_s is None:
            self._differs_since_s = now_s
        elif now_s - self._differs_since_s > self._timing.differ_s:
            self._differs_since_s = None
            out.append(Send(sender, Pull(self._name)))

    def _pull(self, sender: NodeName, names: list[NodeName], now_s: float, out: list[Send]) -> None:
        again_s = now_s - self._timing.period_s
        names = [name for name in names if self._asked_s.get(name, again_s) <= again_s]
        if names:
            self._asked_s.update(dict.fromkeys(names, now_s))
            out.append(Send(sender, Pull(self._name, tuple(names))))

    def _ack(self, number: int, *, rumours: tuple[Rumour, ...] = (), reached: bool = True) -> Ack:
        return Ack(self._name, number, self._roster.digest, rumours, reached)

    def _tell_some(self, name: NodeName, now_s: float, count: int) -> list[Send]:
        record = self._roster.get(name)
        assert record is not None
        message = Gossip(self._name, (self._beliefs.rumour(record, now_s),))
        told = self._roster.sample(count, self._rng, self._is_live_other)
        return [Send(other.member.name, message) for other in told]

    # --- small questions ---

    @property
    def _silent(self) -> bool:
        return self._left or self._beliefs.replaced

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _is_live_other(self, record: Record) -> bool:
        return record.state <= NodeState.SUSPECTED and record.member.name != self._name

    def _is_other(self, name: NodeName) -> bool:
        record = self._roster.get(name)
        return not self._silent and record is not None and self._is_live_other(record)


class _Probe:
    """Whether one life of a node is there."""

    __slots__ = ("asked", "began_s", "generation", "nacks", "refused", "target")

    def __init__(self, record: Record, began_s: float, *, refused: bool = False) -> None:
        self.target = record.member.name
        self.generation = record.member.generation
        self.began_s = began_s
        self.refused = refused
        self.asked = 0
        self.nacks = 0

    def is_of(self, record: Record) -> bool:
        """Whether it is of the life that is known now."""
        return (self.target, self.generation) == (record.member.name, record.member.generation)


class _Relay(NamedTuple):
    asker: NodeName
    number: int
    target: NodeName
    began_s: float


_GOODBYES = 8

_ALARMS: dict[Alarm, Callable[[Membership, Any, float, list[Send]], None]] = {
    Alarm.PROBE: Membership._probe_next,
    Alarm.ASK_HELPERS: Membership._ask_helpers,
    Alarm.JUDGE: Membership._judge,
    Alarm.GIVE_UP_RELAY: Membership._give_up_relay,
    Alarm.END_SUSPICION: Membership._end_suspicion,
    Alarm.RETRY: Membership._retry,
    Alarm.FORGET: Membership._forget,
    Alarm.GIVE_UP_ALL: Membership._give_up_all,
}

_HANDLERS: dict[type, Callable[[Membership, Any, float, list[Send]], None]] = {
    Ping: Membership._on_ping,
    Ack: Membership._on_ack,
    PingRequest: Membership._on_ping_request,
    Gossip: Membership._on_gossip,
    Pull: Membership._on_pull,
}
