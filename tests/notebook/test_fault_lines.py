"""A line of faults becomes actions."""

import pytest

from mpreg_lab.cluster.faults import Action, Cut, Delay, Drop, Heal, Kill, Reorder, Restart
from mpreg_lab.errors import MagicError
from mpreg_lab.notebook.fault_lines import FAULTS, planned, written

LINES: dict[str, list[Action]] = {
    "kill b": [Kill("b")],
    "kill b; restart b": [Kill("b"), Restart("b")],
    "cut a b": [Cut("a", "b")],
    "cut a b --silent": [Cut("a", "b", silent=True)],
    "delay a client 0.2 --jitter 0.1": [Delay("a", "client", 0.2, 0.1)],
    "drop a b 0.5": [Drop("a", "b", 0.5)],
    "reorder a b 0.5": [Reorder("a", "b", 0.5)],
    "slow a 0.2": [Delay("a", "b", 0.2), Delay("a", "c", 0.2), Delay("a", "client", 0.2)],
    "partition a b,c": [Cut("a", "b", silent=True), Cut("a", "c", silent=True)],
    "heal": [Heal()],
    "heal a": [Heal("a")],
    " heal a b ; ": [Heal("a", "b")],
    "kill 'my node'": [Kill("my node")],
    "": [],
}

WRONG = {
    "kil b": "%mpreg faults has no 'kil'. Did you mean 'kill'?",
    "kill b; zap c": f"%mpreg faults has no 'zap'. It has: {', '.join(list(FAULTS)[:8])} and 4 more",
    "kill": "%mpreg faults kill: the following arguments are required: NODE. "
    "%mpreg faults kill --help lists the options",
    "drop a b 2": "%mpreg faults drop: argument SHARE: '2' is not a share between 0 and 1. "
    "%mpreg faults drop --help lists the options",
    "at noon kill b": "%mpreg faults at: expected seconds from now, and a fault: at 0.5 kill b",
    "at": "%mpreg faults at: expected seconds from now, and a fault: at 0.5 kill b",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_says_what_to_do(line: str):
    plan = planned(line, ["a", "b", "c"])

    assert [action for _, action in plan.actions] == LINES[line]
    assert not plan.script


def test_times_make_it_a_script():
    plan = planned("at 0.5 kill b; at 2 restart b", ["a", "b"])

    assert plan.actions == ((0.5, Kill("b")), (2.0, Restart("b")))
    assert plan.script


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_says_what_is_wrong(line: str):
    with pytest.raises(MagicError) as caught:
        planned(line, ["a", "b", "c"])

    assert str(caught.value) == WRONG[line]


@pytest.mark.parametrize(
    "line", ["cut a b --silent", "cut a b", "delay a b 0.2", "heal", "heal a", "kill b", "drop a b 1"]
)
def test_an_action_is_written_as_it_is_read(line: str):
    ((_, action),) = planned(line, ["a", "b"]).actions

    assert written(action) == line
