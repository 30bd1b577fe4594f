"""The magics in a real shell. What bad input gets is in tests/test_bad_input.py."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mpreg_lab import Run, examples, running_clusters
from mpreg_lab.notebook.command import Notebook
from mpreg_lab.notebook.demos import DEMO, install_examples
from mpreg_lab.notebook.settings import reset


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.run_cell("%load_ext mpreg_lab")
    yield shell
    for cluster in running_clusters():
        cluster.stop()
    reset()
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


def test_a_function_of_the_cluster_that_ran_in_the_notebook_is_told_of_once(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "@cluster.function\ndef double(x): return 2 * x\ndef here(x): return x")
    cell = "a = echos(double(3), here(1))\nb = echo(double(4))\nc = echo(lambda: double(1))"

    said = printed(shell, f"%%mpreg_workflow\n{cell}")

    assert said.splitlines()[0] == (
        "line 2: double(3) ran here, in the notebook. To have the cluster run it: "
        "double_1 = double(3) and a = echos(double_1, here(1))"
    )
    assert said.count("ran here") == 1
    assert "ran here" not in printed(shell, f"%%mpreg_workflow\n{cell};")
    assert len(printed(shell, f"%%mpreg_workflow\na = echo(double({'x' * 9000!r}))").splitlines()[0]) < 500
    assert "ran here" not in printed(shell, "%%mpreg_workflow\nd = double(3)\na = echos(d, here(1))")


def test_out_names_the_run_and_the_cluster_can_be_named(shell: InteractiveShell):
    run(shell, "held = %mpreg start one two --name first")
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


@pytest.mark.parametrize("magic", ["%%mpreg_workflow", "%%mpreg_functions", "%mpreg"])
def test_a_question_mark_shows_the_same_as_help(shell: InteractiveShell, magic: str):
    with capture_output() as asked:
        shell.run_cell(f"{magic} --help")
    with capture_output() as shown:
        shell.run_cell(f"{magic}?")

    text = [line.strip() for line in shown.stdout.splitlines()]
    assert [line.strip() for line in asked.stdout.splitlines() if line.strip() not in text] == []


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


def test_a_notebook_shows_long_texts_of_tables_whole(shell: InteractiveShell):
    run(shell, "%mpreg start " + " ".join(f"worker-{i}" for i in range(12)))
    names = [f"function_number_{i}" for i in range(14)]
    for name in names:
        run(shell, f"cluster.register(print, name={name!r})")

    nodes, functions = run(shell, "%mpreg nodes"), run(shell, "%mpreg functions")

    assert ", ".join(names) in nodes._repr_html_()  # type: ignore[attr-defined]
    assert ", ".join(names) in nodes.head(1)._repr_html_()  # type: ignore[attr-defined]
    assert ", ".join(nodes.index) in functions._repr_html_()  # type: ignore[attr-defined]


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


def printed(shell: InteractiveShell, cell: str) -> str:
    """What a cell that must not fail prints."""
    with capture_output() as shown:
        shell.run_cell(cell).raise_error()
    return shown.stdout


def failed(shell: InteractiveShell, cell: str) -> str:
    """All that a person sees of a cell that fails."""
    with capture_output() as shown:
        assert not shell.run_cell(cell).success
    return shown.stdout + shown.stderr


# --- %mpreg -------------------------------------------------------------------------------------------------------


def test_start_again_says_that_the_cluster_before_is_gone(shell: InteractiveShell):
    assert "stopped" not in printed(shell, "%mpreg start 1;")
    assert "The cluster 'notebook' that ran before was stopped; its functions went with it." in printed(
        shell, "%mpreg start 1;"
    )
    assert "stopped" not in printed(shell, "%mpreg start 1 --name other --as other;")
    assert len(running_clusters()) == 2


def test_start_never_overwrites_what_is_no_cluster(shell: InteractiveShell):
    shell.user_ns["cluster"] = [1, 2]

    assert "the variable 'cluster' holds a value of type list" in failed(shell, "%mpreg start 1")
    assert shell.user_ns["cluster"] == [1, 2]
    assert running_clusters() == ()


def test_nodes_are_added_killed_and_restarted_in_a_line(shell: InteractiveShell):
    run(shell, "%mpreg start a b:gpu")
    cluster = shell.user_ns["cluster"]

    assert printed(shell, "%mpreg add c gpu,model") == "added c, which holds gpu, model\n"
    assert printed(shell, "%mpreg add d=gpu,model") == "added d, which holds gpu, model\n"
    shell.user_ns["cluster"].stop_node("d")
    assert printed(shell, "%mpreg kill b c") == "killed b, c\n"
    assert list(cluster.nodes) == ["a"]
    assert printed(shell, "%mpreg restart c") == "restarted c\n"
    assert cluster.nodes["c"].resources == ("gpu", "model")


def test_runs_are_listed_shown_again_and_cancelled(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "%%mpreg_functions\nimport asyncio\nasync def hang(): await asyncio.Event().wait()")
    first = run(shell, "%%mpreg_workflow\na = echo(1)")
    endless = run(shell, "%%mpreg_workflow --detach\na = hang()")

    assert len(run(shell, "%mpreg runs").frame()) == 2  # type: ignore[attr-defined]
    assert run(shell, "%mpreg run 0") is first
    assert run(shell, "%mpreg run") is endless
    assert "there is no run 7: there are 2. %mpreg runs lists them" in failed(shell, "%mpreg run 7")
    assert printed(shell, "%mpreg cancel") == "cancelled 1 run\n"
    assert endless.join()  # type: ignore[attr-defined]
    assert endless.status == "cancelled"  # type: ignore[attr-defined]
    assert printed(shell, "%mpreg cancel") == "no run goes on\n"


def test_one_run_of_several_is_cancelled(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "%%mpreg_functions\nimport asyncio\nasync def hang(): await asyncio.Event().wait()")
    first, second, third = (run(shell, f"%%mpreg_workflow --detach -o {name}\na = hang()") for name in "xyz")

    assert printed(shell, "%mpreg cancel x") == "cancelled x\n"
    assert first.join()  # type: ignore[attr-defined]
    assert [each.status for each in (first, second, third)] == ["cancelled", "running", "running"]  # type: ignore[attr-defined]
    assert printed(shell, "%mpreg cancel x") == "x does not go on: it is cancelled\n"
    assert printed(shell, "%mpreg cancel -1 -c cluster") == "cancelled -1\n"
    assert third.join()  # type: ignore[attr-defined]
    assert second.status == "running"  # type: ignore[attr-defined]
    run(shell, "saved = type(y).from_json(y.to_json())")
    assert "saved is what was saved of a run that went on" in failed(shell, "%mpreg cancel saved")
    assert "there is no run 'yy'" in failed(shell, "%mpreg cancel yy")
    assert "cluster is no run, but a value of type LocalCluster" in failed(shell, "%mpreg cancel cluster")
    assert printed(shell, "%mpreg cancel") == "cancelled 1 run\n"


def test_faults_are_done_in_their_order_and_listed(shell: InteractiveShell):
    run(shell, "%mpreg start a b c")

    printed(shell, "%mpreg faults kill b; restart b; cut a c; heal")

    assert list(run(shell, "%mpreg faults").action) == ["kill b", "restart b", "cut a c", "heal"]  # type: ignore[attr-defined]
    assert "%mpreg faults cut A B" in printed(shell, "%mpreg faults cut --help")


@pytest.mark.parametrize("line", ["-c first kill a", "kill a -c first", "kill a --cluster=first; heal", "-c first"])
def test_faults_name_their_cluster_before_or_behind_them(shell: InteractiveShell, line: str):
    run(shell, "%mpreg start a --name first")
    run(shell, "%mpreg start b --name second --as other")
    first = shell.user_ns["cluster"]

    printed(shell, f"%mpreg faults {line}")

    assert [type(done.action).__name__ for done in first.faults.log][:1] == (["Kill"] if "kill" in line else [])
    assert not shell.user_ns["other"].faults.log
    assert "names a cluster, and none is named" in failed(shell, "%mpreg faults heal -c")


def test_what_was_sought_on_the_newest_cluster_may_be_on_another(shell: InteractiveShell):
    run(shell, "%mpreg start a --name first")
    assert "Several clusters" not in failed(shell, "%mpreg kill b")
    run(shell, "%mpreg start b --name second --as other")

    hint = "Several clusters run: first, second. -c says which is meant; else it is the newest"
    assert hint in failed(shell, "%mpreg kill a")
    assert hint in failed(shell, "%%mpreg_workflow\nx = zebra()")
    assert "Several clusters" not in failed(shell, "%%mpreg_workflow\nx = 3")


def test_faults_with_times_are_a_script_that_nobody_waits_for(shell: InteractiveShell):
    run(shell, "%mpreg start a b")
    cluster = shell.user_ns["cluster"]

    playing = run(shell, "%mpreg faults at 0 kill b; at 0.01 restart b")
    playing.wait()  # type: ignore[attr-defined]

    assert [type(done.action).__name__ for done in cluster.faults.log] == ["Kill", "Restart"]


def test_config_is_a_table_and_what_it_says_is_done(shell: InteractiveShell):
    run(shell, "%mpreg start 1 --name first --as first")
    run(shell, "%mpreg start 1 --name second --as second")
    for line in ("retries 2", "backoff 0.01", "cluster first", "variable kept", "timeout 30"):
        run(shell, f"%mpreg config {line}")

    run(shell, "%%mpreg_workflow\na = echo(1)\nb = echo(2) | retry(0)")
    run(shell, "%%mpreg_workflow --dry-run\na = echo(1)")
    kept = shell.user_ns["kept"]

    assert [(step.retries, step.backoff_s) for step in kept.workflow.steps] == [(2, 0.01), (0, 0.0)]
    assert run(shell, "%mpreg config").loc["cluster", "value"] == "first"  # type: ignore[attr-defined]
    run(shell, "%mpreg stop first")
    assert "cluster 'first' was stopped" in failed(shell, "%%mpreg_workflow\na = echo(1)")
    run(shell, "%mpreg config --reset")
    run(shell, "%%mpreg_workflow\na = echo(1)")


def test_config_view_none_shows_nothing(shell: InteractiveShell):
    run(shell, "%mpreg start 1\n%mpreg config view none")

    assert printed(shell, "%%mpreg_workflow -o quiet\na = echo(1)") == ""
    assert shell.user_ns["quiet"].results == {"a": 1}


# --- %mpreg: runs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two_runs(shell: InteractiveShell) -> tuple[Run, Run]:
    run(shell, "%mpreg start 2")
    first = run(shell, "%%mpreg_workflow first -o first\na = echo(1)\nb = echos(a)")
    second = run(shell, "%%mpreg_workflow second -o second\na = echo(1)\nc = echos(a)")
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    return first, second


@pytest.mark.parametrize(
    ("line", "added", "gone"),
    [("", "c", "b"), ("first", "c", "b"), ("0 1", "c", "b"), ("second first", "b", "c"), ("-1 -2", "b", "c")],
)
def test_two_runs_are_compared_the_later_beside_the_earlier(
    shell: InteractiveShell, two_runs: tuple[Run, Run], line: str, added: str, gone: str
):
    found = run(shell, f"%mpreg compare {line}")

    assert (found.added, found.gone) == ((added,), (gone,))  # type: ignore[attr-defined]


def test_a_run_is_not_compared_with_itself(shell: InteractiveShell, two_runs: tuple[Run, Run]):
    assert "second is the last run itself. Name the one before it, too: %mpreg compare BEFORE second" in failed(
        shell, "%mpreg compare second"
    )
    assert "first and 0 are the same run. Name two" in failed(shell, "%mpreg compare first 0")


@pytest.mark.parametrize("part", ["graph", "timeline", "latency", "frame", "events", "faults"])
def test_a_part_of_a_run_is_shown_alone(shell: InteractiveShell, two_runs: tuple[Run, Run], part: str):
    shown = run(shell, f"%mpreg run first --only {part}")

    verb = getattr(two_runs[0], part)
    assert type(shown) is type(verb() if callable(verb) else verb)


def test_a_run_is_run_again_from_what_failed_or_from_a_step(shell: InteractiveShell):
    run(shell, "%mpreg start 1\n%mpreg config variable kept")
    run(shell, "%%mpreg_functions\ndef third(x): return x / divisor")
    run(shell, "divisor = 0")
    text = failed(shell, "%%mpreg_workflow\na = echo(6)\nb = third(a)")
    again = failed(shell, "%mpreg rerun --from-failed")
    run(shell, "divisor = 3")
    third = run(shell, "%mpreg rerun kept --from-failed")
    fourth = run(shell, "%mpreg rerun --from a -o other")

    assert "ZeroDivisionError" in text
    assert "ZeroDivisionError in step b" in re.sub(r"\x1b\[[0-9;]*m", "", again)
    assert "mpreg_lab/" not in again
    assert shell.user_ns["kept"] is third
    assert shell.user_ns["other"] is fourth
    assert third.results == fourth.results == {"b": 2}
    assert [s.status for s in third.record.steps.values()] == ["reused", "done"]
    assert [s.status for s in fourth.record.steps.values()] == ["done", "done"]
    assert "--from-failed and --from STEP exclude each other" in failed(shell, "%mpreg rerun --from-failed --from a")
    assert "the run has no step 'zebra'. Its steps: a, b" in failed(shell, "%mpreg rerun --from zebra")


def test_a_detached_run_is_waited_for_and_what_came_of_it_told(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "import threading\ngo = threading.Event()")
    run(shell, "%%mpreg_functions\ndef held(x):\n    go.wait(30)\n    return 6 / x")
    for divisor in (2, 0):
        run(shell, f"go.clear()\nd = {divisor}")
        begun = run(shell, "%%mpreg_workflow --detach -o begun\na = held(d)")
        assert not begun.done  # type: ignore[attr-defined]
        if divisor:
            assert run(shell, "go.set()\n%mpreg wait begun") is begun
        else:
            assert "ZeroDivisionError" in failed(shell, "go.set()\n%mpreg wait")


@pytest.mark.parametrize(
    ("file", "verb"),
    [
        ("run.svg", "to_svg"),
        ("run.mmd", "to_mermaid"),
        ("run.gv", "to_dot"),
        ("run.TRACE.json", "to_trace"),
        ("run.json", "to_json"),
        ("run.py", "to_python"),
    ],
)
def test_a_run_is_written_in_the_form_that_the_file_tells(
    shell: InteractiveShell, two_runs: tuple[Run, Run], tmp_path: Path, file: str, verb: str
):
    text = printed(shell, f"%mpreg export {tmp_path / file} first")

    assert text.startswith(f"wrote {tmp_path / file}: ")
    assert (tmp_path / file).read_text() == getattr(two_runs[0], verb)()


def test_a_file_is_only_written_over_when_asked_to(shell: InteractiveShell, two_runs: tuple[Run, Run], tmp_path: Path):
    file = tmp_path / "mine"
    file.write_text("my own")

    assert f"{file} is there already. --force writes over it" in failed(shell, f"%mpreg export {file} --format svg")
    assert file.read_text() == "my own"
    printed(shell, f"%mpreg export {file} --format svg --force")
    assert file.read_text() == two_runs[1].to_svg()
    assert f"{tmp_path} is a folder. Name a file in it" in failed(shell, f"%mpreg export {tmp_path} --format dot")
    assert "cannot be written: No such file" in failed(shell, f"%mpreg export {tmp_path}/nowhere/run.svg")


def test_a_run_is_read_back_and_shows_the_same_but_does_not_run(
    shell: InteractiveShell, two_runs: tuple[Run, Run], tmp_path: Path
):
    file = tmp_path / "run.json"
    printed(shell, f"%mpreg export {file} first")

    back = run(shell, f"%mpreg open {file} -o back")

    assert shell.user_ns["back"] is back
    assert back.results == two_runs[0].results
    assert run(shell, "%mpreg compare back").added == ("c",)  # type: ignore[attr-defined]
    assert "of this run no more is left than what it shows" in failed(shell, "%mpreg rerun back")
    assert "which is no script" in failed(shell, f"%mpreg export {tmp_path}/run.py back")
    file.write_text("no run")
    assert "this is no run as run.to_json() writes it" in failed(shell, f"%mpreg open {file}")


# --- %mpreg: the rest -----------------------------------------------------------------------------------------------


def test_functions_are_taken_away_and_the_cache_is_cleared(shell: InteractiveShell):
    run(shell, "%mpreg start 2")
    run(shell, "%%mpreg_functions\ndef f(): return 1\ndef g(): return 2")
    statuses = []
    for _ in range(2):
        statuses.append(run(shell, "%%mpreg_workflow\na = f() | cache()").record.steps["a"].status)  # type: ignore[attr-defined]
    printed(shell, "%mpreg clear-cache")
    statuses.append(run(shell, "%%mpreg_workflow\na = f() | cache()").record.steps["a"].status)  # type: ignore[attr-defined]

    assert statuses == ["done", "cached", "done"]
    assert printed(shell, "%mpreg unregister f g") == "took f, g away from all nodes\n"
    assert set(run(shell, "%mpreg functions").index) == {"echo", "echos"}  # type: ignore[attr-defined]


def test_an_example_runs_on_a_cluster_that_stays(shell: InteractiveShell):
    done = run(shell, "%mpreg demo workflows -o told")

    assert shell.user_ns["told"] is done
    assert done.results["told"].startswith("54 notes")
    assert run(shell, "%mpreg rerun --from top").results == done.results  # type: ignore[attr-defined]
    assert printed(shell, "%mpreg stop demo") == "stopped demo\n"


def test_an_example_that_tells_a_story_tells_it_in_the_cell(shell: InteractiveShell):
    assert "by_name        node library             library" in printed(shell, "%mpreg demo distributed")


def test_an_interrupt_ends_a_story_and_its_process(monkeypatch: pytest.MonkeyPatch):
    stories: list[subprocess.Popen[str]] = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            stories.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    install_examples(lambda: examples)
    notebook = Notebook({}, lambda line: signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        DEMO.act(notebook, DEMO.read("concurrency"))

    assert [story.returncode for story in stories] == [130]


def test_an_example_is_told_of_that_needs_what_is_not_here(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examples, "find_spec", lambda name: None)

    assert "monitoring needs psutil, which is not here. Install it: pip install 'mpreg-lab[examples]'" in failed(
        shell, "%mpreg demo monitoring"
    )


def test_demo_alone_lists_the_examples_as_the_terminal_does(shell: InteractiveShell):
    text = printed(shell, "%mpreg demo")

    assert [name for name in examples.EXAMPLES if name not in text] == []
    assert max(map(len, text.splitlines())) <= 80


# --- %%mpreg_functions --------------------------------------------------------------------------------------------

CELL = """import math

