"""Where a task waits: the innermost line that is of its user."""

from __future__ import annotations

import asyncio
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["awaited_at"]

_NOT_THEIRS = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))


def awaited_at(task: asyncio.Task[Any]) -> str:
    """File, line and function; empty if the task has ended, or no line of it is of a user."""
    awaited: Any = task.get_coro()
    place = ""
    # A coroutine awaits a coroutine, and so on; the last one awaits a future.
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        if not frame.f_code.co_filename.startswith(_NOT_THEIRS):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        awaited = awaited.cr_await
    return place
