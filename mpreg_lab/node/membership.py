"""Who is in the cluster, as one node knows it: a pure table of members.

Filled from the list given at launch and from what nodes say of themselves; of two descriptions of a node the one with
the higher version counts.
"""

from __future__ import annotations

from mpreg_lab.protocol.messages import Member
from mpreg_lab.types import NodeName

__all__ = ["Membership"]


class Membership:
    """The members, in the order in which they became known."""

    def __init__(self, itself: Member) -> None:
        self._itself = itself.name
        self._members: dict[NodeName, Member] = {itself.name: itself}

    @property
    def itself(self) -> Member:
        """This node's own description."""
        return self._members[self._itself]

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them, this node included."""
        return tuple(self._members.values())

    @property
    def others(self) -> tuple[Member, ...]:
        """All but this node."""
        return tuple(member for member in self._members.values() if member.name != self._itself)

    def get(self, name: NodeName) -> Member | None:
        """The member of that name."""
        return self._members.get(name)

    def update(self, member: Member) -> bool:
        """Take in a description; whether it was news."""
        known = self._members.get(member.name)
        if known is not None and known.version >= member.version:
            return False
        self._members[member.name] = member
        return True

    def remove(self, name: NodeName) -> bool:
        """Forget a node; whether it was known. A node never forgets itself."""
        return name != self._itself and self._members.pop(name, None) is not None

    def order(self, names: tuple[NodeName, ...]) -> None:
        """Keep the members in this order, those not named last: every node then lists them alike."""
        place = {name: i for i, name in enumerate(names)}
        self._members = dict(sorted(self._members.items(), key=lambda item: place.get(item[0], len(place))))
