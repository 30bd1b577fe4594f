"""Two runs beside each other, on runs made by hand."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from mpreg_lab.notebook.comparison import Comparison
from mpreg_lab.notebook.view.compare import compared, comparison_repr
from mpreg_lab.notebook.view.compare_svg import MOST, comparison_html, comparison_svg
from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord
from tests.hostile import each_hostile

from . import runs
from .test_exports import hostile_run


def before() -> RunRecord:
    return runs.pipeline()


def after() -> RunRecord:
    """`rows` as before, `clean` slower, `summary` faster, `report` has another name."""
    record = RunRecord.of(runs.pipeline_events((0.0123, 0.090, 0.010, 0.006)))
    report = record.steps.pop(StepName("report"))
    record.steps[StepName("letter")] = report
    report.plan = runs.plan("letter", "format_report", "summary")
    return record


def test_steps_are_slower_and_faster_by_more_than_noise():
    comparison = Comparison(compared(after(), before()))

    assert comparison.slower == {"clean": pytest.approx(0.042)}
    assert comparison.faster == {"summary": pytest.approx(-0.011)}


def test_steps_are_added_and_gone():
    comparison = Comparison(compared(after(), before()))

    assert (comparison.added, comparison.gone) == (("letter",), ("report",))
    assert repr(comparison) == "Comparison(5 steps: 3 in both, 1 added, 1 gone)"


def test_steps_that_ended_otherwise_are_changed_and_not_slower():
    comparison = Comparison(compared(runs.failed(), before()))

    assert comparison.changed == {
        "clean": ("done", "failed"),
        "summary": ("done", "skipped"),
        "report": ("done", "skipped"),
    }
    assert comparison.slower == comparison.faster == {}
    assert repr(comparison) == "Comparison(4 steps: 4 in both, 3 in another state)"


def test_a_run_beside_itself():
    found = compared(before(), before())

    assert (found.slower, found.faster, found.added, found.gone, found.changed) == ((), (), (), (), ())
    assert comparison_repr(found) == "Comparison(4 steps: 4 in both)"


def test_the_whole_is_compared_too():
    comparison = Comparison(compared(after(), before()))

    assert comparison.difference_s == pytest.approx(0.042 - 0.011 + 0.0003)
    assert Comparison(compared(runs.running(), before())).difference_s is None


def test_the_frame_has_one_row_a_step_of_either():
    frame = Comparison(compared(after(), before())).frame()

    assert list(frame.index) == ["rows", "clean", "summary", "letter", "report"]
    assert list(frame.columns) == ["function", "status", "other_status", "ran_s", "other_ran_s", "difference_s"]
    assert frame.loc["clean", "difference_s"] == pytest.approx(0.042)
    assert frame["difference_s"].isna().tolist() == [False, False, False, True, True]
    assert frame["status"].isna().tolist() == [False, False, False, False, True]


def test_the_picture_has_a_row_a_step_of_both_the_slowest_first():
    root = ElementTree.fromstring(comparison_svg(compared(after(), before())))
    names = [
        text.find("{*}title") for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("class") == "b"
    ]

    assert [title.text for title in names if title is not None] == ["clean", "rows", "summary"]


def test_a_picture_of_many_steps_has_those_with_the_greatest_differences():
    other = runs.fan(100)
    record = runs.fan(100)
    for i, step in enumerate(record.steps.values()):
        assert step.ended_s is not None
        step.ended_s += i / 1000
    names = re.findall(r"<title>(?!Comparison)([^<]*)</title>", comparison_svg(compared(record, other)))

    assert len(names) == MOST
    assert names[0] == "best"
    assert "scores[98]" in names
    assert "scores[1]" not in names


def test_html_says_what_differs_and_marks_what_differs_from_run_to_run():
    html = comparison_html(compared(after(), before()))
    stable = re.sub(r'<img class="mpreg-timing" [^>]*>|<span class="mpreg-timing">[^<]*</span>', "", html)

    assert "5 steps: 3 in both, 1 added, 1 gone" in stable
    assert "Only in this run: letter" in stable
    assert "Only in the other run: report" in stable
    assert not re.search(r"\d (ms|s|µs)\b", stable)
    assert re.search(r"took \d+ ms, in the other run [\d.]+ ms: \+[\d.]+ ms", html)


@each_hostile("name")
def test_no_name_breaks_out_of_a_comparison(name: str):
    record = hostile_run(name)
    html = comparison_html(compared(record, record))

    allowed = "div b span img details summary table thead tbody tr th td"
    assert set(re.findall(r"<(\w+)", html)) <= set(allowed.split())
    assert ElementTree.fromstring(comparison_svg(compared(record, record), title=name)).tag.endswith("svg")


def test_the_figure_shows_itself_and_says_what_it_is():
    figure = Comparison(compared(after(), before())).figure()

    assert figure._repr_png_()[0].startswith(b"\x89PNG")
    assert repr(figure) == "RunFigure(comparison, 5 steps)"
