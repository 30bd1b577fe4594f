"""Python values as plain JSON, for who knows nothing of Python."""

from __future__ import annotations

import dataclasses
import math
from datetime import date, time
from enum import Enum
from typing import Any
from uuid import UUID

from mpreg_lab.errors import UnserialisableResultError

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """The value as JSON has it: tuples are lists, NaN and infinities null, dates and UUIDs text, dataclasses objects.

    Raises:
        UnserialisableResultError: If JSON has nothing for it; nothing is ever left out.
    """
    try:
        return _plain(value)
    except UnserialisableResultError:
        raise
    except RecursionError as exc:
        raise UnserialisableResultError("it is nested too deeply to travel as JSON") from exc
    except Exception as exc:
        # A value that is asked what it is runs code of its class.
        raise UnserialisableResultError(f"a value cannot travel as JSON: {type(exc).__name__}: {exc}") from exc


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise UnserialisableResultError("an integer of more than 64 bits cannot travel as JSON. Make it a string")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _plain(value.item())
    hint = "Call .tolist()" if hasattr(value, "tolist") else "Make it lists, dicts, text, numbers, booleans or None"
    raise UnserialisableResultError(f"a value of type {kind.__qualname__} cannot travel as JSON. {hint}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise UnserialisableResultError(
            f"a key of type {type(key).__qualname__} cannot travel as JSON. Keys are strings"
        )
    return str.__str__(key)
