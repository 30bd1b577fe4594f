"""Commands as MPREG writes them: what a string stands for, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from mpreg_lab.errors import CycleError, DuplicateStepError, EmptyWorkflowError, InvalidStepError
from mpreg_lab.protocol.commands import RPCCommand, workflow_of
from mpreg_lab.workflow.model import Ref


def last_args(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the last of three steps, of which the others are `a` and `rows.csv`."""
    commands = [RPCCommand("a", "f"), RPCCommand("rows.csv", "f"), RPCCommand("last", "f", args, kwargs)]
    step = workflow_of(commands).steps[-1]
    return step.args, step.kwargs


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", Ref("a")),
        ("rows.csv", Ref("rows.csv")),
        ("a.total", Ref("a", ("total",), otherwise="a.total")),
        ("rows.csv.0", Ref("rows.csv", ("0",), otherwise="rows.csv.0")),
        (["a", ("a", {"k": "a"})], [Ref("a"), (Ref("a"), {"k": Ref("a")})]),
        ({"a"}, {Ref("a")}),
        ("b", "b"),
        ("see a.", "see a."),
        ("a.", "a."),
        ("last", "last"),
        ({"a": 1}, {"a": 1}),
        (b"a", b"a"),
    ],
)
def test_what_an_argument_means(written, meant):
    assert last_args(written) == ((meant,), {})
    assert last_args(x=written) == ((), {"x": meant})


def test_the_parts_of_a_command_are_those_of_the_step():
    command = RPCCommand(name="n", fun="f", args=(1,), kwargs={"k": 2}, locs=frozenset({"gpu"}))

    (step,) = workflow_of([command]).steps

    assert (step.name, step.function, step.args, step.kwargs) == ("n", "f", (1,), {"k": 2})
    assert step.resources == frozenset({"gpu"})


def test_any_iterable_of_arguments_and_resources_does():
    (step,) = workflow_of([RPCCommand("n", "f", args=[1], locs=["gpu"])]).steps

    assert (step.args, step.resources) == ((1,), frozenset({"gpu"}))


def test_leaves_come_back_and_what_is_only_read_by_keyword():
    commands = [RPCCommand("a", "f"), RPCCommand("b", "f", ("a",)), RPCCommand("c", "f", kwargs={"x": "b"})]

    assert workflow_of(commands).returns == ("b", "c")


@pytest.mark.parametrize(
    ("commands", "error"),
    [
        ([], EmptyWorkflowError),
        ([RPCCommand("a", "f"), RPCCommand("a", "g")], DuplicateStepError),
        ([RPCCommand("a", "f", ("b",)), RPCCommand("b", "f", ("a",))], CycleError),
        ([RPCCommand("a", "f", kwargs={"x": "b"}), RPCCommand("b", "f", ("a",))], CycleError),
        ([{"name": "a", "fun": "f"}], InvalidStepError),
        ([RPCCommand("a", "f", args="ab")], InvalidStepError),
        ([RPCCommand("", "f")], InvalidStepError),
        ([RPCCommand("a", "f", locs=[1])], InvalidStepError),  # type: ignore[list-item]
    ],
)
def test_what_cannot_run_is_refused(commands, error):
    with pytest.raises(error):
        workflow_of(commands)


def test_an_argument_that_holds_itself_is_refused():
    ring: list[Any] = []
    ring.append(ring)

    with pytest.raises(InvalidStepError, match="holds itself"):
        workflow_of([RPCCommand("a", "f", (ring,))])
