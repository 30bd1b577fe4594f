"""Every verb that blocks has a twin that can be awaited: `kill` and `kill_async`."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from mpreg_lab import Client, DaskCluster, LocalCluster, Ref, RPCCommand, Run, Step, Workflow
from mpreg_lab.client.saved import SavedRun
from mpreg_lab.cluster.faults import Faults, Kill, Playing
from mpreg_lab.errors import FunctionError, UnknownNodeError


def methods(kind: type) -> dict[str, Callable[..., Any]]:
    found = ((name, inspect.getattr_static(kind, name)) for name in dir(kind) if not name.startswith("_"))
    return {name: getattr(kind, name) for name, member in found if not isinstance(member, property)}


NOT_BLOCKING: dict[type, set[str]] = {
    LocalCluster: {
        "function",  # a decorator: `register_async` has no use for one
        "log",  # what has come in so far
        "view",  # a picture, which follows the cluster by itself
    },
    DaskCluster: {"function"},
    Client: {"on", "view"},
    Run: {
        "apply",
        "cancel",
        "finish",
        "lose",
        "on_change",
        "on_end",
        "to_python",
        # What a saved run can do needs no cluster.
        *methods(SavedRun),
    },
    Faults: {"play"},
    Playing: set(),
}
"""Public methods that return at once. A new one that blocks needs a twin; one that does not belongs here."""

WITH_OTHER_NAMES = {
    (LocalCluster, "__init__"): "launch_async",
    (LocalCluster, "nodes"): "nodes_async",
    (LocalCluster, "__enter__"): "__aenter__",
    (LocalCluster, "__exit__"): "__aexit__",
    (DaskCluster, "__init__"): "launch_async",
    (DaskCluster, "__enter__"): "__aenter__",
    (DaskCluster, "__exit__"): "__aexit__",
    (Client, "__init__"): "connect_async",
    (Client, "__enter__"): "__aenter__",
    (Client, "__exit__"): "__aexit__",
    (Run, "__getitem__"): "result_async",
}


def verbs(kind: type) -> list[str]:
    return [
        name
        for name, method in methods(kind).items()
        if callable(method) and not inspect.iscoroutinefunction(method) and name not in NOT_BLOCKING[kind]
    ]


@pytest.mark.parametrize(("kind", "verb"), [(kind, verb) for kind in NOT_BLOCKING for verb in verbs(kind)])
def test_a_verb_has_a_twin_with_the_same_arguments(kind: type, verb: str):
    twin = getattr(kind, f"{verb}_async", None)

    assert inspect.iscoroutinefunction(twin), f"{kind.__name__}.{verb} blocks and has no {verb}_async"
    assert inspect.signature(twin).parameters == inspect.signature(getattr(kind, verb)).parameters
    assert f"`{verb}`" in (twin.__doc__ or "")


@pytest.mark.parametrize(("kind", "verb"), WITH_OTHER_NAMES)
def test_what_has_no_name_of_its_own_has_a_twin_too(kind: type, verb: str):
    assert hasattr(kind, verb)
    assert inspect.iscoroutinefunction(getattr(kind, WITH_OTHER_NAMES[kind, verb]))


def test_what_is_said_to_return_at_once_is_there():
    for kind, names in NOT_BLOCKING.items():
        assert names <= methods(kind).keys()


# --- each of them, on a loop of its own ---------------------------------------------------------------------------


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with await LocalCluster.launch_async({"a": ["gpu"], "b": []}) as cluster:
        yield cluster


def double(x: int) -> int:
    return 2 * x


async def test_the_twins_of_a_cluster(cluster: LocalCluster):
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    end = await cluster.watch_async(lambda _: loop.call_soon_threadsafe(heard.set))
    await cluster.register_async(double, resources="gpu")
    assert await cluster.call_async("double", 4) == 8
    await cluster.unregister_async("double")
    await cluster.add_async("c", "gpu")
    await cluster.kill_async("c")
    await cluster.restart_async("c")
    await cluster.stop_node_async("c")
    await cluster.resume_async("b")
    await heard.wait()
    end()

    assert list(await cluster.nodes_async()) == ["a", "b"]
    assert {node.name for node in (await cluster.status_async()).nodes} >= {"a", "b"}
    await cluster.stop_async()
    assert not cluster.running


async def test_the_twins_of_faults(cluster: LocalCluster):
    faults = cluster.faults
    await faults.seed_async(1)
    await faults.do_async(Kill("b"))
    await faults.restart_async("b")
    await faults.cut_async("a", "b", silent=True)
    for some in (faults.drop_async, faults.duplicate_async, faults.reorder_async, faults.delay_async):
        await some("a", "b", 0.5)
    await faults.partition_async(["a"], ["b"])
    await faults.slow_async("a", 0)
    await faults.heal_async()
    playing = faults.play([(0.0, Kill("b"))])

    assert await playing.wait_async()
    await playing.stop_async()
    assert not any(done.error for done in faults.log)
    assert await cluster.call_async("echo", 1) == 1


async def test_the_twins_of_a_client_and_of_a_run(cluster: LocalCluster):
    async with await Client.connect_async(cluster.url) as client:
        run = await client.submit_async(Workflow([Step("a", "echo", (1,)), Step("b", "echo", (Ref("a"),))]))

        assert await run.wait_async() is run
        assert await run.join_async()
        assert await run.result_async("a") == 1
        assert (await client.run_async(run.workflow)).results == {"b": 1}
        assert await client.call_async("echo", 5) == 5
        assert await client.request_async([RPCCommand("a", "echo", (5,))]) == {"a": 5}
        assert [member.name for member in await client.members_async()] == ["a", "b"]
        assert len((await client.status_async()).nodes) == 2
        (await client.watch_async(lambda _: None))()
        assert (await run.rerun_async()).results == {"b": 1}


async def test_a_run_goes_on_when_a_time_out_is_over_and_ends_with_the_task_that_awaits_it(cluster: LocalCluster):
    async def hang() -> None:
        await asyncio.Event().wait()

    await cluster.register_async(hang)
    run = await cluster.submit_async(Workflow([Step("a", "hang")]))

    with pytest.raises(TimeoutError, match=r"the run has not ended after 0\.01 s; it goes on"):
        await run.wait_async(0.01)
    assert not await run.join_async(0.01)
    assert not run.done

    waiting = asyncio.create_task(run.wait_async())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError) as stopped:
        await waiting
    assert await run.join_async()
    assert run.status == "cancelled"
    assert "the run was cancelled" in stopped.value._render_traceback_()[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda cluster: cluster.kill_async("zebra"),
        lambda cluster: cluster.faults.cut_async("a", "zebra"),
        lambda cluster: cluster.register_async("no function"),
    ],
)
async def test_a_twin_raises_what_its_verb_does(
    cluster: LocalCluster, wrong: Callable[[LocalCluster], Coroutine[Any, Any, None]]
):
    with pytest.raises((UnknownNodeError, FunctionError)):
        await wrong(cluster)


async def test_the_loop_goes_on_while_a_twin_waits(cluster: LocalCluster):
    gate = threading.Event()

    def slow() -> str:
        gate.wait()
        return "through"

    await cluster.register_async(slow)
    waiting = asyncio.create_task(cluster.call_async("slow"))
    stopping = asyncio.create_task(cluster.add_async("c"))
    await stopping
    gate.set()

    assert await waiting == "through"


async def test_an_async_function_may_await_the_twins(cluster: LocalCluster):
    async def grow() -> list[str]:
        await cluster.add_async("c")
        return list(await cluster.nodes_async())

    await cluster.register_async(grow)

    assert await cluster.call_async("grow") == ["a", "b", "c"]
