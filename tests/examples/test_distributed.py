import pytest

from mpreg_lab import Client, LocalCluster
from mpreg_lab.examples import offer
from mpreg_lab.examples.distributed import FUNCTIONS, ask_for_too_much, nodes, visits, workflow


@pytest.mark.parametrize("options", [{}, {"transport": "ws"}, {"processes": True}], ids=["memory", "ws", "processes"])
@pytest.mark.parametrize("entry", ["front", "lab-2"])
def test_steps_run_where_they_ask_to_whichever_node_the_client_speaks_to(options: dict, entry: str):
    with LocalCluster(nodes(), **options) as cluster:
        offer(cluster, FUNCTIONS)
        with Client(cluster.nodes[entry].url) as client:
            run = client.run(workflow())
            found = {visit.step: visit for visit in visits(run)}

            assert found["one_resource"].node == found["two_resources"].node == "museum"
            assert found["by_name"].node == "library"
            assert found["both"].node == "lab-2"
            assert {found[f"shared[{n}]"].node for n in range(4)} <= {"lab-1", "lab-2"}
            assert found["anywhere"].node in nodes()
            assert found["both"].wanted == "gpu, node lab-2"
            assert {name: visit.node for name, visit in found.items()} == {
                name: step.node for name, step in run.record.steps.items()
            }


def test_what_no_node_holds_together_is_said_with_who_holds_what():
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)

        said = ask_for_too_much(cluster)

    assert "no node can run function 'visit' with resources ['gpu', 'photographs']" in said
    assert "Nodes with 'gpu': lab-1, lab-2. Nodes with 'photographs': museum." in said
