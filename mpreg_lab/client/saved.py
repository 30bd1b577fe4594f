"""SavedRun: what is known of a run, without its cluster: how it went, what it shows, and the files that can be made."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpreg_lab.errors import SavedRunError, UnknownStepError
from mpreg_lab.workflow.plan import did_you_mean
from mpreg_lab.workflow.record import RunRecord, RunStatus, StepStatus

from .views import ComparisonView, views

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SavedRun"]

AnyPath = str | PathLike[str] | None


class SavedRun:
    """A run that was read from a file, or of which the history kept no more than its record.

    Attributes:
        record: Everything that happened: see RunRecord.
        plain: Whether a notebook shows it as text alone.
    """

    def __init__(self, record: RunRecord, results: Mapping[str, Any] | None = None) -> None:
        self.record = record
        self.plain = False
        self._results = dict(results or {})

    @classmethod
    def from_json(cls, text: str | bytes) -> SavedRun:
        """The run that `to_json` wrote. It shows the same; nothing in it is unpickled, and it cannot run again.

        Raises:
            SavedRunError: If the text is no such run.
        """
        record, results = views().from_json(text)
        return SavedRun(record, results)

    @property
    def results(self) -> dict[str, Any]:
        """The results that were kept, by the name of the step or fan-out."""
        return dict(self._results)

    def __getitem__(self, name: str) -> Any:
        """A result that was kept.

        Raises:
            UnknownStepError: If there is no such step.
            SavedRunError: If its result was not kept.
        """
        if name in self._results:
            return self._results[name]
        for group in self.record.groups:
            for position, member in enumerate(group.steps):
                if member == name and group.name in self._results:
                    return self._results[group.name][position]
        if name not in {*self.record.steps, *(group.name for group in self.record.groups)}:
            raise self._unknown(name)
        kept = ", ".join(map(repr, self._results)) or "none"
        raise SavedRunError(f"the result of {name!r} was not kept. Kept: {kept}", step=name, run=self)

    @property
    def status(self) -> RunStatus:
        """Where the run is, or was when it was saved."""
        return self.record.status

    # --- looking ---

    def frame(self) -> DataFrame:
        """One row a step: function, node, resources, status, attempts, queued_s, ran_s, travel_s (seconds), error."""
        return views().frame(self)

    @property
    def faults(self) -> DataFrame:
        """What befell the cluster meanwhile, on purpose or not, one row a fault: at_s (seconds), kind, nodes, text."""
        return views().faults(self)

    def events(self) -> DataFrame:
        """One row for each thing that happened: at_s (seconds since the run began), step, what, node, text."""
        return views().events(self)

    def graph(self) -> Any:
        """The dependency graph with states, as a matplotlib Figure."""
        return views().graph(self)

    def timeline(self) -> Any:
        """One lane a node: when each step waited, travelled and ran, as a matplotlib Figure."""
        return views().timeline(self)

    def latency(self) -> Any:
        """Where the time of each step went, and percentiles by function, as a matplotlib Figure."""
        return views().latency(self)

    def compare(self, other: SavedRun) -> ComparisonView:
        """This run beside another one: steps slower and faster, added and gone, in another state.

        Raises:
            TypeError: If the other one is no run.
        """
        if not isinstance(other, SavedRun):
            raise TypeError(f"a run is compared with a run, not with {type(other).__name__}")
        return views().compare(self, other)

    # --- files ---

    def to_svg(self, path: AnyPath = None) -> str:
        """The dependency graph with states, as an SVG document.

        Args:
            path: Where to write it as well; so for the other formats.
        """
        return _written(views().svg(self), path)

    def to_mermaid(self, path: AnyPath = None) -> str:
        """The dependency graph with states, as a Mermaid flowchart: for Markdown pages."""
        return _written(views().mermaid(self), path)

    def to_dot(self, path: AnyPath = None) -> str:
        """The dependency graph with states, in the language of Graphviz."""
        return _written(views().dot(self), path)

    def to_trace(self, path: AnyPath = None) -> str:
        """When what ran where, as JSON for ui.perfetto.dev: a node is a process there, a slot a thread."""
        return _written(views().trace(self), path)

    def to_json(self, path: AnyPath = None) -> str:
        """All that a run shows, as JSON that `Run.from_json` reads.

        Results that JSON has are kept as they are; of others, such as DataFrames, what a view shows of them.
        """
        return _written(views().to_json(self), path)

    def __repr__(self) -> str:
        return self._text("SavedRun")

    def _text(self, kind: str) -> str:
        counts = ((status, self.record.count(status)) for status in StepStatus)
        states = ", ".join(f"{n} {status}" for status, n in counts if n)
        total = len(self.record.steps)
        return f"{kind}({total} step{'' if total == 1 else 's'}: {states})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if self.plain:
            return {"text/plain": views().text(self)}
        return {"text/plain": repr(self), "text/html": views().html(self)}

    def _unknown(self, name: object) -> UnknownStepError:
        known = [*self.record.steps, *(group.name for group in self.record.groups)]
        return UnknownStepError(
            f"the run has no step {name!r}. " + did_you_mean(str(name), known, "Its steps: "), step=str(name)
        )


def _written(text: str, path: AnyPath) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
