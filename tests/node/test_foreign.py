"""Nodes of MPREG in a cluster of ours, and ours in theirs, over real websockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.errors import ClusterError, NodeLostError, RemoteError, RoutingError, UnserialisableArgumentError
from mpreg_lab.node import foreign
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId, NodeName, Resource, StepName
from mpreg_lab.workflow.model import Ref, Step, Workflow
from tests.node.mpreg_node import MpregNode, ask, is_hello


async def no_dial(member: Member) -> Connection:
    raise AssertionError(f"nobody should dial {member.name}")


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node(NodeName("ours"), [Resource("x")], cluster_id=ClusterId("c1"), dial=no_dial)
    listener = transport_for("ws://").listen("ws://127.0.0.1:0", node.accept, token="t", guests=True)
    node.set_url(listener.url)
    await listener.serve()
    node.register(lambda value: {"ours": value}, name="wrap", resources=[Resource("x")])
    yield node
    await listener.close()
    await node.stop()


@pytest.fixture
async def client(node: Node) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(node.member.url, token="t") as client:
        yield client


@pytest.fixture
async def theirs(node: Node) -> AsyncIterator[MpregNode]:
    """A node of MPREG that is in the cluster."""

    def fail() -> None:
        raise ValueError

    functions: dict[str, Callable[..., Any]] = {
        "double": lambda value: 2 * value,
        "fail": fail,
        "excuse": lambda: {"error": "no luck", "command": "excuse", "error_type": "KeyError"},
        "echo": lambda value: ["theirs", value],
    }
    async with MpregNode("c1", functions) as theirs:
        await theirs.hello(node.member.url, list(functions), ["gpu"])
        await theirs.heard(is_hello(["echo", "echos", "wrap"], ["x"]))
        yield theirs


def names(node: Node) -> list[str]:
    return [member.name for member in node.members]


async def test_who_says_hello_is_dialled_back_and_becomes_a_member(node: Node, theirs: MpregNode):
    member = node.members[-1]

    assert (member.name, member.url, member.resources) == (f"{theirs.url} (gpu)", theirs.url, ("gpu",))
    assert [info.name for info in member.functions] == ["double", "fail", "excuse", "echo"]


async def test_hello_is_said_once_for_each_set_of_resources(node: Node, theirs: MpregNode):
    node.register(lambda: 1, name="plain")
    await theirs.heard(is_hello(["echo", "echos", "wrap", "plain"], ["x"]))

    said = [frame["server"] for frame in theirs.frames if frame["role"] == "server"]
    assert [hello["advertised_urls"] for hello in said] == [[node.member.url]] * 2
    node.register(lambda: 1, name="narrow", resources=[Resource("z")])
    await theirs.heard(is_hello(["narrow"], ["z"]))


async def test_each_set_of_resources_is_a_member_of_its_own(node: Node, client: AsyncClient):
    async with MpregNode("c1", {"f": lambda: "f", "g": lambda: "g"}) as theirs:
        await theirs.hello(node.member.url, ["f"], ["gpu"], more=(["g"], ["ram"]))
        await theirs.heard(is_hello(["echo", "echos", "wrap"], ["x"]))

        assert names(node)[1:] == [f"{theirs.url} (gpu)", f"{theirs.url} (ram)"]
        run = await client.run(Workflow([Step("a", "f", resources="gpu"), Step("b", "g", resources="ram")]))
        assert run.results == {"a": "f", "b": "g"}
        with pytest.raises(RoutingError):
            await client.run(Workflow([Step("a", "f", resources="ram")]))
    assert not [frame for frame in theirs.frames if frame["role"] == "internal-rpc" and frame["results"]]


async def test_steps_go_to_both_kinds_of_nodes_and_references_between_them(client: AsyncClient, theirs: MpregNode):
    run = await client.run(
        Workflow([Step("a", "wrap", (3,)), Step("b", "double", (Ref("a")["ours"],)), Step("c", "wrap", (Ref("b"),))])
    )

    assert run.results == {"c": {"ours": 6}}
    assert run.record.steps[StepName("b")].node == f"{theirs.url} (gpu)"


async def test_nodes_of_ours_are_preferred(client: AsyncClient, theirs: MpregNode):
    assert await client.call("echo", (1, 2)) == (1, 2)


async def test_a_connection_that_they_cut_is_a_lost_node_at_once(client: AsyncClient, theirs: MpregNode):
    with pytest.raises(NodeLostError, match="may or may not have run"):
        await client.call("fail")


async def test_an_answer_that_says_why_there_is_none_is_an_error(client: AsyncClient, theirs: MpregNode):
    with pytest.raises(RemoteError, match="no luck") as caught:
        await client.call("excuse")
    assert caught.value.type_name == "KeyError"


async def test_an_argument_that_json_cannot_carry_is_an_error_and_is_not_sent(client: AsyncClient, theirs: MpregNode):
    with pytest.raises(UnserialisableArgumentError, match="type set cannot travel as JSON"):
        await client.call("double", {1})
    assert not [frame for frame in theirs.frames if frame["role"] == "internal-rpc"]


async def test_a_node_that_died_is_a_member_no_more_and_comes_back_with_what_it_then_offers(
    node: Node, client: AsyncClient, theirs: MpregNode
):
    port = int(theirs.url.rpartition(":")[2])
    await theirs.die()
    with pytest.raises(RoutingError):
        await client.call("double", 1)

    theirs.frames.clear()
    await theirs.listen(port)
    theirs.functions = {"triple": lambda value: 3 * value}
    await theirs.heard(is_hello(["echo", "echos", "wrap"], ["x"]))
    await theirs.hello(node.member.url, ["triple"], [])

    assert await client.call("triple", 2) == 6
    with pytest.raises(RoutingError):
        await client.call("double", 1)


async def test_goodbye_takes_what_was_offered_on_that_connection_away(node: Node, theirs: MpregNode):
    reply = await theirs.say({"role": "server", "server": {"what": "GOODBYE"}, "u": "g"})

    assert reply == {"r": "GONE", "error": None, "u": "g"}
    assert names(node) == ["ours"]


async def test_hello_of_another_cluster_is_refused_before_anything_is_registered(node: Node):
    async with MpregNode("c2", {"f": lambda: 1}) as theirs:
        reply = await theirs.hello(node.member.url, ["f"], [])

        assert reply["error"]["code"] == 1005
        assert names(node) == ["ours"]
        async with asyncio.timeout(30):
            await theirs._dialled[0].wait_closed()
        assert theirs.frames == []


async def test_all_live_nodes_are_told_to_each(node: Node, theirs: MpregNode):
    async with MpregNode("c1") as third:
        await third.hello(node.member.url, ["f"], ["r"])

        def introduces(frame: dict[str, Any]) -> bool:
            return third.url in [peer["url"] for peer in frame.get("peers", ())]

        gossip = await theirs.heard(introduces)

    assert gossip["cluster_id"] == "c1"
    told = {peer["url"]: peer for peer in gossip["peers"]}
    assert told.keys() == {node.member.url, theirs.url, third.url}
    assert len({peer["last_seen"] for peer in gossip["peers"]}) == 1
    assert (told[third.url]["funs"], told[third.url]["locs"]) == (["f"], ["r"])


async def test_a_node_of_which_another_one_speaks_is_dialled(node: Node):
    async with MpregNode("c1") as unknown, connect(node.member.url) as stranger:
        peer = {"url": unknown.url, "funs": [], "locs": [], "last_seen": 1.0, "cluster_id": "c1"}
        await stranger.send(json.dumps({"role": "gossip", "peers": [peer], "u": "g", "cluster_id": "c1"}))

        await unknown.heard(is_hello(["echo", "echos", "wrap"], ["x"]))


async def test_gossip_of_another_cluster_is_passed_over(node: Node):
    async with MpregNode("c1") as unknown, connect(node.member.url) as stranger:
        peer = {"url": unknown.url, "funs": [], "locs": [], "last_seen": 1.0, "cluster_id": "c2"}
        for cluster_id in ("c1", "c2"):
            await stranger.send(json.dumps({"role": "gossip", "peers": [peer], "u": "g", "cluster_id": cluster_id}))
        await ask(stranger, {"role": "server", "server": {"what": "STATUS"}, "u": "s"})

        assert node._foreign._known == {}


async def test_we_join_a_cluster_of_theirs(node: Node, client: AsyncClient):
    async with MpregNode("c1", {"f": lambda: "theirs"}) as theirs:
        await client.meet(theirs.url)
        await theirs.hello(node.member.url, ["f"], [])

        assert await client.call("f") == "theirs"


async def test_a_cluster_of_another_name_cannot_be_joined(client: AsyncClient):
    async with MpregNode("c2") as theirs:
        with pytest.raises(ClusterError, match="does not belong to 'c1'"):
            await client.meet(theirs.url)


async def test_calls_from_their_nodes_are_always_answered_and_at_the_same_time(node: Node, theirs: MpregNode):
    release = asyncio.Event()

    async def wait() -> str:
        await release.wait()
        return "waited"

    def fail() -> None:
        raise ValueError("no luck")

    node.register(wait)
    node.register(fail)
    node.register(lambda: {1}, name="a_set")
    node.register(release.set, name="release")

    def call(u: str, function: str, *args: Any) -> str:
        results = {"v": "never put anywhere"}
        frame = {"role": "internal-rpc", "command": function, "args": args, "kwargs": {}, "results": results, "u": u}
        return json.dumps(frame)

    async with connect(node.member.url) as connection:
        for frame in (call("1", "wait"), call("2", "fail"), call("3", "a_set"), call("4", "nope")):
            await connection.send(frame)
        await connection.send(call("5", "wrap", "v"))
        answers = [json.loads(await connection.recv()) for _ in range(4)]
        await connection.send(call("6", "release"))
        answers += [json.loads(await connection.recv()) for _ in range(2)]

    said = {answer["u"]: answer["answer"] for answer in answers}
    assert said["1"] == "waited"
    assert said["2"] == {"error": "no luck", "command": "fail", "error_type": "ValueError"}
    assert said["3"]["error_type"] == "UnserialisableResultError"
    assert said["4"]["error"] == "Command not found: nope"
    assert said["5"] == {"ours": "v"}
    assert {answer["role"] for answer in answers} == {"internal-answer"}


async def test_a_request_under_way_is_answered_when_the_node_stops(node: Node):
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    node.register(wait)
    async with connect(node.member.url) as connection:
        for u in ("1", "2"):
            step = {"name": "a", "fun": "wait", "args": []}
            await connection.send(json.dumps({"role": "rpc", "cmds": [step], "u": u}))
        await began.wait()
        await node.stop()
        replies = [json.loads(await connection.recv()) for _ in range(2)]

    assert {reply["u"]: reply["error"]["code"] for reply in replies} == {"1": 1003, "2": 1003}


async def test_who_leaves_says_goodbye(node: Node, theirs: MpregNode):
    await node.stop()

    await theirs.heard(lambda frame: frame.get("server") == {"what": "GOODBYE"})


async def test_no_more_than_so_many_strangers_are_dialled(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(foreign, "MOST", 1)
    async with MpregNode() as first, MpregNode() as second:
        await first.hello(node.member.url, [], [])
        reply = await second.hello(node.member.url, [], [])

    assert reply["error"]["code"] == 1002
    assert "takes no more" in reply["error"]["details"]
