"""What is due and when, for one member."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Any

__all__ = ["Alarm", "Timers"]


class Alarm(IntEnum):
    """What is to be done. The key says to whom: a node, or the number of a probe or relay."""

    PROBE = 0
    ASK_HELPERS = 1
    JUDGE = 2
    GIVE_UP_RELAY = 3
    END_SUSPICION = 4
    RETRY = 5
    FORGET = 6
    GIVE_UP_ALL = 7


_OF_PROBES = (Alarm.ASK_HELPERS, Alarm.JUDGE)


class Timers:
    """A heap of alarms.

    Args:
        probes: The numbers of the probes under way: alarms of others are passed over, so that nobody wakes up for them.
    """

    def __init__(self, probes: Collection[int]) -> None:
        self._probes = probes
        self._heap: list[tuple[float, int, Alarm, Any]] = []
        self._count = 0

    def at(self, when_s: float, alarm: Alarm, key: Any = None) -> None:
        """Set an alarm."""
        self._count += 1
        heappush(self._heap, (when_s, self._count, alarm, key))

    @property
    def due_s(self) -> float | None:
        """When the first one is due."""
        heap = self._heap
        while heap:
            due_s, _, alarm, key = heap[0]
            if alarm not in _OF_PROBES or key in self._probes:
                return due_s
            heappop(heap)
        return None

    def pop(self, now_s: float) -> tuple[Alarm, Any] | None:
        """One that is due."""
        due_s = self.due_s
        if due_s is None or due_s > now_s:
            return None
        _, _, alarm, key = heappop(self._heap)
        return alarm, key

    def put_off(self, late_s: float) -> None:
        """Everything is due so much later."""
        self._heap = [(when_s + late_s, number, alarm, key) for when_s, number, alarm, key in self._heap]
        heapify(self._heap)

    def clear(self) -> None:
        """Nothing is due any more."""
        self._heap.clear()
