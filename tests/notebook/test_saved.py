"""A notebook that was run, saved, and is read without its kernel: as it is, as HTML, and as Markdown."""

from __future__ import annotations

import json
import re
from functools import cache

import nbconvert
import nbformat
import pytest

from tests.saved_notebook import AGAIN, CELLS, CLUSTER, COMPARED, DETACHED, FAILED, FORTY, RUN, TIMELINE, notebook

pytestmark = [pytest.mark.slow]

GRAPH = re.compile(r'<img alt="Dependency graph: [^"]+" src="data:image/svg\+xml;base64,[\w+/=]+">')


def outputs(cell: str) -> list[nbformat.NotebookNode]:
    found: list[nbformat.NotebookNode] = notebook().cells[CELLS.index(cell)].outputs
    return found


def html_of(cell: str) -> str:
    """All HTML in the outputs of the cell."""
    return "".join(output.data.get("text/html", "") for output in outputs(cell) if "data" in output)


@cache
def page() -> str:
    return str(nbconvert.HTMLExporter().from_notebook_node(notebook())[0])


@cache
def markdown() -> str:
    return str(nbconvert.MarkdownExporter().from_notebook_node(notebook())[0])


def html_blocks(text: str) -> list[str]:
    """The pieces of HTML in Markdown: one begins with a line that begins with `<div`, and an empty line ends it."""
    return re.findall(r"^<div.*(?:\n.*\S.*)*", text, re.MULTILINE)


@pytest.mark.parametrize("cell", [RUN, FAILED, FORTY, AGAIN, DETACHED])
def test_every_run_keeps_its_graph_and_its_steps(cell: str):
    html = html_of(cell)

    assert len(GRAPH.findall(html)) == 1
    assert "<summary>Steps</summary><table>" in html
    assert "<summary>Timeline</summary><img" in html
    assert "<summary>Latency</summary><img" in html


def test_results_and_what_was_printed_are_kept():
    assert "[0, 1, 2, 3, 4]" in html_of(RUN)
    assert "read&#10;&#10;[page](x.html) of the file" in html_of(RUN)


def test_a_failed_run_keeps_its_error_and_what_was_skipped():
    assert "<b>✕ mean</b> ValueError: row 3 is empty" in html_of(FAILED)
    assert "last skipped" in html_of(FAILED)
    assert [output.ename for output in outputs(FAILED) if output.output_type == "error"] == ["ValueError"]


def test_a_detached_run_is_kept_as_it_ended():
    html = html_of(DETACHED)

    assert "<b>1 step: 1 done</b>" in html
    assert "it has come" in html
    assert [output.data["text/plain"] for output in outputs(DETACHED)] == ["", "Run(1 step: 1 done)"]


def test_a_comparison_and_a_cluster_keep_their_tables_and_pictures():
    for cell in (COMPARED, CLUSTER):
        assert "<table>" in html_of(cell)
        assert "data:image/svg+xml;base64," in html_of(cell)
    assert "image/png" in outputs(TIMELINE)[0].data


def test_forty_steps_add_less_than_60_kilobytes_to_the_file():
    assert len(json.dumps(outputs(FORTY))) < 60_000


def test_live_views_leave_no_text_behind():
    live = [o.data for cell in CELLS for o in outputs(cell) if "application/vnd" in " ".join(o.get("data", ()))]

    assert len(live) == 6
    assert {data["text/plain"] for data in live} == {""}


def test_as_html_every_run_has_its_graph_and_nothing_speaks_of_widgets():
    # The exporter writes attributes in an order of its own.
    graphs = re.findall(r'<img (?=[^>]*alt="Dependency graph)[^>]*src="data:image/svg\+xml;base64,[^"]+"', page())
    assert len(graphs) == 5
    assert page().count('class="mpreg-comparison"') == 1
    assert page().count('class="mpreg-cluster-static"') == 1
    assert "row 3 is empty" in page()
    assert "widget-view" not in page()
    assert "RunView(" not in page()


def test_as_markdown_every_run_is_one_piece_of_html():
    blocks = html_blocks(markdown())

    assert len(blocks) == 7
    assert [block.count("<div") - block.count("</div>") for block in blocks] == [0] * 7
    assert [block.count("<table>") - block.count("</table>") for block in blocks] == [0] * 7
    assert sum(len(GRAPH.findall(block)) for block in blocks) == 5
    assert "[page](x.html)" not in re.sub(r"^<div.*$|^ .*$|```.*?```", "", markdown(), flags=re.MULTILINE | re.DOTALL)
