"""Help for testing: the pytest plugin's fixtures, and what stands behind them. See docs/testing.md.

Everything here is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import (
        assert_ran_in_order,
        assert_steps_failed,
        assert_steps_ran,
        assert_steps_skipped,
        record_snapshot,
    )
    from .clients import ServerClient
    from .clock import Ran, VirtualClock
    from .context import AsyncTestContext
    from .leaks import LeakWarning
    from .recorder import Recorded, Recorder
    from .servers import Server, ServerSettings

__all__ = [
    "AsyncTestContext",
    "LeakWarning",
    "Ran",
    "Recorded",
    "Recorder",
    "Server",
    "ServerClient",
    "ServerSettings",
    "VirtualClock",
    "assert_ran_in_order",
    "assert_steps_failed",
    "assert_steps_ran",
    "assert_steps_skipped",
    "record_snapshot",
]

_HOME = {
    "AsyncTestContext": "context",
    "LeakWarning": "leaks",
    "Ran": "clock",
    "Recorded": "recorder",
    "Recorder": "recorder",
    "Server": "servers",
    "ServerClient": "clients",
    "ServerSettings": "servers",
    "VirtualClock": "clock",
    "assert_ran_in_order": "checks",
    "assert_steps_failed": "checks",
    "assert_steps_ran": "checks",
    "assert_steps_skipped": "checks",
    "record_snapshot": "checks",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
