"""The magics in a real shell. What bad input gets is in tests/test_bad_input.py."""

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mpreg_lab import Run, running_clusters


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.run_cell("%load_ext mpreg_lab")
    yield shell
    for cluster in running_clusters():
        cluster.stop()
    assert shell.history_manager is not None
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def run(shell: InteractiveShell, cell: str) -> object:
    """The value of a cell that must not fail."""
    with capture_output():
        done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def test_a_cell_runs_on_the_newest_cluster_and_gives_the_run(shell: InteractiveShell):
    run(shell, "%mpreg start 2")
    run(shell, "x = 22")

    result = run(shell, "%%mpreg_workflow\na = echo(20)\nb = echos(a, x)")

    assert isinstance(result, Run)
    assert result.results == {"b": [20, 22]}


def test_out_names_the_run_and_the_cluster_can_be_named(shell: InteractiveShell):
    run(shell, "%mpreg start one two --name first")
    run(shell, "%mpreg start 1 --name second")

    run(shell, "%%mpreg_workflow greeting -c first -o kept --timeout 10\na = echo('hi') | on('two')")

    kept = shell.user_ns["kept"]
    assert kept.results == {"a": "hi"}
    assert kept.record.steps["a"].node == "two"
    assert kept.workflow.name == "greeting"


def test_a_variable_names_a_cluster_too(shell: InteractiveShell):
    run(shell, "from mpreg_lab import LocalCluster\nmine = LocalCluster(1)\nother = LocalCluster(1)")
    run(shell, "@mine.function\ndef where(): return 'mine'")

    assert run(shell, "%%mpreg_workflow -c mine\na = where()").results == {"a": "mine"}  # type: ignore[attr-defined]


def test_a_semicolon_at_the_end_silences_the_cell(shell: InteractiveShell):
    run(shell, "%mpreg start 1")

    with capture_output() as shown:
        done = shell.run_cell("%%mpreg_workflow -o quiet\na = echo(1);")

    assert done.result is None
    assert shown.stdout == shown.stderr == ""
    assert shell.user_ns["quiet"].results == {"a": 1}


def test_plain_shows_graph_results_and_times_as_text(shell: InteractiveShell):
    run(shell, "%mpreg start 1")

    with capture_output() as shown:
        shell.run_cell("%%mpreg_workflow --plain\nrows = echo([1, 2])\ntotal = echos(rows)")

    assert "2 steps: 2 done" in shown.stdout
    assert "rows" in shown.stdout
    assert "[[1, 2]]" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_dry_run_checks_and_draws_and_starts_nothing(shell: InteractiveShell):
    written = run(shell, "%%mpreg_workflow --dry-run -o plan\na = echo(1)\nb = anything(a)")

    assert repr(written) == "Workflow(2 steps), 2 levels, not run"
    assert "data:image/svg+xml" in written._repr_html_()  # type: ignore[attr-defined]
    assert shell.user_ns["plan"] is written


def test_help_tells_all_options_and_the_notation(shell: InteractiveShell):
    with capture_output() as shown:
        shell.run_cell("%%mpreg_workflow --help\n")

    for word in ("--cluster", "--out", "--timeout", "--dry-run", "--plain", "retry(", "timeout(", "on(", "@"):
        assert word in shown.stdout


@pytest.mark.parametrize("magic", ["%%mpreg_workflow", "%mpreg"])
def test_a_question_mark_shows_the_same(shell: InteractiveShell, magic: str):
    with capture_output() as shown:
        shell.run_cell(f"{magic}?")

    assert "%%mpreg_workflow [name]" in shown.stdout


def test_expressions_see_the_notebook_and_are_evaluated_once(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "calls = []\ndef note(x):\n    calls.append(x)\n    return x\nitems, ten = [3, 4], 10")

    result = run(shell, "%%mpreg_workflow\na = echos(note(1), [note(2)])\nb = [echo(i + ten) for i in items]")

    assert result.results == {"a": [1, [2]], "b": [13, 14]}  # type: ignore[attr-defined]
    assert shell.user_ns["calls"] == [1, 2]


def test_start_makes_nodes_with_resources_and_binds_cluster(shell: InteractiveShell):
    run(shell, "%mpreg start ingest=csv work=gpu,big --slots 2")

    cluster = shell.user_ns["cluster"]
    assert {name: node.resources for name, node in cluster.nodes.items()} == {
        "ingest": ("csv",),
        "work": ("big", "gpu"),
    }
    assert cluster.nodes["work"].slots == 2


def test_start_again_replaces_the_cluster(shell: InteractiveShell):
    first = run(shell, "%mpreg start 1")
    run(shell, "%mpreg start 2")

    assert not first.running  # type: ignore[attr-defined]
    assert len(running_clusters()) == 1


def test_nodes_and_functions_are_tables(shell: InteractiveShell):
    run(shell, "%mpreg start a=gpu b")
    run(shell, "@cluster.function(resources=['gpu'])\ndef train(rows: list, epochs: int = 3) -> float:\n    'Fit.'")

    nodes, functions = run(shell, "%mpreg nodes"), run(shell, "%mpreg functions")

    assert nodes.loc["a", "resources"] == "gpu"  # type: ignore[attr-defined]
    assert functions.loc["train"].to_dict() == {  # type: ignore[attr-defined]
        "signature": "(rows: list, epochs: int = 3) -> float",
        "resources": "gpu",
        "nodes": "a",
        "doc": "Fit.",
    }


def test_status_and_stop(shell: InteractiveShell):
    run(shell, "%mpreg start 1 --name x")
    with capture_output() as shown:
        shell.run_cell("%mpreg status")
        shell.run_cell("%mpreg stop x")
        shell.run_cell("%mpreg status")

    assert shown.stdout.splitlines() == [
        "LocalCluster('x', 1 node)",
        "  node-1  resources: -  functions: -",
        "stopped x",
        "no cluster runs. Start one: %mpreg start 3",
    ]


def test_unloading_takes_the_magics_away(shell: InteractiveShell):
    run(shell, "%unload_ext mpreg_lab")

    assert "mpreg_workflow" not in shell.magics_manager.magics["cell"]
    assert "mpreg" not in shell.magics_manager.magics["line"]


def test_an_interrupt_cancels_the_run_and_keeps_the_cluster(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(
        shell,
        "import os, signal, threading\ngo = threading.Event()\n"
        "@cluster.function\ndef interrupt():\n    while 'stopped' not in globals():\n        go.wait(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    go.wait(10)",
    )

    with capture_output() as shown:
        done = shell.run_cell("%%mpreg_workflow -o stopped\na = echo(1)\nb = interrupt()\nc = echo(b)")
    shell.user_ns["go"].set()

    assert isinstance(done.error_in_exec, KeyboardInterrupt)
    assert "the run was cancelled" in shown.stdout
    assert "mpreg_lab/" not in shown.stdout
    assert shell.user_ns["stopped"].status == "cancelled"
    assert run(shell, "cluster.call('echo', 5)") == 5
