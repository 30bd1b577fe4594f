"""What a Run shows of itself: from its record to tables, figures and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpreg_lab.client.saved import SavedRun
from mpreg_lab.client.views import Watchable
from mpreg_lab.errors import SavedRunError
from mpreg_lab.workflow.record import RunRecord

from .cluster_display import ClusterDisplay
from .comparison import Comparison
from .view.compare import compared
from .view.dot import dot
from .view.events import events_frame
from .view.format import line
from .view.frames import faults_frame, frame
from .view.graph_svg import svg
from .view.mermaid import mermaid
from .view.picture import page_scene
from .view.run_list import runs_frame, runs_html, runs_text
from .view.saved import from_json, to_json
from .view.static_html import run_html
from .view.trace import trace

if TYPE_CHECKING:
    from pandas import DataFrame

    from mpreg_lab.client.run import Run

__all__ = ["NotebookViews", "shown_results"]


class NotebookViews:
    """The RunViews of the package. matplotlib and pandas are loaded when they are first needed."""

    def frame(self, run: SavedRun) -> DataFrame:
        """One row a step."""
        return frame(run.record)

    def faults(self, run: SavedRun) -> DataFrame:
        """One row a fault."""
        return faults_frame(run.record)

    def events(self, run: SavedRun) -> DataFrame:
        """One row an event."""
        return events_frame(run.record)

    def graph(self, run: SavedRun) -> Any:
        """The dependency graph, as a matplotlib Figure."""
        from . import figures

        return figures.graph(run.record)

    def timeline(self, run: SavedRun) -> Any:
        """One lane a node, as a matplotlib Figure."""
        from . import figures

        return figures.timeline(run.record)

    def latency(self, run: SavedRun) -> Any:
        """Where the time went, as a matplotlib Figure."""
        from . import figures

        return figures.latency(run.record)

    def compare(self, run: SavedRun, other: SavedRun) -> Comparison:
        """The run beside another one."""
        return Comparison(compared(run.record, other.record))

    def svg(self, run: SavedRun) -> str:
        """The dependency graph as an SVG document."""
        return svg(page_scene(run.record), run.record, title=line(run.record.name) or "Workflow")

    def mermaid(self, run: SavedRun) -> str:
        """The dependency graph as a Mermaid flowchart."""
        return mermaid(run.record)

    def dot(self, run: SavedRun) -> str:
        """The dependency graph in the language of Graphviz."""
        return dot(run.record)

    def trace(self, run: SavedRun) -> str:
        """The timeline as a trace of Chrome and Perfetto."""
        return trace(run.record)

    def to_json(self, run: SavedRun) -> str:
        """All that is shown, as a JSON text."""
        return to_json(run.record, shown_results(run))

    def from_json(self, text: str | bytes) -> tuple[RunRecord, dict[str, object]]:
        """The record and the results of such a text."""
        try:
            return from_json(text)
        except ValueError as exc:
            raise SavedRunError(str(exc)) from exc

    def runs_frame(self, runs: Sequence[RunRecord]) -> DataFrame:
        """One row a run."""
        return runs_frame(runs)

    def runs_text(self, runs: Sequence[RunRecord]) -> str:
        """One line a run."""
        return runs_text(runs)

    def runs_html(self, runs: Sequence[RunRecord]) -> str:
        """A table with a row for each run."""
        return runs_html(runs)

    def text(self, run: SavedRun) -> str:
        """All of it for a terminal."""
        from .view.text import run_text

        return run_text(run.record, shown_results(run))

    def html(self, run: SavedRun) -> str:
        """All of it for a saved notebook."""
        return run_html(run.record, shown_results(run))

    def show_run(self, run: Run) -> bool:
        """Show a run that goes on, and at its end what it is then; False where nothing can be changed afterwards."""
        from .shown_run import show_run

        return show_run(run)

    def cluster(self, cluster: Watchable) -> ClusterDisplay:
        """What a cell shows of a cluster, live."""
        return ClusterDisplay(cluster)

    def show_cluster(self, cluster: Watchable) -> None:
        """Show that in the cell that runs; in a terminal, the text of the cluster."""
        ClusterDisplay(cluster)._ipython_display_()


def shown_results(run: SavedRun) -> dict[str, Any]:
    """The results of a run that can be shown; a result whose class is not to be had here is left out."""
    try:
        return run.results
    except Exception:  # noqa: BLE001  # unpickling: a user's class
        return {}
