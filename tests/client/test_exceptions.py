"""An exception of a step is the exception that its function raised, wherever the function ran."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

import msgspec
import numpy as np
import pandas as pd
import pytest

from mpreg_lab import LocalCluster, Ref, Step, Workflow
from mpreg_lab.errors import NodeLostError, RemoteError, RunFailedError, StepTimeoutError

WAYS: dict[str, dict[str, Any]] = {"memory": {}, "ws": {"transport": "ws"}, "processes": {"processes": True}}


class PlainError(Exception):
    pass


class KeywordOnlyError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class ChangedArgumentsError(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} is not {right}")
        self.left, self.right = left, right


class PickyError(Exception):
    """Its constructor refuses what it was made of."""

    def __init__(self, text: str) -> None:
        if text.startswith("refused: "):
            raise ValueError("twice")
        super().__init__(f"refused: {text}")


class SlottedError(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class ReducedError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> Any:
        return type(self), (self.code, str(self))


class ManyError(ExceptionGroup[Exception]):
    """A group of a class of its own."""


class LockedError(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


ERRORS: dict[str, Exception] = {
    "ValueError": ValueError("x", 5),
    "KeyError": KeyError("k"),
    "IndexError": IndexError(),
    "TypeError": TypeError("no"),
    "ZeroDivisionError": ZeroDivisionError("division by zero"),
    "AssertionError": AssertionError(("a", "b")),
    "AttributeError": AttributeError("no 'x'", name="x"),
    "NameError": NameError("name 'x' is not defined", name="x"),
    "ImportError": ImportError("no x", name="x", path="/x"),
    "ModuleNotFoundError": ModuleNotFoundError("no x", name="x"),
    "RecursionError": RecursionError("too deep"),
    "MemoryError": MemoryError(),
    "NotImplementedError": NotImplementedError("later"),
    "OSError": OSError(28, "No space left on device", "disk.txt"),
    "FileNotFoundError": FileNotFoundError(2, "No such file", "a.txt", None, "b.txt"),
    "PermissionError": PermissionError(13, "Permission denied"),
    "TimeoutError": TimeoutError("late"),
    "ConnectionResetError": ConnectionResetError(104, "reset"),
    "EOFError": EOFError("end"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "UnicodeEncodeError": UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range"),
    "SyntaxError": SyntaxError("bad", ("f.py", 3, 5, "x = ", 3, 6)),
    "StopIteration": StopIteration(7),
    "StopAsyncIteration": StopAsyncIteration(8),
    "UserWarning": UserWarning("careful"),
    "JSONDecodeError": json.JSONDecodeError("Expecting ':' delimiter", '{"a" 1}', 5),
    "CalledProcessError": subprocess.CalledProcessError(3, ["ls"], b"out", b"err"),
    "TimeoutExpired": subprocess.TimeoutExpired("ls", 1.5),
    "asyncio.QueueFull": asyncio.QueueFull(),
    "asyncio.InvalidStateError": asyncio.InvalidStateError("done"),
    "concurrent.CancelledError": concurrent.futures.CancelledError(),
    "BrokenExecutor": concurrent.futures.BrokenExecutor("broken"),
    "LinAlgError": np.linalg.LinAlgError("Singular matrix"),
    "AxisError": np.exceptions.AxisError(3, 2),
    "MergeError": pd.errors.MergeError("not unique"),
    "EmptyDataError": pd.errors.EmptyDataError("nothing"),
    "ValidationError": msgspec.ValidationError("Expected `int`, got `str`"),
    "NodeLostError": NodeLostError("gone", step="s"),
    "StepTimeoutError": StepTimeoutError("slow", step="s"),
    "PlainError": PlainError("plain"),
    "KeywordOnlyError": KeywordOnlyError(code=5),
    "ChangedArgumentsError": ChangedArgumentsError(1, 2),
    "PickyError": PickyError("x"),
    "SlottedError": SlottedError(5),
    "FrozenError": FrozenError(5),
    "ReducedError": ReducedError(5, "text"),
    "ExceptionGroup": ExceptionGroup("two", [ValueError("a"), ExceptionGroup("one", [KeyError("b")])]),
    "ManyError": ManyError("many", [PlainError("a")]),
}


@pytest.fixture(scope="module", params=list(WAYS))
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    for error in ERRORS.values():
        # The functions travel with what they raise, which shall not have been raised yet, in whatever order tests run.
        error.with_traceback(None)
    with LocalCluster({"worker": ["w"], "other": ["o"]}, **WAYS[request.param]) as cluster:
        for function in (fail, fail_in_a_coroutine, fail_with, leave, chained, unknown_class):
            cluster.register(function, resources=["o"])
        yield cluster


def fail(name: str) -> NoReturn:
    # Without the frames of where another test has raised it before.
    raise ERRORS[name].with_traceback(None)


async def fail_in_a_coroutine(name: str) -> NoReturn:
    await asyncio.sleep(0)
    raise ERRORS[name].with_traceback(None)


def fail_with(error: Exception) -> NoReturn:
    raise error


def leave(name: str) -> NoReturn:
    """Raise what is no Exception."""
    raise {
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
        "CancelledError": asyncio.CancelledError("by itself"),
        "BaseExceptionGroup": BaseExceptionGroup("both", [SystemExit(1), ValueError("x")]),
    }[name]


def chained() -> None:
    try:
        try:
            raise KeyError("missing")
        except KeyError as error:
            error.add_note("a note of the cause")
            raise PlainError("outer") from error
    except PlainError as error:
        error.add_note("a note of its own")
        raise ExceptionGroup("group", [error, ValueError("beside it")]) from None


def unknown_class() -> NoReturn:
    namespace: dict[str, Any] = {"__name__": "only_there"}
    exec("class Special(Exception): pass", namespace)
    raise namespace["Special"]("hello")


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (
        one.message == other.message and all(map(same, one.exceptions, other.exceptions))
        if isinstance(one, BaseExceptionGroup)
        else one.args == other.args and str(one) == str(other)
    )


def public(error: BaseException) -> dict[str, Any]:
    """The attributes that its class gives it."""
    names = (name for name in dir(error) if not name.startswith("_") and name not in ("args", "obj", "exceptions"))
    return {name: value for name in names if not callable(value := getattr(error, name, None))}


@pytest.mark.parametrize("name", ERRORS)
def test_an_exception_keeps_type_text_arguments_attributes_and_traceback(cluster, name):
    original = ERRORS[name]

    run = cluster.run(Workflow([Step("s", "fail", args=(name,))]), check=False)

    error = run.exception
    assert same(error, original)
    assert public(error) == public(original)
    assert "in step 's' (fail) on node 'other', attempt 1" in error.__notes__
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fail"
    with pytest.raises(type(original)):
        run.wait()


@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"StopIteration", "StopAsyncIteration"}))
async def test_a_coroutine_raises_it_as_well_and_awaiting_raises_it(cluster, name):
    with pytest.raises(type(ERRORS[name])) as caught:
        await cluster.run_async(Workflow([Step("s", "fail_in_a_coroutine", args=(name,))]))
    assert same(caught.value, ERRORS[name])


async def test_what_no_coroutine_can_raise_is_raised_as_a_remote_error(cluster):
    with pytest.raises(RemoteError) as caught:
        await cluster.run_async(Workflow([Step("s", "fail", args=("StopIteration",))]))
    assert caught.value.type_name == "StopIteration"
    assert same(caught.value.__cause__, ERRORS["StopIteration"])
    with pytest.raises(RemoteError, match="7"):
        cluster.call("fail", "StopIteration")


@pytest.mark.parametrize(
    "name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "BaseExceptionGroup"]
)
def test_what_would_end_the_caller_is_a_remote_error_of_its_name(cluster, name):
    with pytest.raises(RemoteError) as caught:
        cluster.call("leave", name)
    assert caught.value.type_name == name
    assert cluster.call("echo", "alive") == "alive"


@pytest.mark.parametrize(
    ("error", "name", "text"), [(LockedError, "LockedError", "holds a lock"), (WordlessError, "WordlessError", None)]
)
def test_what_cannot_travel_says_what_it_was(cluster, error, name, text):
    def fail_here() -> NoReturn:
        raise error()

    cluster.register(fail_here, resources=["o"])
    run = cluster.run(Workflow([Step("s", "fail_here")]), check=False)

    assert getattr(run.exception, "type_name", type(run.exception).__name__) == name
    assert text is None or str(run.exception) == text


def test_notes_cause_context_and_group_stay(cluster):
    run = cluster.run(Workflow([Step("s", "chained")]), check=False)

    group = run.exception
    assert isinstance(group, ExceptionGroup)
    one, two = group.exceptions
    assert (repr(one), one.__notes__) == ("PlainError('outer')", ["a note of its own"])
    assert one.__cause__ is not None
    assert (repr(one.__cause__), one.__cause__.__notes__) == ("KeyError('missing')", ["a note of the cause"])
    assert repr(two) == "ValueError('beside it')"
    assert group.__suppress_context__


def test_a_class_that_only_the_node_has_becomes_a_remote_error(cluster):
    run = cluster.run(Workflow([Step("s", "unknown_class")]), check=False)

    assert getattr(run.exception, "type_name", type(run.exception).__name__) == "Special"
    assert str(run.exception) == "hello"


def test_a_class_of_a_notebook_is_the_very_class(cluster, monkeypatch):
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec("class Mine(Exception): pass\ndef raise_mine(): raise Mine('from a cell')", vars(main))
    cluster.register(main.raise_mine, resources=["o"])

    with pytest.raises(main.Mine, match="from a cell"):
        cluster.call("raise_mine")


def test_several_failures_are_all_raised(cluster):
    steps = [Step(name, "fail", args=(name,)) for name in ("KeyError", "SlottedError", "OSError")]
    with pytest.raises(RunFailedError) as caught:
        cluster.run(Workflow(steps))
    assert all(same(error, ERRORS[type(error).__name__]) for error in caught.value.exceptions)
    assert len(caught.value.exceptions) == 3


def test_an_exception_as_an_argument_and_as_a_result_is_a_value(cluster):
    flow = Workflow([Step("made", "echo", args=(KeyError("k"),)), Step("raised", "fail_with", args=(Ref("made"),))])
    with pytest.raises(KeyError, match="k"):
        cluster.run(flow)
