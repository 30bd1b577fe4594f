"""A workflow as a script: running the text gives the workflow again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpreg_lab.errors import WorkflowError
from mpreg_lab.workflow import model
from mpreg_lab.workflow.python_script import python_script

untyped: Any = model
Attr, Group, Ref, Step, Workflow = untyped.Attr, untyped.Group, untyped.Ref, untyped.Step, untyped.Workflow


def again(workflow: Any) -> Any:
    names: dict[str, Any] = {"__name__": "script"}
    exec(python_script(workflow), names)
    return names["workflow"]


def test_every_field_of_a_workflow_comes_back():
    workflow = Workflow(
        [
            Step("a b", "pkg.f", (1, "x\n'\"", [Ref("c")[0].attr("total")["k"]]), {"k": {"r": Ref("c")}}),
            Step("c", "g", resources=["gpu", "big"], retries=2, backoff_s=0.5, timeout_s=5.0, node="n", wait_for_s=3),
            Step("d", "g", (Ref("c", ("x", 0), "otherwise"),)),
        ],
        returns=["c"],
        groups=[Group("all", ["a b", "c"]), Group("none", [])],
        name='"""name"""\\',
    )

    assert again(workflow) == workflow


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
hashable = st.recursive(leaves, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    hashable | st.sets(hashable, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hashable, inner, max_size=3) | st.tuples(inner),
    max_leaves=10,
)


@given(values)
def test_every_literal_comes_back(value: object):
    (step,) = again(Workflow([Step("s", "f", (value,), {"k": value})])).steps

    assert type(step.args[0]) is type(value)
    assert step.args[0] == step.kwargs["k"] == value


def test_not_a_number_comes_back():
    (step,) = again(Workflow([Step("s", "f", (float("nan"), -float("inf")))])).steps

    assert step.args[0] != step.args[0]
    assert step.args[1] == -float("inf")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Step("s", "f", (1, object())), "step 's': argument 2 of f has a object in it"),
        (Step("s", "f", (), {"k": [range(3)]}), "step 's': argument 'k' of f has a range in it"),
    ],
)
def test_what_has_no_literal_is_named(step: Any, said: str):
    with pytest.raises(WorkflowError, match=said.replace("(", r"\(")):
        python_script(Workflow([step]))


def test_an_argument_that_holds_itself_has_no_literal():
    ring: list[Any] = []
    ring.append(ring)

    with pytest.raises(WorkflowError, match="has a loop in it"):
        python_script(Workflow([Step("s", "f", (ring,))]))
