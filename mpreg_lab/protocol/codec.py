"""Messages <-> frames: text is JSON, binary is a msgpack head with raw buffers behind it. docs/protocol.md has both.

Binary:  C1 01 00 00 | head length u32 | number of buffers u32 | 0 u32 | buffer lengths u64 each | head | buffers
Integers are little-endian. Buffers begin at multiples of 64 and are padded to one: an array is a view of the frame.
In the head a payload is its pickle, or [pickle, buffers...], where a number stands for a buffer of the table.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import force_setattr

from mpreg_lab.errors import ProtocolError, RemoteError, UnserialisableResultError
from mpreg_lab.types import Frame
from mpreg_lab.workflow.model import Ref

from .messages import Calls, Message, Submit
from .payload import CannotTravelError, Payload, message_of, notes_of

__all__ = ["decode", "encode", "parts", "readable_u"]

_T = TypeVar("_T")


def encode(message: Message, *, text: bool) -> Frame:
    """The frame of a message: JSON if `text`, else binary.

    Raises:
        UnserialisableResultError: If a payload cannot travel that way. Names the culprit.
    """
    if text:
        return _written(_text, message)
    found = _written(_binary, message)
    return bytes(found[0]) if len(found) == 1 else b"".join(found)


def parts(message: Message) -> list[bytes | memoryview]:
    """The binary frame of a message in parts, which make it up when joined: values of some size are not copied.

    Raises:
        UnserialisableResultError: If a payload cannot travel that way. Names the culprit.
    """
    return _written(_binary, message)


def _text(message: Message) -> str:
    return _json_encoder.encode(message).decode()


def _binary(message: Message) -> list[bytes | memoryview]:
    writer = _writers.pop() if _writers else _Writer()
    try:
        return writer.parts(message)
    finally:
        _writers.append(writer)


def _written(write: Callable[[Message], _T], message: Message) -> _T:
    try:
        return write(message)
    except CannotTravelError as exc:
        raise UnserialisableResultError(str(exc)) from exc
    except OverflowError as exc:
        raise UnserialisableResultError(f"a whole number of more than 64 bits cannot travel: {exc}") from exc
    except UnicodeEncodeError as exc:
        raise UnserialisableResultError(f"half a character cannot travel: {exc}") from exc
    except RecursionError as exc:
        raise UnserialisableResultError("a value is nested too deeply to travel") from exc


def decode(frame: Frame | memoryview) -> Message:
    """The message in a frame. Payloads of a binary frame are views of it, unpickled when they are asked for.

    Raises:
        ProtocolError: If there is none in it.
    """
    try:
        if isinstance(frame, str):
            return _with_arguments(_json_decoder.decode(frame))
        reader = _readers.pop() if _readers else _Reader()
        try:
            return reader.message(frame)
        finally:
            _readers.append(reader)
    except msgspec.ValidationError as exc:
        raise ProtocolError(f"not a message of this protocol: {exc}") from exc
    except (msgspec.DecodeError, ValueError) as exc:
        raise ProtocolError(f"a frame that cannot be read: {exc}") from exc
    except RecursionError as exc:
        raise ProtocolError("a frame that is nested too deeply") from exc


def readable_u(frame: Frame | memoryview) -> str:
    """The `u` of a frame that could not be decoded; empty if even that cannot be read."""
    try:
        if isinstance(frame, str):
            return msgspec.json.decode(frame, type=_OnlyU).u
        return msgspec.msgpack.decode(_head(frame), type=_OnlyU).u
    except msgspec.ValidationError:
        return ""
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = _U.search(frame) if isinstance(frame, str) else None
        return found[1] if found else ""


class _OnlyU(msgspec.Struct):
    u: str = ""


_U = re.compile(r'"u"\s*:\s*"([^"\\\x00-\x1f]{1,200})"')
"""Where the rest is no JSON at all: whoever wrote it waits for an answer all the same."""


# --- binary -------------------------------------------------------------------------------------------------------

_MAGIC = b"\xc1\x01\x00\x00"  # C1 begins neither JSON nor msgpack; 01 is the version.
_PREFIX = struct.Struct("<4sIII")
_ALIGNMENT = 64
_INLINE_BYTES = 1024
"""What is no longer than this goes into the head: thousands of small payloads need no table."""


class _Writer:
    """Encodes one message at a time. Kept for the next: making an encoder takes longer than using it."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._payload)
        self._buffers: list[bytes | memoryview] = []

    def parts(self, message: Message) -> list[bytes | memoryview]:
        buffers = self._buffers = []
        head = self._encoder.encode(message)
        if not buffers:
            return [_PREFIX.pack(_MAGIC, len(head), 0, 0) + head]
        lengths = [len(buffer) for buffer in buffers]
        parts: list[bytes | memoryview] = [
            _PREFIX.pack(_MAGIC, len(head), len(buffers), 0),
            struct.pack(f"<{len(buffers)}Q", *lengths),
            head,
        ]
        parts.append(bytes(-sum(map(len, parts)) % _ALIGNMENT))
        for buffer, length in zip(buffers, lengths, strict=True):
            parts += (buffer, bytes(-length % _ALIGNMENT))
        self._buffers = []
        return parts

    def _payload(self, value: Any) -> Any:
        if type(value) is not Payload:
            raise TypeError(f"a message cannot hold {type(value).__name__}")
        packed = value.pack()
        if not packed.buffers and len(packed.head) <= _INLINE_BYTES:
            return packed.head
        return [self._place(part) for part in (packed.head, *packed.buffers)]

    def _place(self, part: bytes | memoryview) -> bytes | memoryview | int:
        if len(part) <= _INLINE_BYTES:
            return part
        self._buffers.append(part)
        return len(self._buffers) - 1


