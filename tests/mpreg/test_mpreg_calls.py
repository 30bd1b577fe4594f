"""What a test written for MPREG may expect of one server and its calls."""

import asyncio
import functools
import pickle
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

FACE = "\N{SLIGHTLY SMILING FACE}"


@pytest.mark.parametrize(
    "value",
    [
        None, False, True, 0, -1, 1.5, "", "plain", f"gr\u00fc\u00dfe {FACE}", [], {}, [1, [2, [None]]],
        {"a": {"b": [1, {"c": ""}]}}, {f"{FACE}": [False]}, "echo", "a\nb\t\"c\"",
    ],
)  # fmt: skip
async def test_a_value_comes_back_as_it_was_sent(serve: Serve, connect: Connect, value: Any):
    client = await connect(await serve("one"))

    assert await client.call("echo", value) == value
    assert await client._client.request([RPCCommand(name="only", fun="echo", args=(value,))]) == {"only": value}


async def test_all_arguments_come_back_as_a_list(serve: Serve, connect: Connect):
    client = await connect(await serve("one"))

    assert await client.call("echos") == []
    assert await client.call("echos", 1, "two", [3]) == [1, "two", [3]]


async def test_arguments_by_keyword_with_defaults_and_with_names_that_the_client_uses_itself(
    serve: Serve, connect: Connect
):
    server = await serve("one")

    def describe(name: str, *, fun: int = 1, args: int = 2, **rest: Any) -> dict[str, Any]:
        return {"name": name, "fun": fun, "args": args, **rest}

    server.register_command("describe", describe, [])
    client = await connect(server)

    assert await client.call("describe", "x") == {"name": "x", "fun": 1, "args": 2}
    assert await client.call("describe", name="y", fun=5, cmds=[]) == {"name": "y", "fun": 5, "args": 2, "cmds": []}


async def test_whatever_can_be_called_can_be_registered(serve: Serve, connect: Connect):
    server = await serve("one")
    calls: list[int] = []

    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def times(self, value: int) -> int:
            return value * self.factor

        def __call__(self, value: int) -> int:
            return value + self.factor

    async def awaited(value: int) -> int:
        await asyncio.sleep(0)
        return -value

    def closure(value: int) -> int:
        calls.append(value)
        return len(calls)

    kinds: dict[str, Callable[..., Any]] = {
        "lambda": lambda value: value + 1,
        "method": Scale(10).times,
        "object": Scale(10),
        "partial": functools.partial(pow, 2),
        "async": awaited,
        "closure": closure,
        "builtin": abs,
    }
    for name, function in kinds.items():
        server.register_command(name, function, ["any"])
    client = await connect(server)

    found = {name: await client.call(name, 5, locs=frozenset(["any"])) for name in kinds}

    assert found == {
        "lambda": 6, "method": 50, "object": 15, "partial": 32, "async": -5, "closure": 1, "builtin": 5,
    }  # fmt: skip
    assert calls == [5]


@pytest.mark.parametrize("resources", [["gpu"], ("gpu",), {"gpu"}, frozenset({"gpu"}), iter(["gpu"])])
async def test_resources_may_be_of_any_collection(serve: Serve, connect: Connect, resources: Any):
    server = await serve("one")
    server.register_command("train", lambda: "trained", resources)
    client = await connect(server)

    assert await client.call("train", locs=frozenset({"gpu"})) == "trained"
    for locs in (["gpu"], {"gpu"}, (), None):
        assert await client.call("train", locs=locs) == "trained"


@pytest.mark.parametrize("late", [False, True])
async def test_a_function_may_be_offered_with_several_sets_of_resources(
    test_context: AsyncTestContext, connect: Connect, late: bool
):
    server = MPREGServer(MPREGSettings(name="one"))
    test_context.servers.append(server)
    if late:
        await asyncio.to_thread(server.start)
    server.register_command("compute", lambda x: x + 1, ["compute", "medium"])
    server.register_command("compute", lambda x: x + 2, ["compute", "high"])
    if not late:
        await asyncio.to_thread(server.start)
    client = await connect(server)

    assert await client.call("compute", 1, locs=frozenset({"compute", "medium"})) == 3
    assert await client.call("compute", 1, locs=frozenset({"compute", "high"})) == 3


