"""Runs that use results of earlier ones: counted by what the functions really did, on every kind of cluster."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mpreg_lab import Client, Group, LocalCluster, Ref, Step, Workflow
from mpreg_lab.errors import (
    ConnectionLostError,
    RoutingError,
    RunNotFinishedError,
    UnknownStepError,
    WorkflowError,
)
from tests.cluster.launching import WAYS, launched

NODES: dict[str, list[str]] = {"entry": [], "one": ["w"], "two": ["v"]}
LARGE = 100_000


@pytest.fixture(params=WAYS)
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with launched(NODES, request.param) as cluster:
        yield cluster


class Ledger:
    """Functions of which each start is a line in a file, and a switch that makes the last of them work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.switch, self.gate = folder / "ledger", folder / "switch", folder / "gate"
        self._seen: Counter[str] = Counter()

    def on(self, cluster: LocalCluster) -> Ledger:
        path, switch, gate = str(self.path), str(self.switch), str(self.gate)

        def note(name: str) -> None:
            with Path(path).open("a") as file:
                file.write(f"{name}\n")

        def load(size: int) -> list[int]:
            note("load")
            return list(range(size))

        def double(values: list[int]) -> list[int]:
            note("double")
            return [2 * value for value in values]

        def total(values: list[int]) -> int:
            note("total")
            if not Path(switch).exists():
                raise ValueError("not yet")
            return sum(values)

        def wait() -> str:
            import time

            while not Path(gate).exists():
                time.sleep(0.005)
            return "opened"

        cluster.register(load, resources="w")
        cluster.register(double, resources="v")
        cluster.register(total, resources="w")
        cluster.register(wait)
        return self

    def repair(self) -> None:
        self.switch.touch()

    @property
    def news(self) -> dict[str, int]:
        """How often each function was started since this was last asked."""
        now = Counter(self.path.read_text().split()) if self.path.exists() else Counter()
        new, self._seen = now - self._seen, now
        return dict(new)


@pytest.fixture
def ledger(cluster: LocalCluster, tmp_path: Path) -> Ledger:
    return Ledger(tmp_path).on(cluster)


CHAIN = Workflow(
    [
        Step("values", "load", (LARGE,)),
        Step("doubled", "double", (Ref("values"),)),
        Step("sum", "total", (Ref("doubled"),)),
        Step("other", "double", ([1, 2],)),
    ]
)


def kill(cluster: LocalCluster, node: str) -> None:
    """Kill a node, and have all that speak to it notice."""
    cluster.kill(node)
    pinned = Workflow([Step("x", "echo", (1,), node=node)])
    while not isinstance(cluster.run(pinned, check=False).exception, RoutingError):
        continue


def states(run: object) -> dict[str, str]:
    return {str(name): str(step.status) for name, step in run.record.steps.items()}  # type: ignore[attr-defined]


def test_plainly_everything_runs_anew(cluster: LocalCluster, ledger: Ledger):
    ledger.repair()
    run = cluster.run(CHAIN)
    assert ledger.news == {"load": 1, "double": 2, "total": 1}

    again = run.rerun()

    assert ledger.news == {"load": 1, "double": 2, "total": 1}
    assert again.results == run.results == {"sum": LARGE * (LARGE - 1), "other": [2, 4]}
    assert set(states(again).values()) == {"done"}


def test_from_failed_runs_only_what_failed_and_was_skipped(cluster: LocalCluster, ledger: Ledger):
    run = cluster.run(CHAIN, check=False)
    assert isinstance(run.exception, ValueError)
    assert ledger.news == {"load": 1, "double": 2, "total": 1}
    ledger.repair()

    again = run.rerun(from_failed=True)

    assert ledger.news == {"total": 1}
    assert again.results == {"sum": LARGE * (LARGE - 1), "other": [2, 4]}
    assert states(again) == {"values": "reused", "doubled": "reused", "sum": "done", "other": "reused"}
    assert len(again["values"]) == LARGE
    assert repr(again) == "Run(4 steps: 1 done, 3 reused)"


def test_from_a_step_it_and_all_below_run(cluster: LocalCluster, ledger: Ledger):
    ledger.repair()
    run = cluster.run(CHAIN)
    assert ledger.news

    again = run.rerun(from_step="doubled")

    assert ledger.news == {"double": 1, "total": 1}
    assert states(again) == {"values": "reused", "doubled": "done", "sum": "done", "other": "reused"}
    assert again.results == run.results


def test_results_go_from_run_to_run_while_nobody_holds_the_earlier_ones(cluster: LocalCluster, ledger: Ledger):
    run = cluster.run(CHAIN, check=False)
    for _ in range(3):
        run = run.rerun(from_failed=True, check=False)
        gc.collect()
    ledger.repair()
    run = run.rerun(from_failed=True)
    gc.collect()
    cluster.call("double", [0])  # after it, the node has heard that the earlier runs are forgotten

    assert ledger.news == {"load": 1, "double": 3, "total": 5}
    assert len(run["values"]) == LARGE
    assert run["doubled"][-1] == 2 * (LARGE - 1)


