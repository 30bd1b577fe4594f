"""Percentiles and shares of time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpreg_lab.notebook.view.latency import latency, percentile
from mpreg_lab.workflow.record import RunRecord

from . import runs


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.sampled_from([0, 50, 90, 99, 100]))
def test_percentiles_are_those_of_numpy(values, percent):
    assert percentile(sorted(values), percent) == pytest.approx(np.percentile(values, percent), abs=1e-9)


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_each_function_has_its_own_latency():
    functions = {str(f.function): f for f in latency(runs.fan(11)).functions}

    assert list(functions) == ["split", "score", "best_of"]
    assert functions["score"].count == 11
    assert functions["score"].p50_s == pytest.approx(0.02 + 0.0131 * 5)
    assert functions["score"].max_s == functions["score"].runs_s[-1]


def test_the_parts_of_a_steps_time_add_up_to_all_of_it():
    clean = next(share for share in latency(runs.failed()).by_step if share.name == "clean")

    # Ready at 16 ms, known to have failed at 72 ms; 12 ms of the first attempt and 19 ms of the second were running.
    assert clean.total_s == pytest.approx(0.056)
    assert clean.running_s == pytest.approx(0.031)
    assert clean.travelling_s == pytest.approx(0.002)
    assert sum(clean.fractions) == pytest.approx(1)


def test_steps_that_never_ran_have_no_latency():
    assert [share.name for share in latency(runs.failed()).by_step] == ["rows", "clean"]
    assert latency(RunRecord()).functions == ()
