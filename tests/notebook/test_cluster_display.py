"""What a cell shows of a cluster, where there is no browser to look."""

from __future__ import annotations

import msgspec
import pytest
from IPython.core.interactiveshell import InteractiveShell

from mpreg_lab import LocalCluster
from mpreg_lab.notebook.cluster_display import Twin


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


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into the saved output after it was shown."""
    updates: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], *, raw: bool) -> None:
            updates.append(bundle["text/plain"])

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    return updates


def test_what_the_feed_says_before_the_picture_is_there_is_not_lost(saved: list[str]):
    twin = Twin()
    with LocalCluster({"a": [], "b": []}, name="lab") as cluster:
        before = cluster.status()
        cluster.kill("b")

        twin.update(cluster.status())
        twin.show(before)

    assert saved == ["LocalCluster 'lab', 2 nodes: 1 up, 1 dead"]


def test_who_has_just_begun_to_listen_does_not_overwrite_what_is_known(saved: list[str]):
    twin = Twin()
    with LocalCluster({"a": [], "b": []}, name="lab") as cluster:
        known = cluster.status()
        unheard = [msgspec.structs.replace(node, heard=False) for node in known.nodes]
        twin.show(known)

        twin.update(msgspec.structs.replace(known, nodes=tuple(unheard)))

    assert saved == []
