"""The membership of a cluster, simulated: mpreg_lab/node/membership.py as it is, on a clock and a network of our own.

Everything follows from the seed: the same seed gives the same trace, message for message; its hash is printed.

    python benchmarks/membership_sim.py            the whole table, some minutes on two processors
    python benchmarks/membership_sim.py --quick    100 nodes, 10 seeds
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from heapq import heappop, heappush
from typing import Any, NamedTuple
from zlib import crc32

from mpreg_lab.node.membership import Back, Heartbeat, Joined, Lost, Membership, Roster, Send, Timing
from mpreg_lab.protocol.messages import Member, Ping
from mpreg_lab.types import NodeName

Cut = Callable[[NodeName, NodeName], bool]


class Network:
    """Nodes, and messages that take their time and get lost, on a clock that jumps from one happening to the next.

    Args:
        loss: The share of messages that get lost.
        delay_s: Shortest and longest way of a message. Messages overtake each other.

    Attributes:
        cut: Says of two nodes whether nothing gets from the first to the second.
        lost_s: For each node that was lost, when each other node heard of it.
        messages: How many were sent, by sender.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        loss: float = 0.0,
        delay_s: tuple[float, float] = (0.001, 0.02),
        timing: Timing | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.loss = loss
        self.delay_s = delay_s
        self.cut: Cut | None = None
        self.now_s = 0.0
        self.trace = 0
        self.lost_s: dict[NodeName, dict[NodeName, float]] = {}
        self.back_s: dict[NodeName, dict[NodeName, float]] = {}
        self.dead: set[NodeName] = set()
        self._timing = timing
        self._happenings: list[tuple[float, int, NodeName, Heartbeat | None]] = []
        self._count = 0
        self._wakes_s: dict[NodeName, float] = {}
        members = [Member(NodeName(f"n{i}"), version=1, generation=1) for i in range(count)]
        roster = Roster(members)
        self.nodes: dict[NodeName, Membership] = {}
        self.messages = {member.name: 0 for member in members}
        for member in members:
            self._add(member, roster.copy())

    def join(self, member: Member, seed: NodeName) -> None:
        """A new node, or a new life of one, enters by way of another: they exchange what they know."""
        self.dead.discard(member.name)
        self.messages.setdefault(member.name, 0)
        self._add(member, None)
        for known in self.nodes[seed].members:
            self.nodes[member.name].update(known)
        self.nodes[seed].update(self.nodes[member.name].itself)
        for name in (member.name, seed):
            self._after(name, [])

    def kill(self, name: NodeName) -> None:
        """The node says and hears nothing more."""
        self.dead.add(name)

    def run(self, until_s: float, *, enough: Callable[[], bool] | None = None) -> None:
        """Let time pass, up to that moment or until it is enough."""
        happenings, nodes, dead = self._happenings, self.nodes, self.dead
        while happenings and happenings[0][0] <= until_s:
            self.now_s, _, name, message = heappop(happenings)
            if name in dead:
                continue
            node = nodes[name]
            if message is not None:
                self._after(name, node.handle(message, self.now_s))
            elif self._wakes_s.get(name) == self.now_s:
                del self._wakes_s[name]
                due_s = node.due_s
                self._after(name, node.tick(self.now_s) if due_s is not None and due_s <= self.now_s else [])
            if enough is not None and enough():
                return
        self.now_s = until_s

    def _add(self, member: Member, roster: Roster | None) -> None:
        rng = random.Random(self.rng.getrandbits(64))
        node = Membership(member, rng=rng, timing=self._timing, roster=roster)
        self.nodes[member.name] = node
        node.start(self.now_s)
        self._after(member.name, [])

    def _after(self, name: NodeName, sends: list[Send]) -> None:
        node = self.nodes[name]
        for event in node.take_events():
            self._note(name, event)
        for send in sends:
            self._send(name, send.to, send.message)
        due_s = node.due_s
        if due_s is not None:
            planned_s = self._wakes_s.get(name)
            if planned_s is None or due_s < planned_s:
                self._wakes_s[name] = due_s
                self._push(due_s, name, None)

    def _send(self, sender: NodeName, to: NodeName, message: Heartbeat) -> None:
        self.messages[sender] += 1
        chance = self.rng.random()
        least_s, most_s = self.delay_s
        number = message.number if isinstance(message, Ping) else 0
        self.trace = crc32(b"%r %d %b %b" % (self.now_s, number, sender.encode(), to.encode()), self.trace)
        if chance < self.loss or (self.cut is not None and self.cut(sender, to)) or to not in self.nodes:
            return
        self._push(self.now_s + least_s + (most_s - least_s) * self.rng.random(), to, message)

    def _push(self, when_s: float, name: NodeName, message: Heartbeat | None) -> None:
        self._count += 1
        heappush(self._happenings, (when_s, self._count, name, message))

    def _note(self, name: NodeName, event: Any) -> None:
        if isinstance(event, Lost):
            self.lost_s.setdefault(event.name, {})[name] = self.now_s
        elif isinstance(event, (Back, Joined)):
            self.back_s.setdefault(event.member.name, {})[name] = self.now_s


class Outcome(NamedTuple):
    """What one simulation showed."""

    first_s: float
    """From the death until the first node knew."""
    all_s: float
    """Until the last one knew. Infinite if some never did."""
    false_deaths: int
    messages_s: float
    """A node and second, on the average."""
    busiest_s: float
    trace: int