class _Reader:
    """Decodes one frame at a time. Kept for the next, like the writer."""

    def __init__(self) -> None:
        self._decoder = msgspec.msgpack.Decoder(Message, dec_hook=self._payload)
        self._buffers: list[memoryview] = []

    def message(self, frame: bytes | memoryview) -> Message:
        head, self._buffers = _split(frame)
        try:
            message: Message = self._decoder.decode(head)
        finally:
            self._buffers = []  # Else the frame would stay in memory until the next one comes.
        return message

    def _payload(self, _: type, value: Any) -> Payload:
        if type(value) is bytes:
            return Payload.packed(value)
        if type(value) is not list or not value:
            raise ValueError(f"a payload is a pickle or a list of its parts, not {value!r:.40}")
        head, *buffers = map(self._part, value)
        return Payload.packed(head, tuple(buffers))

    def _part(self, part: Any) -> bytes | memoryview:
        if type(part) is bytes:
            return part
        if type(part) is not int or not 0 <= part < len(self._buffers):
            raise ValueError(f"there is no buffer {part!r:.40}")
        return self._buffers[part]


_writers: list[_Writer] = []
_readers: list[_Reader] = []


def _head(frame: bytes | memoryview) -> memoryview:
    """The head of a binary frame of which the rest may be wrong."""
    if len(frame) < _PREFIX.size:
        raise ValueError("it is too short")
    _, head_bytes, count, _ = _PREFIX.unpack_from(frame)
    at = _PREFIX.size + 8 * count
    return memoryview(frame)[at : at + head_bytes]


def _split(frame: bytes | memoryview) -> tuple[memoryview, list[memoryview]]:
    """The head of a binary frame and its buffers."""
    if len(frame) < _PREFIX.size:
        raise ValueError("it is too short")
    magic, head_bytes, count, _ = _PREFIX.unpack_from(frame)
    if magic != _MAGIC:
        raise ValueError("it does not begin as binary frames of this version do")
    view = memoryview(frame)
    head_at = _PREFIX.size + 8 * count
    at = head_at + head_bytes
    buffers = []
    if count and at <= len(frame):
        for length in struct.unpack_from(f"<{count}Q", frame, _PREFIX.size):
            at += -at % _ALIGNMENT
            buffers.append(view[at : at + length])
            at += length
        at += -at % _ALIGNMENT
    if at != len(frame):
        raise ValueError(f"it has {len(frame)} bytes, and its beginning says {at}")
    return view[head_at : head_at + head_bytes], buffers


