"""The arguments of a step in short, with the steps that they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Ref, Step

from .format import line
from .preview import short_text

__all__ = ["Argument", "Piece", "arguments"]

_MOST = 12
_FIRST = 0xF0000
"""A reference stands as one character of a private plane until the text has been cut to its length."""


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an argument; `step` is the index of the step whose result it stands for."""

    text: str
    step: int | None = None


class Argument(msgspec.Struct, frozen=True):
    """One argument; `name` is its keyword, or its position from 1."""

    name: str
    pieces: tuple[Piece, ...]


def arguments(step: Step, index: Mapping[StepName, int], limit: int = 120) -> tuple[Argument, ...]:
    """The arguments of a step, each in about `limit` characters; of very many only the first.

    Args:
        index: Name of each step to its index.
    """
    named = [(str(i), value) for i, value in enumerate(step.args, 1)] + list(step.kwargs.items())
    shown = tuple(Argument(line(name, 40), _pieces(value, index, limit)) for name, value in named[:_MOST])
    more = len(named) - _MOST
    return (*shown, Argument("…", (Piece(f"and {more} more"),))) if more > 0 else shown


def _pieces(value: Any, index: Mapping[StepName, int], limit: int) -> tuple[Piece, ...]:
    found: list[Ref] = []

    def stand_in(ref: Ref) -> str:
        found.append(ref)
        return chr(_FIRST + len(found) - 1)

    return tuple(_split(line(short_text(value, limit, {Ref: stand_in}), limit), found, index))


def _split(text: str, found: list[Ref], index: Mapping[StepName, int]) -> Iterator[Piece]:
    plain = ""
    for char in text:
        number = ord(char) - _FIRST
        if not 0 <= number < len(found):
            plain += char
            continue
        if plain:
            yield Piece(plain)
        plain = ""
        yield Piece(line(str(found[number])), index.get(found[number].step))
    if plain:
        yield Piece(plain)
