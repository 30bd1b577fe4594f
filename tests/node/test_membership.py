from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.membership_sim import Network, cut_off, death, healing
from mpreg_lab.node._rumours import News, Timing
from mpreg_lab.node.membership import Back, Changed, Joined, Lost, Membership, Roster, Send, Suspected
from mpreg_lab.protocol.messages import Ack, Gossip, Member, NodeState, Ping, PingRequest, Pull, Rumour
from mpreg_lab.types import NodeName

A, B, C, D = (NodeName(letter) for letter in "abcd")
TIMING = Timing()


def member(name: str, version: int = 1, generation: int = 1) -> Member:
    return Member(NodeName(name), f"ws://{name}", version=version, generation=generation)


def knowing(*names: NodeName) -> Any:
    """The Membership of node a, which knows these others and has told nothing yet.

    Any, because a test knows which message comes and that something is due.
    """
    return Membership(member(A), rng=random.Random(1), roster=Roster(map(member, (A, *names))))


def ping(sender: NodeName, *rumours: Rumour, digest: int = 0) -> Ping:
    return Ping(sender, A, 1, digest, rumours)


def messages(sends: list[Send], kind: type) -> list[Any]:
    return [send.message for send in sends if type(send.message) is kind]


# --- the table ------------------------------------------------------------------------------------------------------


def test_of_two_descriptions_the_higher_version_counts():
    table = knowing(B)

    assert table.update(member(B, version=3))
    assert not table.update(member(B, version=2))

    assert table.get(B) == member(B, version=3)
    assert table.take_events() == [Changed(member(B, version=3))]


def test_members_are_listed_in_the_order_that_is_given():
    table = Membership(member(A))
    for name in (C, B):
        table.update(member(name))

    table.order((B, C, A))

    assert [known.name for known in table.members] == [B, C, A]
    assert [known.name for known in table.others] == [B, C]


def test_a_node_that_began_a_new_life_was_lost_and_is_back():
    table = knowing(B)

    table.update(member(B, version=1, generation=2))

    assert table.take_events() == [Lost(B), Back(member(B, generation=2))]


def test_the_digest_does_not_depend_on_the_order_in_which_nodes_became_known():
    one, other = Roster(map(member, (A, B, C))), Roster(map(member, (C, A, B)))

    assert one.digest == other.digest != Roster(map(member, (A, B))).digest


def urls(network: Network, name: NodeName) -> set[str]:
    """Where the nodes think that one of them is."""
    return {known.url for node in network.nodes.values() for known in node.members if known.name == name}


# --- probes ---------------------------------------------------------------------------------------------------------


def test_an_answer_in_time_leaves_no_trace():
    table = knowing(B)
    table.start(0.0)
    now_s = table.due_s
    assert now_s is not None
    (send,) = table.tick(now_s)
    assert send.to == B
    assert isinstance(send.message, Ping)

    assert table.handle(Ack(B, send.message.number, 0), now_s + 0.01) == []

    assert table.due_s == now_s + TIMING.period_s
    assert table.take_events() == []


def test_others_are_asked_to_try_before_a_node_is_suspected():
    table = knowing(B, C, D)
    probed, sends = silence(table, seconds=TIMING.direct_s)

    requests = [send for send in sends if isinstance(send.message, PingRequest)]

    assert {send.to for send in requests} == {B, C, D} - {probed}
    assert {send.message.target for send in requests} == {probed}
    assert table.take_events() == []


def test_an_answer_by_way_of_a_helper_counts():
    table = knowing(B, C)
    probed, sends = silence(table, seconds=TIMING.direct_s)
    (request,) = (send for send in sends if isinstance(send.message, PingRequest))

    table.handle(Ack(request.to, request.message.number, 0), 0.6)
    table.tick(table.due_s)

    assert table.state(probed) is NodeState.ALIVE


def test_a_helper_pings_and_passes_the_answer_on():
    table = knowing(B, C)

    (asked,) = table.handle(PingRequest(B, 7, C), 0.0)
    answers = table.handle(Ack(C, asked.message.number, 0), 0.1)

    assert asked.to == C
    assert [(send.to, send.message.number, send.message.reached) for send in answers] == [(B, 7, True)]


