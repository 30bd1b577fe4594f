"""The dialects that nodes understand besides their own."""

from __future__ import annotations

from collections.abc import Callable

from mpreg_lab.types import Frame

from .dialect import Dialect
from .mpreg import Mpreg

__all__ = ["foreign_dialect", "recognised"]


def recognised(frame: Frame, *, prefix: str, now_s: Callable[[], float]) -> Dialect | None:
    """The dialect that a frame is in; None if in none that we know.

    Args:
        prefix: Begins the names that the dialect gives to runs: unlike that of any other connection.
        now_s: Seconds since 1970.
    """
    return Mpreg(prefix, now_s) if Mpreg.speaks(frame) else None


def foreign_dialect(*, prefix: str, now_s: Callable[[], float]) -> Dialect:
    """How to speak to a node of another kind that we dial."""
    return Mpreg(prefix, now_s)
