"""The Python side of the widget; a browser looks at the other one."""

import re
from pathlib import Path

import pytest
from ipywidgets import Widget

from mpreg_lab.client.status import ClusterStatus, NodeStatus
from mpreg_lab.notebook.view.cluster_orders import Notice, Order
from mpreg_lab.notebook.view.cluster_words import Look
from mpreg_lab.notebook.widgets.cluster_view import ClusterView
from mpreg_lab.notebook.widgets.sources import script

FILES = Path(__file__).parents[3] / "mpreg_lab" / "notebook" / "widgets"


def status(running: int = 0) -> ClusterStatus:
    return ClusterStatus("lab", "LocalCluster", True, (NodeStatus("a", heard=True, running=running),))  # type: ignore[arg-type]


def test_a_view_has_the_state_of_its_cluster():
    view = ClusterView()

    view.update(status())

    assert view.state["headline"] == "1 node: 1 up"
    assert repr(view) == "ClusterView(1 node: 1 up)"


def test_only_what_has_changed_is_sent():
    view = ClusterView()
    sent: list[str] = []
    view.update(status())
    view.observe(lambda change: sent.append(change["name"]))

    view.update(status())
    view.update(status(running=1))

    assert sent == ["state"]


def test_what_a_person_wants_reaches_the_callback():
    view = ClusterView()
    heard: list[Order] = []
    view.on_order(heard.append)

    view._handle(view, {"kind": "do", "verb": "add", "node": "b", "resources": ["gpu"]}, [])

    assert heard == [Order("add", "b", "", ("gpu",))]


@pytest.mark.parametrize("content", [None, 5, {}, {"kind": "x"}, {"kind": "do"}, {"kind": "do", "verb": 5}])
def test_messages_that_make_no_sense_are_ignored(content: object):
    view = ClusterView()
    heard: list[Order] = []
    view.on_order(heard.append)

    view._handle(view, content, [])

    assert heard == []


def test_what_became_of_it_is_told():
    view = ClusterView()

    view.tell(Notice(1, "no", failed=True))

    assert view.notice == {"number": 1, "text": "no", "busy": False, "failed": True}


def test_the_page_never_gets_markup_from_a_text():
    text = script("cluster_view.js")

    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "http:", "https:", "import("):
        assert word not in text.replace("http://www.w3.org/2000/svg", ""), word


def test_the_style_sheet_knows_every_look():
    style = (FILES / "cluster_view.css").read_text()

    assert all(f".mpreg-{look} " in style for look in Look)


def test_the_look_of_a_node_sets_colours_and_nothing_else():
    style = "".join((FILES / name).read_text() for name in ("run_view.css", "cluster_view.css"))
    rules = re.findall(rf"\.mpreg-(?:{'|'.join(Look)}) {{(.*?)}}", style, re.DOTALL)

    assert len(rules) == len(Look)
    assert all(line.strip().startswith("--") for rule in rules for line in rule.strip(" ;\n").split(";"))


def teardown_module() -> None:
    Widget.close_all()