def test_a_helper_that_hears_nothing_says_so():
    table = knowing(B, C)
    table.handle(PingRequest(B, 7, C), 0.0)

    (told,) = table.tick(TIMING.relay_s)

    assert (told.to, told.message.number, told.message.reached) == (B, 7, False)


def test_a_silent_node_is_suspected_then_lost():
    table = knowing(B)
    silence(table, seconds=3.0)

    assert table.take_events() == [Suspected(B), Lost(B)]
    assert [known.name for known in table.members] == [A]


def test_a_ping_for_another_name_is_not_answered():
    assert knowing(B).handle(Ping(B, C, 1, 0), 0.0) == []


def test_the_order_of_probes_visits_everyone_before_anyone_twice():
    table = knowing(*map(NodeName, "bcdefgh"))
    table.start(0.0)
    probed = []
    for _ in range(14):
        now_s = table.due_s
        assert now_s is not None
        (send,) = messages(table.tick(now_s), Ping)
        probed.append(send.to)
        table.handle(Ack(send.to, send.number, 0), now_s)

    assert sorted(probed[:7]) == sorted(probed[7:]) == list("bcdefgh")
    assert probed[:7] != probed[7:]


# --- suspicion ------------------------------------------------------------------------------------------------------


def suspicion_of(name: NodeName, incarnation: int = 0, by: NodeName = C, age_s: float = 0.0) -> Rumour:
    return Rumour(name, 1, incarnation, 1, NodeState.SUSPECTED, age_s, (by,))


def test_who_is_suspected_contradicts_with_a_higher_incarnation():
    table = knowing(B, C)

    (ack,) = messages(table.handle(ping(B, suspicion_of(A)), 0.0), Ack)

    assert ack.rumours == (Rumour(A, 1, 1, 1),)
    assert table.incarnation(A) == (1, 1)


def test_who_hears_again_that_it_is_lost_says_again_that_it_is_not():
    table = knowing(B, C)
    lost = Rumour(A, 1, 0, 1, NodeState.LOST)
    said = [messages(table.handle(ping(B, lost), i / 10), Ack)[0].rumours for i in range(20)]

    assert set(said) == {(Rumour(A, 1, 1, 1),)}


def test_a_contradiction_clears_the_suspect():
    table = knowing(B, C)
    table.handle(ping(C, suspicion_of(B)), 0.0)

    table.handle(ping(C, Rumour(B, 1, 1, 1)), 0.1)

    assert table.take_events() == [Suspected(B), Back(member(B))]


def test_a_contradiction_of_the_same_incarnation_is_too_old():
    table = knowing(B, C)
    table.handle(ping(C, suspicion_of(B, incarnation=1)), 0.0)

    table.handle(ping(C, Rumour(B, 1, 1, 1)), 0.1)

    assert table.state(B) is NodeState.SUSPECTED


def test_a_suspect_hears_first_what_is_thought_of_it():
    table = knowing(B, C)
    table.handle(ping(C, suspicion_of(B)), 0.0)

    (ack,) = messages(table.handle(ping(B), 0.1), Ack)

    assert ack.rumours[0].name == B
    assert ack.rumours[0].state is NodeState.SUSPECTED


def test_a_node_that_others_suspect_is_probed_at_once_where_suspicions_are_shared():
    others = [NodeName(f"n{i}") for i in range(5)]
    suspicion = suspicion_of(others[0], by=others[1])

    sends = knowing(*others).handle(ping(others[1], suspicion), 0.0)
    few = knowing(B, C).handle(ping(C, suspicion_of(B, by=C)), 0.0)

    assert [send.to for send in sends if isinstance(send.message, Ping)] == [others[0]]
    assert messages(few, Ping) == []


def test_who_hears_nobody_takes_all_for_lost_in_time_however_many_they_are():
    names = [NodeName(f"n{i}") for i in range(15)]
    table = knowing(*names)
    table.start(0.0)
    while table.size > 1:
        now_s = table.due_s
        table.tick(now_s)

    assert now_s <= 4.0
    assert {event.name for event in table.take_events() if isinstance(event, Lost)} == set(names)


def test_who_hears_somebody_again_gives_nobody_up():
    table = knowing(*(NodeName(f"n{i}") for i in range(15)))
    table.start(0.0)
    while table.due_s < 3.0:
        table.tick(table.due_s)
    assert any(isinstance(event, Suspected) for event in table.take_events())

    table.handle(ping(NodeName("n1")), 3.0)
    while table.due_s < 3.5:
        table.tick(table.due_s)

    assert table.size == 16