def death(count: int, seed: int, loss: float = 0.0, *, calm_s: float = 5.0, until_s: float = 30.0) -> Outcome:
    """One node of a calm cluster dies: when do the others know?"""
    network = Network(count, seed, loss=loss)
    network.run(calm_s)
    victim = NodeName(f"n{network.rng.randrange(count)}")
    network.kill(victim)
    died_s = network.now_s
    heard = network.lost_s.setdefault(victim, {})
    network.run(died_s + until_s, enough=lambda: len(heard) >= count - 1)
    # A little longer: who suspects the wrong one because of all the talk?
    network.run(network.now_s + 5.0)
    times_s = [heard_s - died_s for heard_s in heard.values()]
    false_deaths = sum(len(by) for name, by in network.lost_s.items() if name != victim)
    rates = [sent / network.now_s for sent in network.messages.values()]
    return Outcome(
        min(times_s, default=float("inf")),
        max(times_s) if len(times_s) == count - 1 else float("inf"),
        false_deaths,
        sum(rates) / len(rates),
        max(rates),
        network.trace,
    )


class CutOff(NamedTuple):
    """What it showed that one node was cut off from all others."""

    others_s: float
    """Until the last of the others knew. Infinite if some never did."""
    itself_s: float
    """Until it had given up the last of the others."""
    false_deaths: int


def cut_off(count: int, seed: int, *, calm_s: float = 3.0, until_s: float = 30.0) -> CutOff:
    """One node of a calm cluster hears nobody any more, and nobody hears it."""
    network = Network(count, seed)
    network.run(calm_s)
    alone = NodeName(f"n{network.rng.randrange(count)}")
    network.cut = lambda sender, to: (sender == alone) != (to == alone)
    cut_s = network.now_s
    by_others = network.lost_s.setdefault(alone, {})

    def by_itself() -> list[float]:
        return [heard[alone] for heard in network.lost_s.values() if alone in heard]

    network.run(cut_s + until_s, enough=lambda: len(by_others) == len(by_itself()) == count - 1)
    latest_s = [
        max(times_s) - cut_s if len(times_s) == count - 1 else float("inf")
        for times_s in (list(by_others.values()), by_itself())
    ]
    false_deaths = sum(len(heard.keys() - {alone}) for name, heard in network.lost_s.items() if name != alone)
    return CutOff(*latest_s, false_deaths)


def healing(count: int, seed: int, *, apart_s: float = 20.0, until_s: float = 120.0) -> tuple[float, int]:
    """The cluster falls into two halves and is mended: how long until all know all again, and the hash of the trace."""
    network = Network(count, seed)
    network.run(3.0)
    half = {NodeName(f"n{i}") for i in range(count // 2)}
    network.cut = lambda sender, to: (sender in half) != (to in half)
    network.run(network.now_s + apart_s)
    network.cut = None
    mended_s = network.now_s
    while network.now_s < mended_s + until_s and any(node.size < count for node in network.nodes.values()):
        network.run(network.now_s + 0.5)
    whole = all(node.size == count for node in network.nodes.values())
    return (network.now_s - mended_s if whole else float("inf")), network.trace


class _Case(NamedTuple):
    nodes: int
    seeds: int
    loss: float
    aim_s: float


_CASES = (
    _Case(3, 100, 0.0, 4.0),
    _Case(10, 100, 0.0, 4.0),
    _Case(100, 100, 0.0, 7.0),
    _Case(1000, 10, 0.05, 8.0),
    _Case(10_000, 1, 0.0, 10.0),
)


def _simulate(case: _Case, seed: int) -> Outcome:
    return death(case.nodes, seed, case.loss)


def _line(case: _Case, outcomes: Iterable[Outcome], took_s: float) -> str:
    found = list(outcomes)
    trace = crc32(b"".join(outcome.trace.to_bytes(4, "big") for outcome in found))
    firsts, alls = [o.first_s for o in found], sorted(o.all_s for o in found)
    return (
        f"{case.nodes:>6} {case.seeds:>5} {case.loss:>5.0%}  {min(firsts):>5.2f}  {alls[len(alls) // 2]:>7.2f} "
        f"{alls[-1]:>7.2f} {case.aim_s:>5.1f}  {sum(o.false_deaths for o in found):>6}  "
        f"{max(o.messages_s for o in found):>7.2f} {max(o.busiest_s for o in found):>7.2f}   {trace:08x}  "
        f"{took_s:>6.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only small clusters")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cases = (_Case(3, 20, 0.0, 4.0), _Case(100, 10, 0.0, 7.0)) if options.quick else _CASES
    print("A node dies without a word. Seconds until the others know (virtual time), messages a node and second.\n")
    print(" nodes seeds  loss  first   median     max   aim   false     mean busiest      trace  took s")
    with ProcessPoolExecutor(options.processes) as pool:
        for case in cases:
            began_s = time.perf_counter()
            outcomes = list(pool.map(_simulate, [case] * case.seeds, range(case.seeds)))
            print(_line(case, outcomes, time.perf_counter() - began_s), flush=True)
        print(
            "\nOne node is cut off. Seconds until the last of the others knows, and until it has given up all others:\n"
        )
        for count in (3, 6, 10, 20, 50):
            cuts = list(pool.map(cut_off, [count] * 100, range(100)))
            others_s, itself_s = max(cut.others_s for cut in cuts), max(cut.itself_s for cut in cuts)
            print(
                f"{count:>6} nodes {others_s:>7.2f} {itself_s:>7.2f}   false {sum(c.false_deaths for c in cuts)}",
                flush=True,
            )
        print("\nTwo halves of a cluster hear nothing of each other for 20 s. Seconds until all know all again:\n")
        for count in (10, 100):
            (took_s, trace), *_ = pool.map(healing, [count], [0])
            print(f"{count:>6} nodes {took_s:>7.1f} s   {trace:08x}", flush=True)


if __name__ == "__main__":
    main()
