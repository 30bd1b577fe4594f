"""`mpreg-lab node` and `mpreg-lab status`: nodes in the foreground of terminals, with real processes."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpreg_lab import Client, LocalCluster
from mpreg_lab.cli import main
from mpreg_lab.cluster.offered import load_offered
from mpreg_lab.cluster.summary import status_text
from mpreg_lab.cluster.token_file import read_token, write_token
from mpreg_lab.errors import ClusterSpecError, FunctionError
from mpreg_lab.protocol.messages import Described, FunctionInfo, Member
from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource, Secret
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
FUNCTIONS = """
def double(x):
    return 2 * x

def anywhere():
    return "here"

def _private():
    pass

FUNCTIONS = {"gpu": [double], "": [anywhere]}
"""


@contextmanager
def node(folder: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`mpreg-lab node` in a terminal of its own, and the line that it prints when it is in."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mpreg_lab", "node", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def url_in(line: str) -> str:
    found = re.search(r"ws://[\d.]+:\d+", line)
    assert found, line
    return found[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "offers.py").write_text(FUNCTIONS)
    return tmp_path


def test_a_node_joins_a_cluster_from_another_terminal_and_leaves_on_ctrl_c(folder):
    with LocalCluster({"first": [], "second": []}) as cluster:
        words = ("--join", cluster.url, "--resources", "gpu", "--functions", "offers", "--name", "guest")
        with node(folder, *words) as (process, line):
            assert re.fullmatch(
                r"node 'guest' is in cluster 'cluster-.*' of 3 nodes at ws://127.0.0.1:\d+\. Ctrl-C leaves\n", line
            )
            assert cluster.call("double", 21) == 42
            assert cluster.nodes["guest"].resources == ("gpu",)

            process.send_signal(signal.SIGINT)

            assert process.wait() == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert list(cluster.nodes) == ["first", "second"]


def test_the_first_node_of_a_new_cluster_says_where_it_is_and_where_its_token_is(folder):
    with node(folder, "--functions", "offers:anywhere", "--name", "alone") as (process, line):
        path = Path(re.search(r"Its token is in (\S+) and it is at ws://127.0.0.1:\d+$", line)[1])  # type: ignore[index]

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client(url_in(line), token=read_token(path)) as client:
            assert client.call("anywhere") == "here"
            assert [member.name for member in client.members()] == ["alone"]
        process.terminate()

        assert process.wait() == 0
        assert not path.exists()


def test_a_token_file_that_is_named_is_written_and_then_used_by_others(folder):
    with node(folder, "--token-file", "secret", "--name", "one") as (_, line):
        assert "Its token is in secret" in line
        with node(folder, "--join", url_in(line), "--token-file", "secret", "--name", "two", HOME="/") as (_, joined):
            assert "of 2 nodes" in joined


def test_a_node_that_comes_before_its_seed_waits_and_says_so_once(folder):
    port = free_port()
    words = ("--join", f"ws://127.0.0.1:{port}", "--functions", "offers:anywhere", "--name", "early")
    with node(folder, *words) as (early, line):
        assert line == (
            f"cannot connect to ws://127.0.0.1:{port}: nobody listens there. Waiting until it is up; Ctrl-C ends that\n"
        )
        with node(folder, "--port", str(port), "--name", "seed"):
            assert early.stdout is not None
            assert re.match(r"node 'early' is in cluster 'seed-.*' of 2 nodes at ", early.stdout.readline())
            with Client(f"ws://127.0.0.1:{port}") as client:
                assert client.call("anywhere") == "here"


def test_ctrl_c_ends_the_waiting_for_a_seed(folder):
    with node(folder, "--join", f"ws://127.0.0.1:{free_port()}") as (process, _):
        process.send_signal(signal.SIGINT)

        assert process.wait() == 0
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() + process.stderr.read() == ""


def test_a_seed_that_refuses_the_token_is_not_waited_for(folder, monkeypatch, capsys):
    with LocalCluster(1) as cluster:
        monkeypatch.setenv("MPREG_TOKEN", "wrong")
        code = main(["node", "--join", cluster.url])

    assert code == 1
    assert capsys.readouterr().err.endswith("wrong or missing token\n")


def test_status_lists_nodes_resources_functions_and_slots(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with LocalCluster({"ingest": ["csv-parser"], "train": ["big-memory", "gpu"]}, name="shown", slots=3) as cluster:
        cluster.register(len, name="measure", resources=["gpu"])

        code = main(["status", cluster.url])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert re.fullmatch(r"cluster shown-\w+: 2 nodes", lines[0])
    assert [line.split() for line in lines[1:]] == [
        ["node", "slots", "resources", "functions"],
        ["ingest", "3", "csv-parser", "-"],
        ["train", "3", "big-memory,", "gpu", "measure"],
    ]


def test_status_stays_within_80_columns_whatever_things_are_called():
    functions = tuple(FunctionInfo(FunctionName(f"a_function_with_a_long_name_{i}")) for i in range(9))
    resources = tuple(Resource("resource" * 9) for _ in range(3))
    members = (Member(NodeName("n" * 60), "", resources, functions, 16), Member(NodeName("b")))

    text = status_text(Described("1", ClusterId("c" * 200), NodeName("b"), members), 80)

    assert max(map(len, text.splitlines())) <= 80
    assert "a_function_with_a_long_name_8" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["node", "--slots", "0"], "argument --slots: '0' is not a number of slots. mpreg-lab node --help lists"),
        (["node", "--functions", "missing"], "cannot load functions from 'missing': No module named 'missing'"),
        (["node", "--functions", "offers:none"], "'offers:none' offers no functions: none must be a function, a list"),
        (["node", "--join", "127.0.0.1:1"], "cannot reach '127.0.0.1:1': an address begins with"),
        (["node", "--join", "ws://127.0.0.1:1", "--token-file", "none"], "cannot read a token from none: No such file"),
        (["node", "--host", "0.0.0.0"], "will not listen on 0.0.0.0, where other machines reach it, without TLS"),
        (["node", "--port", "99999"], "not an address"),
        (["status"], "the following arguments are required: URL. mpreg-lab status --help lists the options"),
        (["status", "ws://127.0.0.1:1"], "cannot connect to ws://127.0.0.1:1: nobody listens there"),
        (["status", "ws://127.0.0.1:1", "--token-file", "open"], "others can read the token in open. Keep it to"),
    ],
)
def test_bad_usage_is_one_line_and_a_non_zero_exit(words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (folder / "open").write_text("token")
    (folder / "open").chmod(0o644)

    code = main(words)

    shown = capsys.readouterr().err
    assert code != 0
    assert shown.startswith(f"mpreg-lab: {message}")
    assert shown.count("\n") == 1


def test_two_nodes_of_one_name_are_refused(capsys):
    with LocalCluster({"first": []}) as cluster:
        code = main(["node", "--join", cluster.url, "--name", "first"])

    assert code == 1
    assert "there is a node 'first' in the cluster already. Give this one another --name" in capsys.readouterr().err


def test_functions_are_offered_by_module_object_list_mapping_or_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (folder / "bare.py").write_text("def one():\n    pass\n\ndef _two():\n    pass\n\nBOTH = [one, _two]\n")

    def names(name: str) -> list[tuple[str, str]]:
        return [(function.__name__, resource) for function, resource in load_offered(name).functions]

    assert names("offers") == [("double", "gpu"), ("anywhere", "")]
    assert names("offers:double") == [("double", "")]
    assert names("bare.py") == [("one", "")]
    assert names("bare.py:BOTH") == [("one", ""), ("_two", "")]
    with pytest.raises(FunctionError, match="mapping from resources to functions, not 'bare'"):
        load_offered("bare:__name__")


def test_a_token_file_is_never_overwritten_and_never_read_when_others_can(tmp_path):
    path = tmp_path / "token"
    write_token(path, Secret("abc"))

    assert read_token(path) == "abc"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ClusterSpecError, match="File exists"):
        write_token(path, Secret("other"))
    path.write_text("")
    with pytest.raises(ClusterSpecError, match="it is empty"):
        read_token(path)
    path.chmod(0o640)
    with pytest.raises(ClusterSpecError, match=f"chmod 600 {path}"):
        read_token(path)