async def test_arguments_and_results_are_as_json_has_them(serve: Serve, connect: Connect):
    server = await serve("one")
    server.register_command("extremes", lambda values: (min(values), max(values)), [])
    server.register_command("kind", lambda value: type(value).__name__, [])
    client = await connect(server)

    assert await client.call("extremes", [3, 1, 2]) == [1, 3]
    assert await client.call("kind", (1, 2)) == await client.call("kind", value=(1, 2)) == "list"
    commands = [
        RPCCommand("pair", "extremes", ((3, 1),)),
        RPCCommand("again", "echo", ({"in": "pair"},)),
        RPCCommand("kind", "kind", kwargs={"value": ("pair",)}),
    ]
    assert await client.request(commands) == {"again": {"in": [1, 3]}, "kind": "list"}


async def test_megabytes_travel_both_ways(serve: Serve, connect: Connect):
    first = await serve("first")
    second = await serve("second", peers=[first])
    second.register_command("numbers", lambda count: list(range(count)), ["numbers"])
    second.register_command("total", sum, ["numbers"])
    client = await connect(first)

    numbers = await client.call("numbers", 300_000, locs=frozenset({"numbers"}))

    assert numbers == list(range(300_000))
    assert await client.call("total", numbers) == sum(numbers)
    assert len(await client.call("echo", "x" * 3_000_000)) == 3_000_000


# --- clients --------------------------------------------------------------------------------------------------------


async def test_a_client_connects_by_itself_once_and_again(serve: Serve):
    server = await serve("one")
    client = MPREGClientAPI(url=server.url, full_log=False)

    assert await client.call("echo", 1) == 1
    await client.connect()
    await client.connect()
    await client.disconnect()
    await client.disconnect()
    assert await client.call("echo", 2) == 2
    await client.disconnect()
    async with client as same, MPREGClientAPI(f"ws://localhost:{server.settings.port}/") as other:
        assert [await same.call("echo", 3), await other.call("echo", 4)] == [3, 4]


async def test_fifty_clients_at_once(serve: Serve, connect: Connect):
    server = await serve("one")
    clients = await asyncio.gather(*(connect(server) for _ in range(50)))

    assert await asyncio.gather(*(client.call("echo", n) for n, client in enumerate(clients))) == list(range(50))


async def test_many_calls_at_once_over_one_connection_keep_apart(serve: Serve, connect: Connect):
    client = await connect(await serve("one"))
    calls = [client.call("echo", n) for n in range(200)]
    requests = [
        client.request([RPCCommand("step", "echo", (n,)), RPCCommand("last", "echos", ("step", n))]) for n in range(50)
    ]

    assert await asyncio.gather(*calls) == list(range(200))
    assert await asyncio.gather(*requests) == [{"last": [n, n]} for n in range(50)]


async def test_functions_of_one_server_run_one_at_a_time(serve: Serve, connect: Connect):
    server = await serve("one")
    under_way: list[int] = []

    def sell(number: int) -> bool:
        under_way.append(number)
        sum(range(300_000))  # so long that another thread would come in between
        return under_way.pop() == number and not under_way

    server.register_command("sell", sell, ["shop"])
    client = await connect(server)

    assert all(await asyncio.gather(*(client.call("sell", n, locs=frozenset({"shop"})) for n in range(40))))


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def test_an_unknown_function_is_told_at_once(serve: Serve, connect: Connect):
    client = await connect(await serve("one"))

    with pytest.raises(MPREGException, match="nonexistent") as told:
        await client.call("nonexistent", 1, timeout=60.0)

    assert isinstance(told.value, CommandNotFoundException)
    assert (told.value.rpc_error.code, told.value.rpc_error.message) == (1003, "RPC execution failed")
    copied = pickle.loads(pickle.dumps(told.value))
    assert (type(copied), str(copied), copied.rpc_error) == (type(told.value), str(told.value), told.value.rpc_error)
    assert str(MPREGException(told.value.rpc_error)) == "RPC execution failed"


