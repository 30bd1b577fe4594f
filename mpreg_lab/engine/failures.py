"""An exception of a user's function as text: their frames, none of ours."""

from __future__ import annotations

import re
import traceback

from mpreg_lab.workflow.record import Failure

__all__ = ["failure"]

_OURS = re.compile(r"mpreg_lab[\\/](node|engine|protocol|workflow)[\\/]\w+\.py$")
# The kernel compiles each cell under a file name of its own, made of process and cell: it means nothing to a person.
_CELL = re.compile(r'File "[^"\n]*[\\/]ipykernel_\d+[\\/]\d+\.py"|File "<ipython-input-[^"\n]*>"')
LIMIT = 32 * 1024
MESSAGE_LIMIT = 4 * 1024


def failure(error: BaseException) -> Failure:
    """The class, the message and the traceback, with causes and groups, each cut to a sane length."""
    return Failure(type(error).__name__, _cut(_message(error), MESSAGE_LIMIT), _cut(_traceback(error), LIMIT))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as exc:  # noqa: BLE001  # a user's __str__
        return f"<its __str__ raised {type(exc).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        told = traceback.TracebackException.from_exception(error, limit=-40)
        _drop_our_frames(told, set())
        return _CELL.sub('File "notebook cell"', "".join(told.format()))
    except Exception as exc:  # noqa: BLE001  # a user's __str__, __repr__ or source lines
        return f"{type(error).__name__} (its traceback cannot be shown: {type(exc).__name__})\n"


def _drop_our_frames(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    frames = [frame for frame in told.stack if not _OURS.search(frame.filename)]
    told.stack = traceback.StackSummary.from_list(frames)
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _drop_our_frames(other, seen)
    if not frames and told.__cause__ is not None and not told.__cause__.stack:
        # Both are ours, and the message says it all.
        told.__cause__, told.__suppress_context__ = None, True


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - limit:,} characters cut ...]\n{text[-half:]}"
