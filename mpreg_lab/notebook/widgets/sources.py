"""The scripts of widgets: a widget is one script, with no build, and all of them begin with the same tools."""

from __future__ import annotations

from pathlib import Path

__all__ = ["script"]

_HERE = Path(__file__).parent


def script(name: str) -> str:
    """The script of that file, behind the common tools."""
    return "\n".join((_HERE / part).read_text(encoding="utf-8") for part in ("tools.js", name))
