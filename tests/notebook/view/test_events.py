"""What happened in a run, line by line."""

from itertools import pairwise

from mpreg_lab.notebook.view.events import event_rows, events_frame
from mpreg_lab.types import NodeName, StepName
from mpreg_lab.workflow.record import Cancelled, Ended, Gone, Opened, Reused, RunRecord, RunStatus, Sent, Started

from . import runs


def of(record: RunRecord, step: str) -> list[tuple[str, str | None, str]]:
    return [(row.what, row.node, row.text) for row in event_rows(record) if row.step == step]


def test_events_are_in_the_order_of_time_from_the_begin_to_the_end():
    rows = event_rows(runs.fan(40))

    assert all(a.at_s <= b.at_s for a, b in pairwise(rows))
    assert (rows[0].step, rows[0].what, rows[0].text) == (None, "began", "42 steps")
    assert (rows[-1].step, rows[-1].what, rows[-1].text) == (None, "ended", "done")
    assert len(rows) == 2 + 42 * 4


def test_a_step_is_ready_sent_started_and_done():
    assert of(runs.pipeline(), "clean") == [
        ("ready", None, ""),
        ("sent", "process", ""),
        ("started", "process", ""),
        ("done", "process", "ran 48.0 ms"),
    ]


def test_each_attempt_is_told_with_its_node_and_its_error():
    told = of(runs.failed(), "clean")
    error = "ValueError: could not convert string to float: 'n/a'"

    assert told == [
        ("ready", None, ""),
        ("sent", "process", "attempt 1"),
        ("started", "process", "attempt 1"),
        ("failed", "process", f"attempt 1: {error}"),
        ("sent", "output", "attempt 2"),
        ("started", "output", "attempt 2"),
        ("failed", "output", f"attempt 2: {error}"),
    ]
    assert of(runs.failed(), "report") == [("skipped", None, "clean failed")]


def test_a_step_without_a_node_failed_without_an_attempt():
    record = runs.failed()
    step = record.steps[StepName("clean")]
    step.node, step.attempts, step.earlier, step.sent_s, step.started_s = None, 0, [], None, None

    assert [what for what, _, _ in of(record, "clean")] == ["ready", "failed"]


def test_a_run_under_way_has_no_end_yet():
    rows = event_rows(runs.running())

    assert [row.what for row in rows if row.step == "clean"] == ["ready", "sent", "started"]
    assert rows[-1].what == "started"


def test_steps_of_a_cancelled_run():
    rows, worker, clean = StepName("rows"), NodeName("a"), StepName("clean")
    record = RunRecord.of(
        [
            Opened(0.0, runs.PIPELINE[:2]),
            Sent(0.1, rows, worker),
            Started(0.2, rows, worker),
            Cancelled(0.5, rows),
            Cancelled(0.5, clean),
            Ended(0.5, RunStatus.CANCELLED),
        ]
    )

    assert of(record, "rows")[-1] == ("cancelled", "a", "")
    assert of(record, "clean") == [("cancelled", None, "")]


def test_results_of_earlier_runs_are_told():
    rows, clean = StepName("rows"), StepName("clean")
    record = RunRecord.of([Opened(0.0, runs.PIPELINE[:2]), Reused(0.0, rows, NodeName("a")), Gone(0.0, clean)])

    assert of(record, "rows") == [("reused", "a", "the result of an earlier run")]
    assert of(record, "clean")[0] == ("gone", None, "the result of the earlier run is not to be had any more")


def test_the_frame_has_one_row_an_event():
    frame = events_frame(runs.failed())

    assert list(frame.columns) == ["at_s", "step", "what", "node", "text"]
    assert len(frame) == len(event_rows(runs.failed()))
    assert frame[frame["what"] == "skipped"]["step"].tolist() == ["summary", "report"]
