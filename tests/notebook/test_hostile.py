"""What a real run shows of 200 hostile strings, outside of a browser: only elements of ours, and no terminal codes."""

from __future__ import annotations

import base64
import json
import re
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from queue import SimpleQueue
from typing import Any
from xml.etree import ElementTree

import msgspec
import pandas as pd
import pytest

from mpreg_lab import LocalCluster, Run, Step, Workflow
from mpreg_lab.cluster.summary import cluster_html, cluster_text
from mpreg_lab.errors import FunctionError, RunFailedError
from mpreg_lab.notebook import cell_errors
from mpreg_lab.notebook.live import LiveRun
from mpreg_lab.notebook.view.rendering import rendered
from mpreg_lab.notebook.view.stored import ALONE
from mpreg_lab.protocol.messages import FunctionInfo, Member
from mpreg_lab.workflow.legible import whole
from tests.hostile import HOSTILE, each_hostile

ELEMENTS = {
    *("div", "span", "b", "strong", "small", "code", "pre", "details", "summary", "img"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"class", "style", "alt", "src"}
STYLES = re.compile(r"(?:text-align: ?(?:left|right)|margin(?:-top)?:[\d px]+|white-space:pre-wrap|;)*")
SVG_ELEMENTS = {
    *("svg", "title", "desc", "style", "defs", "marker", "g"),
    *("path", "rect", "circle", "text", "tspan"),
}
CODES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Reader(HTMLParser):
    """Notes whatever is not expected in our HTML, and collects its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.get_starttag_text() == ALONE:
            return
        if tag not in ELEMENTS:
            self.strange.append(tag)
        for name, value in attrs:
            if name not in ATTRIBUTES or (name == "style" and not STYLES.fullmatch(value or "")):
                self.strange.append(f"{tag} {name}={value}")
            if name == "src":
                self.pictures.append(value or "")

    def handle_comment(self, data: str) -> None:
        self.strange.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.strange.append(f"declaration {decl}")

    def handle_pi(self, data: str) -> None:
        self.strange.append(f"instruction {data}")


class Shown:
    """Tells a string in every way in which a value can show itself."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.text


def values(text: str) -> dict[str, object]:
    """Results that hold the string in different places."""
    return {
        "text": text,
        "list": [text, {text}],
        "dict": {text: text, "in": {text: [text]}},
        "rows": [{text: text, "n": 1}],
        "frame": pd.DataFrame({text: [text, "b"]}, index=[text, "c"]),
        "object": Shown(text),
        "class": type(text.replace("\0", "").encode(errors="replace").decode() or "C", (), {})(),
    }


def assert_safe(html: str) -> None:
    assert "\n" not in html
    assert not CODES.search(html)
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.strange == []
    for picture in reader.pictures:
        kind, _, data = picture.partition("base64,")
        assert kind == "data:image/svg+xml;"
        assert_safe_svg(base64.b64decode(data).decode())


def assert_safe_svg(svg: str) -> None:
    assert not CODES.search(svg)
    for element in ElementTree.fromstring(svg.encode()).iter():
        assert element.tag.rpartition("}")[2] in SVG_ELEMENTS
        assert not any("href" in name or name.startswith("on") for name in element.attrib)
        assert "url(" not in "".join(element.attrib.values()).replace("url(#", "")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster({"a": [], "b": []}, name="lab") as cluster:
        yield cluster


def hostile_run(cluster: LocalCluster, text: str) -> Run:
    """A run with the string as its name, that of a step and a function, and as what is printed, returned and raised."""
    name = f"_{text}"  # a name has at least one character
    function = whole(name)  # and that of a function no half of one

    def give(key: str) -> object:
        sys.stdout.write(text)
        warnings.warn(text or "empty", stacklevel=1)
        return values(text)[key]

    def fail() -> None:
        sys.stdout.write(text)
        error = ValueError(text)
        error.add_note(text)
        raise error

    cluster.register(give, name=function)
    cluster.register(fail, name=f"fail{function}")
    steps = [Step(f"{key} {text}", function, (key,)) for key in values(text)]
    steps += [Step(name, f"fail{function}"), Step(f"{name} after", "echo", (text,)), Step("other", "echo", (text,))]
    run = cluster.submit(Workflow(steps, name=text))
    run.join()
    return run


@each_hostile("text")
def test_what_a_run_shows_is_text(cluster: LocalCluster, text: str):
    run = hostile_run(cluster, text)
    other = hostile_run(cluster, text)

    assert run.record.failed
    shown = run._repr_mimebundle_()
    for html in (shown["text/html"], run.compare(other)._repr_html_(), cluster.runs._repr_html_()):  # type: ignore[attr-defined]
        assert_safe(html)
    assert_safe(cluster.view()._repr_html_())  # type: ignore[attr-defined]
    assert_safe_svg(run.to_svg())
    run.plain = True
    error = run.exception
    assert isinstance(error, (ValueError, FunctionError, RunFailedError))
    lines = "\n".join(cell_errors.told(error, text, {run.record.failed[0].name: 1}, run)).replace("\x1b[31m", "")
    lines = re.sub("\x1b\\[[01]m", "", lines)
    for said in (shown["text/plain"], run._repr_mimebundle_()["text/plain"], repr(run), repr(cluster), lines):
        assert not CODES.search(said)
    json.loads(run.to_json())
    json.loads(run.to_trace())
    frames = (run.frame(), run.events(), run.compare(other).frame(), cluster.runs.frame())
    for written in (*(frame.to_html() for frame in frames), run.to_mermaid(), run.to_dot(), run.to_python()):
        written.encode()


@each_hostile("text")
def test_what_the_live_view_is_sent_can_be_sent(cluster: LocalCluster, text: str):
    run = hostile_run(cluster, text)
    sent: SimpleQueue[object] = SimpleQueue()
    live = LiveRun(run)
    live.view.send = lambda content, buffers=None: sent.put(content)
    assert live.wait(30)

    told: list[object] = [live.view.scene, live.view.state, live.view.detail]
    for step in range(len(run.record.steps)):
        for what in ("result", "printed", "trace"):
            live.view._handle(live.view, {"kind": "ask", "id": 7, "what": what, "step": step}, [])
            told.append(sent.get(timeout=30))
    live.view.close()

    json.dumps(told, ensure_ascii=False).encode()


@each_hostile("text")
def test_names_of_clusters_nodes_and_resources_are_text(text: str):
    name: Any = text
    member = Member(name, "memory://a", (name,), (FunctionInfo(name),))

    assert_safe(cluster_html("LocalCluster", text, [member]))
    assert not CODES.search(cluster_text("LocalCluster", text, [member]))
    assert not CODES.search(cluster_text("LocalCluster", text, None))


def test_a_value_that_shows_itself_is_sent_as_markup_only_where_a_page_shuts_it_in():
    for text in filter(None, HOSTILE):
        sent = msgspec.to_builtins(rendered(Shown(text)))

        assert sent["html"] == text  # run_view.js puts it into a sandbox
        assert not CODES.search(sent["preview"]["text"])
