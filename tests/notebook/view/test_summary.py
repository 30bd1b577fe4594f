"""The headline and the state for widgets."""

import json

import pytest

from mpreg_lab.notebook.view.picture import picture
from mpreg_lab.notebook.view.summary import detail, headline, planned, run_repr, state
from mpreg_lab.types import FunctionName, NodeName, StepName
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import validate
from mpreg_lab.workflow.record import Ended, Failed, Failure, Finished, Opened, RunRecord, RunStatus, StepPlan

from . import runs


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (runs.pipeline(), "4 steps: 4 done"),
        (runs.failed(), "4 steps: 1 done, 1 failed, 2 skipped"),
        (runs.running(), "1 of 4 done, 1 running"),
        (RunRecord(), "0 of 0 done"),
    ],
)
def test_headlines(record, text):
    assert headline(record) == text


def test_the_repr_of_a_run_has_no_times():
    assert run_repr(runs.pipeline()) == "Run(4 steps: 4 done)"


def test_the_state_has_one_item_a_step():
    shown = state(runs.failed())

    assert shown["status"] == "failed"
    assert shown["counts"] == {"done": 1, "failed": 1, "skipped": 2}
    assert shown["steps"]["status"] == ["done", "failed", "skipped", "skipped"]
    assert shown["steps"]["node"] == ["ingest", "output", None, None]
    assert {len(column) for column in shown["steps"].values()} == {4}


def test_a_folded_box_has_a_state_of_its_own():
    assert state(runs.fan(3, ended=False), {1: [1, 2, 3]})["folded"] == {"1": "running"}
    assert state(runs.fan(3), {1: [1, 2, 3]})["folded"] == {"1": "done"}


def test_details_are_left_out_where_there_are_none():
    shown = detail(runs.failed(), {})

    assert set(shown["steps"]) == {"0", "1", "2", "3"}
    assert shown["steps"]["0"] == {"printed": "180 rows read\n"}
    assert shown["steps"]["1"]["failure"]["type_name"] == "ValueError"
    first, second = shown["steps"]["1"]["attempts"]
    assert (first["node"], first["sent_s"], first["started_s"], first["ended_s"]) == ("process", 0.017, 0.018, 0.030)
    assert first["outcome"] == "ValueError: could not convert string to float: 'n/a'"
    assert (second["number"], second["node"], second["outcome"]) == (2, "output", "failed: ValueError")
    assert shown["steps"]["2"] == {"because": "clean"}


def test_the_result_of_a_group_is_that_of_its_steps():
    shown = detail(runs.fan(3), {"scores": [10, 20, 30]})

    assert [shown["steps"][str(i)]["result"]["text"] for i in (1, 2, 3)] == ["10", "20", "30"]
    assert [result["name"] for result in shown["results"]] == ["scores"]


def test_what_is_sent_stays_small():
    record = runs.fan(1000)
    loud: dict[str, object] = dict.fromkeys(record.steps, "x" * 100_000)

    assert len(json.dumps(state(record))) < 100_000
    assert len(json.dumps(detail(record, loud))) < 2_000_000


def test_long_output_is_cut_and_says_how_long_it_is():
    record = RunRecord.of([Opened(0.0, (runs.plan("x"),))])
    record.apply(Finished(0.1, StepName("x"), NodeName("a"), printed="y" * 60_000))

    (step,) = detail(record, {})["steps"].values()

    assert (len(step["printed"]), step["printed_chars"]) == (20_000, 60_000)


def test_what_is_left_is_told_while_the_run_goes_on():
    assert state(runs.fan(8, ended=False))["at_least"]
    assert state(runs.fan(8, ended=False))["left_s"] > 0
    assert state(runs.pipeline())["left_s"] is None


def test_the_last_events_are_sent():
    shown = detail(runs.fan(1000), {})

    assert len(shown["events"]) == 500
    assert shown["earlier_events"] > 1000
    assert shown["events"][-1]["what"] == "ended"


def test_a_workflow_that_nobody_began_is_not_run():
    assert planned(runs.running()) == "4 steps, not run"
    assert planned(RunRecord.of([Opened(0.0, (runs.plan("a"),), name="flippers")])) == "flippers, 1 step, not run"


