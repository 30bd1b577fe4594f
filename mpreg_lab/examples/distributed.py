"""Which node runs a step: the one that holds the resources, the one that is named, or whoever is free.

The client speaks to one node, `front`, which holds nothing; every call finds its way from there. A step that no node
can run fails at once and says who has what.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from mpreg_lab import Client, LocalCluster, RoutingError, Run, Step, Workflow, current_step
from mpreg_lab.examples import Functions, offer

__all__ = ["FUNCTIONS", "Visit", "ask_for_too_much", "main", "nodes", "visit", "visits", "workflow"]


@dataclass(frozen=True)
class Visit:
    """A step, what it asked for, and the node that ran it."""

    step: str
    wanted: str
    node: str


# --- The functions that run on the nodes --------------------------------------------------------------------------


def visit() -> str:
    """The name of the node that runs this."""
    return current_step().node


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"": (visit,)}
"""Resource to the functions that run where it is; here on every node: what a step asks for decides."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {
        "front": [],
        "library": ["archive"],
        "museum": ["archive", "photographs"],
        "lab-1": ["gpu"],
        "lab-2": ["gpu"],
    }


def workflow() -> Workflow:
    """Steps that ask for a node in every way there is."""
    return Workflow(
        (
            Step("anywhere", "visit"),
            Step("one_resource", "visit", resources=["photographs"]),
            Step("two_resources", "visit", resources=["archive", "photographs"]),
            Step("by_name", "visit", node="library"),
            Step("both", "visit", node="lab-2", resources=["gpu"]),
            *(Step(f"shared[{number}]", "visit", resources=["gpu"]) for number in range(4)),
        )
    )


def visits(run: Run) -> list[Visit]:
    """Where the steps of a run went."""
    found = []
    for step in run.workflow.steps:
        wanted = [*sorted(step.resources), *([f"node {step.node}"] if step.node else [])]
        found.append(Visit(step.name, ", ".join(wanted) or "nothing", run[step.name]))
    return found


def ask_for_too_much(client: Client | LocalCluster) -> str:
    """What the cluster says to a step that asks for what no node holds together."""
    try:
        client.run(Workflow([Step("impossible", "visit", resources=["gpu", "photographs"])]))
    except RoutingError as error:
        return str(error)
    raise AssertionError("a node holds both")


def main() -> None:
    """Run the workflow over the one node `front` and print where the steps went."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        print("Nodes and what they hold:")
        for name, resources in nodes().items():
            print(f"  {name:8} {', '.join(resources) or '-'}")
        with Client(cluster.nodes["front"].url) as client:
            print(f"\n{'step':14} {'asks for':24} ran on")
            for found in visits(client.run(workflow())):
                print(f"{found.step:14} {found.wanted:24} {found.node}")
            print("\nA step that asks for gpu and photographs, which no node holds together:")
            print(textwrap.fill(ask_for_too_much(client), 78, initial_indent="  ", subsequent_indent="  "))


if __name__ == "__main__":
    main()
