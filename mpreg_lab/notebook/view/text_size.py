"""How wide a text will be, without a browser: enough to size a box."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["BOLD", "shorten", "text_width"]

# Widths in em, rather too wide: they follow DejaVu Sans, the widest among the usual fonts.
_CLASSES = {
    0.30: "iIjlJ'|",
    0.36: "ft.,:;/\\ -",
    0.42: 'r()[]!"`*',
    0.53: "csz?L_",
    0.64: "abdeghknopquvxyEFPTYS$0123456789{}",
    0.72: "ABCKRVXZ",
    0.82: "wDGHNOQU&#+<=>^~",
    0.98: "mMW@%",
}
_ASCII = {char: width for width, chars in _CLASSES.items() for char in chars}
_EMOJI = 0x1F000
BOLD = 1.14
"""Bold text is wider by this factor."""


def text_width(text: str, size_px: float) -> float:
    """Its width in px in a sans-serif font of that size."""
    return sum(map(_em, text)) * size_px


def shorten(text: str, limit_px: float, size_px: float) -> str:
    """The text, or its beginning, an ellipsis and its end, if it is wider than the limit."""
    if text_width(text, size_px) <= limit_px:
        return text
    room = (limit_px - text_width("…", size_px)) / size_px
    head = _fitting(text, room * 0.6)
    tail = _fitting(text[len(head) :][::-1], room - text_width(head, 1.0))[::-1]
    while tail and not _em(tail[0]):
        tail = tail[1:]  # a combining mark whose letter is gone
    return f"{head}…{tail}"


def _fitting(text: str, room: float) -> str:
    for i, char in enumerate(text):
        room -= _em(char)
        if room < 0:
            return text[:i]
    return text


@lru_cache(maxsize=4096)
def _em(char: str) -> float:
    width = _ASCII.get(char)
    if width is not None:
        return width
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    if ord(char) >= _EMOJI:
        return 1.3
    return 1.0 if unicodedata.east_asian_width(char) in "WF" else 0.64