def test_a_suspicion_that_is_heard_late_ends_with_the_others():
    table = knowing(B, C)
    table.handle(ping(C, suspicion_of(B, age_s=1.5)), 10.0)

    assert table.due_s == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("nodes", "confirmed", "seconds"),
    [(2, 0, 2.0), (5, 0, 2.0), (100, 0, 6.4), (100, 1, 4.8), (100, 3, 3.2), (1000, 3, 4.8), (10_000, 3, 6.4)],
)
def test_a_suspicion_is_longer_in_large_clusters_and_shorter_when_shared(nodes, confirmed, seconds):
    assert TIMING.suspicion_s(nodes, confirmed) == pytest.approx(seconds)


def test_the_same_suspector_does_not_count_twice():
    # No node of a big cluster checks by itself what it hears: the end of the suspicion is all that is due.
    others, timing = (NodeName(f"n{i}") for i in range(40)), msgspec.structs.replace(TIMING, checks=0)
    table: Any = Membership(member(A), timing=timing, roster=Roster(map(member, (A, *others))))
    table.handle(ping(NodeName("n1"), suspicion_of(NodeName("n0"), by=C)), 0.0)
    first_s = table.due_s

    table.handle(ping(NodeName("n2"), suspicion_of(NodeName("n0"), by=C)), 0.0)
    assert table.due_s == first_s
    table.handle(ping(NodeName("n2"), suspicion_of(NodeName("n0"), by=D)), 0.0)
    assert table.due_s < first_s


def test_a_rumour_is_passed_on_a_bounded_number_of_times():
    news = News()
    news.add(B)

    assert sum(bool(news.take(8, TIMING.transmissions(100))) for _ in range(100)) == 4 * 3


# --- this process itself --------------------------------------------------------------------------------------------


def test_after_a_pause_of_this_process_nobody_is_blamed():
    table = knowing(B, C)
    table.start(0.0)
    now_s = table.due_s
    (first,) = table.tick(now_s)

    table.tick(now_s + 5.0)
    table.handle(Ack(first.to, first.message.number, 0), now_s + 5.01)

    assert table.take_events() == []


def test_a_suspicion_does_not_end_while_this_process_is_stopped():
    table = knowing(B, C)
    table.handle(ping(C, suspicion_of(B)), 0.0)

    table.tick(60.0)
    table.handle(ping(C, Rumour(B, 1, 1, 1)), 60.1)

    assert Lost(B) not in table.take_events()


# --- connections ----------------------------------------------------------------------------------------------------


def test_a_node_whose_connection_broke_is_asked_at_once():
    table = knowing(B, C)

    (send,) = table.broken(B, 0.0)
    table.handle(Ack(B, send.message.number, 0), 0.01)

    assert send.to == B
    assert table.take_events() == [Suspected(B), Back(member(B))]


def test_a_shut_door_means_lost_at_once_if_nobody_can_help():
    table = knowing(B)

    table.refused(B, 0.0)

    assert table.take_events() == [Suspected(B), Lost(B)]


def test_a_shut_door_means_lost_when_all_helpers_found_it_shut():
    table = knowing(B, C)
    (asked,) = table.refused(B, 0.0)

    table.handle(Ack(C, asked.message.number, 0, reached=False), 0.01)

    assert table.take_events() == [Suspected(B), Lost(B)]


def test_a_shut_door_is_forgiven_if_a_helper_gets_through():
    table = knowing(B, C)
    (asked,) = table.refused(B, 0.0)

    table.handle(Ack(C, asked.message.number, 0), 0.01)
    table.tick(0.3)

    assert table.take_events() == [Suspected(B), Back(member(B))]


def test_who_was_started_again_is_not_lost_because_the_door_of_its_former_life_was_shut():
    table = knowing(B, C)
    (asked,) = table.refused(B, 0.0)
    again = member(B, generation=2)

    table.update(again)
    table.handle(Ack(C, asked.message.number, 0, reached=False), 0.1)
    table.tick(TIMING.refused_s)

    assert table.take_events() == [Suspected(B), Lost(B), Back(again)]
    assert table.get(B) == again


