"""What one node believes of all others, and how rumours change it. Half of membership.py, which asks and answers."""

from __future__ import annotations

import random

import msgspec

from mpreg_lab.protocol.messages import Member, NodeState, Rumour
from mpreg_lab.types import NodeName

from ._roster import Record, Roster
from ._rumours import News, Suspicion, Timing
from ._timers import Alarm, Timers

__all__ = ["Back", "Beliefs", "Changed", "Event", "Joined", "Lost", "Suspected"]


class Joined(msgspec.Struct, frozen=True):
    """A node that was not known."""

    member: Member


class Changed(msgspec.Struct, frozen=True):
    """A member describes itself anew."""

    member: Member


class Suspected(msgspec.Struct, frozen=True):
    """A member may be gone: better choose another."""

    name: NodeName


class Lost(msgspec.Struct, frozen=True):
    """A member is gone: it died, cannot be reached, began a new life, or left."""

    name: NodeName


class Back(msgspec.Struct, frozen=True):
    """A node that was suspected or lost is there."""

    member: Member


Event = Joined | Changed | Suspected | Lost | Back


class Beliefs:
    """The table, what there is to tell of it, and the suspicions that may become losses.

    Attributes:
        health: Local health (Lifeguard, section IV-A): 0 is well; the higher, the longer it waits before it blames.
        replaced: Whether another node has taken the name; then this one is silent, for two must not fight for it.
    """

    def __init__(self, name: NodeName, roster: Roster, timing: Timing, rng: random.Random, timers: Timers) -> None:
        self.events: list[Event] = []
        self.health = 0
        self.replaced = False
        self._name = name
        self._roster = roster
        self._timing = timing
        self._rng = rng
        self._timers = timers
        self._news = News()
        self._suspicions: dict[NodeName, Suspicion] = {}
        self._doubted: set[NodeName] = set()
        self._retries_s: dict[NodeName, float] = {}

    @property
    def mine(self) -> Record:
        """What this node says of itself."""
        record = self._roster.get(self._name)
        assert record is not None
        return record

    # --- what is told ---

    def rumours_for(self, to: NodeName, now_s: float) -> tuple[Rumour, ...]:
        """What rides on a message. Who is thought to be gone hears that, so that it can contradict, and who says so."""
        record = self._roster.get(to)
        if record is not None and record.state is not NodeState.ALIVE:
            return self.rumour(record, now_s), self.rumour(self.mine, now_s)
        if not self._news:
            return ()
        names = self._news.take(self._timing.rumours_a_message, self._timing.transmissions(self._roster.live))
        return tuple(self.rumour(record, now_s) for record in map(self._roster.get, names) if record is not None)

    def rumour(self, record: Record, now_s: float) -> Rumour:
        """What this node says of another. A suspicion tells its age, so that all nodes end it at about one time."""
        member = record.member
        suspicion = self._suspicions.get(member.name)
        age_s, by = (0.0, ()) if suspicion is None else (now_s - suspicion.began_s, suspicion.by)
        return Rumour(member.name, member.generation, record.incarnation, member.version, record.state, age_s, by)

    # --- what is heard ---

    def update(self, member: Member) -> bool:
        """Take in a description; see Membership.update."""
        if member.name == self._name:
            return self._update_mine(member)
        known = self._roster.get(member.name)
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

    def hear(self, rumours: tuple[Rumour, ...], now_s: float) -> list[NodeName]:
        """Take in rumours; the names of those whose descriptions are wanted."""
        wanted = []
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
        return wanted

    def _believe(self, record: Record, rumour: Rumour, now_s: float) -> None:
        """Of two rumours of one life the higher incarnation counts, of one incarnation the worse state."""
        generation = record.member.generation
        if rumour.generation > generation and rumour.state > NodeState.SUSPECTED:
            self.bury(record, rumour.state, now_s)
            # Nobody has described that life to us: if it contradicts, the description is asked for first.
            member = msgspec.structs.replace(record.member, generation=rumour.generation, version=-1)
            self._put(Record(member, rumour.incarnation, rumour.state))
        if rumour.generation != generation or (not record.live and rumour.version > record.member.version):
            return
        if (rumour.incarnation, rumour.state) > (record.incarnation, record.state):
            told = Record(record.member, rumour.incarnation, rumour.state)
            if rumour.state is NodeState.ALIVE:
                self._revive(record, told)
            elif rumour.state is NodeState.SUSPECTED:
                self._revive(record, told)
                self._suspect(told, now_s - rumour.age_s, rumour.suspected_by)
            else:
                self.bury(record, rumour.state, now_s, incarnation=rumour.incarnation)
        elif rumour.state is record.state is NodeState.SUSPECTED and rumour.incarnation == record.incarnation:
            self._confirm(rumour.name, rumour.suspected_by)

    def _contradict(self, rumour: Rumour) -> None:
        """Someone thinks that this node is gone, or remembers a later life of it than this one."""
        mine = self.mine
        generation = mine.member.generation
        if rumour.generation > generation and rumour.state <= NodeState.SUSPECTED:
            self.replaced = True
        elif rumour.generation > generation:
            self._outlive(rumour.generation)
        elif rumour.generation == generation and (rumour.incarnation, rumour.state) > (mine.incarnation, mine.state):
            worse = rumour.state is not NodeState.ALIVE
            self._put(msgspec.structs.replace(mine, incarnation=rumour.incarnation + worse))
            self.fitter(-1)
        elif rumour.state is not NodeState.ALIVE:
            # It was contradicted before, but perhaps into connections that nobody read any more.
            self._news.add(self._name)

    # --- what this node finds out itself ---

    def fitter(self, step: int) -> None:
        """The node works as it should, or (less than 0) does not."""
        self.health = min(self._timing.max_health, max(0, self.health - step))

    def doubt(self, name: NodeName) -> None:
        """Something is wrong with that node."""
        if name not in self._doubted:
            self._doubted.add(name)
            self.events.append(Suspected(name))

    def trust(self, record: Record) -> None:
        """An alive node has answered: no doubt is left."""
        if record.member.name in self._doubted and record.state is NodeState.ALIVE:
            self._doubted.discard(record.member.name)
            self.events.append(Back(record.member))

    def suspect(self, record: Record, now_s: float) -> bool:
        """A live node has not answered; whether it was above suspicion before."""
        if record.state is NodeState.ALIVE:
            self._suspect(record, now_s, (self._name,))
            return True
        self._confirm(record.member.name, (self._name,))
        return False

    def bury(self, record: Record, state: NodeState, now_s: float, *, incarnation: int | None = None) -> None:
        """A node is gone. It is remembered for a while, so that old rumours do not revive it."""
        name = record.member.name
        self._put(Record(record.member, record.incarnation if incarnation is None else incarnation, state))
        self._suspicions.pop(name, None)
        self._doubted.discard(name)
        if record.live:
            self.events.append(Lost(name))
            self._timers.at(now_s + self._timing.forget_s, Alarm.FORGET, name)
        if state is NodeState.LOST and name not in self._retries_s:
            # Across the cluster about ten nodes a second try it, however many there are.
            self._retries_s[name] = max(self._timing.retry_s, self._roster.live / 10)
            self._schedule_retry(name, now_s)

    @property
    def suspects(self) -> frozenset[NodeName]:
        """The nodes that are thought to be gone, and have time to contradict."""
        return frozenset(self._suspicions)

    def postpone(self, name: NodeName, at_s: float) -> None:
        """A suspect was there at that time: if it is to be lost, then for its silence from then on."""
        suspicion = self._suspicions.get(name)
        if suspicion is not None and suspicion.began_s < at_s:
            suspicion.began_s = at_s
            self._schedule_end(name)

    def end_suspicion(self, name: NodeName, now_s: float) -> None:
        """The node had time enough to contradict."""
        suspicion, record = self._suspicions.get(name), self._roster.get(name)
        if suspicion is not None and record is not None and suspicion.ends_s <= now_s:
            self.bury(record, NodeState.LOST, now_s)

    def retry(self, name: NodeName, now_s: float) -> bool:
        """Whether a lost node should be asked now; the next time will be later."""
        record = self._roster.get(name)
        if record is None or record.state is not NodeState.LOST or name not in self._retries_s:
            return False
        most_s = max(self._timing.retry_at_most_s, self._roster.live / 10)
        self._retries_s[name] = min(most_s, 2 * self._retries_s[name])
        self._schedule_retry(name, now_s)
        return True

    def forget(self, name: NodeName) -> None:
        """The node has been gone for long."""
        record = self._roster.get(name)
        if record is not None and not record.live:
            self._roster.forget(name)
            self._news.drop(name)
            self._retries_s.pop(name, None)

    def put_off(self, late_s: float) -> None:
        """This process was stopped for so long: the suspects had that much less time."""
        for suspicion in self._suspicions.values():
            suspicion.began_s += late_s
            suspicion.ends_s += late_s

    # --- changes of the table ---

    def _put(self, record: Record) -> None:
        self._roster.put(record)
        self._news.add(record.member.name)

    def _update_mine(self, member: Member) -> bool:
        itself = self.mine.member
        if member.generation > itself.generation:
            self._outlive(member.generation)
        elif member.generation == itself.generation and member.version > itself.version:
            self._put(msgspec.structs.replace(self.mine, member=member))
            return True
        return False

    def _outlive(self, generation: int) -> None:
        """Others remember a former life of this node that a faster clock dated later: count on from there."""
        self._put(Record(msgspec.structs.replace(self.mine.member, generation=generation + 1)))

    def _suspect(self, record: Record, began_s: float, by: tuple[NodeName, ...]) -> None:
        name = record.member.name
        self._put(msgspec.structs.replace(record, state=NodeState.SUSPECTED))
        self._suspicions[name] = Suspicion(began_s, by)
        self._schedule_end(name)
        self.doubt(name)

    def _confirm(self, name: NodeName, by: tuple[NodeName, ...]) -> None:
        at_most = 1 + self._timing.wanted(self._roster.live)
        if self._suspicions[name].confirm(by, at_most):
            self._news.add(name)
            self._schedule_end(name)

    def _revive(self, known: Record, told: Record) -> None:
        name = told.member.name
        doubted = name in self._doubted or not known.live
        self._put(told)
        self._forget_doubts(name)
        if doubted:
            self.events.append(Back(told.member))

    def _begin_anew(self, known: Record, member: Member) -> None:
        if known.live:
            self.events.append(Lost(member.name))
        self._forget_doubts(member.name)
        self._put(Record(member))
        self.events.append(Back(member))

    def _forget_doubts(self, name: NodeName) -> None:
        self._suspicions.pop(name, None)
        self._doubted.discard(name)
        self._retries_s.pop(name, None)

    def _schedule_end(self, name: NodeName) -> None:
        suspicion = self._suspicions[name]
        lasts_s = self._timing.suspicion_s(self._roster.live, len(suspicion.by) - 1)
        suspicion.ends_s = suspicion.began_s + lasts_s
        self._timers.at(suspicion.ends_s, Alarm.END_SUSPICION, name)

    def _schedule_retry(self, name: NodeName, now_s: float) -> None:
        self._timers.at(now_s + self._retries_s[name] * (0.5 + self._rng.random()), Alarm.RETRY, name)


def _life(rumour: Rumour) -> tuple[int, int]:
    return rumour.generation, rumour.version
