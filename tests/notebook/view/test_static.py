"""What is stored in notebooks and printed in terminals."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mpreg_lab.notebook.view.charts_svg import latency_svg, timeline_svg
from mpreg_lab.notebook.view.static_html import run_html
from mpreg_lab.notebook.view.text import graph_text, run_text
from mpreg_lab.notebook.view.text_graph import graph_rows
from mpreg_lab.types import FunctionName, NodeName, StepName
from mpreg_lab.workflow.record import Ended, Failed, Failure, Finished, Opened, RunRecord, RunStatus, StepPlan
from tests.hostile import each_hostile

from . import runs

TIMING = re.compile(r'<img class="mpreg-timing" alt="[^"]*" src="[^"]*">|<span class="mpreg-timing">[^<]*</span>')


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.setdefault(tag, set()).update(name for name, _ in attrs)


def hostile_run(text: str) -> RunRecord:
    record = RunRecord.of([Opened(0.0, (runs.plan(text, text), runs.plan("ok", text, text, resources=(text,))))])
    record.apply(Finished(0.2, text, text, 1, 0.0, 0.0, 0.1, 0.2, text))  # type: ignore[arg-type]
    record.apply(runs.fault(0.25, "kill", text, text))
    record.apply(Failed(0.3, "ok", Failure(text, text, text), text, 1, 0.2, 0.2, 0.21, 0.3, text))  # type: ignore[arg-type]
    return record


@each_hostile("text")
def test_html_has_only_our_elements(text):
    tags = Tags()
    tags.feed(run_html(hostile_run(text), {text: text, "t": [{text: text}]}))

    assert set(tags.seen) <= {
        "div", "b", "small", "img", "pre", "span", "details", "summary", "table", "thead", "tbody", "tr", "th", "td",
        "link",
    }  # fmt: skip
    assert set().union(*tags.seen.values()) <= {"class", "style", "alt", "src", "rel", "href"}


@each_hostile("text")
def test_charts_are_well_formed(text):
    for draw in (timeline_svg, latency_svg):
        root = ElementTree.fromstring(draw(hostile_run(text)).encode())
        assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
            "svg",
            "title",
            "style",
            "path",
            "text",
            "rect",
        }


@each_hostile("text")
def test_terminals_get_no_control_characters(text):
    shown = run_text(hostile_run(text), {text: text})

    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert shown.encode()


def test_two_runs_differ_only_in_marked_places():
    quick, slow = (RunRecord.of(runs.pipeline_events(took_s)) for took_s in ((0.1,) * 4, (3, 1, 2, 1)))

    first, second = (run_html(record, runs.RESULTS) for record in (quick, slow))

    assert first != second
    assert TIMING.sub("", first) == TIMING.sub("", second)


def test_the_picture_says_what_it_shows():
    assert 'alt="Dependency graph: rows done, clean failed, summary skipped, report skipped"' in run_html(
        runs.failed(), {}
    )


def test_images_are_svg_within_the_text():
    sources = re.findall(r'src="([^"]*)"', run_html(runs.pipeline(), {}))

    assert len(sources) == 3
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(encoded)).tag.endswith("svg")


def test_forty_steps_add_less_than_60_kilobytes():
    assert len(run_html(runs.fan(38), {"scores": list(range(38))})) < 60_000


def test_errors_name_step_message_and_frames():
    html = run_html(runs.failed(), {})

    assert "ValueError" in html
    assert "could not convert string to float: &#x27;n/a&#x27;" in html
    assert "line 9, in tidy" in html


@pytest.mark.parametrize("record", [RunRecord(), runs.running(), runs.fan(3, ended=False), runs.fan(500)])
def test_every_state_can_be_shown(record):
    assert run_html(record, {}).startswith('<div class="mpreg-run-static">')
    assert run_text(record, {})


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("record", [runs.pipeline(), runs.failed(), runs.fan(5), runs.fan(100)])
def test_no_line_of_text_is_too_long(record, width):
    assert max(map(len, run_text(record, runs.RESULTS, width).splitlines())) <= width


def test_without_timings_equal_runs_give_equal_texts():
    quick, slow = (RunRecord.of(runs.pipeline_events(took_s)) for took_s in ((0.1,) * 4, (3, 1, 2, 1)))

    assert run_text(quick, {}, timings=False) == run_text(slow, {}, timings=False)


def test_colours_change_nothing_else():
    plain = run_text(runs.failed(), runs.RESULTS)

    assert re.sub("\x1b\\[\\d+m", "", run_text(runs.failed(), runs.RESULTS, colour=True)) == plain


def test_a_chain_is_drawn_as_a_line():
    assert graph_text(runs.pipeline())[:3] == [
        "✓  rows     parse_csv      @ csv-parser",
        "│",
        "✓  clean    clean_rows     @ data-cleaner",
    ]


def test_a_fan_opens_and_closes():
    rows = graph_rows("abcd", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])

    assert rows is not None
    assert [(row.lanes, row.name) for row in rows] == [
        ("*", "a"),
        ("├─╮", None),
        ("* │", "b"),
        ("│ │", None),
        ("│ *", "c"),
        ("├─╯", None),
        ("*", "d"),
    ]


def test_steps_without_edges_stand_apart():
    rows = graph_rows("ab", [])

    assert rows is not None
    assert [row.lanes for row in rows] == ["*", "", "*"]


def test_a_graph_too_wide_to_draw_is_a_list():
    names = [f"x{i}" for i in range(30)]
    record = RunRecord.of([Opened(0.0, (*(runs.plan(n) for n in names), runs.plan("all", "f", *names)))])

    assert graph_rows([*names, "all"], [(n, "all") for n in names]) is None
    assert graph_text(record)[-1] == "○ all  f  ← x0, x1, x2, x3 and 26 more"


def test_a_huge_run_is_saved_without_a_bar_for_each_step():
    plans = tuple(StepPlan(StepName(f"s{i}"), FunctionName("f")) for i in range(5000))
    finished = [Finished(1.0, plan.name, NodeName("n"), 1, 0.0, 0.0, 0.1, 0.2) for plan in plans]
    record = RunRecord.of([Opened(0.0, plans), *finished, Ended(1.0, RunStatus.DONE)])

    html = run_html(record, {})

    assert "5,000 steps are too many for pictures" in html
    assert "mpreg-timing" in html
    assert 'alt="Timeline' not in html


def test_the_plan_of_a_run_says_that_it_was_not_run():
    html = run_html(RunRecord.of([Opened(0.0, runs.PIPELINE)]), {}, begun=False)

    assert "<b>4 steps, not run</b>" in html
    assert "0 of 4" not in html
    assert "Events" not in html


def test_events_stand_in_columns_and_the_last_ones_of_many():
    assert "failed   clean    process  attempt 1: ValueError" in run_html(runs.failed(), {})
    assert "(the last 50 of " in run_html(runs.fan(100), {})
