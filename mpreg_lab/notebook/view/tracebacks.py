"""A traceback cut into what a person wrote, which is shown, and what libraries did, which is folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

import msgspec

from .format import counted

__all__ = ["TracePart", "trace_parts"]

_FRAME = re.compile(r'^  File "([^"\n]*)", line \d+')
_LIBRARY = re.compile(
    r"[\\/](?:site|dist)-packages[\\/](\w+)"
    r"|[\\/]lib(?:64)?[\\/]python3[.\d]*[\\/](?!(?:site|dist)-packages)(\w+)"
    r"|^<frozen ([\w.]+)"
)
_OF_USERS = re.compile(r"[\\/]mpreg_lab[\\/]examples[\\/]")


class TracePart(msgspec.Struct, frozen=True):
    """Some lines of a traceback.

    Attributes:
        library: What is shown in place of frames of libraries, `3 frames in pandas`; None: the lines are shown.
    """

    text: str
    library: str | None = None


def trace_parts(traceback: str) -> tuple[TracePart, ...]:
    """The traceback in parts; together they are the whole text.

    Nothing is folded of several exceptions at once, whose frames stand side by side, nor if all are of libraries.
    """
    blocks = list(_blocks(traceback))
    if all(library for frame, library, _ in blocks if frame) or "\n  | " in traceback:
        return (TracePart(traceback),)
    parts = []
    for library, run in groupby(blocks, key=lambda block: block[1] is not None):
        same = list(run)
        names = ", ".join(dict.fromkeys(name for _, name, _ in same if name))
        text = "".join(lines for _, _, lines in same)
        parts.append(TracePart(text, f"{counted(len(same), 'frame')} in {names}" if library else None))
    return tuple(parts)


def _blocks(traceback: str) -> Iterator[tuple[bool, str | None, str]]:
    """Whether it is a frame, of which library, and its lines."""
    held: list[str] = []
    frame = False
    library: str | None = None
    for line in traceback.splitlines(keepends=True):
        begins = _FRAME.match(line)
        if held and (begins or (frame and not line.startswith("    "))):
            yield frame, library, "".join(held)
            held, frame, library = [], False, None
        if begins:
            frame, library = True, _library(begins[1])
        held.append(line)
    if held:
        yield frame, library, "".join(held)


def _library(path: str) -> str | None:
    found = None if _OF_USERS.search(path) else _LIBRARY.search(path)
    return next((name for name in found.groups() if name), None) if found else None
