"""A run in its view, on a real cluster: what its buttons do, without a browser."""

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from ipywidgets import Widget

from mpreg_lab import LocalCluster, Ref, Run, Step, Workflow
from mpreg_lab.notebook.live import LiveRun


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(2) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def no_widgets_left() -> Iterator[None]:
    yield
    Widget.close_all()


def ask(live: LiveRun, what: str, step: int) -> dict[str, Any]:
    heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
    live.view.send = lambda content, buffers=None: heard.put(content)
    live.view._handle(live.view, {"kind": "ask", "id": 7, "what": what, "step": step}, [])
    return heard.get(timeout=30)


def test_the_result_of_an_inner_step_comes_from_its_node(cluster: LocalCluster):
    cluster.register(lambda rows: sum(rows), name="total")
    steps = [Step("rows", "echo", ([1, 2, 3],)), Step("sum", "total", (Ref("rows"),))]
    run = cluster.run(Workflow(steps))
    live = LiveRun(run)
    assert live.wait(30)

    answer = ask(live, "result", 0)

    assert "rows" not in run.results
    assert answer["result"]["preview"]["text"] == "[1, 2, 3]"


def test_a_step_that_has_no_result_yet_says_so(cluster: LocalCluster):
    go = threading.Event()
    cluster.register(lambda: go.wait(30), name="wait")
    run = cluster.submit(Workflow([Step("a", "wait")]))
    live = LiveRun(run)

    answer = ask(live, "result", 0)

    assert answer["error"].startswith("StepNotFinishedError: step 'a' is ")
    go.set()
    run.wait(30)
    assert live.wait(30)


def test_a_run_from_a_step_on_takes_the_place_of_the_first(cluster: LocalCluster):
    calls: list[str] = []

    @cluster.function(name="note")
    def note(name: str, *_: object) -> int:
        calls.append(name)
        return len(calls)

    steps = [Step("one", "note", ("one",)), Step("two", "note", ("two", Ref("one")))]
    first = cluster.run(Workflow(steps))
    named: list[Run] = []
    live = LiveRun(first, "run", named.append)
    assert live.wait(30)

    assert ask(live, "rerun", 1) == {"kind": "answer", "id": 7}
    assert live.wait(30)

    assert calls == ["one", "two", "two"]
    assert live.view.state["steps"]["status"] == ["reused", "done"]
    assert live.view.again == {"count": 1, "text": "Re-run from two. run is now this run."}
    assert [run.results for run in named] == [{"two": 3}]
    assert first.results == {"two": 2}


def test_cancel_stops_the_run_that_is_shown(cluster: LocalCluster):
    @cluster.function
    async def forever() -> None:
        await asyncio.Event().wait()

    run = cluster.submit(Workflow([Step("a", "forever")]))
    live = LiveRun(run)

    live.view._handle(live.view, {"kind": "cancel"}, [])

    assert run.join(30)
    assert live.wait(30)
    assert live.view.state["headline"] == "1 step: 1 cancelled"


def test_running_again_what_goes_on_is_refused_in_words(cluster: LocalCluster):
    go = threading.Event()
    cluster.register(lambda: go.wait(30), name="wait")
    run = cluster.submit(Workflow([Step("a", "wait")]))
    live = LiveRun(run)

    assert "RunNotFinishedError: the run goes on" in ask(live, "rerun", 0)["error"]
    go.set()
    run.wait(30)
    assert live.wait(30)