def test_arguments_name_the_steps_they_refer_to():
    workflow = Workflow([Step("chunks", "split", (3,)), Step("best", "best_of", (Ref("chunks")["a"],), {"n": 2})])
    record = RunRecord.of([validate(workflow).opened()])

    chunks, best = json.loads(json.dumps(picture(record, workflow)))["steps"]

    assert chunks["arguments"] == [{"name": "1", "pieces": [{"text": "3"}]}]
    assert best["arguments"][0] == {"name": "1", "pieces": [{"text": "chunks['a']", "step": 0}]}
    assert best["arguments"][1] == {"name": "n", "pieces": [{"text": "2"}]}
    assert picture(record)["steps"][1]["arguments"] == ()


def test_boxes_are_read_after_those_that_they_need():
    for record in (runs.pipeline(), runs.fan(9), runs.fan(40)):
        shown = picture(record)
        place = {node: at for at, node in enumerate(shown["order"])}
        assert all(place[edge["source"]] < place[edge["target"]] for edge in shown["edges"])
        assert sorted(shown["order"]) == list(range(len(shown["nodes"])))


def test_an_open_fan_out_has_a_frame_around_its_boxes_and_a_closed_one_has_none():
    (fold,) = picture(runs.fan(6))["folds"]
    x, y, width, height = fold["frame"]
    assert (fold["name"], fold["closed"], fold["steps"]) == ("scores", False, [1, 2, 3, 4, 5, 6])
    assert fold["label"] == "scores \N{MULTIPLICATION SIGN}6"
    for node in picture(runs.fan(6))["nodes"][1:7]:
        assert x < node["x"]
        assert node["x"] + node["width"] < x + width
        assert y < node["y"]
        assert node["y"] + node["height"] < y + height

    (closed,) = picture(runs.fan(6), folded={"scores"})["folds"]
    assert (closed["closed"], closed["frame"]) == (True, None)


def test_hostile_texts_can_be_sent():
    bad = "\ud800\x1b]0;title\x07"
    record = RunRecord.of([Opened(0.0, (runs.plan("x"), runs.plan("y")))])
    record.apply(Failed(0.1, "x", Failure(bad, bad, bad), bad, 1, 0, 0, 0, 0.1, bad))  # type: ignore[arg-type]
    record.apply(Finished(0.1, "y", bad, printed=bad))  # type: ignore[arg-type]

    for shown in (state(record), {k: v for k, v in detail(record, {"y": bad}).items() if k in ("steps", "results")}):
        assert json.dumps(shown, ensure_ascii=False).encode()


def test_the_picture_names_steps_by_index():
    shown = picture(runs.fan(3))

    assert [step["key"] for step in shown["steps"]] == ["chunks", "scores[0]", "scores[1]", "scores[2]", "best"]
    assert shown["steps"][4]["needs"] == [1, 2, 3]
    assert sorted(step for node in shown["nodes"] for step in node["steps"]) == [0, 1, 2, 3, 4]
    assert all(edge["path"].startswith("M") for edge in shown["edges"])


def test_a_folded_group_stands_for_all_its_steps():
    shown = picture(runs.fan(400))

    assert [len(node["steps"]) for node in shown["nodes"]] == [1, 400, 1]


def test_a_long_chain_of_small_steps_runs_to_the_right_if_it_fits():
    shown = picture(runs.pipeline())

    assert shown["width"] > shown["height"]


def test_status_of_a_run_is_sent_as_text():
    assert state(runs.pipeline())["status"] == RunStatus.DONE.value


def test_the_name_of_a_workflow_stands_before_the_counts():
    record = RunRecord.of([Opened(0.0, (StepPlan(StepName("a"), FunctionName("f")),), name="flippers")])

    assert headline(record) == "flippers, 0 of 1 done"
    record.apply(Finished(1.0, StepName("a"), NodeName("n")))
    record.apply(Ended(1.0, RunStatus.DONE))
    assert headline(record) == "flippers, 1 step: 1 done"
