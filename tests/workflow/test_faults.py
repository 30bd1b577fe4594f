"""Which faults last, and what ends them."""

from __future__ import annotations

import pytest

from mpreg_lab.types import NodeName
from mpreg_lab.workflow.faults import ends, lasting, lasts
from mpreg_lab.workflow.record import FaultKind, FaultNote


def fault(kind: str, *nodes: str, over: bool = False, at_s: float = 0.0) -> FaultNote:
    return FaultNote(at_s, FaultKind(kind), "", tuple(map(NodeName, nodes)), over)


@pytest.mark.parametrize(
    ("later", "ended"),
    [
        (fault("heal"), True),
        (fault("heal", "a"), True),
        (fault("heal", "b", "a"), True),
        (fault("heal", "c"), False),
        (fault("heal", "a", "c"), False),
        (fault("drop", "a", "b"), True),
        (fault("drop", "a", "b", over=True), True),
        (fault("delay", "a", "b"), False),
        (fault("kill", "a"), False),
    ],
)
def test_a_link_suffers_until_it_is_healed_or_suffers_anew_of_the_same(later, ended):
    assert ends(later, fault("drop", "a", "b")) is ended


@pytest.mark.parametrize(
    ("later", "ended"),
    [("resume", True), ("kill", True), ("restart", True), ("pause", True), ("lost", False), ("back", False)],
)
def test_a_node_is_paused_until_it_goes_on_or_dies(later, ended):
    assert ends(fault(later, "a"), fault("pause", "a")) is ended
    assert not ends(fault(later, "b"), fault("pause", "a"))


@pytest.mark.parametrize("kind", ["heal", "restart", "resume", "suspected", "lost", "back"])
def test_what_mends_and_what_is_noticed_is_of_a_moment(kind):
    assert not lasts(fault(kind, "a"))


def test_what_lasts_is_what_nothing_has_ended():
    faults = [
        fault("cut", "a", "b"),
        fault("delay", "b", "c"),
        fault("kill", "a"),
        fault("delay", "c", "b", at_s=2.0),
        fault("restart", "a"),
        fault("drop", "a", "c"),
        fault("drop", "a", "c", over=True),
    ]

    assert lasting(faults) == (faults[0], faults[3])
