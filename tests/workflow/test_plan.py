from __future__ import annotations

from typing import Any

import pytest

from mpreg_lab.errors import (
    CycleError,
    DuplicateStepError,
    EmptyWorkflowError,
    InvalidStepError,
    UnknownStepError,
    WorkflowError,
)
from mpreg_lab.workflow import model
from mpreg_lab.workflow import plan as plan_module
from mpreg_lab.workflow.plan import did_you_mean, levels, make_plan, validate

untyped: Any = model
Group, Ref, Step, Workflow = untyped.Group, untyped.Ref, untyped.Step, untyped.Workflow


def step(name: str, *needs: str) -> Any:
    return Step(name, "f", tuple(map(Ref, needs)))


def workflow(*steps: Any, **options: Any) -> Any:
    return Workflow(steps, **options)


# --- what is wrong ---


MANY = [step(f"s{i}", f"s{(i + 1) % 20}") for i in range(20)]

WRONG: dict[str, tuple[Any, type[WorkflowError], str]] = {
    "no steps": (
        workflow(),
        EmptyWorkflowError,
        "the workflow has no steps. Give it at least one, such as Step('hello', 'echo', args=('hi',))",
    ),
    "a name twice": (
        workflow(step("a"), step("b"), step("a")),
        DuplicateStepError,
        "two steps are called 'a'. Rename one of them",
    ),
    "a mistyped name": (
        workflow(step("summary"), step("report", "sumary")),
        UnknownStepError,
        "step 'report' refers to 'sumary', which is no step of this workflow. Did you mean 'summary'?",
    ),
    "a name that is nothing like any": (
        workflow(step("a"), step("b", "zebra")),
        UnknownStepError,
        "step 'b' refers to 'zebra', which is no step of this workflow. Its steps: a, b",
    ),
    "one of many": (
        workflow(step("x", "zebra"), *(step(f"s{i}") for i in range(10))),
        UnknownStepError,
        "step 'x' refers to 'zebra', which is no step of this workflow. "
        "Its steps: x, s0, s1, s2, s3, s4, s5, s6 and 3 more",
    ),
    "itself": (
        workflow(step("a", "a")),
        CycleError,
        "step 'a' refers to itself. A step can only use the results of others",
    ),
    "a cycle": (
        workflow(step("d", "a"), step("a", "c"), step("b", "a"), step("c", "b"), step("free")),
        CycleError,
        "steps wait for each other: 'a' needs 'c' needs 'b' needs 'a'. Remove one of these references",
    ),
    "a long cycle": (
        workflow(*MANY),
        CycleError,
        "steps wait for each other: 's0' needs 's1' needs 's2' needs 's3' needs 's4' needs 's5' needs 's6' needs "
        "(13 more) needs 's0'. Remove one of these references",
    ),
    "a reference as key": (
        workflow(step("a"), Step("b", "f", ({Ref("a"): 1},))),
        InvalidStepError,
        "step 'b': the reference a is the key of a dict, where a result cannot be put. Make it a value",
    ),
    "an unknown return": (
        workflow(step("report"), returns=["repotr"]),
        UnknownStepError,
        "the workflow should return 'repotr', which is none of its steps. Did you mean 'report'?",
    ),
    "a group with a taken name": (
        workflow(step("a"), groups=[Group("a", ("a",))]),
        DuplicateStepError,
        "the group 'a' has a name that is taken. Rename it",
    ),
    "a group with an unknown member": (
        workflow(step("a"), groups=[Group("g", ("b",))]),
        UnknownStepError,
        "the group 'g' has a member 'b', which is no step of this workflow",
    ),
}


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_workflow_is_refused_with_its_reason(wrong, error, message):
    with pytest.raises(error) as caught:
        validate(wrong)
    assert str(caught.value) == message
    assert type(caught.value) is error


def test_errors_name_the_step_that_they_are_about():
    def about(wrong):
        with pytest.raises(WorkflowError) as caught:
            validate(wrong)
        return caught.value.step

    assert about(workflow(step("a"), step("b", "zebra"))) == "b"
    assert about(workflow(step("a"), step("a"))) == "a"
    assert about(workflow(step("a", "b"), step("b", "a"))) == "a"


def test_a_cycle_error_has_all_its_steps_in_order():
    with pytest.raises(CycleError) as caught:
        validate(workflow(*MANY))
    assert caught.value.steps == tuple(f"s{i}" for i in range(20))


@pytest.mark.parametrize("needs", [[(), (0,), ()], [(), (2,)], [(), (-1,)], [()]], ids=str)
def test_needs_that_do_not_fit_the_steps_are_refused(needs):
    with pytest.raises(UnknownStepError, match="the needs of the workflow do not fit its steps"):
        make_plan(workflow(step("a"), step("b")), needs)


def test_a_cycle_is_found_without_arguments_too():
    with pytest.raises(CycleError, match="'a' needs 'b' needs 'a'"):
        make_plan(workflow(step("a"), step("b")), [(1,), (0,)])


