import pytest

from mpreg_lab import LocalCluster, Step, Workflow, WorkflowError
from mpreg_lab.examples import offer
from mpreg_lab.examples.basic import CALLS, FUNCTIONS, Parcel, nodes, workflow

RESULTS = {
    "echoed": "hello",
    "listed": [1, 2.5, "three", None, [4, 5]],
    "joined": "any number of words",
    "dashed": "by-name",
    "usual": "119.00 EUR",
    "abroad": "107.70 CHF",
    "wrapped": Parcel("book", 515),
    "relayed": ["ping 1", "ping 2"],
}


@pytest.mark.parametrize("options", [{}, {"transport": "ws"}, {"processes": True}], ids=["memory", "ws", "processes"])
def test_every_way_to_call_gives_what_plain_python_gives(options: dict):
    with LocalCluster(nodes(), **options) as cluster:
        offer(cluster, FUNCTIONS)

        assert cluster.run(workflow()).results == RESULTS
        assert {c.name: cluster.call(c.function, *c.args, **dict(c.kwargs)) for c in CALLS} == RESULTS


def test_an_argument_that_does_not_fit_is_told_before_anything_runs():
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)

        with pytest.raises(WorkflowError, match="2 positional arguments given, it takes 1"):
            cluster.run(Workflow([Step("wrong", "price", (100.0, 0.2))]))


def test_a_call_reads_as_python():
    assert str(CALLS[5]) == "price(100.0, tax=0.077, currency='CHF')"
