"""A run in its live view, with what the buttons of the view do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpreg_lab.client.run import Run

from .feed import Feed
from .shown_run import ShownRun
from .view.format import line
from .widgets.run_view import RunView

__all__ = ["LiveRun"]


class LiveRun:
    """Shows a run until it has ended; a run that its view starts again takes its place.

    Args:
        out: The name by which a cell has the run; may be empty.
        assign: Gives another run that name.

    Attributes:
        view: The widget.
    """

    def __init__(self, run: Run, out: str = "", assign: Callable[[Run], object] | None = None) -> None:
        self._run = run
        self._out = out
        self._assign = assign
        self.view = RunView(run.record, workflow=run.workflow)
        self.view.on_cancel(lambda: self._run.cancel())
        self.view.fetch_with(lambda step: self._run[step])
        self.view.rerun_with(self._rerun)
        self._again = ShownRun()
        self._feed = Feed(run, self.view)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the view shows the end; whether it does."""
        return self._feed.wait(timeout_s)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a cell displays: MIME types and their metadata."""
        bundle, metadata = self.view._repr_mimebundle_()  # type: ignore[misc]  # anywidget has no hints here
        # No text: what a notebook without the widget shows stands in the run's own output, below this one.
        return bundle | {"text/plain": ""}, metadata

    def _rerun(self, step: str) -> None:
        self._run = self._run.rerun(from_step=step, wait=False)
        if self._assign is not None:
            self._assign(self._run)
        said = f"Re-run from {line(step)}"
        named = f" {self._out} is now this run." if self._out else ""
        self.view.begin_again(f"{said}.{named}")
        self._feed = Feed(self._run, self.view)
        # What stays in a saved notebook: the cell's own output goes on telling of its first run.
        self._again.show(self._run, said)
