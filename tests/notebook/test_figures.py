"""matplotlib figures: that they can be drawn, whatever the run, without a warning."""

import pytest

from mpreg_lab.notebook import figures
from mpreg_lab.workflow.record import Opened, RunRecord

from .view import runs

KINDS = [figures.graph, figures.timeline, figures.latency]


@pytest.mark.parametrize("draw", KINDS)
@pytest.mark.parametrize(
    "record",
    [
        RunRecord(),
        RunRecord.of([Opened(0.0, (runs.plan("$\\frac{1}{0}$ 名前🚀", "$x"),))]),
        runs.pipeline(),
        runs.failed(),
        runs.running(),
        runs.faulty(),
        runs.fan(60),
    ],
)
def test_every_run_can_be_drawn(draw, record):
    png, size = draw(record)._repr_png_()

    assert png.startswith(b"\x89PNG")
    assert size["width"] <= 1200


def test_a_figure_says_what_it_shows():
    assert repr(figures.graph(runs.pipeline())) == "RunFigure(graph, 4 steps: 4 done)"


def test_axes_have_names_and_units():
    (axes,) = figures.timeline(runs.pipeline()).axes
    assert axes.get_xlabel() == "time since the run began (ms)"
    above, below = figures.latency(runs.pipeline()).axes
    assert above.get_xlabel() == "run time of a call (ms)"
    assert below.get_xlabel() == "time of all steps of the function (ms)"


def test_bars_that_look_alike_are_drawn_as_one_however_many_there_are():
    (axes,) = figures.timeline(runs.fan(1000)).axes
    assert len(axes.collections) + len(axes.patches) < 20


def test_pyplot_is_left_alone():
    import matplotlib.pyplot as plt

    figures.graph(runs.pipeline())
    assert plt.get_fignums() == []
