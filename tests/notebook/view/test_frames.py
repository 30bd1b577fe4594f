"""The DataFrame of a run."""

import pytest

from mpreg_lab.notebook.view.frames import frame
from mpreg_lab.workflow.record import RunRecord

from . import runs

COLUMNS = ["function", "node", "resources", "status", "attempts", "queued_s", "ran_s", "travel_s", "error"]


def test_a_run_has_one_row_a_step():
    table = frame(runs.pipeline())

    assert list(table.index) == ["rows", "clean", "summary", "report"]
    assert list(table.columns) == COLUMNS
    assert table.index.name == "step"
    assert table.loc["clean", "node"] == "process"
    assert table.loc["clean", "ran_s"] == pytest.approx(0.048)


def test_what_is_not_known_is_missing():
    table = frame(runs.failed())

    assert table.loc["clean", "error"] == "ValueError: could not convert string to float: 'n/a'"
    assert table.loc["report", "error"] == "skipped: clean failed"
    assert table.loc["report", ["node", "ran_s"]].isna().all()


def test_types_do_not_depend_on_the_run():
    assert (frame(RunRecord()).dtypes == frame(runs.pipeline()).dtypes).all()
    assert frame(RunRecord()).shape == (0, len(COLUMNS))
