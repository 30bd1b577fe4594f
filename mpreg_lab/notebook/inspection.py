"""What Shift-Tab tells in a workflow cell: signature, docstring and nodes of a function; what an option does."""

from __future__ import annotations

from collections.abc import Iterable

from mpreg_lab.protocol.messages import Member

from .cell_scan import Place, place_of
from .completion import OPTIONS

__all__ = ["described"]

_RED, _END = "\x1b[31m", "\x1b[39m"


def described(text: str, cursor: int, members: Iterable[Member]) -> str | None:
    """What is told of the place of the cursor in a workflow cell, without its first line.

    Returns:
        None: nothing is known of it; it may be a variable of the notebook.
    """
    place = place_of(text, cursor)
    if place.comment:
        return None
    name, is_option = _meant(place, text, cursor)
    return _option(name) if is_option else _function(name, members)


def _meant(place: Place, text: str, cursor: int) -> tuple[str, bool]:
    """The name that the cursor is on, or else the call that it is in; and whether that is an option of a step."""
    start, end = (cursor, cursor) if place.string is not None else _word_at(text, cursor)
    inner = place.brackets[-1] if place.brackets else None
    fan_out = inner is not None and inner.char == "[" and not inner.callee
    if start < end and (inner is None or fan_out):
        operator = inner.operator if inner is not None and fan_out else place.operator
        return text[start:end], operator == "|"
    if start < end and text.startswith("(", end):
        return "", False  # a function of the notebook, among the arguments
    call = place.call
    return (call.callee, call.operator == "|") if call is not None else ("", False)


def _word_at(text: str, cursor: int) -> tuple[int, int]:
    start = end = cursor
    while start and (text[start - 1].isalnum() or text[start - 1] in "_."):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "_."):
        end += 1
    return start, end


def _option(name: str) -> str | None:
    option = OPTIONS.get(name)
    return None if option is None else _sections(("Option", option.form), ("Docstring", option.text))


def _function(name: str, members: Iterable[Member]) -> str | None:
    holders = [(member, info) for member in members for info in member.functions if info.name == name]
    if not holders:
        return None
    info = holders[0][1]
    where = ", ".join(
        f"{member.name} ({', '.join(member.resources)})" if member.resources else member.name for member, _ in holders
    )
    needs = (("Needs", ", ".join(info.resources)),) if info.resources else ()
    return _sections(
        ("Signature", f"{name}{info.signature}"),
        ("Docstring", info.doc or "<no docstring>"),
        ("Nodes", where),
        *needs,
        ("Type", "function of the cluster"),
    )


def _sections(*sections: tuple[str, str]) -> str:
    """As IPython shows a function of the notebook."""
    lines = []
    for title, text in sections:
        gap = "\n" if "\n" in text else " " * (10 - len(title))
        lines.append(f"{_RED}{title}:{_END}{gap}{text}")
    return "\n".join(lines)
