"""What a Run shows of itself: from its record to tables, figures and HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpreg_lab.client.run import Run

from .view.events import events_frame
from .view.frames import faults_frame, frame
from .view.static_html import run_html

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["NotebookViews", "shown_results"]


class NotebookViews:
    """The RunViews of the package. matplotlib and pandas are loaded when they are first needed."""

    def frame(self, run: Run) -> DataFrame:
        """One row a step."""
        return frame(run.record)

    def faults(self, run: Run) -> DataFrame:
        """One row a fault."""
        return faults_frame(run.record)

    def events(self, run: Run) -> DataFrame:
        """One row an event."""
        return events_frame(run.record)

    def graph(self, run: Run) -> Any:
        """The dependency graph, as a matplotlib Figure."""
        from . import figures

        return figures.graph(run.record)

    def timeline(self, run: Run) -> Any:
        """One lane a node, as a matplotlib Figure."""
        from . import figures

        return figures.timeline(run.record)

    def latency(self, run: Run) -> Any:
        """Where the time went, as a matplotlib Figure."""
        from . import figures

        return figures.latency(run.record)

    def text(self, run: Run) -> str:
        """All of it for a terminal."""
        from .view.text import run_text

        return run_text(run.record, shown_results(run))

    def html(self, run: Run) -> str:
        """All of it for a saved notebook."""
        return run_html(run.record, shown_results(run))


def shown_results(run: Run) -> dict[str, Any]:
    """The results of a run that can be shown; a result whose class is not to be had here is left out."""
    try:
        return run.results
    except Exception:  # noqa: BLE001  # unpickling: a user's class
        return {}
