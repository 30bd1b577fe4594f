"""The command line as a person uses it: in a process of its own, in a terminal of 80 columns."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from mpreg_lab import LocalCluster
from mpreg_lab.cli import main
from mpreg_lab.cluster.token_file import write_token
from mpreg_lab.examples import EXAMPLES
from mpreg_lab.transport.tls import Tls
from mpreg_lab.types import Secret


def command(*words: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mpreg_lab", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[1])} | environment,
    )


def test_demo_prints_graph_results_and_latencies_in_80_columns():
    done = command("demo")

    assert done.returncode == 0, done.stderr
    assert "8 steps: 8 done" in done.stdout
    assert "Penguins of the Palmer Archipelago" in done.stdout
    assert "Adelie" in done.stdout
    assert "Latency" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_the_examples_are_listed_with_what_they_show(capsys):
    assert main(["demo", "--list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(EXAMPLES)
    assert "data-pipeline     a messy CSV file becomes a report on three nodes" in lines
    assert max(map(len, lines)) <= 80


def test_an_example_whose_library_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)

    assert main(["demo", "ml-inference"]) == 2
    assert capsys.readouterr().err == (
        "mpreg-lab: ml-inference needs sklearn, which is not here. Install it: pip install 'mpreg-lab[examples]'\n"
    )


def test_run_runs_a_file_in_the_notation_with_functions_of_a_module(tmp_path: Path):
    (tmp_path / "functions.py").write_text("def double(x):\n    return 2 * x\n\nNUMBER = 21\n")
    (tmp_path / "flow.mpreg").write_text("twice = double(NUMBER)\nagain = double(twice)\n")

    done = command("run", "flow.mpreg", "--functions", "functions.py", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "2 steps: 2 done" in done.stdout
    assert "84" in done.stdout


def test_run_uses_a_cluster_that_runs_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "flow.mpreg").write_text("greeting = hello('you')\n")
    with LocalCluster(2) as cluster:
        cluster.register(lambda name: f"hello {name}", name="hello")
        monkeypatch.setenv("MPREG_TOKEN", str(cluster.token))

        code = main(["run", str(tmp_path / "flow.mpreg"), "--connect", cluster.url])

    assert code == 0
    assert "hello you" in capsys.readouterr().out


def test_run_reads_standard_input_and_prints_json(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("a = echo(1)\nb = echos(a, 2)\n"))

    assert main(["run", "-", "--json"]) == 0
    assert capsys.readouterr().out == '{"b": [1, 2]}\n'


def test_run_tells_failures_apart_from_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "fails.py").write_text("def fail(x):\n    raise ZeroDivisionError(x)\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("a = fail('no')\n"))

    assert main(["run", "-", "--json", "--functions", str(tmp_path / "fails.py")]) == 1
    assert capsys.readouterr() == ("", "mpreg-lab: step 'a': ZeroDivisionError: no\n")


def test_run_takes_the_token_from_a_file_and_the_authority_of_an_encrypted_cluster(tmp_path: Path, capsys):
    (tmp_path / "flow.mpreg").write_text("greeting = echo('hello you')\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "node.pem"))
    with LocalCluster(1, host="localhost", tls=Tls(str(tmp_path / "node.pem"), ca=str(tmp_path / "ca.pem"))) as cluster:
        write_token(tmp_path / "right", Secret(cluster.token or ""))
        write_token(tmp_path / "wrong", Secret("wrong"))
        words = ("run", str(tmp_path / "flow.mpreg"), "--connect", cluster.url, "--ca", str(tmp_path / "ca.pem"))

        assert main([*words, "--token-file", str(tmp_path / "right")]) == 0
        assert "hello you" in capsys.readouterr().out
        assert main([*words, "--token-file", str(tmp_path / "wrong")]) == 1
        assert capsys.readouterr().err.endswith("wrong or missing token\n")
        assert main([*words[:-2], "--token-file", str(tmp_path / "right")]) == 1
        assert "certificate" in capsys.readouterr().err


def test_a_failed_workflow_shows_the_failure_and_exits_with_1(tmp_path: Path):
    (tmp_path / "functions.py").write_text("def half(x):\n    return x / 0\n")
    (tmp_path / "flow.mpreg").write_text("a = half(1)\nb = half(a)\n")

    done = command("run", "flow.mpreg", "--functions", "functions.py", folder=tmp_path)

    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "skipped" in done.stdout
    assert "mpreg_lab" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND. mpreg-lab --help lists the options"),
        (["fly"], "argument COMMAND: invalid choice: 'fly' (choose from 'demo', 'run', 'node', 'status', 'lab'). "
                  "mpreg-lab --help lists the options"),
        (["demo", "nothing"], "there is no example 'nothing'. Examples: basic, workflows, distributed, concurrency, "
                            "error-handling, performance, data-pipeline, ml-inference, order-processing, monitoring"),
        (["demo", "--fast"], "unrecognized arguments: --fast. mpreg-lab demo --help lists the options"),
        (["run", "missing.mpreg"], "cannot run missing.mpreg: it is not there"),
        (["run", "flow.mpreg", "--timeout", "soon"],
         "argument --timeout: 'soon' is not a number of seconds. mpreg-lab run --help lists the options"),
        (["run", "flow.mpreg", "--functions", "missing_module"],
         "cannot load functions from 'missing_module': No module named 'missing_module'"),
        (["run", "flow.mpreg", "--connect", "http://127.0.0.1:1"],
         "cannot reach 'http://127.0.0.1:1': an address begins with memory:// or ws:// or wss://"),
        (["run", "flow.mpreg", "--token-file", "token"],
         "--token-file and --ca go with --connect: a cluster of our own needs neither"),
        (["run", "flow.mpreg"],
         "step 'x': no node has a function 'frobnicate'. Functions: echo, echos. Register it: @cluster.function"),
        (["run", "."], "cannot run .: it is a folder, not a file"),
        (["lab", "nowhere"],
         "there is no notebooks/01_first_workflow.ipynb in nowhere. Call it in a checkout, or name one"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_and_a_non_zero_exit(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.mpreg").write_text("x = frobnicate(1)\n")

    code = main(words)

    assert code != 0
    assert capsys.readouterr().err == f"mpreg-lab: {message}\n"


def test_a_mistake_in_the_file_is_shown_with_its_line(tmp_path: Path, capsys):
    (tmp_path / "flow.mpreg").write_text("x = echo(1)\ny = echo(x +)\n")

    code = main(["run", str(tmp_path / "flow.mpreg")])

    assert code == 2
    shown = capsys.readouterr().err
    assert "line 2:" in shown
    assert "    y = echo(x +)" in shown
