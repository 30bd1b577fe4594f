"""Steps that take the results of equal ones: counted by what the functions really did, on every kind of cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpreg_lab import Client, LocalCluster, Ref, Run, Step, Workflow
from tests.cluster.launching import WAYS, launched

NODES: dict[str, list[str]] = {"a": ["left"], "b": ["right"], "c": ["left", "right"]}
LARGE = 100_000


@pytest.fixture(params=WAYS)
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with launched(NODES, request.param) as cluster:
        yield cluster


@pytest.fixture
def quick() -> Iterator[LocalCluster]:
    with LocalCluster(NODES) as cluster:
        yield cluster


class Ledger:
    """A line for each start of a function."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Counter[str] = Counter()
        name = str(path)

        def note(what: str) -> None:
            with Path(name).open("a") as file:
                file.write(f"{what}\n")

        self.note = note

    @property
    def news(self) -> dict[str, int]:
        now = Counter(self.path.read_text().split()) if self.path.exists() else Counter()
        new, self._seen = now - self._seen, now
        return dict(new)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def doubling(ledger: Ledger, factor: int = 2) -> Callable[..., Any]:
    note = ledger.note

    def double(value: Any, plus: int = 0) -> Any:
        note("double")
        print("doubling")  # noqa: T201 - it is what the step prints
        return value * factor + plus

    return double


def cached(name: str, *args: Any, **options: Any) -> Step:
    return Step(name, "double", args, cache=True, **options)


def states(run: Run) -> list[str]:
    return [str(step.status) for step in run.record.steps.values()]