def area(r: float) -> float:
    "Of a circle."
    return _square(r) * math.pi

def _square(x): return x * x

async def soon(x): return x
"""


def test_public_functions_of_the_cell_are_on_all_nodes(shell: InteractiveShell):
    run(shell, "%mpreg start 2")

    text = printed(shell, f"%%mpreg_functions\n{CELL}")

    assert text == "area(r: float) -> float on node-1, node-2\nsoon(x) on node-1, node-2\n"
    assert run(shell, "cluster.call('soon', 5)") == 5
    assert run(shell, "round(cluster.call('area', 1.0), 2)") == 3.14
    assert shell.user_ns["_square"](3) == 9


def test_named_nodes_are_added_and_hold_the_resources(shell: InteractiveShell):
    run(shell, "%mpreg start a")

    printed(shell, "%%mpreg_functions worker -r gpu,model\ndef train(x): return x")
    run(shell, "%mpreg add other gpu,model")
    run(shell, "%mpreg restart worker")
    holders = {name: [f.name for f in node.functions] for name, node in shell.user_ns["cluster"].nodes.items()}

    assert shell.user_ns["cluster"].nodes["worker"].resources == ("gpu", "model")
    assert {name for name, functions in holders.items() if "train" in functions} == {"worker"}


def test_running_the_cell_again_replaces_its_functions(shell: InteractiveShell):
    run(shell, "%mpreg start 2")

    run(shell, "%%mpreg_functions\ndef f(): return 1")
    run(shell, "%%mpreg_functions node-2\ndef f(): return 2")

    assert run(shell, "cluster.call('f')") == 2
    assert [n for n, node in shell.user_ns["cluster"].nodes.items() if len(node.functions) == 3] == ["node-2"]


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        ("def f(x):\n    return 1 / x\nf(0)", 'File "notebook cell", line 4, in <module>'),
        ("def f(x):\n    return 1 / x +\n", "line 3:\n    return 1 / x +\n                  ^\nSyntaxError"),
        ("def f(): pass\ncompile('1 +', 'x', 'eval')", "SyntaxError: invalid syntax"),
        ("def f(): pass\nraise SystemExit(3)", "SystemExit: 3"),
        ("def _f(): pass", "the cell defines no function. Write at least one: def double(x): return 2 * x"),
    ],
)
def test_a_cell_that_fails_shows_its_line_and_registers_nothing(shell: InteractiveShell, cell: str, seen: str):
    run(shell, "%mpreg start 1")

    text = failed(shell, f"%%mpreg_functions fresh\n{cell}")

    assert seen in text
    assert "mpreg_lab/" not in text
    assert "interactiveshell.py" not in text
    assert list(shell.user_ns["cluster"].nodes) == ["node-1"]
    assert len(shell.user_ns["cluster"].nodes["node-1"].functions) == 2


def test_a_node_cannot_be_given_resources_that_it_does_not_hold(shell: InteractiveShell):
    run(shell, "%mpreg start a")

    assert "node 'a' is there and does not hold gpu." in failed(shell, "%%mpreg_functions a -r gpu\ndef f(): pass")


def test_a_function_in_a_named_node_has_the_line_of_its_cell_when_it_fails(shell: InteractiveShell):
    run(shell, "%mpreg start 1")
    run(shell, "%%mpreg_functions\n\ndef f(x):\n    return 1 / x")

    text = failed(shell, "%%mpreg_workflow\na = f(0)")

    assert 'File "notebook cell", line 4, in f' in text
    assert "return 1 / x" in text
