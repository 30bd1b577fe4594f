"""Runs: the runs that a client has started, the newest last."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from mpreg_lab.workflow.record import RunRecord

from .saved import SavedRun
from .views import views

if TYPE_CHECKING:
    from pandas import DataFrame

    from .run import Run

__all__ = ["MAX_KEPT_STEPS", "Runs"]

MAX_KEPT = 100
"""Runs."""
MAX_KEPT_STEPS = 200_000
"""Steps of all kept runs together: some hundred megabytes. The newest run is kept however many it has."""


class Runs(Sequence[SavedRun]):
    """The last runs, at most 100, the newest last.

    The newest is kept whole. Of an earlier one that nobody else holds only the record is: it shows how it went, but its
    results are gone, from the nodes too. Who wants to keep them holds the run: `first = cluster.runs[0]`.
    """

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._newest: Run | None = None
        self._steps = 0

    def add(self, run: Run) -> None:
        """One more was started."""
        self._newest = run
        self._kept.append(_Kept(run))
        self._steps += len(run.record.steps)
        while len(self._kept) > MAX_KEPT or (self._steps > MAX_KEPT_STEPS and len(self._kept) > 1):
            self._steps -= len(self._kept.popleft().record.steps)

    def clear(self) -> None:
        """Forget them all; those that go on do so."""
        self._newest, self._steps = None, 0
        self._kept.clear()

    @overload
    def __getitem__(self, index: int) -> SavedRun: ...
    @overload
    def __getitem__(self, index: slice) -> list[SavedRun]: ...
    def __getitem__(self, index: int | slice) -> SavedRun | list[SavedRun]:
        kept = tuple(self._kept)
        if isinstance(index, slice):
            return [each.run() for each in kept[index]]
        try:
            return kept[index].run()
        except IndexError:
            told = f"there {'is' if len(kept) == 1 else 'are'} {len(kept)}" if kept else "nothing has run yet"
            raise IndexError(f"there is no run {index}: {told}") from None

    def __len__(self) -> int:
        return len(self._kept)

    def frame(self) -> DataFrame:
        """One row a run: name, status, steps, done, failed, seconds (NaN while it goes on)."""
        return views().runs_frame([each.record for each in tuple(self._kept)])

    def __repr__(self) -> str:
        return views().runs_text([each.record for each in tuple(self._kept)])

    def _repr_html_(self) -> str:
        return views().runs_html([each.record for each in tuple(self._kept)])


class _Kept:
    """One run: itself as long as somebody holds it, then its record."""

    def __init__(self, run: Run) -> None:
        self.record: RunRecord = run.record
        self._run: weakref.ref[Any] = weakref.ref(run)

    def run(self) -> SavedRun:
        found: SavedRun | None = self._run()
        return SavedRun(self.record) if found is None else found
