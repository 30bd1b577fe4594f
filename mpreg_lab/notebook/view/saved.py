"""A run as a JSON file: everything that its views show. Nothing in such a file is ever unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from mpreg_lab.types import NodeName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import FaultNote, RunRecord, RunStatus, StepRecord

from .preview import Preview, ShownResult, result_preview

__all__ = ["from_json", "to_json"]

_DEEPEST = 50
_SHOWN = 4000
"""Characters of a result that JSON does not have, or of its table."""


class _Result(msgspec.Struct, omit_defaults=True):
    """A result as a JSON value; where JSON has no such value, as what is shown of it."""

    name: str
    value: Any = None
    shown: Preview | None = None


class _File(msgspec.Struct):
    format: Literal["mpreg_lab run"]
    version: Literal[1]
    name: str
    status: RunStatus
    now_s: float
    duration_s: float | None
    nodes: tuple[NodeName, ...]
    groups: tuple[Group, ...]
    steps: list[StepRecord]
    faults: tuple[FaultNote, ...]
    results: list[_Result]


def to_json(record: RunRecord, results: Mapping[str, object]) -> str:
    """The text of a file with the run.

    Args:
        record: The run, ended or not.
        results: Those to keep. What JSON has (text, numbers, true, false, null, lists, dicts with string keys) is kept
            as it is, everything else as what a view shows of it.
    """
    kept = [_kept(name, value) for name, value in results.items()]
    steps = [msgspec.structs.replace(step) for step in record.steps.values()]
    file = _File(
        "mpreg_lab run",
        1,
        record.name,
        record.status,
        record.now_s,
        record.duration_s,
        record.nodes,
        record.groups,
        steps,
        record.faults,
        kept,
    )
    plain = _sound(msgspec.to_builtins(file))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n"


def from_json(text: str | bytes) -> tuple[RunRecord, dict[str, object]]:
    """The record and the results in such a text.

    Raises:
        ValueError: If there is no run in it.
    """
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise ValueError(f"this is no run as run.to_json() writes it: {exc}") from exc
    record = RunRecord()
    record.name, record.status, record.groups, record.nodes = file.name, file.status, file.groups, file.nodes
    record.now_s, record.duration_s = file.now_s, file.duration_s
    record.steps = {step.name: step for step in file.steps}
    record.faults = file.faults
    record.version = 1
    _check(record)
    results: dict[str, object] = {
        result.name: result.value if result.shown is None else ShownResult(result.shown) for result in file.results
    }
    return record, results


def _check(record: RunRecord) -> None:
    for step in record.steps.values():
        missing = [name for name in (*step.plan.needs, step.because) if name is not None and name not in record.steps]
        if missing:
            raise ValueError(f"step {step.name!r} of the saved run refers to {missing[0]!r}, which is not in it")
    strangers = [name for group in record.groups for name in group.steps if name not in record.steps]
    if strangers:
        raise ValueError(f"a group of the saved run has a member {strangers[0]!r}, which is not in it")


def _kept(name: str, value: object) -> _Result:
    if _is_json(value):
        return _Result(name, value)
    return _Result(name, shown=result_preview(value, _SHOWN))


def _is_json(value: object, depth: int = 0) -> bool:
    """Whether the value comes out of JSON as it went in."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str:
        return not any("\ud800" <= char <= "\udfff" for char in value)  # type: ignore[attr-defined]
    if kind is int:
        return -(1 << 63) <= value < 1 << 63  # type: ignore[operator]
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if depth > _DEEPEST:
        return False
    if kind is list:
        return all(_is_json(item, depth + 1) for item in value)  # type: ignore[attr-defined]
    if kind is dict:
        items = value.items()  # type: ignore[attr-defined]
        return all(type(key) is str and _is_json(key) and _is_json(item, depth + 1) for key, item in items)
    return False


def _sound(value: Any) -> Any:
    """The same without half characters, which JSON cannot have: names and printed output are anything."""
    if isinstance(value, str):
        return str(value).encode(errors="backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    if isinstance(value, dict):
        return {_sound(key): _sound(item) for key, item in value.items()}
    return value