def test_who_was_started_again_is_not_suspected_because_its_former_life_was_silent():
    table = knowing(B)
    table.broken(B, 0.0)

    table.update(member(B, generation=2))
    table.tick(TIMING.direct_s)
    table.tick(TIMING.period_s)

    assert table.state(B) is NodeState.ALIVE


def test_the_shut_door_of_a_new_life_counts_while_others_still_try_the_former_one():
    table = knowing(B, C)
    table.refused(B, 0.0)
    table.update(member(B, generation=2))

    (asked,) = table.refused(B, 0.1)
    table.handle(Ack(C, asked.message.number, 0, reached=False), 0.2)

    assert table.get(B) is None


def test_a_goodbye_that_comes_late_does_not_end_the_next_life():
    table = knowing(B)
    table.update(member(B, generation=2))

    table.left(B, 0.0, generation=1)
    assert table.get(B) == member(B, generation=2)

    table.left(B, 0.0, generation=2)
    assert table.get(B) is None


# --- what is said on other connections --------------------------------------------------------------------------------


def test_who_speaks_on_another_connection_while_it_is_probed_has_answered():
    table = knowing(B)
    table.start(0.0)
    probed_s = table.due_s
    table.tick(probed_s)
    assert table.awaited == {B}

    assert table.spoke(B, probed_s + 0.1, probed_s + TIMING.direct_s) == []

    assert table.awaited == frozenset()
    assert table.due_s == probed_s + TIMING.period_s
    assert table.take_events() == []


def test_what_was_said_before_the_probe_is_no_answer_to_it():
    table = knowing(B)
    table.broken(B, 1.0)

    table.spoke(B, 0.9, 1.1)

    assert table.awaited == {B}


def test_a_suspect_that_speaks_on_another_connection_is_not_lost_as_long_as_it_does():
    table = knowing(B)
    probed, _ = silence(table, seconds=TIMING.period_s)
    assert table.state(probed) is NodeState.SUSPECTED
    now_s = 1.0

    while now_s < 10 * TIMING.least_suspicion_s:
        table.spoke(B, now_s, now_s)
        table.tick(now_s)
        assert table.get(B) is not None
        now_s += TIMING.pause_s / 2

    while table.get(B) is not None:
        now_s = table.due_s
        table.tick(now_s)
    assert now_s < 11 * TIMING.least_suspicion_s + TIMING.longest_suspicion * TIMING.least_suspicion_s


def test_who_is_spoken_to_on_another_connection_is_not_alone():
    table = knowing(B)
    table.start(0.0)
    now_s = 0.0
    while now_s < TIMING.silence_s + 2 * TIMING.least_suspicion_s:
        table.spoke(B, now_s, now_s)
        table.tick(now_s)
        now_s += TIMING.pause_s / 2

    assert table.take_events() == []


def test_a_helper_to_which_the_target_speaks_on_another_connection_says_that_it_is_there():
    table = knowing(B, C)
    table.handle(PingRequest(B, 7, C), 0.0)

    (told,) = table.spoke(C, 0.05, 0.1)

    assert (told.to, told.message.number, told.message.reached) == (B, 7, True)
    assert table.tick(TIMING.relay_s) == []


# --- the end, and coming back ---------------------------------------------------------------------------------------


def test_who_leaves_says_so_and_is_not_asked_again():
    leaving, table = knowing(B), Membership(member(B), roster=Roster(map(member, (B, A))))
    (goodbye,) = leaving.leave(0.0)

    table.handle(goodbye.message, 0.0)

    assert table.take_events() == [Lost(A)]
    assert table.state(A) is NodeState.LEFT
    assert leaving.tick(9.0) == leaving.handle(ping(B), 9.0) == []


def test_old_rumours_do_not_revive_the_lost():
    table = knowing(B, C)
    table.handle(ping(C, Rumour(B, 1, 2, 1, NodeState.LOST)), 0.0)

    table.handle(ping(C, Rumour(B, 1, 2, 1), Rumour(B, 1, 1, 5)), 0.1)
    table.update(member(B))

    assert table.get(B) is None


def test_a_lost_node_that_contradicts_is_back():
    table = knowing(B, C)
    table.handle(ping(C, Rumour(B, 1, 2, 1, NodeState.LOST)), 0.0)

    table.handle(ping(B, Rumour(B, 1, 3, 1)), 0.1)

    assert table.take_events() == [Lost(B), Back(member(B))]


