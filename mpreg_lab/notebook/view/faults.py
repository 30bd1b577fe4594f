"""Faults as bands and marks on a timeline, and in words at the attempts that suffered from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from mpreg_lab.types import NodeName
from mpreg_lab.workflow.faults import ends, lasts
from mpreg_lab.workflow.record import Attempt, FaultKind, FaultNote, RunRecord, StepRecord, StepStatus

from .format import duration, line
from .text_size import text_width

__all__ = ["FAULT_MARK", "OUTAGE_TONE", "FaultBand", "Outage", "blamed", "fault_bands", "fault_rows", "outages", "when"]

_MOST_ROWS = 12
_PLOT_PX = 600.0
"""About as wide as the axis of time is drawn: words that begin late are written before their band."""
_TEXT_PX = 11.0
_MARK_PX = 22.0

FAULT_MARK: dict[FaultKind, str] = {
    FaultKind.CUT: "≠",
    FaultKind.DELAY: "◷",
    FaultKind.DROP: "↯",
    FaultKind.DUPLICATE: "‖",
    FaultKind.REORDER: "⇄",
    FaultKind.HEAL: "✓",
    FaultKind.KILL: "✕",
    FaultKind.RESTART: "↻",
    FaultKind.PAUSE: "■",
    FaultKind.RESUME: "▶",
    FaultKind.SUSPECTED: "?",
    FaultKind.LOST: "!",
    FaultKind.BACK: "✓",
}
"""As text."""

_MENDED = (FaultKind.HEAL, FaultKind.RESTART, FaultKind.RESUME, FaultKind.BACK)


class FaultBand(msgspec.Struct, frozen=True):
    """One fault, from when to when it lasted; a moment if both are the same.

    Attributes:
        tone: Whose colours of the palette it has: `failed`, since it does harm, `done`, since it mends, or `cancelled`,
            since it was noticed.
        row: 0-based; the words of two bands in one row do not overlap where the axis is 600 px wide.
        before: Whether the words stand before the band, since there is no room after its beginning.
    """

    kind: FaultKind
    mark: str
    text: str
    tone: StepStatus
    row: int
    start_s: float
    end_s: float
    before: bool = False


class Outage(msgspec.Struct, frozen=True):
    """A node was not there for a while: halted, dead, or beyond the reach of the node that coordinated the run."""

    kind: Literal["paused", "dead", "lost"]
    start_s: float
    end_s: float

    @property
    def word(self) -> str:
        """What is written in the lane, if there is room: bars of a paused node would lie on it."""
        return "" if self.kind == "paused" else self.kind


def fault_bands(record: RunRecord, end_s: float) -> tuple[FaultBand, ...]:
    """The faults of a run, up to `end_s`, each in the uppermost row where there is room for its words."""
    free_px: list[float] = []
    bands: list[FaultBand] = []
    scale = _PLOT_PX / end_s if end_s > 0 else 0.0
    for fault, until_s in _lives(record.faults, end_s):
        start_s = min(max(0.0, fault.now_s), end_s)
        words_px = text_width(line(fault.text), _TEXT_PX) + _MARK_PX
        from_px, to_px = start_s * scale, max(until_s, start_s) * scale
        before = from_px + words_px > _PLOT_PX and from_px > words_px
        left_px = from_px - words_px if before else from_px
        row = next((r for r, free in enumerate(free_px) if free <= left_px), len(free_px))
        if row == len(free_px):
            if row == _MOST_ROWS:
                row -= 1
            else:
                free_px.append(0.0)
        free_px[row] = max(free_px[row], to_px, left_px + words_px)
        mark, text, tone = FAULT_MARK[fault.kind], line(fault.text), _tone(fault)
        bands.append(FaultBand(fault.kind, mark, text, tone, row, start_s, max(until_s, start_s), before))
    return tuple(bands)


def _tone(fault: FaultNote) -> StepStatus:
    if fault.over or fault.kind in _MENDED:
        return StepStatus.DONE
    return StepStatus.CANCELLED if fault.kind.noticed else StepStatus.FAILED


def fault_rows(bands: Iterable[FaultBand]) -> int:
    """How many rows they take."""
    return max((band.row + 1 for band in bands), default=0)


def outages(record: RunRecord, node: NodeName | None, end_s: float) -> tuple[Outage, ...]:
    """When a node was not there; they do not overlap."""
    found: list[Outage] = []
    open_: tuple[Literal["paused", "dead", "lost"], float] | None = None
    for fault in record.faults:
        if fault.nodes != (node,):
            continue
        at_s = min(max(0.0, fault.now_s), end_s)
        begins = _OUTAGE.get(fault.kind)
        if open_ is not None and fault.kind in _ENDS_OUTAGE[open_[0]]:
            found.append(Outage(open_[0], open_[1], at_s))
            open_ = None
        if open_ is None and begins is not None:
            open_ = (begins, at_s)
    if open_ is not None:
        found.append(Outage(open_[0], open_[1], end_s))
    return tuple(found)


OUTAGE_TONE = {"paused": StepStatus.RETRYING, "dead": StepStatus.FAILED, "lost": StepStatus.CANCELLED}
"""Whose colours of the palette an outage has."""

_OUTAGE: dict[FaultKind, Literal["paused", "dead", "lost"]] = {
    FaultKind.PAUSE: "paused",
    FaultKind.KILL: "dead",
    FaultKind.LOST: "lost",
}
_ENDS_OUTAGE = {
    "paused": (FaultKind.RESUME, FaultKind.KILL, FaultKind.RESTART),
    "dead": (FaultKind.RESTART,),
    "lost": (FaultKind.BACK, FaultKind.KILL, FaultKind.RESTART),
}


def blamed(record: RunRecord, attempt: StepRecord | Attempt) -> str:
    """What befell the node of an attempt, or its links, before the attempt was lost; empty if nothing did."""
    if attempt.failure is None or attempt.failure.type_name not in _SUFFERED or attempt.ended_s is None:
        return ""
    suspects = [
        fault
        for fault, until_s in _lives(record.faults, attempt.ended_s)
        if attempt.node in fault.nodes
        and fault.now_s <= attempt.ended_s
        and not fault.kind.noticed
        and lasts(fault)
        and until_s >= (attempt.sent_s or 0.0)
    ]
    return line(suspects[-1].text) if suspects else ""


def when(at_s: float) -> str:
    """`1.24 s`, since the run began, or `1.24 s before` it did."""
    return duration(at_s) if at_s >= 0 else f"{duration(-at_s)} before"


_SUFFERED = ("NodeLostError", "StepTimeoutError")


def _lives(faults: tuple[FaultNote, ...], end_s: float) -> Iterable[tuple[FaultNote, float]]:
    """Each fault and when it ended."""
    for place, fault in enumerate(faults):
        if not lasts(fault):
            yield fault, fault.now_s
            continue
        later = (other.now_s for other in faults[place + 1 :] if ends(other, fault))
        yield fault, min(next(later, end_s), end_s)
