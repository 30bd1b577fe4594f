"""Where the pictures of a run come from: imports go down, so the package above hands them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mpreg_lab.errors import MpregError
from mpreg_lab.workflow.record import RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame

    from .run import Run
    from .saved import SavedRun
    from .status import ClusterStatus

__all__ = ["ComparisonView", "RunViews", "Watchable", "install_views", "views"]


class Watchable(Protocol):
    """What can be looked at as a cluster: a LocalCluster, or a Client of one."""

    def status(self) -> ClusterStatus:
        """How it is."""

    def watch(self, listener: Callable[[ClusterStatus], object]) -> Callable[[], None]:
        """Call a function whenever that changes; gives what ends it."""


class ComparisonView(Protocol):
    """Two runs beside each other."""

    def frame(self) -> DataFrame:
        """One row a step of either run."""

    def figure(self) -> Any:
        """What became slower and faster, as a matplotlib Figure."""


class RunViews(Protocol):
    """What draws a run, or a cluster."""

    def frame(self, run: SavedRun) -> DataFrame:
        """One row a step."""

    def faults(self, run: SavedRun) -> DataFrame:
        """One row a fault."""

    def events(self, run: SavedRun) -> DataFrame:
        """One row an event."""

    def graph(self, run: SavedRun) -> Any:
        """The dependency graph, as a matplotlib Figure."""

    def timeline(self, run: SavedRun) -> Any:
        """One lane a node, as a matplotlib Figure."""

    def latency(self, run: SavedRun) -> Any:
        """Where the time went, as a matplotlib Figure."""

    def compare(self, run: SavedRun, other: SavedRun) -> ComparisonView:
        """The run beside another one."""

    def svg(self, run: SavedRun) -> str:
        """The dependency graph as an SVG document."""

    def mermaid(self, run: SavedRun) -> str:
        """The dependency graph as a Mermaid flowchart."""

    def dot(self, run: SavedRun) -> str:
        """The dependency graph in the language of Graphviz."""

    def trace(self, run: SavedRun) -> str:
        """The timeline as a trace of Chrome and Perfetto."""

    def to_json(self, run: SavedRun) -> str:
        """All that is shown, as a JSON text."""

    def from_json(self, text: str | bytes) -> tuple[RunRecord, dict[str, object]]:
        """The record and the results of such a text; raises SavedRunError."""

    def runs_frame(self, runs: Sequence[RunRecord]) -> DataFrame:
        """One row a run."""

    def runs_text(self, runs: Sequence[RunRecord]) -> str:
        """One line a run."""

    def runs_html(self, runs: Sequence[RunRecord]) -> str:
        """A table with a row for each run."""

    def text(self, run: SavedRun) -> str:
        """All of it for a terminal of 80 columns."""

    def html(self, run: SavedRun) -> str:
        """All of it for a saved notebook: static, with no kernel needed."""

    def show_run(self, run: Run) -> bool:
        """Show a run that goes on, and at its end what it is then; False where nothing can be changed afterwards."""

    def cluster(self, cluster: Watchable) -> object:
        """What a cell shows of a cluster, live."""

    def show_cluster(self, cluster: Watchable) -> None:
        """Show that in the cell that runs; in a terminal, the text of the cluster."""


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
