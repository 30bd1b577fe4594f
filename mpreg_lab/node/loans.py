"""Which runs still use the results of others: those stay on the nodes, even when their own run is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mpreg_lab.types import NodeName, RunId

__all__ = ["Loans"]


class Loans:
    """Counts, for each run, how many others use its results."""

    def __init__(self) -> None:
        self._borrowers: Counter[RunId] = Counter()
        self._forgotten: dict[RunId, Collection[NodeName]] = {}

    def __contains__(self, run: object) -> bool:
        """Whether the run was forgotten by its client, and is kept for others."""
        return run in self._forgotten

    def lend(self, sources: Collection[RunId]) -> None:
        """One more run uses the results of these."""
        self._borrowers.update(sources)

    def forget(
        self, run: RunId, nodes: Collection[NodeName], sources: Collection[RunId]
    ) -> dict[RunId, Collection[NodeName]]:
        """A run is not wanted any more: the runs whose results may go, and the nodes that have them.

        Args:
            nodes: Who had to do with the run. sources: The runs whose results it used.
        """
        self._forgotten[run] = nodes
        self._borrowers.subtract(sources)
        free = [r for r in (run, *sources) if r in self._forgotten and self._borrowers[r] <= 0]
        for each in sources:
            if not self._borrowers[each]:
                del self._borrowers[each]
        return {each: self._forgotten.pop(each) for each in free}
