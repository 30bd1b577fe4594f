"""Faults as bands and outages on the timeline, and in words where a step suffered from them."""

import json

import pytest

from mpreg_lab.notebook.view.charts_svg import timeline_svg
from mpreg_lab.notebook.view.faults import blamed, fault_bands, fault_rows, outages, when
from mpreg_lab.notebook.view.frames import faults_frame
from mpreg_lab.notebook.view.static_html import run_html
from mpreg_lab.notebook.view.summary import detail
from mpreg_lab.notebook.view.text import run_text
from mpreg_lab.notebook.view.timeline import timeline
from mpreg_lab.notebook.view.trace import trace
from mpreg_lab.types import NodeName, StepName
from mpreg_lab.workflow.record import Opened, RunRecord

from . import runs


def record_of(*faults):
    return RunRecord.of([Opened(0.0, (runs.plan("s"),)), *faults])


def test_a_fault_is_a_band_until_it_is_ended_and_a_moment_if_it_does_not_last():
    bands = {band.kind.value: (band.start_s, band.end_s) for band in fault_bands(runs.faulty(), 0.1)}

    assert bands == {
        "delay": (0.0, 0.1),
        "kill": (0.030, 0.050),
        "lost": (0.031, 0.031),
        "restart": (0.050, 0.050),
        "back": (0.052, 0.052),
    }


def test_harm_and_mending_and_notice_have_different_marks_and_colours():
    bands = {band.kind.value: (band.mark, band.tone.value) for band in fault_bands(runs.faulty(), 0.1)}

    assert bands["kill"] == ("✕", "failed")
    assert bands["restart"] == ("↻", "done")
    assert bands["lost"] == ("!", "cancelled")


def test_words_that_would_overlap_stand_in_rows_of_their_own():
    together = record_of(*(runs.fault(1.0, "kill", "a very unfortunate node killed", name) for name in "abc"))
    apart = record_of(runs.fault(0.0, "kill", "a killed", "a"), runs.fault(8.0, "heal", "healed"))

    assert [band.row for band in fault_bands(together, 10.0)] == [0, 1, 2]
    assert fault_rows(fault_bands(together, 10.0)) == 3
    assert [band.row for band in fault_bands(apart, 10.0)] == [0, 1]
    mended = record_of(*apart.faults[:1], runs.fault(3.0, "restart", "a restarted", "a"), *apart.faults[1:])
    assert [band.row for band in fault_bands(mended, 10.0)] == [0, 0, 0]


def test_words_that_begin_late_stand_before_their_mark():
    first, last = fault_bands(record_of(runs.fault(0.0, "heal", "healed"), runs.fault(9.9, "kill", "a killed")), 10.0)

    assert (first.before, last.before) == (False, True)


def test_very_many_faults_take_no_more_than_some_rows():
    many = record_of(*(runs.fault(1.0, "cut", f"a-{i} cut", "a", str(i)) for i in range(100)))

    assert fault_rows(fault_bands(many, 10.0)) == 12


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([("pause", 1.0), ("resume", 2.0)], [("paused", 1.0, 2.0)]),
        ([("kill", 1.0), ("lost", 1.1), ("restart", 3.0), ("back", 3.1)], [("dead", 1.0, 3.0)]),
        ([("lost", 1.0), ("back", 2.0)], [("lost", 1.0, 2.0)]),
        ([("pause", 1.0), ("kill", 2.0)], [("paused", 1.0, 2.0), ("dead", 2.0, 10.0)]),
        ([("pause", -5.0), ("lost", 1.0), ("resume", 4.0), ("back", 4.5)], [("paused", 0.0, 4.0)]),
        ([("restart", 1.0), ("back", 2.0)], []),
    ],
)
def test_a_node_is_out_from_when_it_goes_until_it_is_back(kinds, expected):
    record = record_of(*(runs.fault(at_s, kind, kind, "a") for kind, at_s in kinds))

    assert [(o.kind, o.start_s, o.end_s) for o in outages(record, NodeName("a"), 10.0)] == expected
    assert outages(record, NodeName("b"), 10.0) == ()


def test_a_timeline_has_the_faults_and_the_lane_of_the_node_its_outage():
    drawn = timeline(runs.faulty())

    assert len(drawn.faults) == 5
    assert [[o.kind for o in lane.outages] for lane in drawn.lanes] == [[], [], ["dead"]]


def test_a_lost_attempt_names_what_befell_its_node():
    record = runs.faulty()
    clean = record.steps[StepName("clean")]

    assert blamed(record, clean.earlier[0]) == "process killed"
    assert blamed(record, clean) == ""
    assert blamed(runs.failed(), runs.failed().steps[StepName("clean")]) == ""
    first = detail(record, {})["steps"]["1"]["attempts"][0]
    assert (first["number"], first["node"]) == (1, "process")
    assert first["outcome"] == "after process killed: NodeLostError: node 'process' went away"


def test_every_picture_says_it_in_words():
    record = runs.faulty()

    for text in ("✕ process killed", "↻ process restarted", "◷ ingest-process delayed by 0.01 s"):
        assert text in timeline_svg(record)
        assert text in run_text(record, {})
        assert text in run_html(record, {})
    assert "1.50 s before  ◷ ingest-process delayed by 0.01 s" in run_text(record, {})
    assert "Faults" not in run_text(runs.pipeline(), {})
    assert "Faults" not in run_html(runs.pipeline(), {})


def test_texts_without_timings_say_nothing_of_faults():
    assert "killed" not in run_text(runs.faulty(), {}, timings=False)


def test_faults_are_a_table():
    table = faults_frame(runs.faulty())

    assert list(table.columns) == ["at_s", "kind", "nodes", "text"]
    assert list(table["kind"]) == ["delay", "kill", "lost", "restart", "back"]
    assert table.loc[0, "nodes"] == "ingest process"
    assert len(faults_frame(runs.pipeline())) == 0


def test_times_are_those_of_the_run():
    assert (when(1.24), when(-0.5)) == ("1.24 s", "500 ms before")


def test_a_trace_has_the_faults_as_a_process_of_their_own():
    events = [event for event in json.loads(trace(runs.faulty()))["traceEvents"] if event["pid"] == 0]

    assert events[0]["args"] == {"name": "faults"}
    killed = next(event for event in events if event["name"] == "process killed")
    assert (killed["ph"], killed["cat"], killed["ts"], killed["dur"]) == ("X", "kill", 30_000.0, 20_000.0)
    assert all(event["pid"] for event in json.loads(trace(runs.pipeline()))["traceEvents"])
