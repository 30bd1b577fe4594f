"""Any order of adding, killing, restarting, registering and calling: the cluster does what its description says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mpreg_lab import LocalCluster, RoutingError, Step, Workflow
from mpreg_lab.errors import NodeLostError

RESOURCES = ("r0", "r1", "r2")
FUNCTIONS = ("f0", "f1", "f2")
MOST_NODES = 5


class LifeOfACluster(RuleBasedStateMachine):
    """Beside the cluster, what it should be: which nodes live, what they hold, and what each function gives."""

    @initialize(held=st.lists(st.sets(st.sampled_from(RESOURCES)), min_size=2, max_size=3))
    def launch(self, held: list[set[str]]) -> None:
        self.held = {f"n{i}": frozenset(resources) for i, resources in enumerate(held)}
        self.alive = set(self.held)
        self.functions: dict[str, tuple[frozenset[str], int]] = {}
        self.cluster = LocalCluster({name: sorted(resources) for name, resources in self.held.items()})

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.stop()

    @precondition(lambda self: len(self.held) < MOST_NODES)
    @rule(resources=st.sets(st.sampled_from(RESOURCES)))
    def add(self, resources: set[str]) -> None:
        name = f"n{len(self.held)}"
        self.cluster.add(name, sorted(resources))
        self.held[name] = frozenset(resources)
        self.alive.add(name)

    # The last node is not killed: a cluster of none is stopped, not called.
    @precondition(lambda self: len(self.alive) > 1)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.cluster.kill(name)
        self.alive.remove(name)

    @precondition(lambda self: len(self.alive) < len(self.held))
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held.keys() - self.alive)))
        self.cluster.restart(name)
        self.alive.add(name)

    @rule(data=st.data(), name=st.sampled_from(FUNCTIONS), value=st.integers())
    def register(self, data: st.DataObject, name: str, value: int) -> None:
        node = data.draw(st.sampled_from(sorted(self.alive)))
        some = st.sets(st.sampled_from(sorted(self.held[node]))) if self.held[node] else st.just(set())
        resources = frozenset(data.draw(some))
        self.cluster.register(lambda: value, name=name, resources=resources)
        self.functions[name] = resources, value

    @rule(name=st.sampled_from(FUNCTIONS))
    def call(self, name: str) -> None:
        # A node that was killed a moment ago may not be missed yet: retries find another one.
        workflow = Workflow([Step("it", name, retries=5)])
        if self.holders(name):
            assert self.cluster.run(workflow, timeout=20).results == {"it": self.functions[name][1]}
        else:
            with pytest.raises((RoutingError, NodeLostError)):
                self.cluster.run(workflow, timeout=20)

    @invariant()
    def everyone_knows_echo(self) -> None:
        if hasattr(self, "cluster"):
            assert self.cluster.run(Workflow([Step("it", "echo", args=(7,), retries=5)]), timeout=20).results == {
                "it": 7
            }

    def holders(self, function: str) -> list[str]:
        """The living nodes that should offer the function."""
        if function not in self.functions:
            return []
        resources, _ = self.functions[function]
        return [name for name in self.alive if resources <= self.held[name]]


TestLifeOfACluster = LifeOfACluster.TestCase
TestLifeOfACluster.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
