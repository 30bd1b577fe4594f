"""The recorder counts what really starts."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.errors import FunctionError, MpregError
from mpreg_lab.testing import Recorded, Recorder, Server, ServerClient


def double(x: int, *, by: int = 2) -> int:
    """Multiply."""
    return x * by


async def test_starts_arguments_and_nodes_are_noted(cluster_2_servers: tuple[Server, Server], recorder: Recorder):
    async def slow(x: int) -> int:
        await asyncio.sleep(0)
        return x

    first, second = cluster_2_servers
    first.register_command("double", recorder.wrap(double))
    second.register_command("slow", recorder.wrap(slow))
    async with ServerClient(first) as client:
        assert await client.call("double", 2, by=3) == 6
        assert await client.call("slow", 5) == 5
        with pytest.raises(MpregError, match="it has no parameter 'no'"):
            await client.call("double", 2, no=1)

    assert [(call.function, call.args, call.kwargs, call.node) for call in recorder.calls] == [
        ("double", (2,), {"by": 3}, "server-1"),
        ("slow", (5,), {}, "server-2"),
    ]
    assert (recorder.count(), recorder.count("double"), recorder.nodes("slow")) == (2, 1, {"server-2": 1})
    assert repr(recorder) == "Recorder(double: 1, slow: 1)"
    recorder.clear()
    assert recorder.count() == 0


def test_every_attempt_is_a_start(lab_cluster: LocalCluster, recorder: Recorder):
    def fail() -> None:
        raise OSError

    lab_cluster.register(recorder.wrap(fail), resources=["gpu"])
    lab_cluster.run(Workflow([Step("a", "fail", retries=3)]), check=False)

    assert [call.step.attempt for call in recorder.of("fail") if call.step is not None] == [1, 2, 3, 4]
    assert set(recorder.nodes("fail")) <= {"b", "c"}


def test_a_wrapped_function_is_still_itself(recorder: Recorder):
    wrapped = recorder.wrap(double)

    assert (wrapped.__name__, wrapped.__doc__, wrapped(3)) == ("double", "Multiply.", 6)
    assert recorder.calls == (Recorded("double", (3,), {}),)
    with pytest.raises(FunctionError):
        recorder.wrap(5)  # type: ignore[type-var]


async def test_starts_can_be_waited_for(recorder: Recorder):
    f = recorder.wrap(double, name="f")
    waiting = asyncio.create_task(recorder.started("f", 2))
    thread = threading.Thread(target=lambda: [f(1), f(2)])
    thread.start()

    async with asyncio.timeout(30):
        assert [call.args for call in await waiting] == [(1,), (2,)]
    thread.join()
    assert len(recorder.wait("f")) == 2
    with pytest.raises(TimeoutError):
        recorder.wait("f", 3, timeout_s=0.01)


def test_a_recorder_does_not_go_to_another_process(recorder: Recorder, no_leaks: None):
    with (
        LocalCluster(1, processes=True) as cluster,
        pytest.raises(FunctionError, match="cannot be sent to the process of a node"),
    ):
        cluster.register(recorder.wrap(double))
