"""One node of another kind, and what a node of ours offers to it. A part of foreign.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mpreg_lab.protocol.dialect import Sighting
from mpreg_lab.protocol.messages import FunctionInfo, Member
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import FunctionName, NodeName, Resource

__all__ = ["Foreigner", "offers_of"]


class Foreigner:
    """One node of another kind."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.offers: dict[tuple[Resource, ...], dict[FunctionName, None]] = {}
        self.greeters: set[Peer] = set()
        """Open connections on which it said what it offers."""
        self.link: Peer | None = None
        """The connection that we dialled."""
        self.told: set[tuple[tuple[FunctionName, ...], tuple[Resource, ...]]] = set()
        """What we offered on it."""
        self.news = asyncio.Event()
        self.met: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keeper: asyncio.Task[None] | None = None

    def member(self, resources: tuple[Resource, ...]) -> Member:
        """The member that it is for one set of resources."""
        infos = tuple(FunctionInfo(name, resources) for name in self.offers[resources])
        return Member(self.name(resources), self.url, resources, infos)

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them."""
        return tuple(map(self.member, self.offers))

    def name(self, resources: tuple[Resource, ...]) -> NodeName:
        """What people call that member."""
        return NodeName(f"{self.url} ({', '.join(resources)})" if resources else self.url)

    def sighting(self) -> Sighting:
        """What others are told of it."""
        functions = dict.fromkeys(name for names in self.offers.values() for name in names)
        resources = {name for names in self.offers for name in names}
        return Sighting(self.url, tuple(functions), tuple(sorted(resources)))


def offers_of(member: Member) -> Sequence[tuple[tuple[FunctionName, ...], tuple[Resource, ...]]]:
    """What a node offers for each set of resources: all functions for its own, some for those that they need.

    All would do; but nodes of theirs prefer one that offers a function for exactly the resources that are wanted.
    """
    everything = tuple(info.name for info in member.functions)
    sets: dict[tuple[Resource, ...], tuple[FunctionName, ...]] = {}
    for info in member.functions:
        if info.resources:
            sets[info.resources] = (*sets.get(info.resources, ()), info.name)
    sets[member.resources] = everything
    return [(functions, resources) for resources, functions in sets.items()]