async def test_a_resource_that_nobody_holds_is_told_at_once(serve: Serve, connect: Connect):
    client = await connect(await serve("one", ["cpu"]))

    with pytest.raises(CommandNotFoundException, match="tpu"):
        await client.call("echo", 1, locs=frozenset({"cpu", "tpu"}), timeout=60.0)


async def test_what_a_function_raises_reaches_the_client_with_its_words_and_does_no_harm(
    serve: Serve, connect: Connect
):
    server = await serve("one")

    def risky(fail: bool) -> str:
        if fail:
            raise ValueError("intentional")
        return "fine"

    server.register_command("risky", risky, ["risk"])
    client = await connect(server)
    outcomes = await asyncio.gather(
        *(client.call("risky", n % 2 == 0, locs=frozenset({"risk"})) for n in range(20)), return_exceptions=True
    )

    assert outcomes[1::2] == ["fine"] * 10
    for outcome in outcomes[::2]:
        assert isinstance(outcome, MPREGException)
        assert isinstance(outcome.__cause__, ValueError)
        assert "ValueError: intentional" in (outcome.rpc_error.details or "")


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3), (1, "2")])
async def test_arguments_that_do_not_fit_are_told(serve: Serve, connect: Connect, args: tuple[Any, ...]):
    server = await serve("one")
    server.register_command("add", lambda a, b: a + b, [])
    client = await connect(server)

    with pytest.raises(MPREGException):
        await client.call("add", *args)
    assert await client.call("add", 1, 2) == 3


async def test_what_json_has_nothing_for_is_an_error_and_no_silence(serve: Serve, connect: Connect):
    server = await serve("one")
    server.register_command("unique", lambda values: set(values), [])
    client = await connect(server)

    with pytest.raises(MPREGException, match="set"):
        await client.call("unique", [1, 1], timeout=60.0)


async def test_time_outs_of_the_client_and_of_asyncio(serve: Serve, connect: Connect):
    server = await serve("one")

    async def hang() -> None:
        await asyncio.Event().wait()

    server.register_command("hang", hang, ["slow"])
    client = await connect(server)

    with pytest.raises(asyncio.TimeoutError):
        await client.call("hang", locs=frozenset({"slow"}), timeout=0.05)
    with pytest.raises(asyncio.TimeoutError):
        await client._client.request([RPCCommand("x", "hang"), RPCCommand("y", "echo", ("x",))], timeout=0.05)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.call("hang"), timeout=0.05)
    assert await client.call("echo", "still here") == "still here"


async def test_where_nobody_listens_nobody_is_reached():
    with pytest.raises(ConnectionError, match="nobody listens"):
        await MPREGClientAPI(f"ws://127.0.0.1:{free_port()}").connect()


# --- life -----------------------------------------------------------------------------------------------------------


async def test_the_event_that_ends_a_server_frees_its_port(test_context: AsyncTestContext):
    port = free_port()
    for _ in range(3):
        server = MPREGServer(settings=MPREGSettings(port=port, name="one", resources={"demo"}, log_level="WARNING"))
        task = asyncio.create_task(server.server())
        test_context.tasks.append(task)
        await server.ready()
        async with MPREGClientAPI(f"ws://127.0.0.1:{port}") as client:
            assert await client.call("echo", "up", locs=frozenset({"demo"})) == "up"
        server._shutdown_event.set()
        await task


async def test_a_server_ends_with_its_task_or_with_the_context(test_context: AsyncTestContext):
    ports = []
    for cancel in (True, False):
        server = MPREGServer(MPREGSettings(port=free_port()))
        task = asyncio.create_task(server.server())
        await server.ready()
        ports.append(server.settings.port)
        if cancel:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            test_context.servers.append(server)
            await test_context.close()
            await task
    for port in ports:
        with pytest.raises(ConnectionError):
            await MPREGClientAPI(f"ws://127.0.0.1:{port}").connect()
