import msgspec
import pytest

from mpreg_lab import LocalCluster, RunFailedError, StepStatus, Workflow
from mpreg_lab.examples import concurrency, offer
from mpreg_lab.examples.concurrency import FUNCTIONS, nodes, stress, workflow


@pytest.mark.parametrize("processes", [False, True])
async def test_no_call_is_lost_and_no_answer_goes_to_another(processes: bool):
    with LocalCluster(nodes(), processes=processes) as cluster:
        offer(cluster, FUNCTIONS)

        load = await stress(cluster.url, clients=12, calls=25)

    assert (load.asked, load.answered, load.wrong) == (300, 300, 0)
    assert load.calls_per_s == pytest.approx(300 / load.took_s)


async def test_an_answer_to_another_question_would_be_counted():
    with LocalCluster(nodes()) as cluster:
        cluster.register(lambda client, call: (client, call + call % 2, "?"), name="tag")

        load = await stress(cluster.url, clients=3, calls=10)

    assert (load.answered, load.wrong) == (30, 15)


def test_all_guests_are_inside_at_once():
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow(500))

    assert sorted(run.results.values()) == list(range(1, 501))
    assert {step.node for step in run.record.steps.values()} == {"three"}
    assert concurrency._rooms == {}


def test_a_meeting_that_lacks_a_guest_does_not_end_by_itself():
    steps = [msgspec.structs.replace(step, timeout_s=0.2) for step in workflow(20).steps]
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(Workflow(steps[:-1]), check=False)

    assert run.record.count(StepStatus.FAILED) == 19
    assert isinstance(run.exception, RunFailedError)
    assert {type(error).__name__ for error in run.errors.values()} == {"StepTimeoutError"}