def test_an_equal_step_takes_the_result(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    first = cluster.run(Workflow([cached("x", 21)]))
    second = cluster.run(Workflow([cached("x", 21)]))
    third = cluster.run(Workflow([cached("another_name", 21), cached("other_value", 22)]))

    assert ledger.news == {"double": 2}
    assert first.results == second.results == {"x": 42}
    assert third.results == {"another_name": 42, "other_value": 44}
    assert (states(first), states(second), states(third)) == (["done"], ["cached"], ["cached", "done"])
    step = second.record.steps["x"]  # type: ignore[index]
    assert (step.attempts, step.ran_s, step.printed) == (0, None, "")
    assert repr(second) == "Run(1 step: 1 cached)"


def test_only_steps_that_say_so_take_and_keep_results(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    plain = Workflow([Step("x", "double", (1,))])
    cluster.run(plain)
    cluster.run(Workflow([cached("x", 1)]))
    cluster.run(plain)

    assert ledger.news == {"double": 3}


def test_arguments_are_compared_by_value_wherever_they_came_from(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    array = np.arange(LARGE)
    direct = cluster.run(Workflow([cached("x", array, plus := 1), Step("n", "echo", (plus,))]))
    chain = Workflow([Step("made", "echo", (array,)), Step("x", "double", (Ref("made"), 1), cache=True)])
    through = cluster.run(chain)

    assert ledger.news == {"double": 1}
    assert states(through) == ["done", "cached"]
    assert np.array_equal(through["x"], direct["x"])


def test_a_result_below_a_cached_step_is_the_same(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    workflow = Workflow([cached("a", np.arange(LARGE)), Step("b", "double", (Ref("a"),)), cached("c", Ref("b"))])
    first, second = cluster.run(workflow), cluster.run(workflow)

    assert np.array_equal(second["c"], first["c"])
    assert ledger.news == {"double": 4}
    assert states(second) == ["cached", "done", "cached"]


def test_a_redefined_function_runs_and_one_registered_again_as_it_was_does_not(cluster: LocalCluster, ledger: Ledger):
    workflow = Workflow([cached("x", 1)])
    cluster.register(doubling(ledger))
    assert cluster.run(workflow).results == {"x": 2}
    cluster.register(doubling(ledger))
    assert cluster.run(workflow).results == {"x": 2}
    assert ledger.news == {"double": 1}

    cluster.register(doubling(ledger, factor=3))
    assert cluster.run(workflow).results == {"x": 3}
    assert ledger.news == {"double": 1}
    cluster.register(doubling(ledger))
    assert cluster.run(workflow).results == {"x": 2}
    assert ledger.news == {}


def test_clients_share_the_cache(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    cluster.run(Workflow([cached("x", 5)]))
    with Client(cluster.nodes["b"].url, token=cluster.token) as client:
        assert states(client.run(Workflow([cached("x", 5)]))) == ["cached"]
        client.clear_cache()
        assert states(client.run(Workflow([cached("x", 5)]))) == ["done"]
    assert ledger.news == {"double": 2}


def test_a_cleared_cache_is_empty_on_all_nodes(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    workflow = Workflow([cached(f"x{i}", i) for i in range(20)])
    cluster.run(workflow)
    assert ledger.news == {"double": 20}
    cluster.clear_cache()
    cluster.run(workflow)

    assert ledger.news == {"double": 20}


def test_async_functions_are_cached_too(cluster: LocalCluster, ledger: Ledger):
    note = ledger.note

    async def slow(x: int) -> int:
        note("slow")
        return x + 1

    cluster.register(slow)
    workflow = Workflow([Step("x", "slow", (1,), cache=True)])

    assert cluster.run(workflow).results == cluster.run(workflow).results == {"x": 2}
    assert ledger.news == {"slow": 1}


def test_results_outlive_the_nodes_that_computed_them_elsewhere(cluster: LocalCluster, ledger: Ledger):
    cluster.register(doubling(ledger))
    workflow = Workflow([cached(f"x{i}", i, retries=2) for i in range(30)])
    cluster.run(workflow)
    cluster.kill("b")
    again = cluster.run(workflow)

    assert again.results == {f"x{i}": 2 * i for i in range(30)}
    lost = Counter(states(again))["done"]
    assert 0 < lost < 30
    assert ledger.news == {"double": 30 + lost}


# --- on one cluster: what does not depend on how nodes speak ---


def test_errors_are_not_kept(quick: LocalCluster, ledger: Ledger):
    note = ledger.note

    def refuse(x: int) -> None:
        note("refuse")
        raise ValueError(x)

    quick.register(refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="1"):
            quick.run(Workflow([Step("x", "refuse", (1,), cache=True)]))

    assert ledger.news == {"refuse": 2}


def test_none_is_a_result_like_any_other(quick: LocalCluster, ledger: Ledger):
    note = ledger.note

    def nothing() -> None:
        note("nothing")

    quick.register(nothing)
    runs = [quick.run(Workflow([Step("x", "nothing", cache=True)])) for _ in range(2)]

    assert [states(run) for run in runs] == [["done"], ["cached"]]
    assert runs[1].results == {"x": None}
    assert ledger.news == {"nothing": 1}


def test_a_result_that_is_too_old_is_not_taken(quick: LocalCluster, ledger: Ledger):
    quick.register(doubling(ledger))
    quick.run(Workflow([cached("x", 1)]))

    assert states(quick.run(Workflow([cached("x", 1, cache_ttl_s=1e-6)]))) == ["done"]
    assert states(quick.run(Workflow([cached("x", 1, cache_ttl_s=1000)]))) == ["cached"]


def test_calls_with_other_resources_are_others_and_with_another_node_are_not(quick: LocalCluster, ledger: Ledger):
    quick.register(doubling(ledger))
    quick.run(Workflow([cached("x", 1, resources=["left"])]))
    again = quick.run(
        Workflow(
            [
                cached("same", 1, resources=["left"]),
                cached("pinned", 1, resources=["left"], node="c"),
                cached("other", 1, resources=["right"]),
                cached("none", 1),
            ]
        )
    )

    assert states(again) == ["cached", "cached", "done", "done"]


def test_what_is_done_to_a_result_does_not_change_what_was_kept(quick: LocalCluster):
    quick.register(lambda n: np.zeros(n), name="zeros")
    workflow = Workflow([Step("x", "zeros", (5,), cache=True)])
    run = quick.run(workflow)
    run["x"][:] = 7

    assert quick.run(workflow)["x"].tolist() == [0.0] * 5


def test_a_step_that_cannot_be_cached_says_why(quick: LocalCluster, ledger: Ledger):
    note = ledger.note
    quick.register(lambda value: note("measure") or len(value), name="measure")
    loop: list[Any] = []
    loop.append(loop)
    for _ in range(2):
        run = quick.run(Workflow([Step("x", "measure", (loop,), cache=True)]))
        step = run.record.steps["x"]  # type: ignore[index]
        assert step.status == "done"
        assert step.printed == "not cached: argument 1 is a value of type list, which has no digest\n"
    assert ledger.news == {"measure": 2}


def test_a_cached_step_is_reused_by_a_rerun(quick: LocalCluster, ledger: Ledger):
    quick.register(doubling(ledger))
    quick.run(Workflow([cached("x", 1)]))
    run = quick.run(Workflow([cached("x", 1), Step("y", "double", (Ref("x"),))]))
    again = run.rerun(from_step="y")

    assert (states(run), states(again)) == (["cached", "done"], ["reused", "done"])
    assert again.results == {"y": 4}


def test_a_cached_step_has_its_place_in_every_view(quick: LocalCluster, ledger: Ledger):
    quick.register(doubling(ledger))
    workflow = Workflow([cached("x", 1), Step("y", "double", (Ref("x"),))])
    quick.run(workflow)
    run = quick.run(workflow)

    assert run.frame()["status"].tolist() == ["cached", "done"]
    assert run.events().query("step == 'x'")["what"].tolist() == ["ready", "cached"]
    assert "cached" in run._repr_mimebundle_()["text/html"]
    assert "class s0 cached" in run.to_mermaid()
    assert Run.from_json(run.to_json()).frame().equals(run.frame())
