"""Which node runs a step: a live one that has the function and all resources; among several, the least loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mpreg_lab.errors import ArgumentsError, RoutingError, UnknownFunctionError
from mpreg_lab.protocol.messages import FunctionInfo, Member
from mpreg_lab.types import NodeName
from mpreg_lab.workflow.model import Step
from mpreg_lab.workflow.plan import did_you_mean

from .functions import call_problem

__all__ = ["Router"]


class Router:
    """Decides for one node, from what it knows of the members and of the steps that it gave out itself."""

    def __init__(self) -> None:
        self._members: dict[NodeName, Member] = {}
        self._functions: dict[NodeName, dict[str, FunctionInfo]] = {}
        self._resources: dict[NodeName, frozenset[str]] = {}
        self._load: dict[NodeName, int] = {}
        self._given: dict[NodeName, int] = {}
        self._doubtful: set[NodeName] = set()
        self._capable: dict[tuple[str, frozenset[str], str | None], tuple[NodeName, ...]] = {}
        self._fits: dict[tuple[str, int, tuple[str, ...]], str | None] = {}

    def update(self, member: Member) -> None:
        """A node joined or changed."""
        name = member.name
        self._members[name] = member
        self._functions[name] = {info.name: info for info in member.functions}
        self._resources[name] = frozenset(member.resources)
        self._load.setdefault(name, 0)
        self._given.setdefault(name, 0)
        self._forget_answers()

    def remove(self, name: NodeName) -> None:
        """A node is gone: it is not chosen any more."""
        for table in (self._members, self._functions, self._resources, self._load, self._given):
            table.pop(name, None)
        self._doubtful.discard(name)
        self._forget_answers()

    def doubt(self, name: NodeName) -> None:
        """A node may be gone: others are chosen, if there are any."""
        self._doubtful.add(name)

    def trust(self, name: NodeName) -> None:
        """It is there after all."""
        self._doubtful.discard(name)

    @property
    def nodes(self) -> tuple[NodeName, ...]:
        """All that it knows, in the order in which they joined."""
        return tuple(self._members)

    def choose(self, step: Step, near: Collection[NodeName] = (), avoid: Collection[NodeName] = ()) -> NodeName:
        """The node for a step.

        The least loaded of those that can run it: fewest steps under way for each of its slots; then one that holds
        something the step needs; then the one that was given fewest steps so far; then the first that joined.

        Raises:
            RoutingError: If none can; says who has what.
        """
        capable = self.capable(step)
        if not capable:
            raise self.explain(step)
        if len(capable) == 1:
            return capable[0]
        if self._doubtful:
            avoid = {*avoid, *self._doubtful}
        if avoid:
            capable = tuple(name for name in capable if name not in avoid) or capable
        return min(capable, key=lambda name: self._cost(name, near))

    def can_run(self, step: Step, node: NodeName) -> bool:
        """Whether the node has the function and all resources."""
        return node in self.capable(step)

    def began(self, node: NodeName, steps: int) -> None:
        """The node was given so many steps."""
        if node in self._load:
            self._load[node] += steps
            self._given[node] += steps

    def ended(self, node: NodeName, steps: int) -> None:
        """The node is rid of so many steps."""
        if node in self._load:
            self._load[node] -= steps

    @property
    def busy(self) -> frozenset[NodeName]:
        """The nodes that have steps of ours."""
        return frozenset(name for name, steps in self._load.items() if steps > 0)

    def check(self, step: Step, positional: int | None = None, keywords: Collection[str] = ()) -> None:
        """Refuse a step that no node could run, before the run begins.

        Args:
            positional: How many positional arguments the step has. None: the call is not checked.

        Raises:
            RoutingError: If no node has the function and all resources.
            ArgumentsError: If the function cannot be called like that.
        """
        capable = self.capable(step)
        if not capable:
            raise self.explain(step)
        if positional is None:
            return
        question = (step.function, positional, tuple(keywords))
        if question not in self._fits:
            self._fits[question] = call_problem(self._functions[capable[0]][step.function], positional, keywords)
        problem = self._fits[question]
        if problem is not None:
            info = self._functions[capable[0]][step.function]
            raise ArgumentsError(
                f"step {step.name!r} cannot call {step.function}{info.signature}: {problem}", step=step.name
            )

    def capable(self, step: Step) -> tuple[NodeName, ...]:
        """The nodes that can run a step, in the order in which they joined."""
        question = (step.function, step.resources, step.node)
        found = self._capable.get(question)
        if found is None:
            found = self._capable[question] = tuple(
                name
                for name in self._members
                if step.function in self._functions[name]
                and step.resources <= self._resources[name]
                and (step.node is None or step.node == name)
            )
        return found

    def explain(self, step: Step) -> RoutingError:
        """Why no node can run a step: who has the function, who has the resources, and what to do."""
        with_function = [name for name in self._members if step.function in self._functions[name]]
        if not with_function:
            known = dict.fromkeys(name for functions in self._functions.values() for name in functions)
            hint = did_you_mean(step.function, known, "Functions: ")
            if not hint.endswith("?"):
                hint += ". Register it: @cluster.function"
            return UnknownFunctionError(
                f"step {step.name!r}: no node has a function {step.function!r}. {hint}", step=step.name
            )
        if step.node is not None and step.node not in self._members:
            return RoutingError(
                f"step {step.name!r} should run on node {step.node!r}, which is not in the cluster. "
                + did_you_mean(step.node, self._members, "Nodes: "),
                step=step.name,
            )
        return RoutingError(self._who_has_what(step, with_function), step=step.name)

    def _who_has_what(self, step: Step, with_function: list[NodeName]) -> str:
        wanted = sorted(step.resources)
        place = f"node {step.node!r} cannot run" if step.node is not None else "no node can run"
        parts = [f"step {step.name!r}: {place} function {step.function!r}"]
        if wanted:
            parts[0] += f" with resource{'' if len(wanted) == 1 else 's'} {_listing(wanted)}"
        parts.append(f"Nodes with {step.function!r}: {_names(with_function)}")
        for resource in wanted:
            holders = [name for name in self._members if resource in self._resources[name]]
            parts.append(f"Nodes with {resource!r}: {_names(holders)}")
        return ". ".join([*parts, self._advice(step, with_function)])

    def _advice(self, step: Step, with_function: list[NodeName]) -> str:
        function, wanted = step.function, step.resources
        able = [name for name in with_function if wanted <= self._resources[name]]
        if able:
            return f"Leave out the node: {_names(able)} can run it"
        known = dict.fromkeys(name for resources in self._resources.values() for name in sorted(resources))
        for resource in sorted(wanted - known.keys()):
            hint = did_you_mean(resource, known, "Resources: ")
            if hint.endswith("?"):
                return hint
        if any(wanted <= resources for resources in self._resources.values()):
            named = function if function.isidentifier() else f"f, name={function!r}"
            return f"Move it there: cluster.register({named}, resources={_listing(sorted(wanted))})"
        needed = wanted | frozenset(self._functions[with_function[0]][function].resources)
        return f"Add a node: cluster.add('my-node', {_listing(sorted(needed))})"

    def _cost(self, name: NodeName, near: Collection[NodeName]) -> tuple[float, bool, int]:
        return self._load[name] / self._members[name].slots, name not in near, self._given[name]

    def _forget_answers(self) -> None:
        self._capable.clear()
        self._fits.clear()


def _listing(names: Iterable[str]) -> str:
    return "[" + ", ".join(repr(name) for name in names) + "]"


def _names(names: Collection[str]) -> str:
    return ", ".join(names) if names else "none"
