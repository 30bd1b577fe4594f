"""The solutions of the tutorials' exercises: found in their text, and run after the cells that come before them.

A block of a solution is a cell; a block of the language `text` is what the cell before it gives, or a part of that.
`...` stands for anything, one blank for any number of them. Only a cell whose text tells of an error may raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from scripts.notebooks import MAY_RAISE, METADATA, execute, read

__all__ = ["Solution", "run", "solutions", "unlike"]

_DETAILS = re.compile(r"^<details>.*?</details>", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
_DRAWS = re.compile(r"^\w+\.(timeline|latency|figure)\(\)$")
_TESTS = re.compile(r"^run_tests\(", re.MULTILINE)
_RAISES = re.compile(r"\w+Error\b")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Solution(NamedTuple):
    """One cell of a solution."""

    source: str
    gives: str
    """A part of what it shows; empty if nothing is said of it."""


def solutions(notebook: NotebookNode) -> list[Solution]:
    """The cells of all solutions, in their order."""
    found: list[Solution] = []
    for cell in notebook.cells:
        for details in _DETAILS.findall(cell.source) if cell.cell_type == "markdown" else ():
            for language, text in _BLOCK.findall(details):
                if language == "text":
                    found[-1] = found[-1]._replace(gives=text)
                else:
                    found.append(Solution(text, ""))
    return found


def run(path: Path, without: tuple[str, ...] = ()) -> list[tuple[Solution, str]]:
    """Each solution, with what it showed.

    Args:
        without: Headings of sections that no exercise needs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises of which no error is told.
    """
    notebook = read(path)
    todo = solutions(notebook)
    before = [new_code_cell(cell.source, metadata=cell.metadata) for cell in _before(notebook, without)]
    tried = [
        new_code_cell(one.source, metadata={"tags": [MAY_RAISE] * bool(_RAISES.search(one.gives))}) for one in todo
    ]
    ran = execute(new_notebook(cells=before + tried, metadata=METADATA), path.parent)
    return [(one, _shown(cell)) for one, cell in zip(todo, ran.cells[len(before) :], strict=True)]


def unlike(solution: Solution, shown: str) -> str:
    """How what was shown differs from what the solution says; empty if it does not."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in solution.gives.split("..."))
    return "" if re.search(".*?".join(parts), shown, re.DOTALL) else f"{solution.source}\n\ngave\n\n{shown}"


def _before(notebook: NotebookNode, without: tuple[str, ...]) -> Iterator[NotebookNode]:
    """What has been run when a reader comes to the exercises, less what only shows something."""
    heading = ""
    for cell in notebook.cells:
        for found in re.findall(r"^## (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else ():
            heading = found
        if heading == "Your turn":
            return
        drawn = _DRAWS.match(cell.source) or _TESTS.match(cell.source)
        if cell.cell_type == "code" and heading not in without and not drawn:
            yield cell


def _shown(cell: NotebookNode) -> str:
    texts = []
    for output in cell.outputs:
        if output.output_type == "error":
            texts += output.traceback
        else:
            texts.append(output.get("text") or output.data.get("text/plain", ""))
    return _COLOUR.sub("", "\n".join(texts))
