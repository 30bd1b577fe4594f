"""What a node still has to tell others, and when a suspicion becomes a certainty."""

from __future__ import annotations

from collections import OrderedDict
from math import log, log10

import msgspec

from mpreg_lab.types import NodeName

__all__ = ["News", "Suspicion", "Timing"]


class Timing(msgspec.Struct, frozen=True):
    """The numbers of the protocol. docs/membership.md says why they are what they are."""

    period_s: float = 0.4
    """As long as a probe takes, and in most clusters the next one waits."""
    hurried_s: float = 0.22
    hurried_up_to: int = 50
    direct_s: float = 0.15
    """After so long without an answer others are asked to try."""
    relay_s: float = 0.12
    """After so long a helper says that it has had no answer."""
    refused_s: float = 0.25
    """The same until a node whose door is shut counts as lost."""
    helpers: int = 3
    max_health: int = 3
    suspicion_mult: float = 4.0
    least_suspicion_s: float = 2.0
    longest_suspicion: float = 2.0
    """How many times longer a suspicion lasts that nobody shares."""
    confirmations: int = 3
    checks: int = 20
    """About so many nodes, whatever the size of the cluster, probe a node at once that another one suspects."""
    silence_s: float = 1.2
    """Who hears nobody at all for so long takes itself for cut off, and suspects everybody."""
    retransmit_mult: int = 4
    rumours_a_message: int = 8
    pause_s: float = 0.1
    """A tick that comes so much too late means that this very process was stopped or starved."""
    stop_s: float = 1.0
    """After being stopped for longer it also waits a period, to hear what others said meanwhile."""
    retry_s: float = 1.0
    """Until a lost node is first tried again; each time twice as long, up to `retry_at_most_s`."""
    retry_at_most_s: float = 5.0
    forget_s: float = 600.0
    """So long a node that is gone is remembered: old rumours cannot revive it."""
    differ_s: float = 5.0
    """So long two nodes may know different things before one asks the other for everything."""

    def suspicion_s(self, nodes: int, confirmed: int) -> float:
        """How long a suspicion lasts that so many others share (Lifeguard, section IV-B)."""
        least = max(self.least_suspicion_s, self.suspicion_mult * log10(max(nodes, 10)) * self.period_s)
        wanted = self.wanted(nodes)
        if confirmed >= wanted:
            return least
        longest = least * self.longest_suspicion
        return max(least, longest - (longest - least) * log(confirmed + 1) / log(wanted + 1))

    def wanted(self, nodes: int) -> int:
        """How many others must share a suspicion; none in small clusters, where one node may be cut off from all."""
        return min(self.confirmations, max(0, nodes - 2) // 4)

    def probe_every_s(self, nodes: int) -> float:
        """Seconds from one probe to the next.

        Shorter where a suspicion must be shared, so that a dead node is not missed by all for periods on end by chance;
        a period in big clusters, where suspicions last longer than that anyway.
        """
        return self.hurried_s if self.wanted(nodes) and nodes <= self.hurried_up_to else self.period_s

    def transmissions(self, nodes: int) -> int:
        """How often each node passes a rumour on (SWIM, section 4.1)."""
        return self.retransmit_mult * max(1, -int(-log10(nodes + 1) // 1))


class Suspicion:
    """One node is thought to be gone."""

    def __init__(self, began_s: float, by: tuple[NodeName, ...]) -> None:
        self.began_s = began_s
        self.by = by
        self.ends_s = 0.0

    def confirm(self, by: tuple[NodeName, ...], at_most: int) -> bool:
        """Others think so too; whether that is news. More than `at_most` are not counted."""
        news = tuple(name for name in by if name not in self.by)[: max(0, at_most - len(self.by))]
        self.by += news
        return bool(news)


class News:
    """The names of which there is something to tell, and how often it was told: the freshest first."""

    def __init__(self) -> None:
        self._told: OrderedDict[NodeName, int] = OrderedDict()

    def add(self, name: NodeName) -> None:
        """There is something new of this node."""
        self._told[name] = 0
        self._told.move_to_end(name, last=False)

    def drop(self, name: NodeName) -> None:
        """There is nothing to tell of it any more."""
        self._told.pop(name, None)

    def take(self, count: int, times: int) -> list[NodeName]:
        """Up to so many names for one message; each is given out `times` times."""
        told = self._told
        names = []
        for _ in range(min(count, len(told))):
            name, before = told.popitem(last=False)
            names.append(name)
            if before + 1 < times:
                told[name] = before + 1
        return names

    def __len__(self) -> int:
        return len(self._told)
