"""On which node a function runs, for the function itself: `current_node()`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mpreg_lab.types import NodeName

__all__ = ["at", "current_node"]

_NODE: ContextVar[NodeName | None] = ContextVar("mpreg_node", default=None)


def current_node() -> NodeName | None:
    """The node that calls the running function; None outside of steps, and with the inline engine."""
    return _NODE.get()


@contextmanager
def at(node: NodeName | None) -> Iterator[None]:
    """What runs in this context, that is in this thread or task and what it awaits, runs on that node."""
    token = _NODE.set(node)
    try:
        yield
    finally:
        _NODE.reset(token)
