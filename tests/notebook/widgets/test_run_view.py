"""The Python side of the widget; a browser looks at the other one."""

import ast
import threading
from pathlib import Path

from ipywidgets import Widget

from mpreg_lab.notebook.view.palette import PALETTE
from mpreg_lab.notebook.widgets.run_view import RunView
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

    for content in ({"kind": "open", "step": 99}, {"kind": "open", "step": -1}, {"kind": "x"}, None, 5):
        view._handle(view, content, [])

    assert heard == []


def test_the_page_never_gets_markup_from_a_text():
    script = (FILES / "run_view.js").read_text()

    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "http:", "https:", "import("):
        assert word not in script.replace("http://www.w3.org/2000/svg", ""), word


def test_the_style_sheet_knows_every_state():
    style = (FILES / "run_view.css").read_text()

    assert all(f".mpreg-{status} " in style for status in PALETTE)


def test_widgets_know_no_client():
    tree = ast.parse((FILES / "run_view.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert not any("client" in (module or "") for module in modules)


def teardown_module() -> None:
    Widget.close_all()
