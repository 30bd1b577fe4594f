"""Applications as they are written with MPREG: pipelines, inference, orders, gateways, monitoring, under load."""

import asyncio
from collections import Counter
from statistics import fmean
from typing import Any

import pytest

from mpreg_lab.testing import Recorder
from mpreg_lab.testing.mpreg import MPREGClientAPI, MPREGException, MPREGServer, RPCCommand
from tests.mpreg.kinds import Connect, Serve


async def star(serve: Serve, *names: str) -> dict[str, MPREGServer]:
    """Servers that hold what they are named after; all know the first."""
    found: dict[str, MPREGServer] = {}
    for name in names:
        found[name] = await serve(name, [name], peers=list(found.values())[:1])
    return found


# --- data and models ------------------------------------------------------------------------------------------------


@pytest.fixture
async def pipeline(serve: Serve, connect: Connect) -> MPREGClientAPI:
    """A client of a pipeline of four servers."""
    nodes = await star(serve, "ingest", "process", "analytics", "storage")
    stored: dict[str, Any] = {}

    def ingest(sensor: str, readings: list[float]) -> dict[str, Any]:
        return {"sensor": sensor, "readings": readings}

    def clean(data: dict[str, Any], least: float = 0.0, most: float = 100.0) -> dict[str, Any]:
        kept = [reading for reading in data["readings"] if least <= reading <= most]
        return {**data, "readings": kept, "removed": len(data["readings"]) - len(kept)}

    def measure(data: dict[str, Any]) -> dict[str, Any]:
        readings = data["readings"]
        return {**data, "metrics": {"mean": fmean(readings), "count": len(readings)}} if readings else data

    def store(data: dict[str, Any], anomalous: bool) -> dict[str, Any]:
        stored[data["sensor"]] = {**data, "anomalous": anomalous}
        return {"stored": len(stored), **stored[data["sensor"]]}

    nodes["ingest"].register_command("ingest", ingest, ["ingest", "raw-data"])
    nodes["process"].register_command("clean", clean, ["process", "etl"])
    nodes["process"].register_command("measure", measure, ["process", "etl"])
    nodes["analytics"].register_command("is_high", lambda mean, limit: mean > limit, ["analytics"])
    nodes["storage"].register_command("store", store, ["storage", "database"])
    return await connect(nodes["ingest"])


def processing(sensor: str, readings: list[float]) -> list[RPCCommand]:
    """One sensor's way through the pipeline."""
    return [
        RPCCommand("ingested", "ingest", (sensor, readings), locs=frozenset(["ingest", "raw-data"])),
        RPCCommand("cleaned", "clean", ("ingested",), {"most": 50.0}, locs=frozenset(["process", "etl"])),
        RPCCommand("measured", "measure", ("cleaned",), locs=frozenset(["process"])),
        RPCCommand("high", "is_high", ("measured.metrics.mean", 24.0), locs=frozenset(["analytics"])),
        RPCCommand("stored", "store", ("measured",), {"anomalous": "high"}, locs=frozenset(["storage"])),
    ]


async def test_a_data_pipeline_over_four_servers(pipeline: MPREGClientAPI):
    result = await pipeline.request(processing("t1", [22.0, 26.0, 999.0, -1.0, 27.0]))

    assert result["stored"] == {
        "stored": 1, "sensor": "t1", "readings": [22.0, 26.0, 27.0], "removed": 2,
        "metrics": {"mean": 25.0, "count": 3}, "anomalous": True,
    }  # fmt: skip


async def test_many_pipelines_at_once(pipeline: MPREGClientAPI):
    results = await asyncio.gather(*(pipeline.request(processing(f"t{n}", [float(n), 24.0])) for n in range(30)))

    assert [result["stored"]["metrics"]["mean"] for result in results] == [(n + 24.0) / 2 for n in range(30)]
    assert [result["stored"]["anomalous"] for result in results] == [n > 24 for n in range(30)]
    assert sorted(result["stored"]["stored"] for result in results) == list(range(1, 31))


async def test_a_stage_that_fails_is_told_and_the_next_request_is_served(pipeline: MPREGClientAPI):
    broken = RPCCommand("stored", "store", ("measured.metrics", False), locs=frozenset(["storage"]))

    # Without readings there are no metrics: then the words stay words, and cannot be stored.
    with pytest.raises(MPREGException, match="'str' object is not a mapping"):
        await pipeline.request([*processing("t1", [-5.0])[:3], broken])
    assert (await pipeline.request(processing("t2", [1.0])))["stored"]["stored"] == 1


