from __future__ import annotations

import pickle
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from mpreg_lab.errors import NodeLostError, RemoteError, RunFailedError, UnserialisableResultError
from mpreg_lab.protocol import payload
from mpreg_lab.protocol.payload import CannotTravelError, Payload, check_serialisable
from mpreg_lab.workflow.model import Ref


def nothing() -> Iterator[int]:
    yield from ()


def travelled(value: Any) -> Any:
    """The value as another process would have it."""
    return Payload.packed(*Payload.of(value).pack()).value()


def travelled_error(error: BaseException) -> BaseException:
    loaded = Payload.packed(*Payload.of_error(error).pack()).value()
    assert isinstance(loaded, BaseException)
    return loaded


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as exc:
        return exc


# --- values ---------------------------------------------------------------------------------------------------------


def test_a_value_of_this_process_is_the_object_itself():
    value = object()
    assert Payload.of(value).value() is value
    assert Payload.of_json(value).value() is value


def test_a_packed_value_is_loaded_once(monkeypatch):
    packed = Payload.packed(*Payload.of([1]).pack())
    first = packed.value()
    monkeypatch.setattr(payload, "_loads", None)
    assert packed.value() is first == [1]


def test_a_value_is_packed_once():
    value = Payload.of([1])
    assert value.pack() is value.pack()


def test_the_size_is_that_of_head_and_buffers():
    value = Payload.of(np.zeros(1000))
    assert value.size_bytes == len(value.pack().head) + 8000


def test_references_travel():
    assert travelled({"x": Ref("rows")["total"]}) == {"x": Ref("rows")["total"]}


def test_an_array_is_not_copied_when_it_is_packed_or_loaded():
    array = np.arange(100_000.0)
    head, (buffer,) = Payload.of({"deep": [array]}).pack()
    assert len(head) < 500
    assert np.shares_memory(np.frombuffer(buffer), array)
    loaded = Payload.packed(head, (buffer,)).value()["deep"][0]
    assert np.shares_memory(loaded, array)


def test_a_data_frame_is_not_copied_when_it_is_packed_or_loaded():
    frame = pd.DataFrame({"a": np.arange(100_000.0), "b": np.arange(100_000)})
    head, buffers = Payload.of(frame).pack()
    assert len(head) < 2000
    assert sum(map(len, buffers)) == 1_600_000
    loaded = Payload.packed(head, buffers).value()
    pd.testing.assert_frame_equal(loaded, frame)
    assert np.shares_memory(loaded["a"].to_numpy(), frame["a"].to_numpy())


def test_an_array_that_came_as_bytes_cannot_be_written_to():
    head, buffers = Payload.of(np.zeros(3)).pack()
    loaded = Payload.packed(head, tuple(map(bytes, buffers))).value()
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 1