# --- what is right ---


def test_steps_may_come_in_any_order():
    plan = validate(workflow(step("c", "b", "a"), step("b", "a"), step("a")))

    assert plan.order == (2, 1, 0)
    assert plan.needs == ((1, 2), (2,), ())
    assert plan.dependents == ((), (0,), (0, 1))


def test_a_step_that_refers_twice_to_another_needs_it_once():
    plan = validate(workflow(step("a"), Step("b", "f", (Ref("a")[0], [Ref("a")]), {"k": Ref("a")})))

    assert plan.needs == ((), (0,))
    assert plan.dependents == ((1,), ())


def test_all_leaves_return_unless_others_are_asked_for():
    steps = step("a"), step("b", "a"), step("c", "a"), step("alone")

    assert validate(workflow(*steps)).returns == ("b", "c", "alone")
    assert validate(workflow(*steps, returns=["a", "c", "a"])).returns == ("a", "c")
    assert validate(workflow(*steps, returns=())).returns == ()


def test_a_fan_out_of_leaves_returns_as_one():
    scores = step("scores[0]", "a"), step("scores[1]", "a")
    group = Group("scores", ("scores[0]", "scores[1]"))
    plan = validate(workflow(step("a"), *scores, groups=[group]))

    assert plan.returns == ("scores",)
    assert plan.wanted == {1, 2}


def test_a_fan_out_that_is_used_in_part_returns_its_other_members():
    scores = step("scores[0]", "a"), step("scores[1]", "a")
    group = Group("scores", ("scores[0]", "scores[1]"))
    plan = validate(workflow(step("a"), *scores, step("best", "scores[0]"), groups=[group]))

    assert plan.returns == ("scores[1]", "best")


def test_an_empty_fan_out_can_be_asked_for():
    plan = validate(workflow(step("a"), groups=[Group("none", ())], returns=["none"]))

    assert plan.returns == ("none",)
    assert plan.wanted == frozenset()


def test_levels_group_steps_by_what_they_need():
    diamond = workflow(step("d", "b", "c"), step("b", "a"), step("a"), step("c", "a"), step("e", "a", "d"), step("z"))

    assert levels(diamond) == (("a", "z"), ("b", "c"), ("d",), ("e",))


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "last step first"])
def test_a_chain_of_100_000_steps_is_checked_without_recursion(reverse):
    steps = [step("s0"), *(step(f"s{i}", f"s{i - 1}") for i in range(1, 100_000))]
    plan = validate(workflow(*(reversed(steps) if reverse else steps)))

    assert plan.returns == ("s99999",)
    assert plan.workflow.steps[plan.order[0]].name == "s0"
    assert plan.workflow.steps[plan.order[-1]].name == "s99999"


def test_a_cycle_of_100_000_steps_is_named_in_one_line():
    steps = [step(f"s{i}", f"s{(i + 1) % 100_000}") for i in range(100_000)]
    with pytest.raises(CycleError) as caught:
        validate(workflow(*steps))
    assert len(str(caught.value)) < 200


def test_a_plan_opens_its_record():
    opened = validate(
        workflow(Step("b", "g", (Ref("a"),), resources={"y", "x"}), step("a"), groups=[Group("all", ("a",))], name="w")
    ).opened()

    assert [(p.name, p.function, p.needs, p.resources) for p in opened.steps] == [
        ("b", "g", ("a",), ("x", "y")),
        ("a", "f", (), ()),
    ]
    assert (opened.now_s, opened.name, opened.groups) == (0.0, "w", (Group("all", ("a",)),))


def test_a_hint_is_the_nearest_name_or_a_list():
    assert did_you_mean("trian", ["train", "test"], "Known: ") == "Did you mean 'train'?"
    assert did_you_mean("x", ["train", "test"], "Known: ") == "Known: train, test"
    assert did_you_mean("x", [], "Known: ") == "Known: none"
    assert did_you_mean("x" * 100_000, ["train"], "Known: ") == "Known: train"


def test_a_workflow_has_at_most_so_many_steps(monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_STEPS", 3)
    steps = [Step(f"s{n}", "f") for n in range(4)]
    with pytest.raises(WorkflowError, match="the workflow has 4 steps, at most 3"):
        validate(Workflow(steps))
    with pytest.raises(WorkflowError, match="at most 3"):
        make_plan(Workflow(steps), ((),) * 4)


@pytest.mark.parametrize("wrong", ["a = echo(1)", [Step("a", "f")], None])
def test_what_is_no_workflow_is_refused_and_told_how_to_make_one(wrong):
    with pytest.raises(InvalidStepError, match=f"expected a Workflow, not {type(wrong).__name__}"):
        validate(wrong)


def test_a_step_alone_is_no_list_of_steps():
    with pytest.raises(InvalidStepError, match=r"a list of steps, Workflow\(\[Step\(...\)\]\), not Step"):
        Workflow(Step("a", "f"))
