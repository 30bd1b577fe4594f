"""The door of a cluster: what comes in without the token, nothing unpickled, and how others find the token."""

from __future__ import annotations

import json
import logging
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.sync.client import connect

from mpreg_lab import Client, LocalCluster, Step, Workflow
from mpreg_lab.errors import ClusterSpecError, ConnectError
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import Fetched, Hello, Member, Message, Refused, Register, Submit, Unregister
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.tls import Tls
from mpreg_lab.transport.tokens import runtime_folder, token_for
from mpreg_lab.types import ClusterId, FunctionName, NodeName, RunId, Secret

WAYS: dict[str, dict[str, Any]] = {"memory": {}, "ws": {"transport": "ws"}, "processes": {"processes": True}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "mpreg_lab"


# --- guests ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(WAYS))
def open_cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(2, token=None, **WAYS[request.param]) as cluster:
        yield cluster


def ask(websocket: Any, frame: str | bytes) -> Any:
    websocket.send(frame)
    return json.loads(websocket.recv(timeout=30))


def test_a_guest_may_run_workflows_in_json(open_cluster):
    with connect(open_cluster.url, proxy=None) as websocket:
        frame = codec.encode(
            Submit(RunId("1"), Workflow([Step("s", "echo")]), ((),), (Payload.of((("hi",), {})),)), text=True
        )
        done = ask(websocket, frame)
        while done["kind"] == "update":
            done = json.loads(websocket.recv(timeout=30))
    assert done == {"kind": "done", "u": "1", "results": {"s": "hi"}}


def test_the_cluster_itself_goes_on_speaking_binary(open_cluster):
    assert open_cluster.token is None
    assert open_cluster.call("echo", b"bytes") == b"bytes"


def test_what_a_guest_says_in_binary_is_refused_and_never_unpickled(open_cluster, tmp_path):
    sung = tmp_path / "sung"
    canary = Payload.packed(pickle.dumps(Canary(str(sung))))
    messages: list[Message] = [
        Submit(RunId("1"), Workflow([Step("s", "echo")]), ((),), (canary,)),
        Register("1", FunctionName("f"), canary),
        Refused("1", canary),
        Fetched("1", canary),
    ]
    with connect(open_cluster.url, proxy=None) as websocket:
        for message in messages:
            refused = ask(websocket, codec.encode(message, text=False))
            assert (refused["kind"], refused["u"], refused["error"]["type"]) == ("refused", "1", "ProtocolError")
            assert "only from who has shown the token" in refused["error"]["message"]
        assert ask(websocket, '{"kind":"describe","u":"2"}')["kind"] == "described"
    assert not sung.exists()


@pytest.mark.parametrize(
    "message",
    [
        Hello("1", ClusterId("x"), Member(NodeName("evil"), "ws://127.0.0.1:1")),
        Register("1", FunctionName("f"), Payload.of(5)),
        Unregister("1", FunctionName("echo")),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_guest_is_no_node_and_changes_nothing(open_cluster, message):
    with connect(open_cluster.url, proxy=None) as websocket:
        refused = ask(websocket, codec.encode(message, text=True))
    assert refused["kind"] == "refused"
    assert "only taken from who has shown the token" in refused["error"]["message"]
    assert open_cluster.call("echo", 1) == 1


def test_a_client_without_the_token_speaks_json(open_cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "another-user"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Client(open_cluster.url) as client:
        assert client.call("echo", [1, "x"]) == [1, "x"]


def test_a_wrong_token_is_no_guest(open_cluster):
    with pytest.raises(ConnectError, match="wrong or missing token"):
        Client(open_cluster.url, token="wrong")


# --- nothing is unpickled before ------------------------------------------------------------------------------------


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path(self.path).touch, ()


@pytest.mark.parametrize("way", WAYS)
def test_a_pickle_is_loaded_from_who_shows_the_token_and_from_nobody_else(way, tmp_path):
    sung = tmp_path / "sung"
    head = pickle.dumps(Canary(str(sung)))
    frame = codec.encode(Register("1", FunctionName("f"), Payload.packed(head)), text=False)
    disguises = [head.decode("latin-1"), list(head), {"$": "dict", "items": {"head": head.hex()}}, [head.hex(), 0]]
    with LocalCluster(1, **WAYS[way]) as cluster:
        with pytest.raises(Exception, match="401"), connect(cluster.url, proxy=None) as websocket:
            websocket.send(frame)
        with signed_in(cluster) as websocket:
            for disguise in disguises:
                register = {"kind": "register", "u": "1", "name": "f", "function": disguise}
                assert ask(websocket, json.dumps(register))["kind"] == "refused"
        assert not sung.exists()

        with signed_in(cluster) as websocket:
            websocket.send(frame)
            assert isinstance(codec.decode(websocket.recv(timeout=30)), Refused)
    assert sung.exists()


def signed_in(cluster: LocalCluster) -> Any:
    return connect(cluster.url, proxy=None, additional_headers={"Authorization": f"Bearer {cluster.token}"})


# --- where it opens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.2", "lab.example"])
@pytest.mark.parametrize("processes", [False, True])
def test_a_cluster_that_others_could_reach_needs_encryption_and_a_token(host, processes):
    with pytest.raises(
        ClusterSpecError, match=f"will not listen on {host}, where other machines reach it, without TLS"
    ):
        LocalCluster(1, host=host, processes=processes)
    with pytest.raises(ClusterSpecError, match=r"without TLS: .* and a token"):
        LocalCluster(1, host=host, token=None, processes=processes)


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "töken", 5])
def test_what_is_no_token_is_told_and_not_repeated(token):
    with pytest.raises(ClusterSpecError, match="a token is a string") as caught:
        LocalCluster(1, token=token)
    assert str(token) not in str(caught.value) or str(token) in ("", " ")


@pytest.fixture
def certificates(tmp_path: Path) -> Tls:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "127.0.0.2")
    for name, blob in {"node.key": issued.private_key_pem, "ca.pem": authority.cert_pem}.items():
        blob.write_to_path(tmp_path / name)
    (tmp_path / "node.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return Tls(*(str(tmp_path / name) for name in ("node.pem", "node.key", "ca.pem")))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_a_cluster_with_certificates_is_reached_from_elsewhere(way, host, certificates):
    with LocalCluster(2, host=host, tls=certificates, **WAYS[way]) as cluster:
        cluster.register(abs, name="magnitude")
        assert cluster.url.startswith(f"wss://{host}:")
        assert cluster.call("magnitude", -1) == 1
        with Client(cluster.url, token=cluster.token, tls=Tls(ca=certificates.ca)) as client:
            assert client.call("magnitude", -2) == 2
        with pytest.raises(ConnectError, match="no authority that is believed here"):
            Client(cluster.url, token=cluster.token)


def test_processes_need_files(certificates):
    from mpreg_lab.transport.tls import server_context

    with pytest.raises(ClusterSpecError, match="processes of their own need files"):
        LocalCluster(1, processes=True, tls=server_context(certificates))


# --- where the token is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_other_programs_of_the_same_user_find_the_token(way, folder):
    with LocalCluster(2, name="lab/1", **WAYS[way]) as cluster:
        (kept,) = folder.iterdir()
        assert kept.name.startswith("lab%2F1-")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for member in cluster.nodes.values():
            with Client(member.url) as client:
                assert client.call("echo", b"x") == b"x"
        done = subprocess.run(
            [sys.executable, "-m", "mpreg_lab", "status", cluster.url], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "node-2" in done.stdout
    assert list(folder.iterdir()) == []


def test_a_node_that_came_later_is_found_too(folder):
    with LocalCluster(1) as cluster:
        cluster.add("late")
        assert token_for(cluster.nodes["late"].url) == cluster.token


def test_a_cluster_that_nobody_holds_any_more_leaves_no_file(folder):
    cluster = LocalCluster(1)
    cluster._finalizer()
    assert list(folder.iterdir()) == []


def test_a_cluster_that_does_not_come_up_leaves_no_file(folder, monkeypatch):
    monkeypatch.setattr("mpreg_lab.cluster.inprocess.open_node", None)
    with pytest.raises(TypeError):
        LocalCluster(1)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_what_killed_processes_left_is_removed(folder):
    folder.mkdir(mode=0o700)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = folder / f"old.{gone.pid}.json"
    orphan.write_text("{}")
    with LocalCluster(1):
        assert not orphan.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_of_others_is_not_used(folder, mode, caplog):
    folder.mkdir()
    folder.chmod(mode)
    with caplog.at_level(logging.WARNING), LocalCluster(1) as cluster:
        assert token_for(cluster.url) is None
        assert cluster.call("echo", 1) == 1
        assert str(cluster.token) not in caplog.text
    assert "is not a folder of this user alone" in caplog.text


def test_a_folder_that_is_a_link_is_not_used(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with LocalCluster(1):
        assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_a_runtime_folder_it_is_that_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "no-such"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert runtime_folder(create=True) == tmp_path / f"mpreg_lab-{os.getuid()}"


def test_files_of_others_are_passed_over(folder):
    with LocalCluster(1) as cluster:
        (folder / "x.json").write_text("junk")
        assert token_for(cluster.url) == cluster.token
        assert token_for("ws://127.0.0.1:1") is None
        assert token_for("nonsense") is None


def test_files_that_vanish_while_it_is_looked_for_are_passed_over(folder):
    with LocalCluster(1) as cluster:
        (folder / "y.json").symlink_to(folder / "removed by its cluster")
        assert token_for(cluster.url) == cluster.token


def test_a_secret_hides_itself_wherever_it_is_shown_and_not_where_it_is_used():
    secret = Secret("hidden")
    assert "hidden" not in f"{secret!r} {[secret]} {{'a': {secret!r}}}"
    assert secret == "hidden"
    assert f"Bearer {secret}" == "Bearer hidden"
    assert repr(pickle.loads(pickle.dumps(secret))) == "Secret(...)"