@pytest.fixture
def in_main(monkeypatch):
    """Run code as a notebook does: in __main__, which other processes do not have."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    def run(code: str) -> ModuleType:
        exec(code, vars(main))
        return main

    return run


def test_functions_and_classes_of_a_notebook_travel_as_code(in_main):
    main = in_main("class Point:\n    x = 1\ndef double(n):\n    return 2 * n")
    head, _ = Payload.of([main.double, main.Point, main.Point()]).pack()
    del main.double, main.Point
    double, point_class, point = Payload.packed(head).value()
    assert double(4) == 8
    assert type(point) is point_class
    assert point.x == 1


def test_arrays_beside_functions_of_a_notebook_are_not_copied(in_main):
    array = np.zeros(10_000)
    head, buffers = Payload.of([in_main("def f(): pass").f, array]).pack()
    assert len(buffers) == 1
    assert len(head) < 2000


def test_a_lambda_travels():
    factor = 3
    assert travelled(lambda n: n * factor)(2) == 6


def test_functions_of_modules_go_by_name():
    assert travelled(travelled) is travelled


def test_what_cannot_be_packed_is_named():
    with pytest.raises(CannotTravelError, match=r"a lock \(_thread.lock\) at value\[0\]\['x'\] cannot travel"):
        Payload.of([{"x": threading.Lock()}]).pack()


def test_what_cannot_be_loaded_is_a_clean_error():
    with pytest.raises(UnserialisableResultError, match="cannot be loaded here: UnpicklingError"):
        Payload.packed(b"junk").value()
    with pytest.raises(UnserialisableResultError, match="cannot be loaded here: ModuleNotFoundError"):
        Payload.packed(b"cno_such_module\nf\n.").value()


def test_the_repr_says_what_it_holds():
    assert repr(Payload.of(5)) == "Payload(int)"
    assert repr(Payload.packed(b"")) == "Payload(packed)"


# --- whether a value could travel -----------------------------------------------------------------------------------


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "text",
        b"bytes",
        [1, (2, {3, 4}), {"a": None}],
        list(range(5000)),
        np.zeros(3),
        np.array([{"a": 1}], dtype=object),
        np.float64(1),
        pd.DataFrame({"a": [1]}),
        Ref("x"),
        Path(),
        Holder(5),
        ValueError(threading.Lock()),
        lambda: 5,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_travel_passes(value):
    check_serialisable(value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (nothing(), r"a generator at args "),
        ([{"x": threading.Lock()}], r"a lock \(_thread.lock\) at args\[0\]\['x'\] "),
        ({"a": (1, threading.RLock())}, r"a lock \(_thread.RLock\) at args\['a'\]\[1\] "),
        (Holder(threading.Lock()), r"a lock \(_thread.lock\) at args.held "),
        (np.array([threading.Lock()], dtype=object), r"numpy.ndarray at args cannot travel .*: cannot pickle '_thread"),
        ([threading.local()], r"a value of type _thread._local at args\[0\] cannot travel to another process$"),
        ({threading.Lock(): 1}, r"a lock \(_thread.lock\) at args key "),
        (Ref(threading.Lock()), r"a lock \(_thread.lock\) at args.step "),  # type: ignore[arg-type]
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_travel_is_named_with_its_place(value, told):
    with pytest.raises(CannotTravelError, match=told):
        check_serialisable(value, "args")


def test_an_open_file_cannot_travel(tmp_path):
    with (tmp_path / "f").open("wb") as file, pytest.raises(CannotTravelError, match=r"an open file \(_io.Buffered"):
        check_serialisable(file)


def test_what_a_function_captured_is_named():
    lock = threading.Lock()
    with pytest.raises(CannotTravelError, match="at value captured lock"):
        check_serialisable(lambda: lock)


def test_a_function_that_captured_nothing_yet_is_no_crash():
    def f() -> Any:
        return lock, later

    lock = threading.Lock()
    with pytest.raises(CannotTravelError, match="at value captured lock"):
        check_serialisable(f)
    later = 5


def test_a_function_of_a_notebook_is_checked_as_code(in_main):
    main = in_main("import threading\nlock = threading.Lock()\ndef f():\n    return lock")
    with pytest.raises(CannotTravelError, match=r"a lock \(_thread.lock\) at value captured lock cannot"):
        check_serialisable(main.f)


def test_large_plain_data_is_sampled():
    check_serialisable([0] * 5000 + [threading.Lock()])


def test_an_array_is_not_copied_to_check_it(monkeypatch):
    monkeypatch.setattr(pickle, "dumps", None)
    monkeypatch.setattr(cloudpickle, "dumps", None)
    check_serialisable(Holder(np.zeros(10_000)))


def test_what_contains_itself_or_is_nested_without_end_is_told_not_crashed_on():
    itself: list[Any] = []
    itself.append(itself)
    check_serialisable(itself)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CannotTravelError):
        Payload.of(deep).pack()


# --- exceptions -----------------------------------------------------------------------------------------------------


class OddConstructorError(Exception):
    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"{code}: cannot find {name}")
        self.code = code


class MessageOfNameError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}")


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class UnloadableError(Exception):
    def __reduce__(self) -> Any:
        return int, ("x",)


class UnprintableError(Exception):
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError


def test_an_exception_of_this_process_is_the_object_itself():
    error = ValueError("x")
    assert Payload.of_error(error).value() is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("k"),
        OddConstructorError(3, "x"),
        MessageOfNameError("x"),
        FileNotFoundError(2, "No such file", "name.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("m", name="n"),
        NodeLostError("gone", step="s"),
        StopIteration(3),
        SystemExit(2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_keeps_type_text_and_attributes(error):
    loaded = travelled_error(error)
    assert type(loaded) is type(error)
    assert str(loaded) == str(error)
    assert loaded.args == error.args
    assert vars(loaded) == vars(error)


def test_an_exception_keeps_what_its_built_in_class_holds():
    loaded = travelled_error(FileNotFoundError(2, "No such file", "name.txt"))
    assert isinstance(loaded, FileNotFoundError)
    assert (loaded.errno, loaded.filename) == (2, "name.txt")


def test_an_exception_keeps_notes_cause_and_context():
    error = ValueError("x")
    error.add_note("a note")
    error.__cause__ = KeyError("cause")
    error.__context__ = IndexError("context")
    loaded = travelled_error(error)
    assert loaded.__notes__ == ["a note"]
    assert repr(loaded.__cause__) == "KeyError('cause')"
    assert repr(loaded.__context__) == "IndexError('context')"
    assert loaded.__suppress_context__


def test_an_exception_keeps_its_traceback():
    loaded = travelled_error(raised(ValueError("x")))
    (frame,) = traceback.extract_tb(loaded.__traceback__)
    assert (frame.filename, frame.name, frame.line) == (__file__, "raised", "raise error")


def test_the_traceback_of_endless_recursion_is_cut_in_the_middle():
    def deeper(n: int) -> int:
        return deeper(n + 1)

    try:
        deeper(0)
    except RecursionError as exc:
        loaded = travelled_error(exc)
    frames = traceback.extract_tb(loaded.__traceback__)
    assert len(frames) == 100
    assert frames[0].name == "test_the_traceback_of_endless_recursion_is_cut_in_the_middle"


def test_an_exception_group_keeps_its_members_with_notes_and_tracebacks():
    member = raised(OddConstructorError(1, "x"))
    member.add_note("a note")
    loaded = travelled_error(ExceptionGroup("several", [member, ValueError("y")]))
    assert isinstance(loaded, ExceptionGroup)
    assert loaded.message == "several"
    one, two = loaded.exceptions
    assert isinstance(one, OddConstructorError)
    assert one.__notes__ == ["a note"]
    assert one.__traceback__ is not None
    assert repr(two) == "ValueError('y')"


def test_a_failed_run_leaves_the_run_behind():
    error = RunFailedError("2 steps failed", [OddConstructorError(1, "x"), KeyError("k")], run=threading.Lock())
    loaded = travelled_error(error)
    assert isinstance(loaded, RunFailedError)
    assert [type(e) for e in loaded.exceptions] == [OddConstructorError, KeyError]
    assert loaded.run is None


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (UnpicklableError(), "UnpicklableError", "holds a lock"),
        (UnloadableError("odd"), "UnloadableError", "odd"),
        (UnprintableError(), "UnprintableError", "(its message cannot be read)"),
        (ValueError(nothing()), "ValueError", "<generator object"),
    ],
)
def test_an_exception_that_cannot_travel_is_replaced_and_keeps_text_notes_and_traceback(error, name, text):
    error = raised(error)
    error.add_note("a note")
    loaded = travelled_error(error)
    assert type(loaded) is RemoteError
    assert loaded.type_name == name
    assert str(loaded).startswith(text)
    assert loaded.__notes__ == ["a note"]
    assert traceback.extract_tb(loaded.__traceback__)[0].name == "raised"


def test_notes_that_are_none_do_no_harm():
    error = UnpicklableError()
    error.__notes__ = [5, "a note"]  # type: ignore[list-item]
    assert travelled_error(error).__notes__ == ["a note"]
    error.__notes__ = 5  # type: ignore[assignment]
    assert str(travelled_error(error)) == "holds a lock"


def test_only_the_part_of_a_chain_that_cannot_travel_is_replaced():
    error = ValueError("x")
    error.__cause__ = UnpicklableError()
    loaded = travelled_error(error)
    assert type(loaded) is ValueError
    assert type(loaded.__cause__) is RemoteError


def test_an_exception_whose_class_cannot_be_had_where_it_arrives_is_replaced(monkeypatch):
    module = ModuleType("only_there")
    exec("class Special(Exception): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_there", module)
    error = module.Special("hello")
    error.add_note("a note")
    packed = Payload.of_error(error).pack()
    monkeypatch.delitem(sys.modules, "only_there")
    loaded = Payload.packed(*packed).value()
    assert type(loaded) is RemoteError
    assert (str(loaded), loaded.type_name, loaded.__notes__) == ("hello", "Special", ["a note"])


def test_an_exception_class_of_a_notebook_travels_as_code(in_main):
    error = in_main("class Mine(Exception):\n    def __init__(self, a, b): super().__init__(a)").Mine(1, 2)
    loaded = travelled_error(error)
    assert type(loaded).__name__ == "Mine"
    assert loaded.args == (1,)


def test_exceptions_that_lead_back_to_themselves_travel():
    error, other = ValueError("x"), KeyError("y")
    error.__cause__, other.__context__ = other, error
    error.itself = error  # type: ignore[attr-defined]
    loaded = travelled_error(error)
    assert str(loaded) == "x"
    assert repr(loaded.__cause__) == "KeyError('y')"


def test_a_chain_without_end_is_cut():
    error: Exception = ValueError("first")
    for n in range(5000):
        following = ValueError(n)
        following.__cause__ = error
        error = following
    assert str(travelled_error(error)) == "4999"


def test_a_result_that_is_an_exception_always_travels():
    assert type(travelled(UnpicklableError())) is RemoteError


def test_one_place_unpickles():
    source = Path(payload.__file__)
    calls = [
        path.name
        for path in source.parent.parent.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pickle.load" in line or "Unpickler(" in line
    ]
    assert calls == ["payload.py"]
