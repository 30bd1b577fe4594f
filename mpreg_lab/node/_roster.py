"""The table of all nodes that one node has heard of, and the random order in which it visits them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from zlib import crc32

import msgspec

from mpreg_lab.protocol.messages import Member, NodeState
from mpreg_lab.types import NodeName

__all__ = ["Record", "Roster", "Round"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """What is known of one node. `member` is its newest description; that of a lost node stays for its address."""

    member: Member
    incarnation: int = 0
    state: NodeState = NodeState.ALIVE

    @property
    def live(self) -> bool:
        """Whether it counts as a member: alive or suspected."""
        return self.state <= NodeState.SUSPECTED


class Roster:
    """Records by name, in the order in which the nodes became known.

    Copies share what was there when they were made: 10,000 nodes of a simulation need no 10,000 tables.

    Attributes:
        live: How many are members. digest: Stands for their names and descriptions, in whatever order they came.
    """

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._shared: dict[NodeName, Record] = {}
        self._shared_names: tuple[NodeName, ...] = ()
        self._own: dict[NodeName, Record | None] = {}
        self._names: list[NodeName] = []
        self.live = 0
        self.digest = 0
        for member in members:
            self.put(Record(member))

    def copy(self) -> Roster:
        """Another table of the same content; this one must not change any more."""
        if self._own:
            self._shared = {record.member.name: record for record in self}
            self._shared_names = tuple(self._shared)
            self._own, self._names = {}, []
        copy = Roster()
        copy._shared, copy._shared_names = self._shared, self._shared_names
        copy.live, copy.digest = self.live, self.digest
        return copy

    def __len__(self) -> int:
        """How many places there are to visit; some may be empty."""
        return len(self._shared_names) + len(self._names)

    def __iter__(self) -> Iterator[Record]:
        for name, shared in self._shared.items():
            record = self._own.get(name, shared)
            if record is not None:
                yield record
        for name, record in self._own.items():
            if record is not None and name not in self._shared:
                yield record

    def get(self, name: NodeName) -> Record | None:
        """What is known of a node."""
        own = self._own
        return own[name] if name in own else self._shared.get(name)

    def at(self, place: int) -> Record | None:
        """The record at one of the places; None if it is empty."""
        first = len(self._shared_names)
        return self.get(self._shared_names[place] if place < first else self._names[place - first])

    def put(self, record: Record) -> None:
        """Replace what is known of a node."""
        name = record.member.name
        before = self.get(name)
        if before is None:
            if name not in self._shared:
                self._names.append(name)
        elif before.live:
            self._count(before.member, -1)
        if record.live:
            self._count(record.member, 1)
        self._own[name] = record

    def forget(self, name: NodeName) -> None:
        """Know nothing of a node any more."""
        record = self.get(name)
        if record is None:
            return
        if record.live:
            self._count(record.member, -1)
        if name in self._shared:
            self._own[name] = None
        else:
            del self._own[name]
            self._names.remove(name)

    def order(self, names: Iterable[NodeName]) -> None:
        """List these first, in this order."""
        place = {name: i for i, name in enumerate(names)}
        self._own = dict(sorted(self._own.items(), key=lambda item: place.get(item[0], len(place))))

    def sample(self, count: int, rng: random.Random, wanted: Callable[[Record], bool]) -> list[Record]:
        """Up to so many different records at random, of those that are wanted; all are looked at if there are few."""
        size = len(self)
        found = []
        for place in rng.sample(range(size), min(size, 4 * count + 4)):
            record = self.at(place)
            if record is not None and wanted(record):
                found.append(record)
                if len(found) == count:
                    break
        return found

    def _count(self, member: Member, step: int) -> None:
        self.live += step
        self.digest ^= crc32(f"{member.name}\0{member.generation}\0{member.version}".encode())


class Round:
    """Visits each place of a roster once a round, in an order drawn anew for each round (SWIM, section 4.3).

    That bounds the time until a dead node is probed. A place that is added in the middle of a round has the same chance
    as those not visited yet. The order is drawn as it is walked, so it costs no more memory than the places visited.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._visited = 0
        self._moved: dict[int, int] = {}

    def next(self, roster: Roster, wanted: Callable[[Record], bool]) -> Record | None:
        """The next record that is wanted; None if a whole round has none."""
        for _ in range(2 * len(roster)):
            record = roster.at(self._place(len(roster)))
            if record is not None and wanted(record):
                return record
        return None

    def _place(self, size: int) -> int:
        if self._visited >= size:
            self._visited = 0
            self._moved.clear()
        at, moved = self._visited, self._moved
        self._visited += 1
        picked = at + int(self._rng.random() * (size - at))
        place = moved.get(picked, picked)
        last = moved.pop(at, at)
        if picked != at:
            moved[picked] = last
        return place
