"""The text of code that is in no file, such as the cells of a notebook, for tracebacks in other processes."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["sources_of"]

_MOST = 100
"""Functions that are looked at: more only makes the traceback of a far one shorter."""


def sources_of(function: Any) -> dict[str, str]:
    """The texts that its code and that of functions which it uses come from, by file name; those of files left out."""
    names = dict.fromkeys(code.co_filename for code in _codes(function))
    texts = {name: "".join(linecache.getlines(name)) for name in names if not Path(name).exists()}
    return {name: text for name, text in texts.items() if text}


def _codes(function: Any) -> Iterator[CodeType]:
    todo, seen = [function], set[int]()
    while todo and len(seen) < _MOST:
        found = inspect.unwrap(todo.pop(), stop=lambda f: id(f) in seen)
        found = getattr(found, "__func__", found)
        code = getattr(found, "__code__", None)
        if id(found) in seen or not isinstance(code, CodeType):
            continue
        seen.add(id(found))
        yield code
        known = found.__globals__
        todo += [known[name] for name in code.co_names if callable(known.get(name))]
