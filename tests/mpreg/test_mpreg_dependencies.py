"""What a test written for MPREG may expect of commands that need each other."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mpreg_lab.testing import Recorder
from mpreg_lab.testing.mpreg import CommandNotFoundException, MPREGException, MPREGServer, RPCCommand
from tests.mpreg.kinds import Connect, Serve


@pytest.fixture
def maths() -> dict[str, Callable[..., Any]]:
    """Functions whose results show what they were given."""
    return {
        "add": lambda a, b: a + b,
        "double": lambda x: x * 2,
        "gather": lambda *values, **named: {"values": list(values), "named": named},
        "total": lambda values: sum(values),
        "record": lambda value: {"value": value, "nested": {"deep": [value]}, "name": "x"},
        "nothing": lambda: None,
    }


@pytest.fixture
async def server(serve: Serve, maths: dict[str, Callable[..., Any]]) -> MPREGServer:
    """A server with these functions."""
    server = await serve("one", ["demo"])
    for name, function in maths.items():
        server.register_command(name, function, ["maths"])
    return server


async def test_a_chain_gives_back_its_last_result_alone(server: MPREGServer, connect: Connect):
    client = await connect(server)

    result = await client._client.request(
        [
            RPCCommand(name="sum1", fun="add", args=(10, 20), locs=frozenset(["maths"])),
            RPCCommand(name="sum2", fun="add", args=(5, 15), locs=frozenset(["maths"])),
            RPCCommand(name="total", fun="add", args=("sum1", "sum2"), locs=frozenset(["maths"])),
            RPCCommand(name="doubled", fun="double", args=("total",), locs=frozenset(["maths"])),
        ]
    )

    assert result == {"doubled": 100}


async def test_commands_may_be_given_in_any_order(server: MPREGServer, connect: Connect):
    client = await connect(server)
    commands = [
        RPCCommand("d", "add", ("b", "c")),
        RPCCommand("c", "double", ("a",)),
        RPCCommand("b", "double", ("a",)),
        RPCCommand("a", "add", (1, 2)),
    ]

    for turn in range(4):
        assert await client.request(commands[turn:] + commands[:turn]) == {"d": 12}


async def test_a_chain_may_be_long(server: MPREGServer, connect: Connect):
    client = await connect(server)
    links = [RPCCommand(f"step{n}", "add", (f"step{n - 1}", 1)) for n in range(1, 200)]

    assert await client.request([*links, RPCCommand("step0", "add", (0, 1))]) == {"step199": 200}


async def test_a_wide_fan_is_gathered_by_a_list_of_names(server: MPREGServer, connect: Connect):
    client = await connect(server)
    parts = [RPCCommand(f"part_{n}", "double", (n,)) for n in range(80)]

    alone = await client.request(parts)
    gathered = await client.request([*parts, RPCCommand("all", "total", ([part.name for part in parts],))])

    assert alone == {f"part_{n}": 2 * n for n in range(80)}
    assert list(alone) == [f"part_{n}" for n in range(80)]
    assert gathered == {"all": 80 * 79}


async def test_the_tip_of_a_diamond_runs_once(server: MPREGServer, connect: Connect, recorder: Recorder):
    server.register_command("tip", recorder.wrap(lambda: 7, name="tip"))
    client = await connect(server)
    sides = [RPCCommand(f"side{n}", "add", ("tip", n)) for n in range(3)]
    end = RPCCommand("end", "total", (["side0", "side1", "side2"],))

    assert await client.request([*sides, end, RPCCommand("tip", "tip")]) == {"end": 24}
    assert recorder.count("tip") == 1


async def test_names_stand_for_results_at_any_depth_of_arguments_and_keyword_arguments(
    server: MPREGServer, connect: Connect
):
    client = await connect(server)
    command = RPCCommand(
        name="all",
        fun="gather",
        args=("a", ["a", ["b", {"k": ["a"]}]], ("b", "a"), {"a": "b"}, "plain", "a and b"),
        kwargs={"first": "a", "second": {"list": ["b", 3]}, "a": "text"},
    )

    result = await client.request([RPCCommand("a", "add", (1, 1)), RPCCommand("b", "add", (2, 2)), command])

    assert result["all"] == {
        "values": [2, [2, [4, {"k": [2]}]], [4, 2], {"a": 4}, "plain", "a and b"],
        "named": {"first": 2, "second": {"list": [4, 3]}, "a": "text"},
    }


async def test_a_step_may_be_read_by_keyword_alone(server: MPREGServer, connect: Connect):
    client = await connect(server)
    commands = [RPCCommand("x", "add", kwargs={"a": 1, "b": "y"}), RPCCommand("y", "double", (4,))]

    assert (await client.request(commands))["x"] == 9


async def test_a_part_of_a_result_is_named_with_dots(server: MPREGServer, connect: Connect):
    client = await connect(server)
    commands = [
        RPCCommand("made", "record", (5,)),
        RPCCommand("used", "gather", ("made.value", ["made.nested.deep"]), {"k": {"in": "made.name"}}),
    ]

    assert await client.request(commands) == {"used": {"values": [5, [[5]]], "named": {"k": {"in": "x"}}}}


@pytest.mark.parametrize("text", ["made.nofield", "made.csv", "made.value.deeper", "other.value", "made.", ".made"])
async def test_what_is_no_part_of_a_result_stays_text(server: MPREGServer, connect: Connect, text: str):
    client = await connect(server)
    commands = [RPCCommand("made", "record", (5,)), RPCCommand("used", "gather", (text, "made.value"))]

    assert (await client.request(commands))["used"]["values"] == [text, 5]


@pytest.mark.parametrize("name", ["|first", "first step", "a.b", "\u00fcber", "1", "echo", "x" * 200])
async def test_a_step_may_have_any_name(server: MPREGServer, connect: Connect, name: str):
    client = await connect(server)

    assert await client.request([RPCCommand(name, "echo", (1,)), RPCCommand("end", "echo", (name,))]) == {"end": 1}


async def test_a_command_may_be_named_as_its_function_and_call_it_with_that_word(server: MPREGServer, connect: Connect):
    client = await connect(server)

    assert await client.request([RPCCommand("echo", "echo", ("echo",))]) == {"echo": "echo"}
    assert await client.call("echo", "echo") == "echo"


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
async def test_results_that_are_nothing_are_handed_on(server: MPREGServer, connect: Connect, value: Any):
    client = await connect(server)
    commands = [RPCCommand("empty", "echo", (value,)), RPCCommand("end", "echos", ("empty", ["empty"]))]

    assert await client.request(commands) == {"end": [value, [value]]}


async def test_a_result_that_is_the_name_of_a_step_is_text(server: MPREGServer, connect: Connect):
    client = await connect(server)
    commands = [
        RPCCommand("a", "echo", ("hello",)),
        RPCCommand("b", "record", (1,)),
        RPCCommand("c", "gather", ("b.name", "a")),
        RPCCommand("x", "double", (2,)),
    ]

    assert (await client.request(commands))["c"]["values"] == ["x", "hello"]


async def test_all_that_nobody_reads_comes_back(server: MPREGServer, connect: Connect):
    client = await connect(server)
    commands = [RPCCommand("a", "add", (1, 1)), RPCCommand("b", "double", ("a",)), RPCCommand("alone", "nothing")]

    assert await client.request(commands) == {"b": 4, "alone": None}


async def test_requests_with_the_same_names_do_not_mix(server: MPREGServer, connect: Connect):
    clients = [await connect(server), await connect(server)]

    results = await asyncio.gather(
        *(
            clients[n % 2].request([RPCCommand("step1", "double", (n,)), RPCCommand("step2", "add", ("step1", 1))])
            for n in range(60)
        )
    )

    assert results == [{"step2": 2 * n + 1} for n in range(60)]


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def test_a_circle_is_told_and_nothing_runs(server: MPREGServer, connect: Connect, recorder: Recorder):
    server.register_command("step", recorder.wrap(lambda *_: 1, name="step"))
    client = await connect(server)

    with pytest.raises(MPREGException, match="wait for each other"):
        await client.request(
            [RPCCommand("a", "step"), RPCCommand("b", "step", ("a", "c")), RPCCommand("c", "step", ("b",))],
            timeout=60.0,
        )
    assert recorder.count("step") == 0
    assert await client.call("double", 2) == 4


async def test_steps_after_one_that_fails_do_not_run(server: MPREGServer, connect: Connect, recorder: Recorder):
    server.register_command("after", recorder.wrap(lambda x: x, name="after"))
    client = await connect(server)

    with pytest.raises(MPREGException, match="unsupported operand") as told:
        await client.request(
            [
                RPCCommand("good", "double", (1,)),
                RPCCommand("bad", "add", ("good", "text")),
                RPCCommand("never", "after", ("bad",)),
            ]
        )

    assert told.value.rpc_error.code == 1003
    assert recorder.count("after") == 0


async def test_several_failures_are_all_told(server: MPREGServer, connect: Connect):
    def fail(why: str) -> None:
        raise RuntimeError(why)

    server.register_command("fail", fail)
    client = await connect(server)

    with pytest.raises(MPREGException) as told:
        await client.request([RPCCommand("a", "fail", ("first reason",)), RPCCommand("b", "fail", ("second reason",))])

    details = told.value.rpc_error.details or ""
    assert all(reason in details for reason in ("first reason", "second reason"))


@pytest.mark.parametrize(
    "wrong", [RPCCommand("last", "unknown", ("first",)), RPCCommand("last", "double", ("first",), locs={"gpu"})]
)
async def test_a_step_that_nobody_can_run_is_told_before_any_runs(
    server: MPREGServer, connect: Connect, recorder: Recorder, wrong: RPCCommand
):
    server.register_command("step", recorder.wrap(lambda: 1, name="step"))
    client = await connect(server)

    with pytest.raises(CommandNotFoundException):
        await client.request([RPCCommand("first", "step"), wrong], timeout=60.0)
    assert recorder.count("step") == 0


async def test_an_empty_request_is_an_error(server: MPREGServer, connect: Connect):
    client = await connect(server)

    with pytest.raises(MPREGException):
        await client.request([])