# --- text ---------------------------------------------------------------------------------------------------------


def _json_payload(value: Any) -> Any:
    if type(value) is not Payload:
        raise TypeError(f"a message cannot hold {type(value).__name__}")
    return _to_plain(value.value())


def _to_plain(value: Any) -> Any:
    """A value as JSON has it. Tuples become lists; what JSON does not have becomes an object with a "$"."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return _dict_to_plain(value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise _not_json("an integer of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$": "float", "value": str(float(value))}
    if isinstance(value, str):
        return str.__str__(value)
    if kind is Ref:
        plain = {"$": "ref", "step": value.step, "path": msgspec.to_builtins(value.path)}
        return plain if value.otherwise is None else plain | {"otherwise": value.otherwise}
    if isinstance(value, BaseException):
        return _error_to_plain(value)
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _to_plain(value.item())
    raise _not_json(f"a value of type {kind.__qualname__}", ": call .tolist()" if hasattr(value, "tolist") else "")


def _dict_to_plain(value: dict[Any, Any]) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _not_json(f"a key of type {type(key).__qualname__}", ": keys are strings")
        plain[str.__str__(key)] = _to_plain(item)
    return {"$": "dict", "items": plain} if "$" in plain else plain


def _not_json(what: str, hint: str = "") -> UnserialisableResultError:
    return UnserialisableResultError(f"{what} cannot travel as JSON{hint}")


def _error_to_plain(error: BaseException) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "$": "error",
        "type": error.type_name if isinstance(error, RemoteError) else type(error).__name__,
        "message": _sound(message_of(error)),
    }
    if notes := notes_of(error):
        plain["notes"] = [_sound(note) for note in notes]
    if isinstance(error, BaseExceptionGroup):
        plain["errors"] = [_error_to_plain(member) for member in error.exceptions]
    return plain


def _sound(text: str) -> str:
    """The text without half characters: an error must always travel."""
    return text.encode(errors="replace").decode()


class _Float(msgspec.Struct, tag_field="$", tag="float"):
    value: Literal["nan", "inf", "-inf"]


class _Dict(msgspec.Struct, tag_field="$", tag="dict"):
    items: dict[str, Any]


class _Error(msgspec.Struct, tag_field="$", tag="error"):
    type: str
    message: str
    notes: list[str] = []
    errors: list[_Error] = []


def _payload_of_json(_: type, value: Any) -> Payload:
    return Payload.of_json(_from_plain(value))


def _from_plain(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_from_plain(item) for item in value]
    if kind is not dict:
        return value
    if "$" not in value:
        return {key: _from_plain(item) for key, item in value.items()}
    special = msgspec.convert(value, Ref | _Float | _Dict | _Error)
    match special:
        case _Float():
            return float(special.value)
        case _Dict():
            return {key: _from_plain(item) for key, item in special.items.items()}
        case _Error():
            return _error_from_plain(special)
    return special


def _error_from_plain(plain: _Error) -> Exception:
    error: Exception
    if plain.errors:
        error = ExceptionGroup(plain.message, [_error_from_plain(member) for member in plain.errors])
    else:
        error = RemoteError(plain.message, type_name=plain.type)
    for note in plain.notes:
        error.add_note(note)
    return error


def _with_arguments(message: Message) -> Message:
    """In JSON, arguments are [[...], {...}]: make them what the rest of the program knows."""
    if type(message) is Submit:
        force_setattr(message, "arguments", tuple(map(_arguments, message.arguments)))
    elif type(message) is Calls:
        for lane in message.lanes:
            for call in lane.calls:
                force_setattr(call, "arguments", _arguments(call.arguments))
    return message


def _arguments(payload: Payload) -> Payload:
    match payload.value():
        case [list() as args, dict() as kwargs]:
            return Payload.of_json((tuple(args), kwargs))
    raise ProtocolError("not a message of this protocol: arguments are written [[...], {...}]")


_json_encoder = msgspec.json.Encoder(enc_hook=_json_payload)
_json_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message, dec_hook=_payload_of_json)
