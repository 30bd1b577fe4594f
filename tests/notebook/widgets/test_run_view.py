"""The Python side of the widget; a browser looks at the other one."""

import ast
import json
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pandas as pd
from ipywidgets import Widget

from mpreg_lab.notebook.view.palette import PALETTE
from mpreg_lab.notebook.widgets.run_view import RunView
from mpreg_lab.notebook.widgets.sources import script
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import validate
from mpreg_lab.workflow.record import RunRecord
from tests.notebook.view import runs

FILES = Path(__file__).parents[3] / "mpreg_lab" / "notebook" / "widgets"


def test_a_view_has_the_state_of_its_record():
    view = RunView(runs.pipeline(), runs.RESULTS)

    assert view.state["headline"] == "4 steps: 4 done"
    assert [result["name"] for result in view.detail["results"]] == ["report", "summary"]
    assert repr(view) == "RunView(4 steps)"


def test_the_scene_is_set_once_and_only_when_there_are_steps():
    view = RunView(RunRecord())
    assert view.scene == {}
    seen: list[object] = []
    view.observe(seen.append, "scene")

    for length in (3, 5, 8):
        view.update(RunRecord.of(runs.pipeline_events()[:length]))

    assert len(seen) == 1


def test_a_view_may_be_updated_from_another_thread():
    view = RunView()

    thread = threading.Thread(target=view.update, args=(runs.pipeline(),), daemon=True)
    thread.start()
    thread.join()

    assert view.state["status"] == "done"


def test_details_of_large_runs_are_sent_less_often_but_at_the_end():
    view = RunView(runs.fan(200, ended=False))
    before = view.detail

    view.update(runs.fan(200, ended=False))
    assert view.detail is before

    view.update(runs.fan(200))
    assert view.detail is not before


def test_messages_of_the_page_reach_the_callbacks():
    view = RunView(runs.pipeline())
    heard: list[str] = []
    view.on_cancel(lambda: heard.append("cancel"))
    view.on_open(heard.append)

    for content in ({"kind": "cancel"}, {"kind": "open", "step": 1}):
        view._handle(view, content, [])

    assert heard == ["cancel", "clean"]


def test_messages_that_make_no_sense_are_ignored():
    view = RunView(runs.pipeline())
    heard: list[str] = []
    view.on_open(heard.append)

    for content in (
        {"kind": "open", "step": 99},
        {"kind": "open", "step": -1},
        {"kind": "ask", "id": 1, "what": "result", "step": 99},
        {"kind": "ask", "id": "x", "what": 5, "step": 1},
        {"kind": "fold", "names": "rows", "closed": True},
        {"kind": "x"},
        None,
        5,
    ):
        view._handle(view, content, [])

    assert heard == []


def answers(view: RunView, *questions: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page would hear, one answer a question."""
    heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
    view.send = lambda content, buffers=None: heard.put(content)
    for number, question in enumerate(questions):
        view._handle(view, {"kind": "ask", "id": number, **question}, [])
    return sorted((heard.get(timeout=30) for _ in questions), key=lambda answer: answer["id"])


def test_a_result_is_fetched_when_the_page_asks_and_stands_in_no_trait():
    view = RunView(runs.pipeline())
    view.fetch_with(lambda step: pd.DataFrame({step: ["a secret of 26 characters."]}))

    (answer,) = answers(view, {"what": "result", "step": 1})

    assert "a secret of 26 characters." in answer["result"]["html"]
    assert (answer["kind"], answer["id"]) == ("answer", 0)
    assert "a secret of 26 characters." not in json.dumps(view.get_state(), default=str)
    assert view.able == ["fetch"]


def test_what_goes_wrong_is_the_answer():
    view = RunView(runs.pipeline())

    def lost(step: str) -> object:
        raise ConnectionError(f"the result of {step!r} is gone")

    none, _ = answers(view, {"what": "result", "step": 1}, {"what": "alive", "step": 0})
    view.fetch_with(lost)
    gone, other = answers(view, {"what": "result", "step": 1}, {"what": "\x1b[2J", "step": 1})

    assert none["error"] == "This view cannot answer 'result'"
    assert gone["error"] == "ConnectionError: the result of 'clean' is gone"
    assert other["error"] == "This view cannot answer '\\\\x1b[2J'"


def test_a_slow_fetch_does_not_hold_up_other_questions():
    view, go = RunView(runs.failed()), threading.Event()
    view.fetch_with(lambda step: go.wait(30))
    heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
    view.send = lambda content, buffers=None: heard.put(content)

    view._handle(view, {"kind": "ask", "id": 1, "what": "result", "step": 0}, [])
    view._handle(view, {"kind": "ask", "id": 2, "what": "printed", "step": 1}, [])

    assert heard.get(timeout=30) == {"kind": "answer", "id": 2, "printed": "row 17\n"}
    go.set()
    assert heard.get(timeout=30)["id"] == 1


def test_all_of_a_long_output_and_traceback_can_be_asked_for():
    record = runs.failed()
    step = record.steps[StepName("clean")]
    step.printed = "x" * 60_000
    assert step.failure is not None
    view = RunView(record)

    printed, trace = answers(view, {"what": "printed", "step": 1}, {"what": "trace", "step": 1})

    assert len(view.detail["steps"]["1"]["printed"]) == 20_000
    assert printed["printed"] == "x" * 60_000
    assert "".join(part["text"] for part in trace["trace"]) == step.failure.traceback


def test_folding_places_the_boxes_anew_and_keeps_the_state():
    view = RunView(runs.fan(5, ended=False))
    assert view.state["folded"] == {}

    view._handle(view, {"kind": "fold", "names": ["scores", "no such fold", 5], "closed": True}, [])
    assert [node["steps"] for node in view.scene["nodes"]] == [[0], [1, 2, 3, 4, 5], [6]]
    assert view.state["folded"] == {"1": "running"}

    view.update(runs.fan(5))
    assert view.state["folded"] == {"1": "done"}

    view._handle(view, {"kind": "fold", "names": ["scores"], "closed": False}, [])
    assert len(view.scene["nodes"]) == 7
    assert view.state["folded"] == {}


def test_large_runs_begin_folded():
    view = RunView(runs.fan(400))

    assert [len(node["steps"]) for node in view.scene["nodes"]] == [1, 400, 1]
    view.fold({"scores"}, closed=False)
    assert len(view.scene["nodes"]) == 402


def test_the_page_never_gets_markup_from_a_text():
    text = script("run_view.js")

    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "http:", "https:", "import("):
        assert word not in text.replace("http://www.w3.org/2000/svg", ""), word


def test_the_style_sheet_knows_every_state():
    style = (FILES / "run_view.css").read_text()

    assert all(f".mpreg-{status} " in style for status in PALETTE)


def test_widgets_know_no_client():
    tree = ast.parse((FILES / "run_view.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert not any("client" in (module or "") for module in modules)


def teardown_module() -> None:
    Widget.close_all()


def test_names_with_half_a_character_can_be_sent_to_the_page():
    steps = [Step("a\ud800", "echo", (1,)), Step("b", "echo", (Ref("a\ud800"),))]
    workflow = Workflow(steps, name="\udfff")
    view = RunView(RunRecord.of([validate(workflow).opened()]), workflow=workflow)

    for told in (view.scene, view.state, view.detail):
        json.dumps(told, ensure_ascii=False).encode()
    assert "a\\ud800" in json.dumps(view.scene).replace("\\\\", "\\")
