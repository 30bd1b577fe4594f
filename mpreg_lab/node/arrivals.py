"""Functions that come over a connection, as code or as the name of something in a module."""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import threading
from collections.abc import Mapping
from typing import Any

from mpreg_lab.errors import FunctionError, MpregError, UnserialisableResultError
from mpreg_lab.protocol.messages import Register
from mpreg_lab.types import FunctionName

from .functions import Function, function_name

__all__ = ["load_function"]


async def load_function(message: Register) -> tuple[Function, FunctionName]:
    """The function of a message and its name; loaded in a thread, as that may import modules and take its time.

    Raises:
        FunctionError: If it cannot be loaded here, or is nothing that can be called.
    """
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Any] = loop.create_future()

    def load() -> None:
        try:
            value, error = message.function.value(), None
        except MpregError as exc:
            value, error = None, exc
        with contextlib.suppress(RuntimeError):  # the node was stopped meanwhile, and its loop closed
            loop.call_soon_threadsafe(_settle, loaded, value, error)

    # Not a thread of the loop's executor: those are waited for at exit, and an import may hang.
    threading.Thread(target=load, name=f"mpreg-loads-{message.name}", daemon=True).start()
    try:
        function = await loaded
    except UnserialisableResultError as exc:
        raise FunctionError(f"function {message.name!r} cannot be loaded on the node: {exc}") from exc
    name = function_name(function, message.name)
    _remember(message.sources)
    return function, name


def _settle(loaded: asyncio.Future[Any], value: Any, error: MpregError | None) -> None:
    if loaded.done():
        return
    if error is None:
        loaded.set_result(value)
    else:
        loaded.set_exception(error)


def _remember(sources: Mapping[str, str]) -> None:
    """Have tracebacks show lines of code that is in no file here."""
    for name, text in sources.items():
        # Without a time of change, linecache does not look for the file.
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
