"""Servers and clients that people make themselves: ports, peers, functions, and how they end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from mpreg_lab import AsyncClient, RPCCommand
from mpreg_lab.errors import (
    ClusterError,
    ClusterSpecError,
    ConnectError,
    CycleError,
    FunctionError,
    NodeLostError,
    RoutingError,
    RunTimeoutError,
    UnknownFunctionError,
    UnknownNodeError,
)
from mpreg_lab.testing import Server, ServerClient, ServerSettings
from tests.ports import free_port

pytestmark = pytest.mark.usefixtures("no_leaks")


@contextmanager
def two_servers(**fields: Any) -> Iterator[tuple[Server, Server]]:
    """One cluster of two servers with these settings."""
    with ExitStack() as stack:
        one = stack.enter_context(Server(ServerSettings(cluster_id="two servers", **fields)))
        yield one, stack.enter_context(Server(ServerSettings(cluster_id="two servers", peers=[one.url], **fields)))


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"port": -1}, "port"),
        ({"port": 70000}, "port"),
        ({"port": "9001"}, "port"),
        ({"host": ""}, "host"),
        ({"cluster_id": ""}, "cluster_id"),
        ({"name": None}, "name"),
        ({"resources": [1]}, "resources"),
        ({"peers": "ws://127.0.0.1:9001"}, "peers"),
        ({"peers": ["127.0.0.1:9001"]}, "peers"),
        ({"connect": "9001"}, "connect"),
        ({"advertised_urls": 5}, "advertised_urls"),
    ],
)
def test_wrong_settings_name_the_field(fields: dict[str, Any], named: str):
    with pytest.raises(ClusterSpecError, match=named):
        ServerSettings(**fields)


def test_settings_of_mpreg_are_taken_as_they_are():
    settings = ServerSettings(
        host="127.0.0.1", port=9001, name="A", resources={"gpu"}, peers=None, connect=None, cluster_id="c",
        advertised_urls=None, gossip_interval=1.0, log_level="WARNING",
    )  # fmt: skip

    assert (settings.url, settings.resources, settings.peers) == ("ws://127.0.0.1:9001", frozenset({"gpu"}), ())


def test_a_server_is_described_by_settings():
    with pytest.raises(ClusterSpecError, match="ServerSettings"):
        Server({"port": 0})  # type: ignore[arg-type]


def test_the_world_is_not_let_in():
    with pytest.raises(ClusterSpecError, match=r"0\.0\.0\.0"):
        Server(ServerSettings(host="0.0.0.0")).start()


# --- life -----------------------------------------------------------------------------------------------------------


async def test_it_serves_at_its_port_until_it_is_shut_down():
    port = free_port()
    server = Server(ServerSettings(port=port))
    task = asyncio.create_task(server.server())
    await server.ready()

    async with ServerClient(port) as client:
        assert await client.call("echo", 5) == 5
    server.shutdown()
    await task

    assert not server.running
    with pytest.raises(ConnectError):
        await ServerClient(port).connect()


async def test_a_task_that_is_cancelled_stops_its_server():
    server = Server()
    task = asyncio.create_task(server.server())
    await server.ready()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not server.running


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_is_cancelled_while_it_opens_leaves_nothing():
    for turns in range(6):
        server = Server()
        task = asyncio.create_task(server.server())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert not server.running
    gc.collect()


async def test_it_can_be_started_again():
    server = Server(ServerSettings(port=free_port()))
    for _ in range(3):
        async with server, ServerClient(server) as client:
            assert await client.call("echo", 5) == 5
        await server.stop()


async def test_a_port_that_is_taken_is_told_to_everybody():
    with Server() as first:
        second = Server(ServerSettings(port=first.settings.port))
        task = asyncio.create_task(second.server())
        with pytest.raises(ConnectError, match=str(first.settings.port)):
            await second.ready()
        with pytest.raises(ConnectError):
            await task
        with pytest.raises(ConnectError):
            second.start()
        with pytest.raises(ConnectError):
            await second.__aenter__()


async def test_who_was_not_started_is_not_ready_and_says_why():
    with pytest.raises(ClusterError, match="nobody has started it"):
        await Server().ready(timeout_s=0.01)


async def test_who_waits_for_a_peer_that_never_comes_says_for_whom():
    server = Server(ServerSettings(peers=[f"ws://127.0.0.1:{free_port()}"]))
    task = asyncio.create_task(server.server())
    with pytest.raises(ClusterError, match=r"waits for its peers.* ws://127\.0\.0\.1:"):
        await server.ready(timeout_s=0.3)
    with pytest.raises(ClusterError, match="waits for its peers"):
        Server(server.settings.__class__(peers=server.settings.peers)).start(timeout_s=0.3)

    task.cancel()
    await asyncio.wait((task,))
    assert not server.running


async def test_a_server_that_waits_for_a_peer_can_be_shut_down_at_any_time():
    nobody = f"ws://127.0.0.1:{free_port()}"
    with Server(ServerSettings(cluster_id="mine")):
        for turns in range(12):
            server = Server(ServerSettings(cluster_id="mine", peers=[nobody]))
            task = asyncio.create_task(server.server())
            for _ in range(turns):
                await asyncio.sleep(0)
            server.shutdown()
            if not turns:  # it had not begun
                task.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait((task,))


def test_nobody_runs_twice():
    with Server() as server, pytest.raises(ClusterError, match="runs already"):
        server.start()


def test_what_does_not_run_cannot_be_killed_or_restarted():
    server = Server()
    for act in (server.kill, server.restart, lambda: server.faults):
        with pytest.raises(ClusterError):
            act()
    server.close()
    server.shutdown()


def test_a_function_cannot_stop_its_own_server():
    with Server() as server:

        async def stop() -> None:
            await server.stop()

        server.register_command("stop", stop)
        asyncio.run(_expect_wrong_thread(server))


async def _expect_wrong_thread(server: Server) -> None:
    async with ServerClient(server) as client:
        with pytest.raises(RuntimeError, match="stopping a server would wait for itself"):
            await client.call("stop")


# --- clusters -------------------------------------------------------------------------------------------------------


async def test_peers_may_come_up_in_any_order_and_know_all_functions_when_they_are_ready():
    port = free_port()
    first = Server(ServerSettings(port=port, name="first", cluster_id="any order"))
    others = [
        Server(ServerSettings(name=f"other-{n}", peers=[first.settings.url], cluster_id="any order")) for n in range(2)
    ]
    for server in (first, *others):
        server.register_command(f"on_{server.name}", lambda name=server.name: name)
    tasks = [asyncio.create_task(server.server()) for server in (*others, first)]
    await asyncio.gather(*(server.ready() for server in (first, *others)))

    for server in (first, *others):
        async with ServerClient(server) as client:
            assert [await client.call(f"on_{s.name}") for s in (first, *others)] == ["first", "other-0", "other-1"]
        assert set(server.nodes) == {"first", "other-0", "other-1"}
    for server in (first, *others):
        server.shutdown()
    await asyncio.gather(*tasks)


async def test_servers_of_one_name_get_numbers():
    with two_servers(name="s") as (one, two):
        assert (one.name, two.name) == ("s", "s-2")
        assert set(one.nodes) == set(two.nodes) == {"s", "s-2"}


async def test_servers_of_another_cluster_id_are_refused():
    with (
        Server(ServerSettings(cluster_id="one")) as one,
        pytest.raises(ClusterError, match="is of cluster 'one', not 'two'"),
    ):
        Server(ServerSettings(cluster_id="two", peers=[one.url])).start()


async def test_it_does_not_join_itself():
    port = free_port()
    with Server(ServerSettings(port=port, peers=[f"ws://127.0.0.1:{port}"])) as server:
        assert server.nodes == (server.name,)


async def test_a_function_registered_later_is_known_everywhere_at_once_and_brings_its_resources():
    with two_servers(resources={"disk"}) as (one, two):
        two.register_command("where", lambda: "two", ["gpu"])
        async with ServerClient(one) as client:
            assert await client.call("where", locs=frozenset({"gpu", "disk"})) == "two"
            assert "where" in await client.functions()


async def test_killed_servers_are_missed_and_restarted_ones_are_back():
    with two_servers() as (one, two):
        two.register_command("f", lambda: "here")
        port = two.settings.port
        async with ServerClient(one) as client:
            two.kill()
            assert not two.running
            with pytest.raises((NodeLostError, RoutingError)):
                await client.call("f")
            two.restart()
            assert await client.call("f") == "here"
            assert two.settings.port == port


async def test_links_between_servers_can_be_cut_by_name():
    with two_servers(name="a") as (one, two):
        two.register_command("f", lambda: "here")
        async with ServerClient(one) as client:
            one.faults.cut("a", "a-2")
            with pytest.raises((NodeLostError, RoutingError, ConnectError)):
                await client.call("f")
        with pytest.raises(UnknownNodeError, match="nobody"):
            one.faults.kill("nobody")
        with pytest.raises(UnknownNodeError, match="paused"):
            one.faults.pause("a")


# --- functions and calls --------------------------------------------------------------------------------------------


async def test_the_words_of_mpreg(single_server: Server):
    single_server.register_command("total", lambda *values, start=0: sum(values, start), ["sums"])
    single_server.register_command("pack", lambda value: {"field": value})
    async with ServerClient(single_server.settings.port) as client:
        assert await client.call("total", 1, 2, start=10, locs=frozenset({"sums"}), timeout=30.0) == 13
        assert await client.call("echo", "echo") == "echo"
        assert await client.call("echos", "echo", "x") == ["echo", "x"]
        answer = await client._client.request(
            cmds=[
                RPCCommand(name="a", fun="total", args=(1, 2)),
                RPCCommand(name="b", fun="pack", args=("a",)),
                RPCCommand(name="c", fun="echos", args=(["b.field", {"k": "a"}], "plain")),
                RPCCommand(name="d", fun="total", args=(1,), kwargs={"start": "a"}),
            ],
            timeout=30.0,
        )
    assert answer == {"c": [[3, {"k": 3}], "plain"], "d": 4}


@pytest.mark.parametrize("started", [False, True])
def test_a_function_that_is_registered_again_is_replaced_and_the_resources_of_both_are_held(started: bool):
    server = Server(ServerSettings(name="one"))
    with ExitStack() as stack:
        if started:
            stack.enter_context(server)
        server.register_command("f", lambda: 1, ["a"])
        server.register_command("f", lambda: 2, ["b"])
        if not started:
            stack.enter_context(server)
        (member,) = server.members
    assert member.resources == ("a", "b")
    assert [info.resources for info in member.functions if info.name == "f"] == [("a", "b")]


async def test_programs_of_mpreg_end_a_server_by_its_event():
    server = Server()
    task = asyncio.create_task(server.server())
    await server.ready()

    server._shutdown_event.set()

    await task
    assert not server.running


async def test_what_goes_wrong_has_a_type_of_its_own(single_server: Server):
    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    single_server.register_command("hang", hang)
    single_server.register_command("fail", lambda: 1 / 0)
    client = await ServerClient(single_server).connect()
    with pytest.raises(UnknownFunctionError, match="'nope'"):
        await client.call("nope")
    with pytest.raises(RoutingError, match="'gpu'"):
        await client.call("fail", locs={"gpu"})
    with pytest.raises(ZeroDivisionError):
        await client.call("fail")
    with pytest.raises(TimeoutError):
        await client.call("hang", timeout=0.05)
    with pytest.raises(RunTimeoutError):
        await client.request([RPCCommand("x", "hang")], timeout=0.05)
    with pytest.raises(CycleError):
        await client.request([RPCCommand("x", "echo", ("y",)), RPCCommand("y", "echo", ("x",))])
    with pytest.raises(FunctionError, match="called"):
        single_server.register_command("no", 5)  # type: ignore[arg-type]
    await client.disconnect()
    await client.disconnect()


async def test_a_call_that_is_given_up_is_cancelled_on_the_server(single_server: Server, recorder):
    over = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            over.set()

    single_server.register_command("hang", recorder.wrap(hang))
    async with ServerClient(single_server) as client:
        task = asyncio.create_task(client.call("hang"))
        await recorder.started("hang")
        task.cancel()
        await asyncio.wait((task,))

        assert await asyncio.to_thread(over.wait, 5)


async def test_many_clients_share_one_thread(single_server: Server):
    clients = await asyncio.gather(*(ServerClient(single_server).connect() for _ in range(20)))
    try:
        assert sum(thread.name == "mpreg-clients" for thread in threading.enumerate()) == 1
        answers = await asyncio.gather(*(client.call("echo", n) for n, client in enumerate(clients) for _ in range(20)))
        assert answers == [n for n in range(20) for _ in range(20)]
    finally:
        for client in clients:
            await client.disconnect()


async def test_a_client_made_on_one_loop_serves_another(single_server: Server):
    client = await ServerClient(single_server).connect()

    def elsewhere() -> Any:
        return asyncio.run(client.call("echo", 7))

    assert await asyncio.to_thread(contextvars.copy_context().run, elsewhere) == 7
    await client.disconnect()


async def test_who_is_no_server_cannot_be_connected_to():
    for where in (0, True, "somewhere", None):
        with pytest.raises(ClusterSpecError):
            ServerClient(where)  # type: ignore[arg-type]


async def test_guests_speak_json_only_where_they_are_let_in():
    request = json.dumps({"role": "rpc", "cmds": [{"name": "a", "fun": "echo", "args": ["hi"]}], "u": "1"})
    with Server(ServerSettings(guests=True)) as server:
        async with connect(server.url) as socket:
            await socket.send(request)
            assert json.loads(await socket.recv())["r"] == {"a": "hi"}
    with Server() as server:
        with pytest.raises(Exception, match="401"):
            await connect(server.url)
        async with AsyncClient(server.url) as client:
            assert await client.call("echo", 1) == 1
