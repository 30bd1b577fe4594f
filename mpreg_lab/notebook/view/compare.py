"""Two runs beside each other: what became slower and faster, what is new and what is gone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from mpreg_lab.types import FunctionName, StepName
from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

from .format import counted

__all__ = ["Compared", "StepPair", "compared", "comparison_repr"]

LEAST_S = 0.001
LEAST_PART = 0.1
"""What a difference must have to count, in seconds and as a part of the longer time: less is noise."""


class StepPair(msgspec.Struct, frozen=True):
    """One step in both runs; what is None is not in that run, or did not run there."""

    name: StepName
    function: FunctionName
    status: StepStatus | None
    other_status: StepStatus | None
    ran_s: float | None
    other_ran_s: float | None

    @property
    def difference_s(self) -> float | None:
        """Seconds that it took longer in this run; None if it did not run in both."""
        if self.ran_s is None or self.other_ran_s is None:
            return None
        return self.ran_s - self.other_ran_s

    @property
    def changed(self) -> bool:
        """Whether it is in both runs, and ended otherwise."""
        return self.status is not None and self.other_status is not None and self.status is not self.other_status

    @property
    def tells(self) -> bool:
        """Whether the times differ by more than noise; not if it ended otherwise: that is another thing to know."""
        difference_s = self.difference_s
        longer_s = max(self.ran_s or 0.0, self.other_ran_s or 0.0)
        return (
            difference_s is not None and not self.changed and abs(difference_s) >= max(LEAST_S, LEAST_PART * longer_s)
        )


class Compared(msgspec.Struct, frozen=True):
    """This run beside another one.

    Attributes:
        pairs: All steps of either: this run's in its order, then those that are only in the other.
        seconds: How long this run took. None: it goes on.
    """

    name: str
    other_name: str
    pairs: tuple[StepPair, ...]
    seconds: float | None
    other_seconds: float | None
    running_s: float
    """Of all functions together."""
    other_running_s: float

    @property
    def both(self) -> tuple[StepPair, ...]:
        """The steps that both runs have."""
        return tuple(p for p in self.pairs if p.status is not None and p.other_status is not None)

    @property
    def added(self) -> tuple[StepPair, ...]:
        """The steps that only this run has."""
        return tuple(p for p in self.pairs if p.other_status is None)

    @property
    def gone(self) -> tuple[StepPair, ...]:
        """The steps that only the other run has."""
        return tuple(p for p in self.pairs if p.status is None)

    @property
    def changed(self) -> tuple[StepPair, ...]:
        """The steps of both that ended otherwise."""
        return tuple(p for p in self.pairs if p.changed)

    @property
    def slower(self) -> tuple[StepPair, ...]:
        """The steps that took longer in this run, by more than noise; the greatest difference first."""
        return _by_difference(p for p in self.pairs if p.tells and (p.difference_s or 0.0) > 0)

    @property
    def faster(self) -> tuple[StepPair, ...]:
        """The steps that took less time in this run, by more than noise; the greatest difference first."""
        return _by_difference(p for p in self.pairs if p.tells and (p.difference_s or 0.0) < 0)

    @property
    def timed(self) -> tuple[StepPair, ...]:
        """The steps that ran in both and ended alike: the most slower one first, the most faster one last."""
        pairs = (p for p in self.both if p.difference_s is not None and not p.changed)
        return tuple(sorted(pairs, key=lambda p: -(p.difference_s or 0.0)))


def compared(record: RunRecord, other: RunRecord) -> Compared:
    """A run beside another one; steps are the same if they have the same name."""
    pairs = [_pair(step, other.steps.get(name)) for name, step in record.steps.items()]
    pairs += [_pair(None, step) for name, step in other.steps.items() if name not in record.steps]
    return Compared(
        record.name,
        other.name,
        tuple(pairs),
        record.duration_s,
        other.duration_s,
        _running_s(record),
        _running_s(other),
    )


def comparison_repr(found: Compared) -> str:
    """`Comparison(7 steps: 5 in both, 1 added, 1 gone)`: nothing that differs from run to run."""
    parts = [f"{len(found.both):,} in both"]
    named = (("added", found.added), ("gone", found.gone), ("in another state", found.changed))
    parts += [f"{len(pairs):,} {name}" for name, pairs in named if pairs]
    return f"Comparison({counted(len(found.pairs), 'step')}: {', '.join(parts)})"


def _pair(step: StepRecord | None, other: StepRecord | None) -> StepPair:
    either = step or other
    assert either is not None
    return StepPair(
        either.name,
        either.plan.function,
        None if step is None else step.status,
        None if other is None else other.status,
        None if step is None else step.ran_s,
        None if other is None else other.ran_s,
    )


def _running_s(record: RunRecord) -> float:
    return math.fsum(step.ran_s or 0.0 for step in record.steps.values())


def _by_difference(pairs: Iterable[StepPair]) -> tuple[StepPair, ...]:
    return tuple(sorted(pairs, key=lambda p: -abs(p.difference_s or 0.0)))
