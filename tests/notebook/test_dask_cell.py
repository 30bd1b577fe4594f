from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from mpreg_lab.cluster.dask import DaskCluster
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import MagicError
from mpreg_lab.notebook.clusters import any_cluster, local_cluster

pytestmark = pytest.mark.dask


def test_a_cell_runs_on_dask_when_that_is_all_there_is():
    with DaskCluster(1) as cluster:
        assert any_cluster({}, None) is cluster
        assert any_cluster({}, cluster.name) is cluster
        assert any_cluster({"mine": cluster}, "mine") is cluster
        with LocalCluster(1) as other:
            assert any_cluster({}, None) is other
        with pytest.raises(MagicError, match="DaskCluster: its nodes live elsewhere"):
            local_cluster({"mine": cluster}, "mine")


def test_the_same_cell_runs_here_and_there():
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "mpreg_lab")
    results = []
    for make in (LocalCluster, DaskCluster):
        with make({"a": ["numbers"], "b": []}) as cluster:
            cluster.register(lambda limit: list(range(limit)), name="numbers", resources=["numbers"])
            cluster.register(sum, name="total")
            shell.user_ns["there"] = cluster
            cell = 'n = numbers(5) @ "numbers"\ntotal = total(n)'
            shell.run_cell(f"%%mpreg_workflow --cluster there -o run\n{cell}").raise_error()
            run = shell.user_ns["run"]
            results.append((run.results, run.record.steps["n"].node, repr(run)))
    assert results[0] == results[1] == ({"total": 10}, "a", "Run(2 steps: 2 done)")
