from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mpreg_lab.errors import InvalidStepError, UnknownStepError
from mpreg_lab.workflow import model

# With plain strings for names, as a person writes them.
untyped: Any = model
Attr, Group, Ref, Step, Workflow = untyped.Attr, untyped.Group, untyped.Ref, untyped.Step, untyped.Workflow


# --- references ---


def test_a_reference_goes_deeper_by_item_index_and_field():
    ref = Ref("rows")["total"][0].attr("mean")

    assert ref.path == ("total", 0, Attr("mean"))
    assert str(ref) == "rows['total'][0].mean"
    assert Ref("rows").path == ()


@pytest.mark.parametrize("key", [1.5, None, True, slice(1), ("a",)])
def test_a_reference_takes_strings_and_integers_only(key):
    with pytest.raises(TypeError, match=r"takes a string or an integer in \[ \], not "):
        Ref("rows")[key]


def test_a_reference_cannot_be_iterated():
    with pytest.raises(TypeError) as caught:
        list(Ref("rows")[0])
    assert str(caught.value) == "rows[0] cannot be iterated: its value exists only when the workflow runs"


def test_equal_references_are_one_key():
    assert {Ref("a")[0].attr("x"): 1}[Ref("a")[0].attr("x")] == 1
    assert Ref("a")["x"] != Ref("a").attr("x")


# --- steps ---


def test_a_step_takes_what_a_person_writes():
    step = Step("fit", "train", [1, 2], resources="gpu")

    assert step.args == (1, 2)
    assert step.resources == frozenset({"gpu"})
    assert Step("fit", "train", resources=["gpu", "big"]).resources == frozenset({"gpu", "big"})


def test_a_step_is_frozen():
    with pytest.raises(AttributeError):
        Step("a", "f").name = "b"


WRONG_STEPS = {
    "no name": (("", "f"), {}, "a step's name must be a non-empty string, not ''"),
    "a number as name": ((3, "f"), {}, "a step's name must be a non-empty string, not 3"),
    "no function": (("a", ""), {}, "step 'a': function must be the name of a function, not ''"),
    "a function object": (("a", 7), {}, "step 'a': function must be the name of a function, not 7"),
    "a string as args": (("a", "f", "xy"), {}, "step 'a': args must be a tuple of arguments, such as (x,), not 'xy'"),
    "a number as args": (("a", "f", 5), {}, "step 'a': args must be a tuple of arguments, such as (x,), not 5"),
    "a dict as args": (("a", "f", {}), {}, "step 'a': args must be a tuple of arguments, such as (x,), not {}"),
    "keys that are no strings": (
        ("a", "f", (), {1: 2}),
        {},
        "step 'a': kwargs must be a dict with string keys, not {1: 2}",
    ),
    "a number as resource": (("a", "f"), {"resources": [1]}, "step 'a': resources must be names of resources, not [1]"),
    "resources of nothing": (("a", "f"), {"resources": 5}, "step 'a': resources must be names of resources, not 5"),
    "an empty resource": (("a", "f"), {"resources": [""]}, "step 'a': resources must be names of resources, not ['']"),
    "negative retries": (("a", "f"), {"retries": -1}, "step 'a': retries must be a whole number, 0 or more, not -1"),
    "half a retry": (("a", "f"), {"retries": 1.5}, "step 'a': retries must be a whole number, 0 or more, not 1.5"),
    "a yes as retries": (
        ("a", "f"),
        {"retries": True},
        "step 'a': retries must be a whole number, 0 or more, not True",
    ),
    "backoff before now": (("a", "f"), {"backoff_s": -0.1}, "step 'a': backoff_s must be seconds, 0 or more, not -0.1"),
    "no time": (("a", "f"), {"timeout_s": 0}, "step 'a': timeout_s must be seconds, more than 0, not 0"),
    "a cache that is neither on nor off": (("a", "f"), {"cache": 60}, "step 'a': cache must be True or False, not 60"),
    "no time to live": (
        ("a", "f"),
        {"cache": True, "cache_ttl_s": 0},
        "step 'a': cache_ttl_s must be seconds, more than 0, not 0",
    ),
    "a time to live without a cache": (
        ("a", "f"),
        {"cache_ttl_s": 5},
        "step 'a': cache_ttl_s must be given together with cache=True, not 5",
    ),
    "no time to wait": (("a", "f"), {"wait_for_s": 0}, "step 'a': wait_for_s must be seconds, more than 0, not 0"),
    "time in words": (("a", "f"), {"timeout_s": "5"}, "step 'a': timeout_s must be seconds, more than 0, not '5'"),
    "time that is none": (
        ("a", "f"),
        {"timeout_s": float("nan")},
        "step 'a': timeout_s must be seconds, more than 0, not nan",
    ),
    "an empty node": (("a", "f"), {"node": ""}, "step 'a': node must be the name of a node, not ''"),
    "a node by number": (("a", "f"), {"node": 1}, "step 'a': node must be the name of a node, not 1"),
}


@pytest.mark.parametrize(("args", "kwargs", "message"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_wrong_field_of_a_step_is_refused_at_once(args, kwargs, message):
    with pytest.raises(InvalidStepError) as caught:
        Step(*args, **kwargs)
    assert str(caught.value) == message


# --- workflows ---


def test_a_workflow_takes_any_iterables():
    workflow = Workflow([Step("a", "f")], returns="a", groups=[Group("g", ("a",))])

    assert workflow.steps == (Step("a", "f"),)
    assert workflow.returns == ("a",)
    assert workflow.groups == (Group("g", ("a",)),)
    assert Workflow((Step("a", "f"),), returns=["a"]).returns == ("a",)


def test_a_workflow_is_made_of_steps():
    with pytest.raises(InvalidStepError) as caught:
        Workflow(["rows"])
    assert str(caught.value) == "a workflow is made of Step objects, not str: 'rows'"


def test_a_step_is_found_by_name():
    workflow = Workflow((Step("a", "f"), Step("b", "g")))

    assert workflow.step("b").function == "g"
    with pytest.raises(UnknownStepError, match="the workflow has no step 'c'"):
        workflow.step("c")


@pytest.mark.parametrize(("count", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_a_workflow_says_how_long_it_is(count, text):
    assert repr(Workflow(tuple(Step(f"s{i}", "f") for i in range(count)))) == f"Workflow({text})"


def test_a_workflow_is_the_same_on_the_wire():
    workflow = Workflow(
        (
            Step("a", "f", (1, "x"), {"k": None}, {"gpu"}, 2, 0.5, 3.0, "node-1"),
            Step("b", "g", (Ref("a")["x"][0].attr("y"),)),
        ),
        ("b",),
        (Group("all", ("a", "b")),),
        "story",
    )
    bare = msgspec.structs.replace(workflow, steps=(workflow.steps[0],))

    assert msgspec.json.decode(msgspec.json.encode(bare), type=model.Workflow) == bare
    ref = workflow.steps[1].args[0]
    assert msgspec.json.decode(msgspec.json.encode(ref), type=model.Ref) == ref
