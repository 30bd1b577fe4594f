"""Comparison: what `run.compare(other)` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpreg_lab.types import StepName

from .view.compare import Compared, StepPair, comparison_repr
from .view.compare_svg import comparison_html, comparison_svg
from .view.frames import comparison_frame

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Comparison"]


class Comparison:
    """One run beside another: steps are the same if they have the same name.

    Attributes:
        found: Both runs, step by step.
    """

    def __init__(self, found: Compared) -> None:
        self.found = found

    @property
    def slower(self) -> dict[str, float]:
        """Steps that took longer in this run, and by how many seconds: at least 1 ms and a tenth, the worst first."""
        return _seconds(self.found.slower)

    @property
    def faster(self) -> dict[str, float]:
        """Steps that took less time in this run, and by how many seconds: at least 1 ms and a tenth, the best first."""
        return _seconds(self.found.faster)

    @property
    def added(self) -> tuple[StepName, ...]:
        """Steps that only this run has."""
        return tuple(pair.name for pair in self.found.added)

    @property
    def gone(self) -> tuple[StepName, ...]:
        """Steps that only the other run has."""
        return tuple(pair.name for pair in self.found.gone)

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """Steps that ended in another state: (in the other run, in this one)."""
        return {str(p.name): (str(p.other_status), str(p.status)) for p in self.found.changed}

    @property
    def difference_s(self) -> float | None:
        """Seconds that this run took longer, from begin to end; None if one of them goes on."""
        if self.found.seconds is None or self.found.other_seconds is None:
            return None
        return self.found.seconds - self.found.other_seconds

    def frame(self) -> DataFrame:
        """One row a step: function, status, other_status, ran_s, other_ran_s, difference_s (seconds)."""
        return comparison_frame(self.found)

    def figure(self) -> Any:
        """Where each step was in the other run and is in this one, as a matplotlib Figure."""
        from . import figures

        return figures.comparison(self.found)

    def to_svg(self) -> str:
        """The same picture as an SVG document."""
        return comparison_svg(self.found)

    def __repr__(self) -> str:
        return comparison_repr(self.found)

    def _repr_html_(self) -> str:
        return comparison_html(self.found)


def _seconds(pairs: tuple[StepPair, ...]) -> dict[str, float]:
    return {str(pair.name): pair.difference_s or 0.0 for pair in pairs}