def test_the_lost_are_forgotten_in_the_end():
    table = knowing(B)
    table.refused(B, 0.0)
    now_s = 0.0
    while table.state(B) is not None:
        assert table.due_s is not None
        now_s = table.due_s
        table.tick(now_s)

    assert now_s == TIMING.forget_s


def test_a_node_that_is_younger_takes_the_name():
    table = knowing(B)

    table.handle(ping(B, Rumour(A, 2, 0, 1)), 0.0)

    assert table.handle(ping(B), 0.1) == []
    assert table.due_s is None


def test_a_node_with_a_slow_clock_outlives_its_former_life():
    table = knowing(B)

    table.handle(ping(B, Rumour(A, 5, 3, 1, NodeState.LOST)), 0.0)

    assert table.itself.generation == 6


def test_a_new_life_that_was_only_heard_to_be_lost_comes_back_with_its_own_description():
    table, itself = knowing(B, C), Membership(Member(B, "ws://new", version=2, generation=2), rng=random.Random(2))
    itself.update(member(A))
    table.handle(ping(C, Rumour(B, 2, 0, 2, NodeState.LOST)), 0.0)

    (pull,) = messages(table.handle(ping(B, Rumour(B, 2, 1, 2)), 0.1), Pull)
    assert table.get(B) is None
    itself.handle(Ping(C, B, 1, 0, (Rumour(B, 2, 0, 2, NodeState.LOST),)), 0.1)
    table.handle(itself.handle(pull, 0.2)[0].message, 0.3)

    assert table.get(B) == itself.itself


# --- descriptions ---------------------------------------------------------------------------------------------------


def test_a_description_that_is_missing_is_asked_for_and_then_the_node_has_joined():
    table, teller = knowing(B), Membership(member(B), roster=Roster(map(member, (B, A, C))))

    (pull,) = messages(table.handle(ping(B, Rumour(C, 1, 0, 1)), 0.0), Pull)
    assert table.get(C) is None
    (answer,) = teller.handle(pull, 0.0)
    table.handle(answer.message, 0.1)

    assert table.take_events() == [Joined(member(C))]


def test_a_newer_description_reaches_everyone():
    network = Network(20, seed=1)
    name = NodeName("n3")
    itself = network.nodes[name].itself
    network.nodes[name].update(Member(name, "ws://new", version=itself.version + 1, generation=1))

    network.run(6.0)

    assert urls(network, name) == {"ws://new"}


def test_who_has_missed_all_rumours_asks_for_everything():
    table = knowing(B)
    sends = []
    for i in range(15):
        sends += table.handle(ping(B, digest=99), i * 0.5)

    assert [pull.names for pull in messages(sends, Pull)] == [()]


# --- many of them, on a virtual clock -------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trace():
    one, same, other = death(30, 5, 0.1), death(30, 5, 0.1), death(30, 6, 0.1)

    assert one == same
    assert one.trace != other.trace


@pytest.mark.parametrize(
    ("count", "seeds", "most_s"), [(2, 10, 4.0), (3, 20, 4.0), (5, 20, 4.0), (6, 20, 4.0), (20, 10, 4.0), (100, 3, 7.0)]
)
def test_everybody_hears_of_a_death(count, seeds, most_s):
    outcomes = [death(count, seed) for seed in range(seeds)]

    assert max(outcome.all_s for outcome in outcomes) <= most_s
    assert sum(outcome.false_deaths for outcome in outcomes) == 0
    assert max(outcome.messages_s for outcome in outcomes) <= 12


@pytest.mark.parametrize("count", [2, 3, 5, 6, 8, 12, 16, 20])
def test_a_node_that_is_cut_off_is_lost_to_all_others_and_they_to_it_within_4_s(count):
    outcomes = [cut_off(count, seed) for seed in range(20)]

    assert max(outcome.others_s for outcome in outcomes) <= 4.0
    assert max(outcome.itself_s for outcome in outcomes) <= 4.0
    assert sum(outcome.false_deaths for outcome in outcomes) == 0


@pytest.mark.parametrize("seed", range(5))
def test_nobody_takes_itself_for_cut_off_while_one_message_in_ten_is_lost(seed):
    network = Network(2 + seed * 4, seed, loss=0.1)
    network.run(60.0)

    assert network.lost_s == {}


