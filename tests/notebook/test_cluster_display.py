"""What a cell shows of a cluster, where there is no browser to look."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from mpreg_lab import LocalCluster


def test_a_terminal_shows_the_text_of_a_cluster(capsys: pytest.CaptureFixture[str]):
    shell = InteractiveShell.instance()
    try:
        with LocalCluster({"a": ["gpu"]}, name="lab") as cluster:
            shell.user_ns["cluster"] = cluster
            shell.run_cell("cluster")
            shell.run_cell("cluster.view()")
    finally:
        InteractiveShell.clear_instance()

    shown = "LocalCluster('lab', 1 node)\n  a  resources: gpu  functions: -\n"
    assert capsys.readouterr().out.count(shown) == 2


def test_the_text_of_a_view_is_the_same_whatever_the_ports():
    cluster = LocalCluster({"a": [], "b": []}, name="lab")
    view = cluster.view()
    cluster.kill("b")

    assert repr(view) == "LocalCluster 'lab', 2 nodes: 1 up, 1 dead"
    assert "1 up, 1 dead" in view._repr_html_()  # type: ignore[attr-defined]
    cluster.stop()
    assert repr(view) == "LocalCluster 'lab', stopped"
