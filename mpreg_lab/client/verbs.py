"""What a person calls from a cell or a program: an error shows their frames, none of ours; and it can be awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from mpreg_lab.errors import MpregError

__all__ = ["async_verb", "in_a_thread", "twin", "verb"]

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


def async_verb(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorator: as `verb`, for one that is awaited."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            error.with_traceback(_their_frames(error))
            raise

    return call


def twin(blocking: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A blocking verb that can be awaited, on any event loop.

    For verbs that are short: it waits in a thread, and what was begun goes on when the awaiting task is cancelled.
    """

    @wraps(blocking)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        return await in_a_thread(partial(blocking, *args, **kwargs))

    awaited.__name__ = f"{blocking.__name__}_async"
    awaited.__qualname__ = f"{blocking.__qualname__}_async"
    awaited.__doc__ = f"As `{blocking.__name__}`, awaitable on any loop."
    return awaited


async def in_a_thread(work: Callable[[], T]) -> T:
    """Do something that blocks, while the loop goes on; in a daemon thread, because others hold up the kernel's end."""
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    # From now on it cannot be cancelled: the thread will say how it ended, whether or not somebody listens.
    done.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            value = context.run(work)
        except BaseException as error:  # noqa: BLE001  # handed to the one who awaits
            done.set_exception(error)
        else:
            done.set_result(value)

    threading.Thread(target=run, name="mpreg-twin", daemon=True).start()
    return await asyncio.wrap_future(done)


def _their_frames(error: Exception) -> TracebackType | None:
    frames = error.__traceback__
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_OURS):
            return frames
        frames = frames.tb_next
    return None if isinstance(error, MpregError) else error.__traceback__
