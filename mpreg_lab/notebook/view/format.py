"""How numbers and other people's text are written wherever a run is shown."""

from __future__ import annotations

from mpreg_lab.workflow.legible import has_half, plain, whole

__all__ = ["clip", "counted", "duration", "has_half", "line", "plain", "whole"]


def line(text: str, limit: int = 80) -> str:
    """The text on one line of at most `limit` characters."""
    return clip(" ".join(plain(text[: 4 * limit]).split()), limit)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def counted(n: int, noun: str) -> str:
    """`1 step`, `2 steps`, `1,000 steps`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float) -> str:
    """Three digits and a unit: `840 µs`, `12.4 ms`, `1.24 s`, `2 min 5 s`, `1 h 2 min`; what was before has a minus."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{_three(seconds * 1e3)} ms"
    if seconds < 59.95:
        return f"{_three(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _three(number: float) -> str:
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"