async def test_models_on_several_servers_vote(serve: Serve, connect: Connect):
    nodes = await star(serve, "router", "features", "linear", "tree")
    nodes["features"].register_command("extract", lambda text: [len(text), text.count("!")], ["features"])
    nodes["linear"].register_command("predict", lambda x: {"score": min(1.0, 0.1 * x[0]), "by": "linear"}, ["linear"])
    nodes["tree"].register_command("predict", lambda x: {"score": 1.0 if x[1] else 0.0, "by": "tree"}, ["tree"])
    nodes["router"].register_command(
        "vote", lambda votes: {"score": fmean(v["score"] for v in votes), "by": [v["by"] for v in votes]}, ["router"]
    )
    client = await connect(nodes["router"])

    result = await client.request(
        [
            RPCCommand("final", "vote", (["linear", "tree"],), locs=frozenset(["router"])),
            RPCCommand("linear", "predict", ("x",), locs=frozenset(["linear"])),
            RPCCommand("tree", "predict", ("x",), locs=frozenset(["tree"])),
            RPCCommand("x", "extract", ("great!",), locs=frozenset(["features"])),
        ]
    )

    assert result == {"final": {"score": 0.8, "by": ["linear", "tree"]}}


async def test_words_are_counted_by_map_and_reduce(serve: Serve, connect: Connect):
    nodes = await star(serve, "reduce", "map-1", "map-2")
    for name in ("map-1", "map-2"):
        nodes[name].register_command("count", lambda text: Counter(text.split()), ["map"])
    nodes["reduce"].register_command("merge", lambda parts: dict(sum(map(Counter, parts), Counter())), ["reduce"])
    client = await connect(nodes["reduce"])
    parts = [RPCCommand(f"part{n}", "count", (f"a b{n % 3} a",), locs={"map"}) for n in range(60)]

    result = await client.request([*parts, RPCCommand("all", "merge", ([part.name for part in parts],))])

    assert result == {"all": {"a": 120, "b0": 20, "b1": 20, "b2": 20}}


# --- business -------------------------------------------------------------------------------------------------------


