"""One set of colours and marks for the states of a step, and colours for functions.

The hues are those of Okabe and Ito, "Color universal design" (2008), which people with any kind of colour vision can
tell apart. No state is told by its colour alone: each has a mark.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mpreg_lab.workflow.record import StepStatus

__all__ = ["MARK", "MARK_PATH", "PALETTE", "Colours", "Shade", "function_colours"]


class Shade(msgspec.Struct, frozen=True):
    """Of a box, as #rrggbb: its inside, its border and mark, and the text in it."""

    fill: str
    stroke: str
    text: str


class Colours(msgspec.Struct, frozen=True):
    """Of one state, on a light page and on a dark one."""

    light: Shade
    dark: Shade


PALETTE: dict[StepStatus, Colours] = {
    StepStatus.WAITING: Colours(Shade("#f3f4f6", "#8a929c", "#2f353c"), Shade("#262b31", "#7d8691", "#d9dde2")),
    StepStatus.QUEUED: Colours(Shade("#e3f2fb", "#3a9bd6", "#10384f"), Shade("#17303f", "#56b4e9", "#d3ebf8")),
    StepStatus.RUNNING: Colours(Shade("#cfe4f4", "#0072b2", "#06304b"), Shade("#0d3a57", "#3f9bd8", "#dcedf9")),
    StepStatus.RETRYING: Colours(Shade("#fcecc8", "#c98600", "#4a3200"), Shade("#43310a", "#e69f00", "#fbe7bd")),
    StepStatus.DONE: Colours(Shade("#d5efe6", "#00805d", "#053d2d"), Shade("#0c3a2d", "#1fb58a", "#d2f1e6")),
    StepStatus.REUSED: Colours(Shade("#eaf5f1", "#3f8f78", "#1d4a3d"), Shade("#15302a", "#5fb39b", "#cfeae1")),
    StepStatus.CACHED: Colours(Shade("#e2f3f5", "#2f8a99", "#0f4049"), Shade("#12343a", "#56b6c6", "#cfeef3")),
    StepStatus.FAILED: Colours(Shade("#fbdfcf", "#c24e00", "#4d1f00"), Shade("#4a220b", "#f07a2b", "#fde0cf")),
    StepStatus.SKIPPED: Colours(Shade("#fafafa", "#a5abb3", "#5a626b"), Shade("#1f2327", "#666e78", "#a9b0b8")),
    StepStatus.CANCELLED: Colours(Shade("#f7e4ee", "#b05f8d", "#46203a"), Shade("#3d2133", "#cc79a7", "#f4dbe8")),
}

MARK: dict[StepStatus, str] = {
    StepStatus.WAITING: "○",
    StepStatus.QUEUED: "◔",
    StepStatus.RUNNING: "▶",
    StepStatus.RETRYING: "↻",
    StepStatus.DONE: "✓",
    StepStatus.REUSED: "≡",
    StepStatus.CACHED: "◆",
    StepStatus.FAILED: "✕",
    StepStatus.SKIPPED: "⇥",
    StepStatus.CANCELLED: "⊘",
}
"""As text."""

MARK_PATH: dict[StepStatus, str] = {
    StepStatus.WAITING: "M8 3.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0 -9",
    StepStatus.QUEUED: "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0 -10M8 5.2V8.2L10.2 9.6",
    StepStatus.RUNNING: "M5.5 3.5L12 8L5.5 12.5Z",
    StepStatus.RETRYING: "M12.2 6.2A4.8 4.8 0 1 0 12.6 9.4M12.6 3.2V6.4H9.4",
    StepStatus.DONE: "M3.2 8.6L6.5 11.8L12.8 4.6",
    StepStatus.REUSED: "M3.5 4.8H12.5M3.5 8H12.5M3.5 11.2H12.5",
    StepStatus.CACHED: "M8 3L13 8L8 13L3 8Z",
    StepStatus.FAILED: "M4 4L12 12M12 4L4 12",
    StepStatus.SKIPPED: "M3 8H10.2M7.4 4.8L10.6 8L7.4 11.2M13 4.5V11.5",
    StepStatus.CANCELLED: "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0 -10M4.6 11.4L11.4 4.6",
}
"""As the `d` of an SVG path in a square of 16, to be drawn as a line of width 2 with round ends, not filled."""

_HUES = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#7f7f7f",
    "#004b75",
    "#8f6200",
    "#006b4e",
    "#8a4b6e",
)


def function_colours(functions: Iterable[str]) -> dict[str, str]:
    """A colour, #rrggbb, for each function, by order of first appearance; after twelve they come again."""
    return {name: _HUES[i % len(_HUES)] for i, name in enumerate(dict.fromkeys(functions))}