def test_no_false_deaths_with_one_message_in_twenty_lost():
    outcome = death(200, 1, 0.05)

    assert outcome.all_s <= 8.0
    assert outcome.false_deaths == 0


@pytest.mark.parametrize("count", [2, 3, 10])
def test_two_halves_find_each_other_again(count):
    took_s, _ = healing(count, 1)

    assert took_s <= 15.0


def test_a_restarted_node_comes_back_as_itself():
    network = Network(10, seed=3)
    name = NodeName("n4")
    network.run(2.0)
    network.kill(name)
    network.run(8.0)
    assert {node.size for other, node in network.nodes.items() if other != name} == {9}

    network.join(Member(name, "ws://again", version=1, generation=2), seed=NodeName("n0"))
    network.run(14.0)

    assert {node.size for node in network.nodes.values()} == {10}
    assert urls(network, name) == {"ws://again"}


# --- whatever the network does --------------------------------------------------------------------------------------


@dataclass
class Rough:
    """Four nodes and a network that loses, doubles and reorders, as hypothesis likes."""

    now_s: float = 0.0
    nodes: dict[NodeName, Membership] = field(default_factory=dict)
    flying: list[Send] = field(default_factory=list)
    highest: dict[tuple[NodeName, NodeName], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        roster = Roster(map(member, (A, B, C, D)))
        for name in (A, B, C, D):
            self.nodes[name] = Membership(member(name), rng=random.Random(name), roster=roster.copy())
            self.nodes[name].start(0.0)

    def tick_all(self) -> None:
        self.now_s += 0.05
        for node in self.nodes.values():
            self.flying += node.tick(self.now_s)

    def deliver(self, index: int, *, keep: bool) -> None:
        if self.flying:
            place = index % len(self.flying)
            send = self.flying[place] if keep else self.flying.pop(place)
            self.flying += self.nodes[send.to].handle(send.message, self.now_s)

    def restart(self, name: NodeName) -> None:
        itself = self.nodes[name].itself
        fresh = Member(name, f"ws://{name}", version=1, generation=itself.generation + 1)
        self.nodes[name] = Membership(fresh, rng=random.Random(name))
        self.nodes[name].start(self.now_s)
        for other, node in self.nodes.items():
            if other != name:
                self.nodes[name].update(node.itself)
                node.update(fresh)
            self.highest.pop((name, other), None)

    def check(self) -> None:
        for name, node in self.nodes.items():
            names = [known.name for known in node.members]
            assert len(names) == len(set(names))
            assert name in names
            for other in (A, B, C, D):
                found = node.incarnation(other)
                if found is not None:
                    assert found >= self.highest.get((name, other), found)
                    self.highest[name, other] = found


steps = st.lists(
    st.one_of(
        st.just(("tick",)),
        st.tuples(st.sampled_from(["deliver", "double", "lose"]), st.integers(0, 50)),
        st.tuples(st.just("restart"), st.sampled_from([A, B, C, D])),
    ),
    max_size=150,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(steps)
def test_names_stay_unique_incarnations_never_go_back_and_in_the_end_all_are_there(script):
    rough = Rough()
    for step in script:
        match step:
            case ("tick",):
                rough.tick_all()
            case ("restart", name):
                rough.restart(name)
            case ("lose", index) if rough.flying:
                rough.flying.pop(index % len(rough.flying))
            case (what, index) if what != "lose":
                rough.deliver(index, keep=what == "double")
        rough.check()

    # The network is well again: whoever was thought lost contradicts.
    for _ in range(600):
        rough.tick_all()
        while rough.flying:
            rough.deliver(0, keep=False)
        rough.check()
    assert {node.size for node in rough.nodes.values()} == {4}


def silence(table: Any, *, seconds: float) -> tuple[NodeName, list[Any]]:
    """Nobody answers for so long after the first probe: who was probed first, and all that was said."""
    table.start(0.0)
    due_s = until_s = table.due_s
    sends: list[Any] = []
    while due_s is not None and due_s <= until_s + seconds:
        sends += table.tick(due_s)
        due_s = table.due_s
    return sends[0].to, sends


def test_gossip_is_heard_without_an_answer():
    assert knowing(B, C).handle(Gossip(C, (suspicion_of(B),)), 0.0) == []
