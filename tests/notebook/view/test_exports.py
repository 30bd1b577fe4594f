"""A run as Mermaid, Graphviz, a trace and JSON: the structure of each, and names that try to break out of it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from mpreg_lab import Run
from mpreg_lab.errors import SavedRunError
from mpreg_lab.notebook.view import preview
from mpreg_lab.notebook.view.dot import dot
from mpreg_lab.notebook.view.mermaid import mermaid
from mpreg_lab.notebook.view.saved import from_json, to_json
from mpreg_lab.notebook.view.static_html import run_html
from mpreg_lab.notebook.view.trace import trace
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import Failed, Failure, Finished, Opened, RunRecord, StepPlan
from tests.hostile import each_hostile

from . import runs

untyped: Any = preview


def hostile_run(text: str) -> RunRecord:
    """Two steps and a group of that name."""
    a, b = StepName(text), StepName("b")
    plans = (runs.plan(text, text), runs.plan("b", text, text, resources=(text,)))
    record = RunRecord.of([Opened(0.0, plans, (Group(f"{text} group", [text]),), text)])
    record.apply(Finished(0.2, a, text, 1, 0.0, 0.0, 0.1, 0.2, text))  # type: ignore[arg-type]
    record.apply(Failed(0.3, b, Failure(text, text, text), text, 1, 0.2, 0.2, 0.21, 0.3, text))  # type: ignore[arg-type]
    return record


# --- Mermaid ---


def test_mermaid_has_a_node_a_step_an_arrow_a_need_and_a_class_a_state():
    text = mermaid(runs.failed())

    assert text.startswith("flowchart TD\n")
    assert re.findall(r'^  (s\d)\["(.*)"\]$', text, re.MULTILINE) == [
        ("s0", "✓ rows<br/>parse_csv"),
        ("s1", "✕ clean<br/>clean_rows"),
        ("s2", "⇥ summary<br/>aggregate"),
        ("s3", "⇥ report<br/>format_report"),
    ]
    assert re.findall(r"^  (s\d) --> (s\d)$", text, re.MULTILINE) == [("s0", "s1"), ("s1", "s2"), ("s2", "s3")]
    assert re.findall(r"^  class (\S+) (\w+)$", text, re.MULTILINE) == [
        ("s0", "done"),
        ("s1", "failed"),
        ("s2,s3", "skipped"),
    ]


def test_mermaid_draws_a_fan_out_as_a_box():
    text = mermaid(runs.fan(3))

    assert re.search(r'subgraph g0\["scores"\]\n(?:    s\d\[.*\]\n){3}  end\n', text)
    assert len(re.findall(r"-->", text)) == 6


_MERMAID_LINE = re.compile(
    r'flowchart TD|  subgraph g\d+\["[^"`<>]*"\]|  end| {2,4}s\d+\["[^"`<>]*<br/>[^"`<>]*"\]|  s\d+ --> s\d+'
    r"|  classDef \w+ [\w#:,]+|  class [\w,]+ \w+"
)


@each_hostile("name")
def test_no_name_breaks_out_of_mermaid(name: str):
    for line in mermaid(hostile_run(name)).splitlines():
        assert _MERMAID_LINE.fullmatch(line), line


# --- Graphviz ---


def test_dot_has_a_node_a_step_and_an_arrow_a_need():
    text = dot(runs.failed())

    assert re.findall(r'^  (s\d) \[label="([^"]*)", tooltip="(\w+)"', text, re.MULTILINE) == [
        ("s0", "✓ rows\\nparse_csv", "done"),
        ("s1", "✕ clean\\nclean_rows", "failed"),
        ("s2", "⇥ summary\\naggregate", "skipped"),
        ("s3", "⇥ report\\nformat_report", "skipped"),
    ]
    assert re.findall(r"^  (s\d) -> (s\d);$", text, re.MULTILINE) == [("s0", "s1"), ("s1", "s2"), ("s2", "s3")]
    assert dot(runs.fan(3)).count("subgraph cluster_0 {") == 1


@each_hostile("name")
def test_no_name_breaks_out_of_dot(name: str):
    assert outside_of_quotes(dot(hostile_run(name))) == outside_of_quotes(dot(hostile_run("plain")))


def outside_of_quotes(text: str) -> str:
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', "S", text)


# --- a trace ---


def test_a_trace_has_a_process_a_node_and_a_complete_event_an_attempt():
    told = json.loads(trace(runs.failed()))
    by_phase: dict[str, list[Any]] = {}
    for event in told["traceEvents"]:
        by_phase.setdefault(event["ph"], []).append(event)

    assert set(by_phase) == {"M", "X", "s", "f"}
    names = {e["pid"]: e["args"]["name"] for e in by_phase["M"] if e["name"] == "process_name"}
    attempts = [(e["name"], e["cat"], names[e["pid"]], e["args"]["attempt"]) for e in by_phase["X"]]
    assert sorted(attempts) == [
        ("clean", "clean_rows", "output", 2),
        ("clean", "clean_rows", "process", 1),
        ("rows", "parse_csv", "ingest", 1),
    ]
    assert told["displayTimeUnit"] == "ms"


def test_times_of_a_trace_are_microseconds():
    (event,) = [e for e in json.loads(trace(runs.pipeline()))["traceEvents"] if e["ph"] == "X" and e["name"] == "clean"]

    assert event["dur"] == pytest.approx(48_000)
    assert event["args"]["waiting_ms"] > 0
    assert event["args"]["travelling_ms"] == pytest.approx(1.0)


def test_every_event_of_a_trace_has_what_the_format_asks_for():
    events = json.loads(trace(runs.fan(40)))["traceEvents"]
    threads = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    busy: dict[tuple[int, int], float] = {}

    for event in events:
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        assert type(event["name"]) is str
        if event["ph"] != "M":
            assert event["ts"] >= 0
            assert (event["pid"], event["tid"]) in threads
    for event in sorted((e for e in events if e["ph"] == "X"), key=lambda e: e["ts"]):
        slot = event["pid"], event["tid"]
        # Complete events of one thread must not overlap unless one is inside the other.
        assert event["ts"] >= busy.get(slot, 0.0) - 0.001
        busy[slot] = event["ts"] + event["dur"]


def test_an_arrow_of_a_trace_begins_in_the_needed_step_and_ends_in_the_one_that_needs_it():
    events = json.loads(trace(runs.fan(3)))["traceEvents"]
    bars = {e["name"]: e for e in events if e["ph"] == "X"}
    starts, ends = ({e["id"]: e for e in events if e["ph"] == phase} for phase in "sf")

    assert len(starts) == len(ends) == 6
    for number, start in starts.items():
        end = ends[number]
        assert (start["name"], start["cat"]) == (end["name"], end["cat"])
        assert end["bp"] == "e"
        assert any((start["pid"], start["tid"]) == (b["pid"], b["tid"]) for b in bars.values())
        assert start["ts"] <= end["ts"] + 0.001


@each_hostile("name")
def test_a_trace_with_any_name_is_json(name: str):
    text = trace(hostile_run(name))

    assert text.isascii()
    assert {e["ph"] for e in json.loads(text)["traceEvents"]} == {"M", "X", "s", "f"}


# --- JSON and back ---


@pytest.mark.parametrize(
    "record", [runs.pipeline(), runs.failed(), runs.running(), runs.faulty(), runs.fan(20)], ids=str
)
def test_a_saved_run_shows_the_same(record: RunRecord):
    again, results = from_json(to_json(record, runs.RESULTS))

    assert run_html(again, results) == run_html(record, runs.RESULTS)
    assert again.steps == record.steps
    assert (again.status, again.duration_s, again.groups, again.nodes) == (
        record.status,
        record.duration_s,
        record.groups,
        record.nodes,
    )


class Odd:
    def __repr__(self) -> str:
        return "Odd(1)"


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "text", [1, [2, {}]], {"a": {"b": [None]}}, "ü\u2028", (1 << 63) - 1]
)
def test_results_that_json_has_are_kept(value: object):
    _, results = from_json(to_json(runs.pipeline(), {"report": value}))

    assert repr(results["report"]) == repr(value)


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, {1, 2}, b"x", float("nan"), 1 << 63, "\ud800", Odd(), [Odd()], 1j], ids=repr
)
def test_of_other_results_is_kept_what_is_shown(value: object):
    _, results = from_json(to_json(runs.pipeline(), {"report": value}))

    assert type(results["report"]) is untyped.ShownResult
    assert untyped.result_preview(results["report"]) == untyped.result_preview(value)


def test_a_table_stays_a_table():
    import pandas as pd

    _, results = from_json(to_json(runs.pipeline(), {"report": pd.DataFrame({"a": [1, 2]})}))

    assert repr(results["report"]) == "ShownResult(DataFrame, 2 rows, 1 column)"
    assert "<table>" in run_html(runs.pipeline(), results)


def test_a_result_that_holds_itself_is_shown():
    ring: list[object] = []
    ring.append(ring)

    assert type(from_json(to_json(runs.pipeline(), {"report": ring}))[1]["report"]) is untyped.ShownResult


@each_hostile("name")
def test_a_run_with_any_name_can_be_saved(name: str):
    record = hostile_run(name)
    again, _ = from_json(to_json(record, {name: name}))

    assert [s.status for s in again.steps.values()] == [s.status for s in record.steps.values()]


GOOD = json.loads(to_json(runs.pipeline(), {}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        b"\xff\xfe",
        b"\x80\x04K\x01.",
        "nothing",
        "[" * 100_000,
        json.dumps(GOOD | {"version": 2}),
        json.dumps(GOOD | {"format": "another"}),
        json.dumps(GOOD | {"steps": [{}]}),
        json.dumps(GOOD | {"status": "lost"}),
        json.dumps(GOOD | {"steps": GOOD["steps"][1:]}),
        json.dumps(GOOD | {"groups": [{"name": "g", "steps": ["x"]}]}),
    ],
    ids=lambda text: f"{text[:40]!r}",
)
def test_what_is_no_saved_run_is_refused(text: str | bytes):
    with pytest.raises(ValueError, match=r"saved run|no run"):
        from_json(text)
    with pytest.raises(SavedRunError, match=r"saved run|no run"):
        Run.from_json(text)


def test_a_plan_is_enough_for_every_format():
    record = RunRecord.of([Opened(0.0, (StepPlan("a", "f"),))])  # type: ignore[arg-type]

    assert "s0" in mermaid(record)
    assert "s0" in dot(record)
    assert json.loads(trace(record))["traceEvents"] == []
    assert msgspec.json.decode(to_json(record, {}))["status"] == "running"
