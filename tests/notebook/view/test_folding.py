"""What is shown as one box: fan-outs, and in very large runs steps that are alike."""

import pytest

from mpreg_lab.notebook.view.folding import FOLD_ABOVE, boxes, folds
from mpreg_lab.notebook.view.scene import scene
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import Opened, RunRecord
from tests.notebook.view.runs import fan, plan


def grid(width: int, depth: int, functions: int) -> RunRecord:
    """Each step needs two of the layer before."""
    steps = []
    for layer in range(depth):
        for i in range(width):
            needs = dict.fromkeys(f"s{layer - 1}_{(i + side) % width}" for side in (0, 1)) if layer else ()
            steps.append(plan(f"s{layer}_{i}", f"f{(layer * width + i) % functions}", *needs))
    return RunRecord.of([Opened(0.0, tuple(steps))])


def test_a_run_of_common_size_folds_its_fan_outs_alone():
    assert [(fold.name, len(fold.steps)) for fold in folds(fan(20))] == [("scores", 20)]
    assert folds(grid(10, 10, 2)) == ()


def test_a_fan_out_of_one_step_is_no_fold():
    assert folds(fan(1)) == ()


def test_a_large_run_without_fan_outs_folds_steps_of_one_function_and_layer():
    run = grid(20, 50, 1)

    found = folds(run)

    assert len(found) == 50
    assert (found[3].name, len(found[3].steps)) == ("s3_0 … s3_19", 20)
    label = scene(run).nodes[3]
    assert (label.label, label.sublabel) == ("f0 ×20", "s3_0 … s3_19")  # noqa: RUF001


@pytest.mark.parametrize(
    "run", [grid(1, 1000, 1), grid(20, 50, 1000), grid(400, 5, 2000)], ids=["chain", "all", "wide"]
)
def test_layers_are_put_together_where_too_many_boxes_would_be_left(run: RunRecord):
    home = boxes(run, folds(run))

    assert len(set(home.values())) <= FOLD_ABOVE
    assert len(scene(run).nodes) == len(set(home.values()))
    assert scene(run).edges


def test_a_fan_out_keeps_its_name_beside_steps_that_are_alike():
    run = grid(20, 30, 1)
    names = tuple(f"s0_{i}" for i in range(20))
    run.groups = (Group("first", names),)

    assert folds(run)[0].name == "first"
    assert {boxes(run, folds(run))[StepName(name)] for name in names} == {"first"}


def test_a_fold_with_the_name_of_a_step_stays_open():
    run = fan(3)
    run.groups = (Group("best", ("scores[0]", "scores[1]")),)

    assert boxes(run, folds(run))[StepName("scores[0]")] == "scores[0]"