class Shop:
    """Three services, each with a state of its own that nothing guards."""

    def __init__(self, stock: int) -> None:
        self.stock = stock
        self.paid: list[str] = []

    def reserve(self, order: dict[str, Any]) -> dict[str, Any]:
        left = self.stock
        if left < order["quantity"]:
            raise LookupError(f"only {left} left")
        sum(range(20_000))  # long enough for others to come in between, if they could
        self.stock = left - order["quantity"]
        return {**order, "reserved": True}

    def release(self, order: dict[str, Any]) -> int:
        self.stock += order["quantity"]
        return self.stock

    def pay(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["card"] == "declined":
            raise PermissionError("card declined")
        self.paid.append(order["id"])
        return {**order, "paid": True}


@pytest.fixture
async def shop() -> Shop:
    """A shop with ten things in stock."""
    return Shop(stock=10)


@pytest.fixture
async def desk(serve: Serve, connect: Connect, shop: Shop) -> MPREGClientAPI:
    """A client of the shop's servers."""
    nodes = await star(serve, "gateway", "inventory", "payment")
    nodes["gateway"].register_command("confirm", lambda order: {**order, "confirmed": True}, ["gateway"])
    nodes["inventory"].register_command("reserve", shop.reserve, ["inventory"])
    nodes["inventory"].register_command("release", shop.release, ["inventory"])
    nodes["payment"].register_command("pay", shop.pay, ["payment"])
    return await connect(nodes["gateway"])


def ordering(number: int, card: str = "good") -> list[RPCCommand]:
    """An order of one thing."""
    order = {"id": f"o{number}", "quantity": 1, "card": card}
    return [
        RPCCommand("reserved", "reserve", (order,), locs=frozenset(["inventory"])),
        RPCCommand("paid", "pay", ("reserved",), locs=frozenset(["payment"])),
        RPCCommand("confirmed", "confirm", ("paid",), locs=frozenset(["gateway"])),
    ]


async def test_an_order_goes_through_all_services(desk: MPREGClientAPI, shop: Shop):
    result = await desk.request(ordering(1))

    assert result == {
        "confirmed": {"id": "o1", "quantity": 1, "card": "good", "reserved": True, "paid": True, "confirmed": True}
    }
    assert (shop.stock, shop.paid) == (9, ["o1"])


async def test_a_saga_takes_back_what_was_done(desk: MPREGClientAPI, shop: Shop):
    with pytest.raises(MPREGException, match="card declined"):
        await desk.request(ordering(1, card="declined"))
    assert shop.stock == 9

    assert await desk.call("release", {"quantity": 1}, locs=frozenset(["inventory"])) == 10
    assert shop.paid == []


async def test_nothing_is_sold_twice_when_all_buy_at_once(desk: MPREGClientAPI, shop: Shop):
    outcomes = await asyncio.gather(*(desk.request(ordering(n)) for n in range(30)), return_exceptions=True)

    failures = [outcome for outcome in outcomes if isinstance(outcome, MPREGException)]
    assert (len(failures), shop.stock, len(shop.paid)) == (20, 0, 10)
    assert {str(failure.__cause__) for failure in failures} == {"only 0 left"}


async def test_a_gateway_asks_who_may_before_it_serves(serve: Serve, connect: Connect):
    nodes = await star(serve, "api", "auth", "users")
    tokens = {"t-1": "ann"}
    nodes["auth"].register_command("authenticate", lambda token: {"user": tokens.get(token)}, ["auth"])
    nodes["users"].register_command(
        "profile", lambda who: {"name": who["user"]} if who["user"] else {"error": "unauthorised"}, ["users"]
    )
    client = await connect(nodes["api"])

    async def ask(token: str) -> Any:
        commands = [
            RPCCommand("who", "authenticate", (token,), locs=frozenset(["auth"])),
            RPCCommand("profile", "profile", ("who",), locs=frozenset(["users"])),
        ]
        return (await client.request(commands))["profile"]

    assert [await ask("t-1"), await ask("t-2")] == [{"name": "ann"}, {"error": "unauthorised"}]


async def test_a_circuit_breaker_stops_to_ask_who_fails_and_asks_again_later(
    serve: Serve, connect: Connect, recorder: Recorder
):
    nodes = await star(serve, "front", "back")
    healthy: list[bool] = []

    def fragile() -> str:
        if not healthy:
            raise RuntimeError("down")
        return "up"

    nodes["back"].register_command("fragile", recorder.wrap(fragile, name="fragile"), ["back"])
    nodes["front"].register_command("fallback", lambda: "cached", ["front"])
    client = await connect(nodes["front"])
    failures = 0

    async def ask() -> Any:
        nonlocal failures
        if failures < 3:
            try:
                return await client.call("fragile", locs=frozenset(["back"]))
            except MPREGException:
                failures += 1
        return await client.call("fallback")

    assert [await ask() for _ in range(6)] == ["cached"] * 6
    assert recorder.count("fragile") == 3
    healthy.append(True)
    failures = 0
    assert await ask() == "up"


async def test_health_is_gathered_and_a_dead_server_is_reported(serve: Serve, connect: Connect):
    nodes = await star(serve, "monitor", "web", "db")
    for name in ("web", "db"):
        nodes[name].register_command(f"health_{name}", lambda name=name: {"service": name, "healthy": True}, [name])
    nodes["monitor"].register_command("summarise", lambda checks: sum(c["healthy"] for c in checks), ["monitor"])
    client = await connect(nodes["monitor"])
    checks = [RPCCommand(name, f"health_{name}", locs=frozenset([name])) for name in ("web", "db")]
    summary = RPCCommand("summary", "summarise", (["web", "db"],), locs=frozenset(["monitor"]))

    assert await client.request([*checks, summary]) == {"summary": 2}
    await nodes["db"].stop()
    outcomes = await asyncio.gather(
        *(client.call(f"health_{name}", locs=frozenset([name])) for name in ("web", "db")), return_exceptions=True
    )

    assert outcomes[0] == {"service": "web", "healthy": True}
    assert isinstance(outcomes[1], MPREGException)


# --- load -----------------------------------------------------------------------------------------------------------


async def test_a_mixed_load_of_many_clients_is_answered_in_full(serve: Serve, connect: Connect):
    nodes = await star(serve, "n1", "n2", "n3", "n4", "n5")
    for name, server in nodes.items():
        server.register_command("fast", lambda x: x + 1, ["any"])
        server.register_command("heavy", lambda n: sum(range(n)), ["any"])
        server.register_command("where", lambda name=name: name, [name])

    async def user(number: int, client: MPREGClientAPI) -> list[Any]:
        workflow = [
            RPCCommand("a", "fast", (number,), locs=frozenset(["any"])),
            RPCCommand("b", "heavy", ("a",), locs=frozenset(["any"])),
            RPCCommand("c", "where", locs=frozenset([f"n{number % 5 + 1}"])),
            RPCCommand("d", "echos", ("b", "c")),
        ]
        calls = [client.call("fast", number), client.call("heavy", 1000), client.request(workflow)]
        return list(await asyncio.gather(*calls))

    entries = list(nodes.values())
    clients = [await connect(entries[n % 5]) for n in range(25)]
    results = await asyncio.gather(*(user(n, client) for n, client in enumerate(clients)))

    assert results == [
        [n + 1, 499_500, {"d": [sum(range(n + 1)), f"n{n % 5 + 1}"]}] for n in range(25)
    ]  # every answer is for who asked
