"""The pages of the guide: their code blocks, and how to run them as a reader would, one after the other.

`python -m tests.docs.pages docs/PAGE.md` runs one page. A block that is not run says why in the line before it:
`<!-- not run: reason -->`, or who runs it: `<!-- run by: tests/PATH.py -->`. Where a line ends with what it gives,
as in `run["b"]  # 6`, that is compared.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_MARK = re.compile(r"<!-- (not run|run by|command): (.+) -->")
_TOLD = re.compile(r"""[-\d\[{('"]|[A-Z]\w+\(""")


class Block(NamedTuple):
    """A code block of a page."""

    page: Path
    line: int
    language: str
    text: str
    mark: tuple[str, str] | None
    """What the line before it says: kind and text."""


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page that name a language."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    begin, language = 0, None
    for number, line in enumerate(lines, 1):
        if language is None and line.startswith("```"):
            begin, language = number, line[3:].strip()
        elif language is not None and line == "```":
            if language and not language.startswith("{"):
                mark = _MARK.fullmatch(lines[begin - 2]) if begin > 1 else None
                text = "\n".join(lines[begin : number - 1])
                found.append(Block(page, begin, language, text, (mark[1], mark[2]) if mark else None))
            language = None
    return found


def run_page(page: Path) -> None:
    """Run the Python of a page in one namespace.

    Raises:
        AssertionError: If a block fails, or gives something else than it says.
    """
    shell = InteractiveShell.instance()
    matplotlib.use("agg")
    for block in blocks(page):
        if block.language == "python" and block.mark is None:
            _run(shell, block)


def _run(shell: InteractiveShell, block: Block) -> None:
    cells = [block.text] if "%" in block.text.lstrip()[:2] or "\n%" in block.text else list(_statements(block.text))
    for cell in cells:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            outcome = shell.run_cell(cell)
        if not outcome.success:
            raise AssertionError(f"{block.page.name}:{block.line}: {cell}") from (
                outcome.error_in_exec or outcome.error_before_exec
            )
        said = re.search(r"\S  # (.+)$", cell.splitlines()[-1])
        if said and _TOLD.match(said[1]) and len(cells) > 1:
            given = printed.getvalue().strip() if "print(" in cell.splitlines()[-1] else _text(outcome.result)
            if not (said[1] == given or said[1].startswith((f"{given}: ", f"{given}; "))):
                raise AssertionError(f"{block.page.name}:{block.line}: {cell}\ngave {given}")


def _statements(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for statement in ast.parse(text, mode="exec").body:
        first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
        yield "\n".join(lines[first - 1 : statement.end_lineno])


def _text(value: Any) -> str:
    return str(value) if isinstance(value, type) else repr(value)


if __name__ == "__main__":
    run_page(ROOT / sys.argv[1])
