"""Clients of MPREG, as raw JSON over a real websocket, against a cluster."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from mpreg_lab import LocalCluster
from mpreg_lab.errors import ClusterSpecError
from tests.node.mpreg_node import MpregNode


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster({"ingest": ["csv"], "process": ["gpu", "ram"]}, token=None) as cluster:
        gate = asyncio.Event()

        async def wait() -> str:
            await gate.wait()
            return "waited"

        async def open_gate() -> None:
            gate.set()

        def fail(text: str) -> None:
            raise ValueError(text)

        cluster.register(wait, resources=["csv"])
        cluster.register(open_gate, name="open_gate", resources=["csv"])
        cluster.register(fail)
        cluster.register(
            lambda *values: {"sum": sum(values), "deep": {"n": len(values)}}, name="stats", resources=["gpu"]
        )
        cluster.register(lambda: {1, 2}, name="a_set")
        cluster.register(lambda: (float("nan"), (1,)), name="odd")
        yield cluster


@pytest.fixture
async def socket(cluster: LocalCluster) -> AsyncIterator[ClientConnection]:
    async with connect(cluster.url) as socket:
        yield socket


def cmd(name: str, fun: str, *args: Any, locs: tuple[str, ...] = (), **kwargs: Any) -> dict[str, Any]:
    return {"name": name, "fun": fun, "args": args, "kwargs": kwargs, "locs": locs}


async def ask(socket: ClientConnection, *cmds: dict[str, Any], u: str = "u", **more: Any) -> Any:
    await socket.send(json.dumps({"role": "rpc", "cmds": cmds, "u": u, **more}))
    reply = json.loads(await socket.recv())
    assert reply["u"] == u
    return reply


async def test_a_single_call_whose_argument_is_its_own_name(socket: ClientConnection):
    assert await ask(socket, cmd("echo", "echo", "echo")) == {"r": {"echo": "echo"}, "error": None, "u": "u"}


async def test_references_of_every_kind_reach_nodes_with_the_resources(socket: ClientConnection):
    reply = await ask(
        socket,
        cmd("st", "stats", 1, 2, 3, locs=("gpu",)),
        cmd("by_position", "echo", "st.sum"),
        cmd("nested", "echo", [{"n": "st.deep.n"}, "st.csv", "st.deep"]),
        cmd("by_keyword", "echo", value="by_position"),
    )

    # by_position too: for MPREG, whom no keyword makes wait, it is on the last level.
    assert reply["r"] == {"by_position": 6, "nested": [{"n": 3}, "st.csv", {"n": 3}], "by_keyword": 6}


@pytest.mark.parametrize("binary", [False, True])
async def test_the_answer_comes_in_the_opcode_of_the_question(socket: ClientConnection, binary: bool):
    frame = json.dumps({"role": "rpc", "cmds": [cmd("a", "echos", 1, 2)], "u": "u"})
    await socket.send(frame.encode() if binary else frame)

    reply = await socket.recv()

    assert isinstance(reply, bytes) is binary
    assert json.loads(reply)["r"] == {"a": [1, 2]}


async def test_requests_of_one_connection_are_answered_at_the_same_time(socket: ClientConnection):
    for u, function in (("slow", "wait"), ("quick", "open_gate")):
        await socket.send(json.dumps({"role": "rpc", "cmds": [cmd("a", function)], "u": u}))

    replies = [json.loads(await socket.recv()) for _ in range(2)]

    assert {reply["u"]: reply["r"]["a"] for reply in replies} == {"quick": None, "slow": "waited"}


async def test_one_u_may_be_used_twice(socket: ClientConnection):
    for value in (1, 2):
        await socket.send(json.dumps({"role": "rpc", "cmds": [cmd("a", "echo", value)], "u": "same"}))

    replies = [json.loads(await socket.recv()) for _ in range(2)]

    assert sorted(reply["r"]["a"] for reply in replies) == [1, 2]


async def test_an_unknown_function_is_1001(socket: ClientConnection):
    reply = await ask(socket, cmd("a", "nope", 1))

    assert reply["error"] == {"code": 1001, "message": "Command not found", "details": "Command not found: nope"}
    assert reply["r"] is None


@pytest.mark.parametrize(
    ("cmds", "details"),
    [
        ([cmd("a", "fail", "no luck"), cmd("b", "echo", "a")], "step 'a': ValueError: no luck"),
        ([cmd("a", "a_set")], "the result of step 'a': a value of type set cannot travel as JSON"),
        ([cmd("a", "stats", 1, locs=("csv",))], "no node can run function 'stats' with resource ['csv']"),
        ([cmd("a", "echo", "b"), cmd("b", "echo", "a")], "steps wait for each other: 'a' needs 'b' needs 'a'"),
        ([cmd("a", "echo", 1), cmd("a", "echo", 2)], "two steps are called 'a'"),
        ([], "the workflow has no steps"),
        ([cmd("a", "echo", 1, 2)], "step 'a' cannot call echo(value: Any) -> Any: 2 positional arguments given"),
    ],
)
async def test_other_failures_are_1003_and_say_what_it_was(socket: ClientConnection, cmds: Any, details: str):
    error = (await ask(socket, *cmds))["error"]

    assert (error["code"], error["message"]) == (1003, "RPC execution failed")
    assert details in error["details"]
    assert "/" not in error["details"]


async def test_tuples_are_lists_and_nan_is_null(socket: ClientConnection):
    assert (await ask(socket, cmd("a", "odd")))["r"] == {"a": [None, [1]]}


async def test_members_of_february_2026_are_answered(socket: ClientConnection):
    more: dict[str, Any] = {"return_intermediate_results": True, "include_execution_summary": True, "debug_mode": False}
    reply = await ask(socket, cmd("a", "echo", 1) | {"function_id": None}, cmd("b", "echo", "a"), **more)

    assert reply["r"] == {"b": 1}
    assert [level["level_results"] for level in reply["intermediate_results"]] == [{"a": 1}, {"b": 1}]
    assert reply["execution_summary"]["total_levels"] == 2


async def test_a_cluster_with_a_token_refuses_who_cannot_show_it():
    with LocalCluster(1) as guarded:
        with pytest.raises(InvalidStatus) as caught:
            await connect(guarded.url)
        assert caught.value.response.status_code == 401


async def test_a_cluster_joins_nodes_of_mpreg_and_lists_them():
    async with MpregNode("shared", {"f": lambda value: ["theirs", value]}) as theirs:
        with await asyncio.to_thread(LocalCluster, {"a": ["x"]}, token=None, cluster_id="shared") as cluster:
            await asyncio.to_thread(cluster.join, theirs.url)
            await theirs.hello(cluster.url, ["f"], ["gpu"])

            assert await cluster.call_async("f", 1) == ["theirs", 1]
            assert list(await asyncio.to_thread(lambda: cluster.nodes)) == ["a", f"{theirs.url} (gpu)"]


def test_a_cluster_with_a_token_joins_nobody_who_cannot_show_it():
    with LocalCluster(1) as guarded, pytest.raises(ClusterSpecError, match="token=None"):
        guarded.join("ws://127.0.0.1:1")


async def test_nothing_is_ever_unpickled(socket: ClientConnection, tmp_path: Path):
    canary = tmp_path / "canary"

    class Canary:
        def __reduce__(self) -> Any:
            return canary.touch, ()

    bomb = pickle.dumps(Canary())
    await ask(socket, cmd("a", "echo", bomb.decode("latin1")))
    for frame in (bomb, b"\xc1\x01\x00\x00" + bomb, json.dumps({"role": "rpc", "u": bomb.decode("latin1")})):
        await socket.send(frame)
        assert json.loads(await socket.recv())["error"]["code"] == 1004

    assert not canary.exists()


async def test_malformed_frames_are_all_answered_and_the_next_request_succeeds(
    socket: ClientConnection, caplog: pytest.LogCaptureFixture
):
    rng = random.Random(20250701)
    whole = json.dumps({"role": "rpc", "cmds": [cmd("a", "echo", "x")], "u": "ignored"})
    await ask(socket, cmd("a", "echo", 1))
    with caplog.at_level(logging.WARNING):
        for i in range(1000):
            text = _mangled(rng, whole)
            await socket.send(text.encode() if i % 2 else text)
        replies = [json.loads(await socket.recv()) for _ in range(1000)]

    assert {reply["error"]["code"] for reply in replies if reply["error"]} <= {1000, 1001, 1003, 1004}
    assert (await ask(socket, cmd("a", "echo", 2)))["r"] == {"a": 2}
    assert [record for record in caplog.records if record.levelno >= logging.INFO or record.exc_info] == []


def _mangled(rng: random.Random, text: str) -> str:
    """The text, cut, doubled or with other characters in it: mostly no message any more."""
    match rng.randrange(4):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            return text + text
        case 2:
            at = rng.randrange(len(text))
            return text[:at] + rng.choice('{}[]",:0aNé\\') + text[at + 1 :]
        case _:
            old, new = rng.choice(
                [("rpc", "server"), ("cmds", "cmd"), ('"x"', "NaN"), ("[", "[[" * 5000), ("echo", "\\ud800")]
            )
            return text.replace(old, new)
