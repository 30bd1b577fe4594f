"""Where a cursor is in the unfinished text of a workflow cell: in which call, behind which operator, in which string.

Python's own tokenizer gives up on text that is being written, so this reads characters: brackets, strings, comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Bracket", "Place", "names_bound", "place_of"]

_NAME = re.compile(r"[^\W\d][\w.]*$")
_PREFIX = re.compile(r"(?i)(?<!\w)[rbuf]{1,2}$")
_BOUND = re.compile(r"^([^\W\d]\w*)[ \t]*=(?!=)", re.MULTILINE)


@dataclass
class Bracket:
    """An open bracket.

    Attributes:
        callee: The name before it, which is called or of which an item is taken; empty if there is none.
        operator: The operator before it, or before the callee: "@", "|", "=" or "".
        start: Where what stands in it begins; after a comma, what stands behind that.
        commas: How many there were in it.
        keywords: What was given by name in it so far.
    """

    char: str
    callee: str
    operator: str
    start: int
    commas: int = 0
    keywords: list[str] = field(default_factory=list)


@dataclass
class Place:
    """What is around a cursor.

    Attributes:
        brackets: Those that are open, the outermost first.
        string: Where the string begins that the cursor is in, behind its quotation mark; None if it is in none.
        quote: Its quotation mark.
        formatted: Whether it is an f-string, in which anything may stand.
        comment: Whether it is in a comment.
        start: Where the line of the notation begins.
        operator: The last operator outside of brackets: "", "=", "@", or "|".
        after: Where what stands behind that begins.
    """

    brackets: list[Bracket] = field(default_factory=list)
    string: int | None = None
    quote: str = ""
    formatted: bool = False
    comment: bool = False
    start: int = 0
    operator: str = ""
    after: int = 0

    @property
    def call(self) -> Bracket | None:
        """The innermost call that is open, if nothing but lists, tuples and dicts is open in it."""
        return next((b for b in reversed(self.brackets) if b.char == "(" and b.callee), None)


def place_of(text: str, cursor: int) -> Place:
    """What is around the cursor in the text of a cell, of which only what is before the cursor counts."""
    place = Place()
    at = 0
    while at < cursor:
        at = _step(text, at, cursor, place)
    return place


def names_bound(text: str, at: int = -1) -> list[str]:
    """The steps of a cell, but not that of the line which begins at `at`."""
    return list(dict.fromkeys(found[1] for found in _BOUND.finditer(text) if found.start() != at))


def _step(text: str, at: int, cursor: int, place: Place) -> int:
    """Take in what stands at a place; where the next thing stands."""
    char = text[at]
    if char == "#":
        return _comment(text, at, cursor, place)
    if char in "\"'":
        return _string(text, at, cursor, place)
    if char in "([{":
        place.brackets.append(_opened(text, at, place))
    elif char in ")]}":
        if place.brackets:
            place.brackets.pop()
    elif char == "," and place.brackets:
        _comma(text, at, place.brackets[-1])
    elif char == "\n" and (not place.brackets or _BOUND.match(text, at + 1)):
        # A line that binds a name is a new one, though a bracket may still be open in the one before.
        place.brackets.clear()
        place.start, place.operator, place.after = at + 1, "", at + 1
    elif char in "@|=" and not place.brackets:
        place.operator, place.after = char, at + 1
    elif char in "@|" and place.brackets[-1].char == "[":
        # Of a call in a fan-out.
        place.brackets[-1].operator, place.brackets[-1].start = char, at + 1
    return at + 1


def _comment(text: str, at: int, cursor: int, place: Place) -> int:
    end = text.find("\n", at)
    if end == -1 or end >= cursor:
        place.comment = True
        return cursor
    return end


def _string(text: str, at: int, cursor: int, place: Place) -> int:
    quote = text[at : at + 3] if at + 3 <= cursor and text[at : at + 3] in ('"""', "'''") else text[at]
    start = at + len(quote)
    prefix = _PREFIX.search(text[max(0, at - 2) : at])
    end = start
    while end < cursor:
        if text.startswith(quote, end):
            if end + len(quote) <= cursor:
                return end + len(quote)
            break
        if text[end] == "\n" and len(quote) == 1:
            return end  # an open string ends with its line
        end += 2 if text[end] == "\\" else 1
    place.string, place.quote = start, quote
    place.formatted = prefix is not None and "f" in prefix[0].lower()
    return cursor


def _opened(text: str, at: int, place: Place) -> Bracket:
    before = text[:at].rstrip(" \t")
    found = _NAME.search(before) if text[at] in "([" else None
    callee = found[0] if found else ""
    rest = before[: len(before) - len(callee)].rstrip()
    return Bracket(text[at], callee, rest[-1] if rest and rest[-1] in "@|=[" else "", at + 1)


def _comma(text: str, at: int, bracket: Bracket) -> None:
    given = re.match(r"\s*([^\W\d]\w*)\s*=(?!=)", text[bracket.start : at])
    if given:
        bracket.keywords.append(given[1])
    bracket.commas += 1
    bracket.start = at + 1
