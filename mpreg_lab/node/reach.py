"""Whether nodes that owe this one something can be reached from here: pure; looks in, verdicts out.

Membership does not tell: a node that one other reaches is alive, and stays a member, while the link to it may be dead.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from mpreg_lab.types import NodeName

__all__ = ["LATE_S", "LOOK_S", "Look", "Reach"]

LOOK_S = 0.75
_SILENT_LOOKS = 5
"""After so many looks without a word a node is out of reach: 3 to 3.75 s, no sooner than membership finds one dead."""
LATE_S = 0.1
"""A look that comes so much too late does not count: this very process was stopped or starved."""


class Look(NamedTuple):
    """What a look found."""

    silent: tuple[NodeName, ...] = ()
    """To be asked for a sign of life."""
    unreached: tuple[NodeName, ...] = ()
    """Given up."""


class Reach:
    """What one node hears from others itself, not through third ones."""

    def __init__(self) -> None:
        self._silence: dict[NodeName, int] = {}
        self._unreached: set[NodeName] = set()

    def heard(self, name: NodeName) -> bool:
        """A node has said something; whether it had been given up."""
        self._silence.pop(name, None)
        if name not in self._unreached:
            return False
        self._unreached.remove(name)
        return True

    def forget(self, name: NodeName) -> None:
        """That node is gone: if it comes back, it is in a life of which nothing is known."""
        self._silence.pop(name, None)
        self._unreached.discard(name)

    def look(self, owing: Collection[NodeName], late_s: float) -> Look:
        """Look after the nodes that owe something.

        Args:
            late_s: How much later it is than the look was due.
        """
        self._silence = {name: looks for name, looks in self._silence.items() if name in owing}
        if late_s > LATE_S:
            return Look()
        silent: list[NodeName] = []
        unreached: list[NodeName] = []
        for name in owing:
            looks = self._silence[name] = self._silence.get(name, 0) + 1
            if looks >= _SILENT_LOOKS:
                del self._silence[name]
                self._unreached.add(name)
                unreached.append(name)
            elif looks > 1:
                silent.append(name)
        return Look(tuple(silent), tuple(unreached))
