from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from mpreg_lab.cluster.dask import DaskCluster
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.engine.inline import InlineEngine
from mpreg_lab.testing.clock import Ran
from mpreg_lab.testing.conformance import EngineConformance
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import RunRecord


class TestInline(EngineConformance):
    async def run(self, functions: Mapping[str, Callable[..., Any]], workflow: Workflow) -> Ran:
        run = InlineEngine(functions).run(workflow)
        record = RunRecord.of([event async for event in run])
        results: dict[str, Any] = dict(run.results.items())
        errors: dict[str, Exception] = dict(run.errors.items())
        return Ran(record, results, errors)


@pytest.fixture(scope="module")
def memory_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ws_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, transport="ws") as cluster:
        yield cluster


class _OnCluster(EngineConformance):
    cluster: LocalCluster | DaskCluster

    async def run(self, functions: Mapping[str, Callable[..., Any]], workflow: Workflow) -> Ran:
        for name, function in functions.items():
            self.cluster.register(function, name=name)
        run = await self.cluster.run_async(workflow, check=False)
        done = [step.name for step in run.record.steps.values() if step.status == "done"]
        return Ran(run.record, {name: run[name] for name in done}, run.errors)


class TestMemoryCluster(_OnCluster):
    @pytest.fixture(autouse=True)
    def launched(self, memory_cluster: LocalCluster) -> None:
        self.cluster = memory_cluster


class TestWebSocketCluster(_OnCluster):
    @pytest.fixture(autouse=True)
    def launched(self, ws_cluster: LocalCluster) -> None:
        self.cluster = ws_cluster


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[DaskCluster]:
    with DaskCluster(3) as cluster:
        yield cluster


@pytest.mark.dask
class TestDask(_OnCluster):
    soon_s = 0.5

    @pytest.fixture(autouse=True)
    def launched(self, dask_cluster: DaskCluster) -> None:
        self.cluster = dask_cluster
