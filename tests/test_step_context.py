"""What a function learns of the step that it is: on every kind of node, in every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpreg_lab import CurrentStep, InlineEngine, LocalCluster, NoStepError, Ref, Step, Workflow, current_step


def where() -> CurrentStep:
    return current_step()


async def where_async() -> CurrentStep:
    await asyncio.sleep(0)
    return current_step()


async def where_in_tasks() -> list[CurrentStep]:
    """In a task of its own, and in a thread."""
    return [await asyncio.create_task(where_async()), await asyncio.to_thread(where)]


def third_time_lucky(folder: str) -> list[str]:
    """Fails twice; the lines that all three attempts left."""
    here = current_step()
    with (Path(folder) / "attempts").open("a") as file:
        file.write(f"{here.key} {here.attempt} {here.node}\n")
    if here.attempt < 3:
        raise ConnectionError("not yet")
    return (Path(folder) / "attempts").read_text().splitlines()


@pytest.mark.parametrize("processes", [False, True])
def test_a_function_learns_run_step_attempt_and_node(processes: bool, tmp_path: Path):
    with LocalCluster({"a": [], "b": ["gpu"]}, processes=processes) as cluster:
        for function in (where, where_async, where_in_tasks, third_time_lucky):
            cluster.register(function, resources=["gpu"])
        run = cluster.run(
            Workflow(
                [
                    Step("plain", "where"),
                    Step("later", "where_async"),
                    Step("inner", "where_in_tasks"),
                    Step("again", "third_time_lucky", (str(tmp_path),), retries=2),
                ]
            )
        )

    def step(name: str) -> CurrentStep:
        return CurrentStep(run.id, name, 1, "b")  # type: ignore[arg-type]  # names are plain

    assert run["plain"] == step("plain")
    assert run["later"] == step("later")
    assert run["inner"] == [step("inner"), step("inner")]
    assert run["again"] == [f"{run.id}/again {attempt} b" for attempt in (1, 2, 3)]


def test_steps_of_one_lane_are_told_apart():
    with LocalCluster(1) as cluster:
        cluster.register(lambda before=None: (before or []) + [current_step().step], name="trail")
        run = cluster.run(
            Workflow([Step("a", "trail"), Step("b", "trail", (Ref("a"),)), Step("c", "trail", (Ref("b"),))])
        )

    assert run["c"] == ["a", "b", "c"]


def test_two_runs_have_different_keys():
    with LocalCluster(1) as cluster:
        cluster.register(lambda: current_step().key, name="key")
        keys = {cluster.run(Workflow([Step("a", "key")]))["a"] for _ in range(3)}

    assert len(keys) == 3


async def test_the_inline_engine_tells_as_nodes_do():
    run = InlineEngine({"where": where, "where_async": where_async}).run(
        Workflow([Step("a", "where"), Step("b", "where_async")])
    )
    async for _ in run:
        with pytest.raises(NoStepError):
            current_step()

    a, b = (run.results[name] for name in run.results)
    assert (a.step, a.attempt, a.node, b.step) == ("a", 1, "here", "b")  # type: ignore[attr-defined]
    assert a.run == b.run  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [where, lambda: asyncio.run(where_async())])
def test_outside_of_steps_it_says_so(function: Callable[[], Any]):
    with pytest.raises(NoStepError, match=r"^current_step\(\) is for functions that a node runs"):
        function()
