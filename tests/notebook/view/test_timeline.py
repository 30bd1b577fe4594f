"""The timeline and the critical path, on runs made by hand."""

from itertools import pairwise

import pytest

from mpreg_lab.notebook.view.timeline import critical_path, ticks, timeline
from mpreg_lab.types import NodeName
from mpreg_lab.workflow.record import Opened, RunRecord, StepStatus

from . import runs


def test_each_node_has_a_lane_in_the_order_of_the_cluster():
    record = runs.pipeline()
    record.nodes = tuple(map(NodeName, ("output", "idle", "ingest", "process")))
    drawn = timeline(record)

    assert [lane.node for lane in drawn.lanes] == ["output", "ingest", "process"]
    assert [[bar.step for bar in lane.bars] for lane in drawn.lanes] == [["report"], ["rows"], ["clean", "summary"]]


def test_nodes_that_came_later_follow_by_name_and_no_node_is_last():
    record = runs.pipeline()
    record.nodes = (NodeName("z"),)
    for step, node in zip(record.steps.values(), ("node-10", None, "node-2", "z"), strict=True):
        step.node = None if node is None else NodeName(node)

    assert [lane.node for lane in timeline(record).lanes] == ["z", "node-2", "node-10", None]


def test_the_spans_of_a_bar_follow_each_other_without_gaps():
    (bar,) = timeline(runs.pipeline()).lanes[0].bars

    assert [span.kind for span in bar.spans] == ["waiting", "travelling", "running", "travelling"]
    assert all(a.end_s == b.start_s for a, b in pairwise(bar.spans))
    assert bar.spans[2].end_s - bar.spans[2].start_s == pytest.approx(0.012)


def test_there_are_as_many_rows_as_slots_were_used():
    drawn = timeline(runs.fan(40, nodes=3, slots=2))

    assert [lane.rows for lane in drawn.lanes] == [2, 2, 2]


def test_bars_of_one_row_never_run_at_the_same_time():
    for lane in timeline(runs.fan(40)).lanes:
        for row in range(lane.rows):
            busy = sorted(bar.busy for bar in lane.bars if bar.row == row)
            assert all(a[1] <= b[0] for a, b in pairwise(busy))


def test_an_attempt_that_was_followed_by_another_has_a_bar_on_its_own_node():
    bars = [(lane.node, bar.attempt, bar.status) for lane in timeline(runs.failed()).lanes for bar in lane.bars]

    assert ("process", 1, StepStatus.RETRYING) in bars
    assert ("output", 2, StepStatus.FAILED) in bars


def test_a_step_that_still_runs_ends_now():
    bar = timeline(runs.running()).lanes[1].bars[0]

    assert bar.status is StepStatus.RUNNING
    assert bar.spans[-1].end_s == runs.running().now_s


def test_a_run_without_steps_has_no_lanes():
    assert timeline(RunRecord.of([Opened(0.0, ())])).lanes == ()


def test_the_critical_path_is_the_chain_that_ended_last():
    assert critical_path(runs.pipeline()) == ("rows", "clean", "summary", "report")
    fan = runs.fan(8)
    slowest = max(fan.groups[0].steps, key=lambda name: fan.steps[name].known_s or 0.0)
    assert critical_path(fan) == ("chunks", slowest, "best")
    assert critical_path(RunRecord()) == ()


@pytest.mark.parametrize(
    ("end_s", "labels"),
    [
        (0.0, ["0"]),
        (0.0123, ["0", "5 ms", "10 ms"]),
        (1.0, ["0", "200 ms", "400 ms", "600 ms", "800 ms", "1 s"]),
        (100, ["0", "20 s", "40 s", "1 min", "1 min 20 s", "1 min 40 s"]),
        (600, ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]),
    ],
)
def test_ticks_stand_at_round_times(end_s, labels):
    assert [tick.label for tick in ticks(end_s)] == labels


@pytest.mark.parametrize("end_s", [1e-9, 1e-6, 0.3, 59.9, 60.1, 7e3, 1e6, 1e9])
def test_there_are_never_many_ticks(end_s):
    assert 1 <= len(ticks(end_s)) <= 8
