"""Python values on their way: by reference within a process, as bytes outside. The only module that unpickles.

It is long because of that: exceptions, which are packed in a form of their own, are loaded by the same one call.
Packed, a value is a head (pickle protocol 5) and raw buffers: arrays and DataFrames are never copied through the head.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CellType, FunctionType, SimpleNamespace, TracebackType
from typing import Any, NamedTuple

from mpreg_lab.errors import MpregError, RemoteError, UnserialisableResultError

__all__ = ["CannotTravelError", "Packed", "Payload", "add_note", "check_serialisable", "message_of", "notes_of"]


class CannotTravelError(TypeError):
    """A value cannot be packed. Whoever knows whether it is an argument or a result says so to the user.

    Attributes:
        culprit: What inside the value is to blame, such as "a lock (_thread.lock)".
        path: Where it is, such as "args[0]['x']".
    """

    culprit: str
    path: str

    def __init__(self, culprit: str, path: str, reason: str = "") -> None:
        super().__init__(f"{culprit} at {path} cannot travel to another process{reason and ': '}{reason}")
        self.culprit, self.path = culprit, path


class Packed(NamedTuple):
    """A value as bytes."""

    head: bytes | memoryview
    buffers: tuple[bytes | memoryview, ...]


class Payload:
    """One value: the object itself, its packed form, or both.

    A payload made of an object hands out that object. One made of bytes unpickles them when the value is first asked
    for, and its arrays are views of those bytes that cannot be written to: several steps may be given the same value.
    The packed form is made once: an object that changes after it was sent goes on as it was. Any thread may ask for the
    value; two that do so at once may each load it.
    """

    __slots__ = ("_packed", "_value")

    def __init__(self, value: Any, packed: Packed | None = None) -> None:
        self._value = value
        self._packed = packed

    @classmethod
    def of(cls, value: Any) -> Payload:
        """A value of this process, by reference."""
        return cls(value)

    @classmethod
    def of_error(cls, error: BaseException) -> Payload:
        """An exception, by reference. It can always be packed: what cannot travel is replaced by a RemoteError."""
        return cls(error)

    @classmethod
    def as_code(cls, function: Callable[..., Any]) -> Payload:
        """A function as code, and so what it uses of its module: for processes that cannot import that. Packed at once.

        Raises:
            CannotTravelError: If something that it uses cannot be pickled.
        """
        with _module_as_code(getattr(function, "__module__", None)):
            buffers: list[pickle.PickleBuffer] = []
            head = _pack_by_value(function, buffers.append)
        return cls(function, Packed(head, tuple(buffer.raw() for buffer in buffers)))

    @classmethod
    def of_json(cls, value: Any) -> Payload:
        """What a JSON client sent. It stands for itself: no part of it is ever unpickled."""
        return cls(value)

    @classmethod
    def packed(cls, head: bytes | memoryview, buffers: tuple[bytes | memoryview, ...] = ()) -> Payload:
        """A value that came as bytes. They must come from someone who knows the token."""
        return cls(_NOT_LOADED, Packed(head, buffers))

    def value(self) -> Any:
        """The value.

        Raises:
            UnserialisableResultError: If the bytes cannot be loaded here.
        """
        if self._value is _NOT_LOADED:
            assert self._packed is not None
            self._value = _load(self._packed)
        return self._value

    def pack(self) -> Packed:
        """The value as bytes.

        Raises:
            CannotTravelError: If something in it cannot be pickled.
        """
        if self._packed is None:
            value = self._value
            self._packed = _pack_error(value) if isinstance(value, BaseException) else _pack(value)
        return self._packed

    @property
    def size_bytes(self) -> int:
        """Of the packed form; packs the value if that was not done yet."""
        head, buffers = self.pack()
        return len(head) + sum(map(len, buffers))

    @property
    def packed_bytes(self) -> int:
        """As size_bytes, but packs nothing: 0 if the value is held as an object only."""
        return 0 if self._packed is None else self.size_bytes

    def __repr__(self) -> str:
        return f"Payload({'packed' if self._value is _NOT_LOADED else type(self._value).__name__})"


def check_serialisable(value: Any, name: str = "value") -> None:
    """Whether a value could travel, told quickly: large plain data is sampled, arrays and DataFrames are trusted.

    Args:
        value: Of any type.
        name: What the value is called in the error's path.

    Raises:
        CannotTravelError: Names the culprit and where it is.
    """
    if isinstance(value, BaseException):
        return
    for item in _not_plain(value):
        if _why_not(item) is not None:
            raise _blame(value, name)


def message_of(error: BaseException) -> str:
    """What the exception says, whatever its class does when it is asked."""
    if isinstance(error, BaseExceptionGroup):
        return error.message
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - runs code of the exception's class
        return "(its message cannot be read)"


def notes_of(error: BaseException) -> list[str]:
    """Its notes; whatever else somebody put there is left out."""
    notes = getattr(error, "__notes__", None)
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def add_note(error: BaseException, note: str) -> None:
    """Add a note, unless the exception has it already; also where its class forbids changes (a frozen dataclass)."""
    notes = notes_of(error)
    if note not in notes:
        BaseException.__setattr__(error, "__notes__", [*notes, note])


_NOT_LOADED: Any = type("_NotLoaded", (), {"__slots__": ()})()


# --- values -------------------------------------------------------------------------------------------------------


def _load(packed: Packed) -> Any:
    try:
        return _loads(packed)
    except Exception as exc:
        raise UnserialisableResultError(f"the value cannot be loaded here: {type(exc).__name__}: {exc}") from exc


def _loads(packed: Packed) -> Any:
    return pickle.loads(packed.head, buffers=packed.buffers)  # noqa: S301 - from who showed the token, or from us


def _pack(value: Any) -> Packed:
    buffers: list[pickle.PickleBuffer] = []
    try:
        head = pickle.dumps(value, 5, buffer_callback=buffers.append)
        if b"__main__" in head:
            raise pickle.PicklingError("would go by reference to a module that other processes do not have")
    except Exception:  # noqa: BLE001 - pickling runs code of others; perhaps the value can go as code
        buffers.clear()
        head = _pack_by_value(value, buffers.append)
    return Packed(head, tuple(buffer.raw() for buffer in buffers)) if buffers else Packed(head, ())


def _pack_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    """Functions and classes that no other process can import go as code: slower."""
    import cloudpickle  # Takes 40 ms to import, and most values never need it.

    try:
        head: bytes = cloudpickle.dumps(value, 5, buffer_callback=buffer_callback)
    except Exception as exc:
        raise _blame(value, "value") from exc
    return head


@contextmanager
def _module_as_code(name: str | None) -> Iterator[None]:
    import cloudpickle

    module = sys.modules.get(name or "")
    if module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


# --- whether a value could travel ---------------------------------------------------------------------------------

_LEAVES = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray))
_CONTAINERS = frozenset((list, tuple, set, frozenset))
_SAMPLE = 1000
"""Items looked at in plain data: takes 50 µs."""


def _not_plain(value: Any) -> Iterator[Any]:
    """What is in the value, at any depth, that is no plain data, array or DataFrame."""
    left = _SAMPLE
    todo = [iter((value,))]
    while todo:
        for item in todo[-1]:
            if not left:
                return
            left -= 1
            kind = type(item)
            if kind in _LEAVES:
                continue
            if kind in _CONTAINERS:
                todo.append(iter(item))
                break
            if kind is dict:
                todo += (iter(item), iter(item.values()))
                break
            if not _is_table(item):
                yield item
        else:
            todo.pop()


def _is_table(value: Any) -> bool:
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        return not getattr(getattr(value, "dtype", None), "hasobject", True)
    return package == "pandas" and kind.__name__ in ("DataFrame", "Series", "Index", "Timestamp")


class _Sink:
    """A file that forgets what is written, but for whether it names __main__."""

    __slots__ = ("names_main",)

    def __init__(self) -> None:
        self.names_main = False

    def write(self, chunk: Any) -> int:
        self.names_main = self.names_main or b"__main__" in bytes(chunk[:65536])
        return len(chunk)


def _why_not(value: Any) -> Exception | None:
    """Pickle a value for nothing, and return what went wrong."""
    if type(value) in _LEAVES:
        return None
    sink = _Sink()
    try:
        pickle.Pickler(sink, 5, buffer_callback=_drop).dump(value)
    except Exception:  # noqa: BLE001 - as in _pack
        sink.names_main = True
    if not sink.names_main:
        return None
    import cloudpickle

    try:
        cloudpickle.Pickler(sink, 5, buffer_callback=_drop).dump(value)
    except Exception as exc:  # noqa: BLE001 - pickling runs code of others
        return exc
    return None


def _drop(buffer: pickle.PickleBuffer) -> None:
    """Out of band, and forgotten: an array is not copied to find out that it could be."""


def _blame(value: Any, path: str) -> CannotTravelError:
    """The error for a value of which something cannot be pickled: goes down to the innermost culprit."""
    for _ in range(50):  # Deeper than a person reads; also ends a value that contains itself.
        if _refuses(value):
            break
        for step, child in _children(value):
            if _why_not(child) is not None:
                value, path = child, path + step
                break
        else:
            break
    error = _why_not(value)
    # "cannot pickle 'generator' object" says nothing that "a generator" does not.
    tells = error is not None and type(value).__name__ not in str(error)
    return CannotTravelError(_noun(value), path, f"{error!s:.200}" if tells else "")


def _refuses(value: Any) -> bool:
    """Whether it says itself that it cannot be pickled, such as a Run: what is inside is not to blame."""
    try:
        value.__reduce_ex__(5)
    except Exception as exc:  # noqa: BLE001 - as in _pack
        return isinstance(exc, MpregError)
    return False


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{key!r:.40}]", item
            yield f" key {key!r:.40}", key
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield f"[{i}]", item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f" item {item!r:.40}", item
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            yield f".{name}", getattr(value, name, None)
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if cell != CellType():  # Else it is empty, and raises when it is read.
                yield f" captured {name}", cell.cell_contents
        for name in value.__code__.co_names:
            if name in value.__globals__:
                yield f" captured {name}", value.__globals__[name]
    elif not isinstance(value, type) and isinstance(getattr(value, "__dict__", None), dict):
        for name, item in vars(value).items():
            yield f".{name}", item


_NOUNS = {
    "generator": "a generator",
    "async_generator": "an asynchronous generator",
    "coroutine": "a coroutine",
    "TextIOWrapper": "an open file",
    "BufferedReader": "an open file",
    "BufferedWriter": "an open file",
    "BufferedRandom": "an open file",
    "FileIO": "an open file",
    "lock": "a lock",
    "RLock": "a lock",
    "socket": "a socket",
    "function": "a function",
}


def _noun(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    noun = _NOUNS.get(kind.__name__)
    if noun is None:
        return f"a value of type {name}"
    return noun if noun.endswith(name) else f"{noun} ({name})"


# --- exceptions ---------------------------------------------------------------------------------------------------
# An exception is packed as three things: a blob with the exception alone, loaded once before it is sent; the text to
# make a RemoteError of where the blob cannot be loaded; its notes, traceback, cause and context, set afterwards.


def _pack_error(error: BaseException) -> Packed:
    try:
        return Packed(_dump_error(error, set()), ())
    except Exception:  # noqa: BLE001 - such as a chain of causes too long to follow: an error must always travel
        return Packed(_dump_error(_stand_in(error), set()), ())


def _dump_error(value: Any, under_way: set[int]) -> bytes:
    out = io.BytesIO()
    _error_pickler()(out, under_way).dump(value)
    return out.getvalue()


@cache
def _error_pickler() -> Callable[[io.BytesIO, set[int]], pickle.Pickler]:
    import cloudpickle

    class ErrorPickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Packs every exception that it meets, at any depth, in the form above."""

        def __init__(self, out: io.BytesIO, under_way: set[int]) -> None:
            super().__init__(out, 5)
            self._under_way = under_way
            """Exceptions whose blob is being made: one that holds itself would never end."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, BaseException):
                return _reduce_error(obj, self._under_way)
            return super().reducer_override(obj)

    return ErrorPickler


def _reduce_error(error: BaseException, under_way: set[int]) -> tuple[Any, ...]:
    text = message_of(error)
    blob = b"" if id(error) in under_way else _blob(error, under_way)
    state = (
        notes_of(error),
        _frames(error.__traceback__),
        error.__cause__,
        error.__context__,
        error.__suppress_context__,
    )
    return _load_error, (blob, type(error).__name__, text), state, None, None, _set_state


def _blob(error: BaseException, under_way: set[int]) -> bytes:
    """The exception without what is set afterwards; empty if it cannot be packed and loaded again."""
    under_way.add(id(error))
    try:
        blob = _dump_error(_parts(error), under_way)
        return blob if type(_from_parts(*_loads(Packed(blob, ())))) is type(error) else b""
    except Exception:  # noqa: BLE001 - runs code of the exception's class
        return b""
    finally:
        under_way.discard(id(error))


def _parts(error: BaseException) -> tuple[Any, Any, Any]:
    """How to make it again: (function, arguments, state)."""
    reduced = error.__reduce_ex__(5)
    make, args = reduced[0], reduced[1]
    state: Any = reduced[2] if len(reduced) > 2 else None
    cls = type(error)
    silent = cls.__reduce__ is _native(cls).__reduce__ and cls.__reduce_ex__ is object.__reduce_ex__
    if make is cls and silent:
        # The class says nothing of its own, and Python would call its __init__ with what it gave to super().__init__:
        # too few arguments, or a message that says "cannot open cannot open x".
        return _new_error, (cls, *args), _with_slots(error, state)
    return make, args, state


def _from_parts(make: Any, args: Any, state: Any) -> BaseException:
    error: BaseException = make(*args)
    if state is not None and type(error).__setstate__ is BaseException.__setstate__:
        # Not by its own __setattr__: that of a frozen dataclass refuses.
        for name, value in state.items():
            BaseException.__setattr__(error, name, value)
    elif state is not None:
        error.__setstate__(state)
    return error


def _with_slots(error: BaseException, state: dict[str, Any] | None) -> dict[str, Any] | None:
    """The state with what is in slots, which BaseException.__reduce__ leaves out; also the name that was not found."""
    names = [name for cls in type(error).__mro__ for name in _slots(cls)]
    if isinstance(error, (NameError, AttributeError)):
        names.append("name")
    more = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return {**(state or {}), **more} or state


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _new_error(cls: type[BaseException], *args: Any) -> BaseException:
    native = _native(cls)
    error = native.__new__(cls, *args)
    native.__init__(error, *args)
    return error


def _native(cls: type[BaseException]) -> type[BaseException]:
    """The built-in class that it extends in memory."""
    while cls.__module__ != "builtins":
        assert cls.__base__ is not None
        cls = cls.__base__
    return cls


def _load_error(blob: bytes, type_name: str, text: str) -> BaseException:
    try:
        return _from_parts(*_loads(Packed(blob, ()))) if blob else RemoteError(text, type_name=type_name)
    except Exception:  # noqa: BLE001 - the class cannot be had here, or its code fails here
        return RemoteError(text, type_name=type_name)


def _set_state(error: BaseException, state: tuple[list[str], Any, Any, Any, bool]) -> None:
    notes, frames, cause, context, suppress_context = state
    put = BaseException.__setattr__
    put(error, "__cause__", cause)
    put(error, "__context__", context)
    put(error, "__suppress_context__", suppress_context)
    put(error, "__traceback__", _traceback(frames))
    if notes:
        put(error, "__notes__", notes)


def _stand_in(error: BaseException) -> RemoteError:
    remote = RemoteError(message_of(error), type_name=type(error).__name__)
    for note in notes_of(error):
        remote.add_note(note)
    return remote.with_traceback(error.__traceback__)


_MOST_FRAMES = 100
_FrameText = tuple[str, str, int, str]
"""File name, function, line, module."""


def _frames(traceback: TracebackType | None) -> list[_FrameText]:
    frames: list[_FrameText] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", "?"))
        frames.append((code.co_filename, code.co_name, traceback.tb_lineno, module))
        traceback = traceback.tb_next
    # Endless recursion: its beginning and its end say it all.
    return frames if len(frames) <= _MOST_FRAMES else frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]


def _traceback(frames: list[_FrameText]) -> TracebackType | None:
    if not frames:
        return None
    import tblib  # Takes 10 ms to import, and most processes see no error of others.

    chain = None
    for file_name, function, line, module in reversed(frames):
        code = SimpleNamespace(co_filename=file_name, co_name=function)
        names = {"__file__": file_name, "__name__": module}
        frame = SimpleNamespace(f_globals=names, f_locals={}, f_code=code, f_lineno=line)
        chain = SimpleNamespace(tb_frame=frame, tb_lineno=line, tb_next=chain)
    traceback: TracebackType | None = tblib.Traceback(chain).as_traceback()
    return traceback
