"""Any workflow gives the same results by hand, on the inline engine, and on clusters over memory and websockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.engine.inline import InlineEngine
from mpreg_lab.workflow.model import Attr, Ref, Step, Workflow
from tests.dags import dags

# A busy machine is no failure.
unhurried = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=100
)


class Pair(msgspec.Struct, frozen=True):
    """A result with fields."""

    left: Any
    right: Any


def gather(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """All arguments, as a table that references can go into."""
    return {"args": list(args), "kwargs": kwargs}


def pair(left: Any, right: Any = None) -> Pair:
    """Two values."""
    return Pair(left, right)


async def later(*args: Any, **kwargs: Any) -> list[Any]:
    """All arguments, some turns of the loop later."""
    await asyncio.sleep(0)
    return [*args, *kwargs.values()]


FUNCTIONS = {function.__name__: function for function in (gather, pair, later)}
NODES = {"one": ["x"], "two": ["y"], "three": ["x", "y"]}


# --- workflows ----------------------------------------------------------------------------------------------------

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.binary(max_size=3))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@st.composite
def paths(draw: st.DrawFn, result: Any) -> tuple[Any, ...]:
    """A way into a result that leads somewhere."""
    path: list[Any] = []
    while draw(st.booleans()):
        if isinstance(result, Pair):
            name = draw(st.sampled_from(["left", "right"]))
            path.append(Attr(name))
            result = getattr(result, name)
        elif isinstance(result, dict) and result:
            key = draw(st.sampled_from(sorted(result)))
            path.append(draw(st.sampled_from([key, Attr(key)])) if key.isidentifier() else key)
            result = result[key]
        elif isinstance(result, list) and result:
            index = draw(st.integers(-len(result), len(result) - 1))
            path.append(index)
            result = result[index]
        else:
            break
    return tuple(path)


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
        max_leaves=4,
    )


@st.composite
def workflows(draw: st.DrawFn) -> tuple[Workflow, dict[str, Any]]:
    """A workflow, its steps in any order, and its results by hand."""
    needs = draw(dags())
    names = draw(st.lists(NAMES, min_size=len(needs), max_size=len(needs), unique=True))
    by_hand: dict[str, Any] = {}
    steps = []
    for name, wanted in zip(names, needs, strict=True):
        function = draw(st.sampled_from(sorted(FUNCTIONS)))
        arguments = [draw(nested(PLAIN)) for _ in range(draw(st.integers(0, 2)))]
        for need in wanted:
            other = names[need]
            ref = Ref(other, draw(paths(by_hand[other])))
            places: list[Any] = [ref, [ref], {"deep": (ref, 1)}, ([[ref]],)]
            arguments.append(draw(st.sampled_from(places)))
        if function == "pair":
            arguments = [arguments, None]
            keywords: dict[str, Any] = {}
        else:
            named = draw(st.booleans())
            keywords = {"last": arguments.pop()} if arguments and named else {}
        resources = draw(st.sampled_from([(), (), "x", "y", ("x", "y")]))
        steps.append(Step(name, function, arguments, keywords, resources))
        by_hand[name] = called(steps[-1], by_hand)
    return Workflow(draw(st.permutations(steps))), by_hand


def called(step: Step, results: Mapping[str, Any]) -> Any:
    args = [filled(value, results) for value in step.args]
    kwargs = {name: filled(value, results) for name, value in step.kwargs.items()}
    if step.function == "later":
        return [*args, *kwargs.values()]
    return FUNCTIONS[step.function](*args, **kwargs)


def filled(value: Any, results: Mapping[str, Any]) -> Any:
    """The value with references replaced, written here once more and differently."""
    if isinstance(value, Ref):
        found = results[value.step]
        for part in value.path:
            if not isinstance(part, Attr):
                found = found[part]
            elif isinstance(found, dict):
                found = found[part.name]
            else:
                found = getattr(found, part.name)
        return found
    if isinstance(value, dict):
        return {key: filled(item, results) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(filled(item, results) for item in value)
    return value


# --- engines ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["memory", "ws"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(NODES, transport=request.param) as cluster:
        for function in FUNCTIONS.values():
            cluster.register(function)
        yield cluster


@unhurried
@given(workflows())
def test_the_inline_engine_does_what_is_done_by_hand(written: tuple[Workflow, dict[str, Any]]):
    workflow, by_hand = written

    async def results() -> dict[Any, Any]:
        run = InlineEngine(FUNCTIONS).run(workflow)
        async for _ in run:
            pass
        assert run.errors == {}
        return run.results

    assert asyncio.run(results()) == by_hand


@unhurried
@given(written=workflows(), data=st.data())
def test_a_cluster_does_what_is_done_by_hand(
    cluster: LocalCluster, written: tuple[Workflow, dict[str, Any]], data: st.DataObject
):
    workflow, by_hand = written
    wanted = data.draw(st.none() | st.lists(st.sampled_from(sorted(by_hand)), unique=True))
    run = cluster.run(msgspec.structs.replace(workflow, returns=wanted if wanted is None else tuple(wanted)))

    assert all(step.status == "done" for step in run.record.steps.values())
    assert run.results == {name: by_hand[name] for name in (run.results if wanted is None else wanted)}
    assert {name: run[name] for name in by_hand} == by_hand
