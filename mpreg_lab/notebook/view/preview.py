"""Any Python value as a short text or a small table, whatever its class does."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from numbers import Number
from typing import Any, Literal

import msgspec

from .format import clip, counted, line, plain

__all__ = ["RICH_METHODS", "Preview", "ShownResult", "is_rich", "result_preview", "short_text"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
RICH_METHODS = {
    "": "_repr_mimebundle_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "image/svg+xml": "_repr_svg_",
    "text/html": "_repr_html_",
}
"""By which a notebook asks a value for a MIME type; the first one gives several."""
_CELL = 80
_COLUMNS = 12
_ROWS = 10


class Preview(msgspec.Struct, frozen=True):
    """What is shown of a value.

    Attributes:
        kind: Whether `text` is filled, or `columns` and `rows`.
        type_name: The name of its class.
        note: How big it is, such as `180 rows, 6 columns`; may be empty.
        numeric: For each column, whether it holds numbers.
        cut: Whether there is more than is shown.
        rich: Whether the value can show itself, as HTML or as a picture.
    """

    kind: Literal["text", "table"]
    type_name: str
    note: str = ""
    text: str = ""
    columns: tuple[str, ...] = ()
    numeric: tuple[bool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    cut: bool = False
    rich: bool = False


class ShownResult:
    """Stands for a result of which only is left what was shown of it."""

    def __init__(self, preview: Preview) -> None:
        self.preview = preview

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShownResult) and self.preview == other.preview

    def __hash__(self) -> int:
        return hash(self.preview)

    def __repr__(self) -> str:
        note = f", {self.preview.note}" if self.preview.note else ""
        return f"ShownResult({self.preview.type_name}{note})"


def result_preview(value: object, limit: int = 2000) -> Preview:
    """The value in at most about `limit` characters; never raises, and has no addresses."""
    if type(value) is ShownResult:
        return value.preview
    try:
        shown = _preview(value, limit)
        return msgspec.structs.replace(shown, rich=True) if is_rich(value) else shown
    except Exception as exc:  # noqa: BLE001 - __repr__, __len__ and the like are a user's functions
        return Preview("text", line(type(value).__name__), text=_unreadable(value, exc))


def is_rich(value: object) -> bool:
    """Whether the value can show itself, as HTML or as a picture."""
    return any(callable(getattr(type(value), name, None)) for name in RICH_METHODS.values()) or (
        callable(getattr(type(value), "savefig", None))
    )


def short_text(value: object, limit: int, special: Mapping[type, Callable[[Any], str]] | None = None) -> str:
    """The value in at most about `limit` characters, large data by its size alone; never raises.

    Args:
        special: How values of these classes are written, at any depth of containers.
    """
    try:
        if type(value).__module__.partition(".")[0] in ("pandas", "numpy") and hasattr(value, "shape"):
            size = " \N{MULTIPLICATION SIGN} ".join(f"{n:,}" for n in value.shape)
            return f"{type(value).__name__} of {size}" if size else _short_repr(value, limit)
        return _short_repr(value, limit, special or {})
    except Exception as exc:  # noqa: BLE001 - __repr__ and the like are a user's functions
        return _unreadable(value, exc)


def _preview(value: object, limit: int) -> Preview:
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and type(value).__name__ in ("DataFrame", "Series"):
        return _frame(value, limit)
    if library == "numpy" and type(value).__name__ == "ndarray":
        return _array(value, limit)
    if isinstance(value, str):
        return _text(value, plain(value[:limit]), counted(len(value), "character"), len(value) > limit)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _repr(value, limit, counted(len(value), "byte"))
    if isinstance(value, Mapping) and value:
        return _mapping(value, limit)
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) and v for v in value[:_ROWS]):
        return _records(value, limit)
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return _repr(value, limit, counted(len(value), "item"))
    return _repr(value, limit)


def _frame(value: Any, limit: int) -> Preview:
    frame = value if hasattr(value, "columns") else value.to_frame()
    head = frame.iloc[:_ROWS, : _COLUMNS - 1]
    header = (*_index_names(frame), *(line(str(c), _CELL) for c in head.columns))
    named = any(name is not None for name in frame.index.names)
    body = head.reset_index(allow_duplicates=True) if named else head
    rows = body.itertuples(index=not named, name=None)
    note = f"{counted(len(frame), 'row')}, {counted(frame.shape[1], 'column')}"
    cut = len(frame) > len(head) or frame.shape[1] > head.shape[1]
    return _table(value, header, rows, note, cut, limit)


def _index_names(frame: Any) -> tuple[str, ...]:
    if all(name is None for name in frame.index.names):
        return ("",)
    return tuple("" if name is None else line(str(name), _CELL) for name in frame.index.names)


def _array(value: Any, limit: int) -> Preview:
    note = f"shape {value.shape}, {value.dtype}"
    # numpy shortens above 1,000 numbers; an array of objects may still be long.
    return _repr(value, limit, note)


def _mapping(value: Mapping[Any, Any], limit: int) -> Preview:
    note, items = counted(len(value), "item"), list(islice(value.items(), _ROWS))
    cut = len(value) > len(items)
    if all(isinstance(v, Mapping) and v for _, v in items):
        columns = _keys(v for _, v in items)
        rows = ((k, *(v.get(c, "") for c in columns)) for k, v in items)
        return _table(value, ("", *(line(str(c), _CELL) for c in columns)), rows, note, cut, limit)
    return _table(value, ("", "value"), items, note, cut, limit)


def _records(value: Sequence[Mapping[Any, Any]], limit: int) -> Preview:
    head = value[:_ROWS]
    columns = _keys(head)
    note = f"{counted(len(value), 'row')}, {counted(len(_keys(head, None)), 'column')}"
    cut = len(value) > len(head) or any(len(row) > len(columns) for row in head)
    header = tuple(line(str(c), _CELL) for c in columns)
    return _table(value, header, (tuple(row.get(c, "") for c in columns) for row in head), note, cut, limit)


def _keys(rows: Iterable[Mapping[Any, Any]], limit: int | None = _COLUMNS) -> list[Any]:
    return list(islice(dict.fromkeys(key for row in rows for key in islice(row, limit)), limit))


def _table(
    value: object, header: tuple[str, ...], rows: Iterable[Sequence[Any]], note: str, cut: bool, limit: int
) -> Preview:
    cells = [tuple(row) for row in rows]
    numeric = tuple(all(_is_number(row[i]) for row in cells) for i in range(len(header)))
    width = max(8, min(_CELL, limit // max(1, len(cells) * len(header))))
    texts = tuple(tuple(_cell(v, width) for v in row) for row in cells)
    return Preview("table", line(type(value).__name__), note, columns=header, numeric=numeric, rows=texts, cut=cut)


def _is_number(value: object) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _cell(value: object, width: int) -> str:
    if isinstance(value, str):
        return line(value, width)
    if isinstance(value, float):
        return f"{value:.6g}"
    return line(_short_repr(value, width), width)


def _text(value: object, text: str, note: str, cut: bool) -> Preview:
    return Preview("text", line(type(value).__name__), note, text=text, cut=cut)


def _repr(value: object, limit: int, note: str = "") -> Preview:
    text = _short_repr(value, limit)
    return _text(value, clip(plain(text), limit), note, len(text) > limit)


def _short_repr(value: object, limit: int, special: Mapping[type, Callable[[Any], str]] = {}) -> str:
    short = _Repr(special)
    short.maxother = short.maxstring = short.maxlong = max(limit, 20)
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdeque = short.maxarray = 50
    short.maxdict = 50
    return short.repr(value)


class _Repr(reprlib.Repr):
    """reprlib's, which looks only at as much as it shows, without addresses."""

    def __init__(self, special: Mapping[type, Callable[[Any], str]]) -> None:
        super().__init__()
        self._special = special

    def repr1(self, x: Any, level: int) -> str:
        special = self._special.get(type(x))
        return super().repr1(x, level) if special is None else special(x)

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = repr(x)
        except Exception as exc:  # noqa: BLE001 - a user's function
            return _unreadable(x, exc)
        return clip(_ADDRESS.sub("", text), self.maxother)


def _unreadable(value: object, exc: Exception) -> str:
    return f"<{line(type(value).__name__)}: cannot be shown, {type(exc).__name__}>"
