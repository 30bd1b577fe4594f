"""What a test written for MPREG may expect of several servers that are one cluster."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mpreg_lab.testing import AsyncTestContext
from mpreg_lab.testing.mpreg import (
    CommandNotFoundException,
    MPREGClientAPI,
    MPREGException,
    MPREGServer,
    MPREGSettings,
    RPCCommand,
)
from tests.mpreg.kinds import Connect, Serve
from tests.ports import free_port


def named(name: str) -> Callable[..., dict[str, Any]]:
    """A function that says who ran it."""
    return lambda *values: {"by": name, "values": list(values)}


async def servers(serve: Serve, count: int, *, chain: bool = False) -> list[MPREGServer]:
    """Servers `n0`, `n1`, …: each offers `work` to all who ask for "all", and `only` to who asks for its name.

    Args:
        chain: Each knows the one before it. Otherwise all know the first.
    """
    found: list[MPREGServer] = []
    for number in range(count):
        peers = (found[-1:] if chain else found[:1]) if found else []
        server = await serve(f"n{number}", [f"n{number}", "all"], peers=peers, gossip_interval=0.5)
        server.register_command("work", named(f"n{number}"), ["all"])
        server.register_command("only", named(f"n{number}"), [f"n{number}"])
        found.append(server)
    return found


@pytest.mark.parametrize(("count", "chain"), [(2, False), (3, False), (3, True), (5, False), (5, True)])
async def test_every_server_reaches_every_function(serve: Serve, connect: Connect, count: int, chain: bool):
    cluster = await servers(serve, count, chain=chain)

    for entry in cluster:
        client = await connect(entry)
        calls = [client.call("only", n, locs=frozenset([f"n{n}"])) for n in range(count)]
        assert await asyncio.gather(*calls) == [{"by": f"n{n}", "values": [n]} for n in range(count)]


async def test_work_is_spread_over_all_who_can_do_it(serve: Serve, connect: Connect):
    cluster = await servers(serve, 3)
    client = await connect(cluster[0])
    locs = frozenset(["all"])

    one_by_one = [await client.call("work", n, locs=locs) for n in range(30)]
    at_once = await asyncio.gather(*(client.call("work", n, locs=locs) for n in range(30)))
    in_one_request = await client.request([RPCCommand(f"s{n}", "work", (n,), locs=locs) for n in range(30)])

    for results in (one_by_one, at_once, list(in_one_request.values())):
        assert Counter(result["by"] for result in results).keys() == {"n0", "n1", "n2"}
        assert [result["values"] for result in results] == [[n] for n in range(30)]


async def test_a_workflow_goes_from_server_to_server(serve: Serve, connect: Connect):
    gateway = await serve("gateway", ["gateway"])
    workers = [await serve(name, [name], peers=[gateway]) for name in ("clean", "model", "store")]
    for server in workers:
        server.register_command(f"{server.name}_it", lambda path, name=server.name: [*path, name], [server.name])
    client = await connect(gateway)

    result = await client.request(
        [
            RPCCommand("c", "clean_it", (["in"],), locs=frozenset(["clean"])),
            RPCCommand("m1", "model_it", ("c",), locs=frozenset(["model"])),
            RPCCommand("m2", "model_it", ("m1",), locs=frozenset(["model"])),
            RPCCommand("s", "store_it", ("m2",), locs=frozenset(["store"])),
            RPCCommand("both", "echos", ("s", "m1"), locs=frozenset(["gateway"])),
        ]
    )

    assert result == {"both": [["in", "clean", "model", "model", "store"], ["in", "clean", "model"]]}


async def test_one_name_may_mean_other_functions_on_other_servers(serve: Serve, connect: Connect):
    first = await serve("first")
    second = await serve("second", peers=[first])
    first.register_command("predict", named("v1"), ["models", "v1"])
    second.register_command("predict", named("v2"), ["models", "v2"])
    client = await connect(first)

    for version in ("v1", "v2", "v1"):
        result = await client.call("predict", locs=frozenset(["models", version]))
        assert result["by"] == version
    with pytest.raises(CommandNotFoundException):
        await client.call("predict", locs=frozenset(["v1", "v2"]))


@pytest.mark.parametrize("wanted", [["gpu"], ["gpu", "large"], ["gpu", "large", "fast"], ["large", "zone-a"], []])
async def test_a_server_may_hold_more_than_is_asked_for(serve: Serve, connect: Connect, wanted: list[str]):
    gateway = await serve("gateway")
    big = await serve("big", ["gpu", "large", "fast", "zone-a"], peers=[gateway])
    big.register_command("train", named("big"), ["gpu", "large", "fast"])
    client = await connect(gateway)

    assert (await client.call("train", locs=frozenset(wanted)))["by"] == "big"


async def test_a_function_registered_after_all_have_met_is_known_at_once(serve: Serve, connect: Connect):
    cluster = await servers(serve, 3)
    client = await connect(cluster[0])

    with pytest.raises(MPREGException):
        await client.call("late")
    cluster[2].register_command("late", named("n2"), ["late-resource"])

    assert (await client.call("late", locs=frozenset(["late-resource"])))["by"] == "n2"


async def test_a_server_that_joins_later_by_connect_is_known_to_all(
    serve: Serve, connect: Connect, test_context: AsyncTestContext
):
    cluster = await servers(serve, 3)
    client = await connect(cluster[0])
    late = MPREGServer(
        MPREGSettings(name="late", resources=["gpu"], cluster_id="tests", connect=cluster[2].settings.url)
    )
    late.register_command("train", named("late"), ["gpu"])
    test_context.tasks.append(asyncio.create_task(late.server()))
    test_context.servers.append(late)
    await late.ready()

    assert (await client.call("train", locs=frozenset(["gpu"])))["by"] == "late"
    async with MPREGClientAPI(late.settings.url) as other:
        assert (await other.call("only", locs=frozenset(["n1"])))["by"] == "n1"


async def test_peers_may_come_up_after_who_names_them(test_context: AsyncTestContext, connect: Connect):
    port = free_port()
    first = MPREGServer(MPREGSettings(name="first", cluster_id="tests", port=port))
    second = MPREGServer(MPREGSettings(name="second", cluster_id="tests", peers=[f"ws://localhost:{port}"]))
    second.register_command("work", named("second"), ["second"])
    for server in (second, first):
        test_context.servers.append(server)
        test_context.tasks.append(asyncio.create_task(server.server()))
    await asyncio.gather(second.ready(), first.ready())

    client = await connect(first)

    assert (await client.call("work", locs=frozenset(["second"])))["by"] == "second"


# --- servers that go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["shutdown", "cancel"])
async def test_others_take_over_from_a_server_that_leaves(
    serve: Serve, connect: Connect, test_context: AsyncTestContext, way: str
):
    cluster = await servers(serve, 3)
    client = await connect(cluster[0])
    assert (await client.call("only", locs=frozenset(["n1"])))["by"] == "n1"

    leaving = test_context.tasks[1]
    if way == "shutdown":
        cluster[1].shutdown()
    else:
        leaving.cancel()
    await asyncio.wait([leaving])

    results = await asyncio.gather(*(client.call("work", n, locs=frozenset(["all"])) for n in range(20)))
    assert {result["by"] for result in results} == {"n0", "n2"}
    with pytest.raises(CommandNotFoundException, match="n1"):
        await client.call("only", locs=frozenset(["n1"]), timeout=60.0)


async def test_others_take_over_from_a_server_that_crashed_and_it_may_come_back(serve: Serve, connect: Connect):
    cluster = await servers(serve, 3)
    client = await connect(cluster[0])

    cluster[1].kill()
    found = set()
    for n in range(20):
        outcome = (await asyncio.gather(client.call("work", n, locs=frozenset(["all"])), return_exceptions=True))[0]
        # A call that was on its way when the server fell may be lost with it, and says so.
        found.add(outcome["by"] if isinstance(outcome, dict) else type(outcome.__cause__).__name__)
    await asyncio.to_thread(cluster[1].restart)

    assert found - {"NodeLostError"} == {"n0", "n2"}
    assert (await client.call("only", locs=frozenset(["n1"])))["by"] == "n1"


async def test_a_server_whose_entry_ends_can_be_reached_through_another(serve: Serve, connect: Connect):
    cluster = await servers(serve, 3)
    first, second = await connect(cluster[0]), await connect(cluster[1])

    await cluster[0].stop()

    with pytest.raises((MPREGException, ConnectionError)):
        await first.call("work", locs=frozenset(["all"]), timeout=60.0)
    assert (await second.call("work", locs=frozenset(["all"])))["by"] in ("n1", "n2")


async def test_servers_of_other_clusters_are_not_called(serve: Serve, connect: Connect, test_context: AsyncTestContext):
    ours = await serve("ours")
    theirs = MPREGServer(MPREGSettings(name="theirs", cluster_id="others"))
    theirs.register_command("secret", named("theirs"), [])
    test_context.servers.append(theirs)
    test_context.tasks.append(asyncio.create_task(theirs.server()))
    await theirs.ready()

    assert (await (await connect(theirs)).call("secret"))["by"] == "theirs"
    with pytest.raises(CommandNotFoundException):
        await (await connect(ours)).call("secret")


async def test_what_a_server_knows_of_its_cluster(serve: Serve):
    first, second = await servers(serve, 2)

    seen = first.cluster

    assert seen.cluster_id == "tests"
    assert seen.servers == {first.url, second.url}
    assert seen.funtimes["only"] == {frozenset({"n0"}): {first.url}, frozenset({"n1"}): {second.url}}
    assert seen.funtimes["work"] == {frozenset({"all"}): {first.url, second.url}}
    await second.stop()
    assert first.cluster.servers == {first.url}
    assert second.cluster.funtimes == {}
