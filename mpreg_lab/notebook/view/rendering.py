"""A value as a notebook would show it: its own HTML or picture, for who asks for it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import msgspec

from .format import counted, line
from .preview import RICH_METHODS, Preview, result_preview

__all__ = ["Rendered", "rendered"]

LIMIT = 4_000_000
"""Characters of HTML, and bytes of a picture, that are sent to a page."""
_PREVIEW = 20_000
_ROWS = re.compile(r"<(?:tr|p|li|h\d)\b")
_ROW_PX, _LEAST_PX, _UNKNOWN_PX, _MOST_PX = 25, 40, 200, 380


class Rendered(msgspec.Struct, frozen=True):
    """What a page is sent of one value.

    Attributes:
        preview: Its text, or a table; long if there is neither HTML nor a picture.
        html: Markup made by the value's class. A page shows it without scripts and without network.
        height_px: About how high that is.
        image: A data URI.
        note: Why something is left out; may be empty.
    """

    preview: Preview
    html: str = ""
    height_px: int = 0
    image: str = ""
    note: str = ""


def rendered(value: object) -> Rendered:
    """A picture, else HTML, else as much of its text as can be read; never raises."""
    try:
        return _rendered(value)
    except Exception as exc:  # noqa: BLE001 - how a value shows itself is a user's function
        note = f"Its own picture cannot be shown: {line(f'{type(exc).__name__}: {exc}', 200)}"
        return Rendered(result_preview(value, _PREVIEW), note=note)


def _rendered(value: object) -> Rendered:
    bundle = _bundle(value)
    too_long = next((kind for kind, data in bundle.items() if len(data) > LIMIT), None)
    if too_long is not None:
        note = f"Its {too_long} is too long to be shown here: {counted(len(bundle[too_long]), 'character')}."
        return Rendered(result_preview(value, _PREVIEW), note=note)
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in bundle:
            return Rendered(result_preview(value), image=_data_uri(kind, bundle[kind]))
    if "text/html" in bundle:
        html = str(bundle["text/html"])
        return Rendered(result_preview(value), html, _height_px(html))
    return Rendered(result_preview(value, _PREVIEW))


def _height_px(html: str) -> int:
    rows = len(_ROWS.findall(html))
    return max(_LEAST_PX, min(_MOST_PX, 12 + _ROW_PX * rows)) if rows else _UNKNOWN_PX


def _bundle(value: object) -> Mapping[str, str | bytes]:
    """By MIME type, as IPython asks for it. Figures of matplotlib draw themselves only if they are asked to."""
    if isinstance(value, type):
        return {}
    found: dict[str, Any] = {}
    whole = getattr(value, RICH_METHODS[""], None)
    if callable(whole):
        made = whole()
        found |= made[0] if isinstance(made, tuple) else made
    for kind, name in RICH_METHODS.items():
        show = getattr(value, name, None)
        if kind and kind not in found and callable(show):
            made = show()
            found[kind] = made[0] if isinstance(made, tuple) else made
    found = {kind: data for kind, data in found.items() if isinstance(data, (str, bytes)) and data}
    if not found and callable(getattr(value, "savefig", None)):
        found["image/png"] = _saved(value)
    return found


def _saved(figure: Any) -> bytes:
    save: Callable[..., object] = figure.savefig
    file = BytesIO()
    save(file, format="png", bbox_inches="tight")
    return file.getvalue()


def _data_uri(kind: str, data: str | bytes) -> str:
    if isinstance(data, str) and kind != "image/svg+xml":
        return f"data:{kind};base64,{''.join(data.split())}"
    raw = data.encode() if isinstance(data, str) else data
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
