"""Text of other people, made harmless for terminals and pages."""

from __future__ import annotations

import re

__all__ = ["has_half", "plain", "whole"]

# Line feed and tab stay. The rest moves cursors, turns the direction of text round, or cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_HALF = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    """The text with terminal escapes, direction marks and broken characters made visible as their code."""
    return _CONTROL.sub(_visible, text.replace("\r\n", "\n"))


def whole(text: str) -> str:
    """The text with halves of characters (lone surrogates), which no file and no message can hold, as their code."""
    return _HALF.sub(_visible, text)


def has_half(text: str) -> bool:
    """Whether half a character is in it."""
    return _HALF.search(text) is not None


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
