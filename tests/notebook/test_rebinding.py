"""A cell that launches a cluster is run again: what becomes of the one before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mpreg_lab import running_clusters


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    run(shell, "%load_ext mpreg_lab\nfrom mpreg_lab import LocalCluster")
    yield shell
    run(shell, "%unload_ext mpreg_lab")
    for cluster in running_clusters():
        cluster.stop()
    assert shell.history_manager is not None
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def run(shell: InteractiveShell, code: str, cell: str | None = None) -> str:
    """Run a cell as a notebook does, with a history; what it prints."""
    with capture_output() as shown:
        done = shell.run_cell(code, store_history=True, cell_id=cell)
    done.raise_error()
    return shown.stdout


def names() -> list[str]:
    return [cluster.name for cluster in running_clusters()]


SHOWN = "cluster = LocalCluster(1)\ncluster"


def test_a_name_that_is_bound_again_lets_go_of_a_cluster_that_was_shown(shell: InteractiveShell):
    assert "stopped" not in run(shell, SHOWN)
    (first,) = names()

    text = run(shell, SHOWN)

    assert f"The cluster {first!r} was stopped: no variable holds it any more.\n" in text
    assert names() == [shell.user_ns["cluster"].name]
    assert shell.user_ns["_"] is shell.user_ns["cluster"]


def test_a_cluster_that_was_not_shown_is_gone_without_a_word(shell: InteractiveShell):
    run(shell, "cluster = LocalCluster(1)")

    assert run(shell, "cluster = LocalCluster(1)") == ""
    assert len(names()) == 1


@pytest.mark.parametrize("holding", ["kept = cluster", "kept = [cluster]", "def kept(c=cluster): pass"])
def test_a_cluster_that_something_else_holds_goes_on(shell: InteractiveShell, holding: str):
    run(shell, SHOWN)
    run(shell, holding)

    assert "stopped" not in run(shell, SHOWN)
    assert len(names()) == 2


def test_a_name_that_is_deleted_lets_go_too(shell: InteractiveShell):
    run(shell, SHOWN)

    assert "was stopped" in run(shell, "del cluster")
    assert names() == []


def test_a_cluster_that_a_magic_started_lives_until_it_is_stopped(shell: InteractiveShell):
    run(shell, "%mpreg start 1 --name first")

    assert "stopped" not in run(shell, "%mpreg start 1 --name second")
    assert names() == ["first", "second"]
    run(shell, "%mpreg stop first")
    assert names() == ["second"]


def test_a_cluster_without_a_variable_is_replaced_when_its_own_cell_runs_again(shell: InteractiveShell):
    run(shell, "LocalCluster(1)", cell="one")
    run(shell, "LocalCluster(1, name='other')", cell="two")
    assert len(names()) == 2

    assert "was stopped" in run(shell, "LocalCluster(1)", cell="one")
    assert len(names()) == 2
    assert "other" in names()


def test_a_cluster_that_was_stopped_or_replaced_by_name_needs_no_word(shell: InteractiveShell):
    run(shell, "cluster = LocalCluster(1, name='lab')\ncluster")

    assert "was stopped" not in run(shell, "cluster = LocalCluster(1, name='lab')\ncluster")
    run(shell, "cluster.stop()")
    assert "was stopped" not in run(shell, SHOWN)
    assert len(names()) == 1


def test_outputs_go_on_as_ever(shell: InteractiveShell):
    run(shell, SHOWN)
    run(shell, SHOWN)

    run(shell, "'the latest'")

    assert shell.user_ns["_"] == "the latest"


def test_without_the_extension_nothing_is_watched(shell: InteractiveShell):
    run(shell, SHOWN)
    run(shell, "%unload_ext mpreg_lab")

    run(shell, SHOWN)

    assert len(names()) == 2