def test_a_fan_out_runs_again_by_its_name(cluster: LocalCluster, ledger: Ledger):
    ledger.repair()
    parts = [Step(f"parts[{i}]", "double", ([i],)) for i in range(3)]
    run = cluster.run(Workflow([*parts, Step("n", "load", (3,))], groups=[Group("parts", [s.name for s in parts])]))
    assert ledger.news

    again = run.rerun(from_step="parts")

    assert ledger.news == {"double": 3}
    assert again.results == {"parts": [[0], [2], [4]], "n": [0, 1, 2]}


def test_what_a_lost_node_held_is_computed_again_and_the_record_says_so(cluster: LocalCluster, ledger: Ledger):
    run = cluster.run(CHAIN, check=False)
    assert ledger.news
    ledger.repair()
    cluster.add("three", ["v"])
    kill(cluster, "two")

    again = run.rerun(from_failed=True)

    assert again.results == {"sum": LARGE * (LARGE - 1), "other": [2, 4]}
    gone = {name for name, step in again.record.steps.items() if step.gone}
    # Within one process results are by reference, and the entry node has them all.
    assert gone in ({"doubled"}, set())
    assert ledger.news == {"total": 1, **({"double": 1} if gone else {})}


def test_what_is_too_old_is_computed_again(cluster: LocalCluster, ledger: Ledger):
    ledger.repair()
    run = cluster.run(CHAIN)
    assert ledger.news
    newer = [cluster.run(Workflow([Step("x", "echo", (i,))])) for i in range(70)]

    again = run.rerun(from_step="other")

    assert len(newer) == 70
    assert ledger.news == {"load": 1, "double": 2, "total": 1}
    assert {name for name, step in again.record.steps.items() if step.gone} == {"values", "doubled", "sum"}
    assert again.results == run.results


def test_a_client_from_elsewhere_runs_again_too(cluster: LocalCluster, ledger: Ledger):
    with Client(cluster.url, token=cluster.token) as client:
        run = client.run(CHAIN, check=False)
        assert ledger.news
        ledger.repair()
        again = run.rerun(from_failed=True)

        assert ledger.news == {"total": 1}
        assert again.results["sum"] == LARGE * (LARGE - 1)
        assert len(again["values"]) == LARGE


async def test_awaited(cluster: LocalCluster, ledger: Ledger):
    run = await cluster.run_async(CHAIN, check=False)
    assert ledger.news
    ledger.repair()

    assert (await run.rerun_async(from_failed=True)).results["sum"] == LARGE * (LARGE - 1)
    assert ledger.news == {"total": 1}


def test_a_rerun_that_fails_raises_what_failed(cluster: LocalCluster, ledger: Ledger):
    run = cluster.run(CHAIN, check=False)

    with pytest.raises(ValueError, match="not yet"):
        run.rerun(from_failed=True)
    assert isinstance(run.rerun(from_failed=True, check=False).exception, ValueError)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(NODES) as cluster:
        Ledger(tmp_path).on(cluster)
        yield cluster


def test_a_rerun_need_not_be_waited_for(quick: LocalCluster, tmp_path: Path):
    (tmp_path / "gate").touch()
    run = quick.run(Workflow([Step("w", "wait")]))
    (tmp_path / "gate").unlink()

    again = run.rerun(wait=False)

    assert not again.done
    (tmp_path / "gate").touch()
    assert again.wait().results == {"w": "opened"}


@pytest.mark.parametrize("options", [{}, {"from_failed": True}, {"from_step": "w"}])
def test_a_run_under_way_cannot_be_run_again(quick: LocalCluster, options: dict[str, object]):
    run = quick.submit(Workflow([Step("w", "wait")]))

    with pytest.raises(RunNotFinishedError, match=r"run\.wait\(\)"):
        run.rerun(**options)  # type: ignore[arg-type]
    run.cancel()
    assert run.join()
    run.rerun(wait=False, **options).cancel()  # type: ignore[arg-type]


def test_what_was_asked_for_wrongly(quick: LocalCluster):
    run = quick.run(Workflow([Step("values", "load", (3,))]))
    said: list[Callable[[], object]] = [
        lambda: run.rerun(from_step="valeus"),
        lambda: run.rerun(from_step="values", from_failed=True),
        lambda: run.rerun(timeout=-1),
    ]

    with pytest.raises(UnknownStepError, match="Did you mean 'values'"):
        said[0]()
    with pytest.raises(WorkflowError, match="not both"):
        said[1]()
    with pytest.raises(WorkflowError, match="timeout must be seconds"):
        said[2]()


def test_the_time_out_stays(quick: LocalCluster):
    run = quick.run(Workflow([Step("values", "load", (3,))]), timeout=50)

    assert (run.rerun().timeout, run.rerun(timeout=5).timeout) == (50, 5)


def test_a_cluster_that_was_stopped(tmp_path: Path):
    with LocalCluster(NODES) as cluster:
        Ledger(tmp_path).on(cluster)
        run = cluster.run(Workflow([Step("values", "load", (3,))]))

    with pytest.raises(ConnectionLostError, match=r"run\(run\.workflow\)"):
        run.rerun()
