"""Notebooks are the same for the same content."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbval.plugin import get_sanitize_patterns

from scripts.notebooks import WIDGET_VIEW, execute, main, normalised, problems, text_of

ROOT = Path(__file__).parents[2]
IGNORED = "cell 1 is tagged 'nbval-ignore-output'; say why: '# Times differ from run to run.'"


def code(source: str, *outputs: Any, **metadata: Any) -> Any:
    return new_code_cell(source, outputs=list(outputs), metadata=metadata, execution_count=17)


def stream(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


def test_cells_are_counted_in_their_order():
    result = new_output("execute_result", data={"text/plain": "2"}, execution_count=17)
    notebook = new_notebook(cells=[code("1 + 1", result), new_markdown_cell("text"), code(""), code("3")])

    cells = normalised(notebook).cells

    assert [cell.get("execution_count") for cell in cells] == [1, None, None, 2]
    assert cells[0].outputs[0].execution_count == 1
    assert [cell.id for cell in cells] == ["cell-01", "cell-02", "cell-03", "cell-04"]


def test_traces_of_a_run_and_of_an_editor_go():
    cell = code("x", execution={"iopub.status.busy": "2030-01-01"}, vscode={}, tags=["raises-exception"])
    notebook = new_notebook(
        cells=[cell], metadata={"widgets": {"state": {}}, "language_info": {"name": "python", "version": "3.11.2"}}
    )

    clean = normalised(notebook)

    assert clean.cells[0].metadata == {"tags": ["raises-exception"]}
    assert clean.metadata.keys() == {"kernelspec", "language_info"}
    assert clean.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "version" not in clean.metadata.language_info


def test_a_widget_loses_its_id_and_keeps_what_can_be_read():
    view = {"model_id": "8b1f", "version_major": 2, "version_minor": 0}
    output = new_output("display_data", data={WIDGET_VIEW: view, "text/html": "<p>done</p>"})

    data = normalised(new_notebook(cells=[code("run", output)])).cells[0].outputs[0].data

    assert data[WIDGET_VIEW] == {"model_id": "", "version_major": 2, "version_minor": 0}
    assert data["text/html"] == "<p>done</p>"


def test_pieces_of_one_stream_are_merged_and_others_are_not():
    cell = code("x", stream("a"), stream("b\n"), stream("c", name="stderr"), stream("d"))

    outputs = normalised(new_notebook(cells=[cell])).cells[0].outputs

    assert [(output.name, output.text) for output in outputs] == [("stdout", "ab\n"), ("stderr", "c"), ("stdout", "d")]


def test_source_has_no_blanks_at_the_end_of_a_line():
    assert normalised(new_notebook(cells=[code("\nx = 1  \n\ny\n\n")])).cells[0].source == "x = 1\n\ny"


def test_normalising_twice_changes_nothing_and_leaves_the_argument_alone():
    notebook = new_notebook(cells=[code("x ", stream("a"), stream("b"))])

    once = normalised(notebook)

    assert text_of(normalised(once)) == text_of(once)
    assert notebook.cells[0].source == "x "
    assert len(notebook.cells[0].outputs) == 2


def test_the_text_has_sorted_keys_one_blank_and_one_newline_at_the_end():
    text = text_of(normalised(new_notebook(cells=[code("x")])))

    assert text.startswith('{\n "cells": [\n  {\n   "cell_type": "code",')
    assert text.endswith("}\n")


def test_what_is_no_notebook_is_refused():
    with pytest.raises(nbformat.ValidationError):
        text_of(new_notebook(cells=[{"id": "a", "cell_type": "poem", "metadata": {}}]))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (code("x", stream("oh\n", name="stderr")), ["cell 1 writes to stderr: 'oh'; tag it 'stderr' if that is meant"]),
        (code("x", stream("oh\n", name="stderr"), tags=["stderr"]), []),
        (
            code("x", new_output("error", ename="ValueError", evalue="no", traceback=[])),
            ["cell 1 raises ValueError: no; tag it 'raises-exception' if that is meant"],
        ),
        (code("x", new_output("error", ename="ValueError", evalue="no"), tags=["raises-exception"]), []),
        (
            code("x", new_output("display_data", data={"text/plain": "<object object at 0x7f00aa11>"})),
            ["cell 1 shows an address, another one in every run: 'at 0x7f00aa11'"],
        ),
        (code("x", tags=["nbval-ignore-output"]), [IGNORED]),
        (code("print('they differ')", tags=["nbval-ignore-output"]), [IGNORED]),
        (code("# The load of this machine differs from run to run.\nx", tags=["nbval-ignore-output"]), []),
        (
            code(f"x = 1\n{'y' * 101}"),
            [f"cell 1 has a line that a small screen cuts off, over 100 characters: {'y' * 101!r}"],
        ),
        (code("y" * 100), []),
        (code("x", stream("fine")), []),
        (new_markdown_cell("at 0x7f00aa11"), []),
    ],
)
def test_what_does_not_belong_in_a_tutorial_is_named(cell: Any, expected: list[str]):
    assert list(problems(new_notebook(cells=[cell]))) == expected


def test_check_refuses_write_mends_and_check_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "sub" / "a.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=[code("1 ")]), path)
    before = path.read_text()

    assert main(["--check", str(tmp_path)]) == 1
    assert path.read_text() == before
    assert f"{path}: not normalised; `make fmt` does it" in capsys.readouterr().out
    assert main(["--write", str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 notebook: as it should be\n")


def test_no_notebook_at_all_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--check", str(tmp_path)])

    assert "no notebooks in" in capsys.readouterr().err


def test_two_executions_leave_the_same_file(tmp_path: Path):
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[code("import os\nprint(os.getcwd() != '')"), code("1 + 1")]), path)

    assert main(["--execute", str(path)]) == 0
    first = path.read_text()
    assert main(["--execute", str(path)]) == 0

    assert path.read_text() == first
    assert '"True\\n"' in first
    assert main(["--check", str(path)]) == 0


def test_an_execution_starts_in_the_folder_of_the_notebook(tmp_path: Path):
    done = execute(new_notebook(cells=[code("import os\nprint(os.getcwd())")]), tmp_path)

    assert done.cells[0].outputs[0].text.strip() == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "blanked"),
    [
        (
            '<p><img class="mpreg-timing" alt="timeline" src="data:image/svg+xml;base64,AAA="> x</p>',
            '<p><img class="mpreg-timing"> x</p>',
        ),
        ('ran <span class="mpreg-timing">12 ms</span>.', 'ran <span class="mpreg-timing"></span>.'),
        ('<img class="mpreg-graph" src="a"><span>5</span>', '<img class="mpreg-graph" src="a"><span>5</span>'),
    ],
)
def test_only_what_depends_on_the_clock_is_blanked_for_nbval(text: str, blanked: str):
    for regex, replacement in get_sanitize_patterns((ROOT / "notebooks" / "nbval_sanitize.cfg").read_text()):
        text = re.sub(regex, replacement, text)

    assert text == blanked
