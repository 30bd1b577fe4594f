"""Which faults last, and what puts an end to them."""

from __future__ import annotations

from collections.abc import Iterable

from .record import FaultKind, FaultNote

__all__ = ["ends", "lasting", "lasts"]

_LINKS = frozenset((FaultKind.CUT, FaultKind.DELAY, FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.REORDER))
_ENDED_BY = {
    **dict.fromkeys(_LINKS, frozenset((FaultKind.HEAL,))),
    FaultKind.PAUSE: frozenset((FaultKind.RESUME, FaultKind.KILL, FaultKind.RESTART)),
    FaultKind.KILL: frozenset((FaultKind.RESTART,)),
}


def lasts(fault: FaultNote) -> bool:
    """Whether it goes on until something ends it; the others are of a moment."""
    return fault.kind in _ENDED_BY and not fault.over


def ends(later: FaultNote, earlier: FaultNote) -> bool:
    """Whether the later fault puts an end to the earlier one, or takes its place."""
    if later.kind is FaultKind.HEAL and earlier.kind in _LINKS:
        return set(later.nodes) <= set(earlier.nodes)
    same = set(later.nodes) == set(earlier.nodes)
    return same and (later.kind is earlier.kind or later.kind in _ENDED_BY.get(earlier.kind, ()))


def lasting(faults: Iterable[FaultNote]) -> tuple[FaultNote, ...]:
    """Those that nothing has ended yet, of faults in the order of time."""
    kept: list[FaultNote] = []
    for fault in faults:
        kept = [earlier for earlier in kept if not ends(fault, earlier)]
        if lasts(fault):
            kept.append(fault)
    return tuple(kept)
