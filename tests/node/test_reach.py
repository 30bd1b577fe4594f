"""Who owes an answer and is not heard of for long is out of reach, whatever others say of it."""

from __future__ import annotations

from mpreg_lab.node.reach import LATE_S, Look, Reach
from mpreg_lab.types import NodeName

B, C = NodeName("b"), NodeName("c")
NOTHING = Look()


def test_a_node_is_asked_from_the_second_silent_look_on_and_given_up_at_the_fifth():
    reach = Reach()

    looks = [reach.look([B], 0.0) for _ in range(5)]

    assert looks == [NOTHING, Look((B,)), Look((B,)), Look((B,)), Look((), (B,))]


def test_a_word_begins_the_count_anew():
    reach = Reach()
    for _ in range(10):
        assert reach.look([B], 0.0) == NOTHING
        assert not reach.heard(B)


def test_each_node_is_counted_for_itself():
    reach = Reach()
    for _ in range(4):
        reach.look([B, C], 0.0)
        reach.heard(C)

    assert reach.look([B, C], 0.0) == Look((), (B,))


def test_who_owes_nothing_is_not_looked_after():
    reach = Reach()
    for _ in range(4):
        reach.look([B], 0.0)
    reach.look([], 0.0)

    assert reach.look([B], 0.0) == NOTHING


def test_who_was_starved_itself_blames_nobody():
    reach = Reach()
    for _ in range(4):
        reach.look([B], 0.0)

    for _ in range(10):
        assert reach.look([B], 2 * LATE_S) == NOTHING
    assert reach.look([B], 0.0) == Look((), (B,))


def test_a_new_life_begins_without_the_silence_of_the_former_one():
    reach = Reach()
    for _ in range(4):
        reach.look([B], 0.0)

    reach.forget(B)

    assert [reach.look([B], 0.0) for _ in range(2)] == [NOTHING, Look((B,))]
    assert not reach.heard(B)


def test_who_was_given_up_and_is_heard_of_is_back_once():
    reach = Reach()
    for _ in range(5):
        reach.look([B], 0.0)

    assert reach.heard(B)
    assert not reach.heard(B)
