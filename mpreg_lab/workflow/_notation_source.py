"""The text of the notation and places in it: where an error is, and how it is shown."""

from __future__ import annotations

import ast
import re
import unicodedata

from mpreg_lab.errors import NotationError

__all__ = ["FILENAME", "Source", "format_error"]

FILENAME = "<workflow>"
"""What Python calls the text in tracebacks and warnings."""

_WIDTH = 80
_INDENT = "    "
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")
_MAGIC = re.compile(r"\s*(\w+\s*=\s*)?[%!]|.*\?\s*$")


class Source:
    """The text of the notation, and errors about places in it.

    Attributes:
        lines: Its lines without their ends, split as Python splits them.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = re.split(r"\r\n?|\n", text)

    def tree(self) -> ast.Module:
        """The text as Python reads it.

        Raises:
            NotationError: If it is not Python.
        """
        for line, content in enumerate(self.lines, 1):
            if found := _FORBIDDEN.search(content):
                message = f"not valid Python: the character {found[0]!a} cannot stand in code"
                raise self.error_at(line, found.start(), found.end(), message)
        return ast.parse(self.text, FILENAME)

    def error(self, node: ast.stmt | ast.expr, message: str, *, step: str | None = None) -> NotationError:
        """An error about a part of the text."""
        return self.error_at(*self._place(node), message, step=step)

    def error_at(
        self, line: int, column: int, end_column: int | None, message: str, *, step: str | None = None
    ) -> NotationError:
        """An error about a place: 1-based line, 0-based columns in characters."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return NotationError(message, line=line, column=column, end_column=end_column, text=text, step=step)

    def syntax_error(self, exc: SyntaxError) -> NotationError:
        """Python's own complaint about the text."""
        line = min(exc.lineno or 1, len(self.lines))
        text = self.lines[line - 1]
        if _MAGIC.match(text):
            message = "magics, shell commands and ? cannot stand in a workflow. Put this in a cell of its own"
            return self.error_at(line, _indentation(text), len(text.rstrip()), message)
        message = f"not valid Python: {exc.msg}"
        if (exc.text or "").rstrip("\r\n") != text or not exc.offset or exc.offset < 1:
            # Inside an f-string Python 3.11 counts columns in a text of its own.
            return self.error_at(line, _indentation(text), len(text.rstrip()), message)
        end = exc.end_offset or 0
        end_column = len(text) if (exc.end_lineno or line) > line else end - 1 if end > exc.offset else None
        return self.error_at(line, min(exc.offset - 1, len(text)), end_column, message)

    def too_deep(self) -> NotationError:
        """The error for text on which Python's parser gives up; where, it does not say: the longest line is likely."""
        line, text = max(enumerate(self.lines, 1), key=lambda numbered: len(numbered[1]))
        return self.error_at(line, 0, len(text), "this is nested too deep for Python to read. Take it apart")

    def error_inside(
        self, node: ast.stmt | ast.expr, positions: tuple[int | None, int | None, int | None, int | None], message: str
    ) -> NotationError:
        """An error about what the compiled code of `node` did at these positions, given as `co_positions` does."""
        line, end_line, start, end = positions
        last = node.end_lineno or node.lineno
        if line is None or end_line is None or start is None or end is None or not node.lineno <= line <= last:
            return self.error(node, message)
        return self.error_at(*self._characters(line, start, end_line, end), message)

    def segment(self, node: ast.stmt | ast.expr) -> str:
        """The text of a part, on one line."""
        return " ".join((ast.get_source_segment(self.text, node) or "...").split())

    def _place(self, node: ast.stmt | ast.expr) -> tuple[int, int, int]:
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return self._characters(node.lineno, node.col_offset, end_line, end)

    def _characters(self, line: int, start: int, end_line: int, end: int) -> tuple[int, int, int]:
        # Python counts columns in bytes of UTF-8.
        encoded = self.lines[line - 1].encode()
        column = len(encoded[:start].decode(errors="ignore"))
        end_column = len((encoded if end_line > line else encoded[:end]).decode(errors="ignore"))
        return line, column, end_column


def format_error(error: NotationError) -> str:
    """The error with its line and carets below the place, 80 columns wide but for the message."""
    text = "".join(char if char.isprintable() else " " for char in error.text)
    if not text.strip():
        return f"line {error.line}:\n{error}"
    column = min(error.column, len(text))
    end = min(max(error.end_column or 0, column + 1), max(len(text), column + 1))
    start, stop = _window(text, column, _WIDTH - len(_INDENT))
    before, after = "…" if start else "", "…" if stop < len(text) else ""
    carets = " " * _cells(before + text[start:column]) + "^" * max(1, _cells(text[column : min(end, stop)]))
    return f"line {error.line}:\n{_INDENT}{before}{text[start:stop]}{after}\n{_INDENT}{carets}\n{error}"


def _window(text: str, column: int, width: int) -> tuple[int, int]:
    """The part of a line to show: all of it, or what has `column` in it and leaves room for two dots in `width`."""
    if _cells(text) <= width:
        return 0, len(text)
    width -= len("……")
    start = stop = column
    while start > 0 and _cells(text[start - 1 : column]) <= width // 3:
        start -= 1
    while stop < len(text) and _cells(text[start : stop + 1]) <= width:
        stop += 1
    while start > 0 and _cells(text[start - 1 : stop]) <= width:
        start -= 1
    return start, stop


def _cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _indentation(text: str) -> int:
    return len(text) - len(text.lstrip())
