import asyncio

import pytest

from mpreg_lab import LocalCluster
from mpreg_lab.examples import offer
from mpreg_lab.examples.performance import (
    FUNCTIONS,
    Figure,
    measure,
    nodes,
    percentile,
    socket_floor,
    table,
    thread_floor,
    workflow,
)


def test_everything_is_measured_beside_a_floor():
    figures = measure(calls=30, rounds=3)

    assert [(f.what, len(f.times_us), f.floor) for f in figures] == [
        ("a call in this process", 30, "another thread and back"),
        ("a call over a websocket", 30, "a socket and back"),
        ("30 such calls at once", 30, "a socket and back"),
        ("a step of 30 in a row", 3, "a step with no cluster"),
        ("a step of 30 at once", 3, "a step with no cluster"),
    ]
    for figure in figures:
        assert min(figure.times_us) > 0
        assert figure.floor_us > 0
        assert figure.ratio == pytest.approx(figure.each_us / figure.floor_us)
    assert max(map(len, table(figures).splitlines())) <= 80


@pytest.mark.parametrize("chain", [True, False])
def test_what_is_measured_does_the_work(chain: bool):
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow(50, chain=chain))

    assert run["s49"] == 50
    assert {step.node for step in run.record.steps.values()} == {"back"}


def test_the_floors_are_measured_as_often_as_asked():
    assert len(thread_floor(5)) == 5
    assert len(asyncio.run(socket_floor(5))) == 5


@pytest.mark.parametrize(("percent", "time"), [(50, 50.0), (90, 90.0), (99, 99.0), (100, 100.0)])
def test_a_percentile_is_a_time_that_was_measured(percent: int, time: float):
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == time
    assert percentile([7.0], percent) == 7.0


def test_the_table_has_percentiles_throughput_and_multiples():
    figure = Figure("a call", tuple(float(n) for n in range(1, 101)), 50.0, "nothing", 10.0)

    assert table([figure]).splitlines() == [
        "microseconds                    p50     p90     p99   in 1 s  x floor",
        "a call                           50      90      99   20,000      5.0",
        "",
        "The floors, p50:",
        "  nothing                        10",
    ]
