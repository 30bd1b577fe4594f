"""What a person calls from a cell or a program: an error shows their frames, and none of ours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from mpreg_lab.errors import MpregError

__all__ = ["verb"]

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE = Path(__file__).parents[1]
_OURS = tuple(
    str(place)
    for place in (
        *(folder for folder in _PACKAGE.iterdir() if folder.is_dir() and folder.name != "examples"),
        _PACKAGE / "loop_thread.py",
        Path(asyncio.__file__).parent,
        Path(concurrent.futures.__file__).parent,
        threading.__file__,
    )
)
"""Where the frames between a call and a user's own function lie."""


def verb(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: an exception keeps the frames of users' functions, and loses ours.

    A traceback without any frame of theirs is kept whole, unless it is one of our own errors: those say all in words.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # IPython and pytest then leave this frame out
        try:
            return function(*args, **kwargs)
        except Exception as error:
            error.with_traceback(_their_frames(error))  # an attribute that a frozen dataclass would refuse to set
            raise

    return call


def _their_frames(error: Exception) -> TracebackType | None:
    frames = error.__traceback__
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_OURS):
            return frames
        frames = frames.tb_next
    return None if isinstance(error, MpregError) else error.__traceback__
