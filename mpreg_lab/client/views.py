"""Where the pictures of a run come from: imports go down, so the package above hands them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from mpreg_lab.errors import MpregError

if TYPE_CHECKING:
    from pandas import DataFrame

    from .run import Run

__all__ = ["RunViews", "install_views", "views"]


class RunViews(Protocol):
    """What draws a run."""

    def frame(self, run: Run) -> DataFrame:
        """One row a step."""

    def faults(self, run: Run) -> DataFrame:
        """One row a fault."""

    def events(self, run: Run) -> DataFrame:
        """One row an event."""

    def graph(self, run: Run) -> Any:
        """The dependency graph, as a matplotlib Figure."""

    def timeline(self, run: Run) -> Any:
        """One lane a node, as a matplotlib Figure."""

    def latency(self, run: Run) -> Any:
        """Where the time went, as a matplotlib Figure."""

    def text(self, run: Run) -> str:
        """All of it for a terminal of 80 columns."""

    def html(self, run: Run) -> str:
        """All of it for a saved notebook: static, with no kernel needed."""


_load: Callable[[], RunViews] | None = None


def install_views(load: Callable[[], RunViews]) -> None:
    """Say where views come from; `load` is called when one is asked for."""
    global _load
    _load = load


def views() -> RunViews:
    """What was installed.

    Raises:
        MpregError: If nothing was.
    """
    if _load is None:
        raise MpregError("nothing here draws runs: import mpreg_lab first")
    return _load()
