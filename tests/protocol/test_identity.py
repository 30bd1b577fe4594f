"""Which calls are the same."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from mpreg_lab.protocol.identity import UnstableValueError, call_key, function_identity


def made(source: str, name: str = "f", **names: Any) -> Callable[..., Any]:
    """A function from text, as each run of a cell makes one."""
    namespace: dict[str, Any] = {"__name__": "cell", **names}
    exec(compile(source, f"<cell {len(source)}>", "exec"), namespace)
    found: Callable[..., Any] = namespace[name]
    return found


F = "def f(x, y=1):\n    return x + y * 2"

SAME = {
    "the same text": (made(F), made(F)),
    "another place": (made(F), made(f"\n\n# a remark\n{F}")),
    "another file": (made(F), made(F + "\n\n\n")),
    "a list that it fills": (made("def f():\n g.append(1)", g=[]), made("def f():\n g.append(1)", g=[1, 2])),
    "a count that it keeps": (
        made("n = 0\ndef f():\n global n\n n += 1"),
        made("n = 7\ndef f():\n global n\n n += 1"),
    ),
    "built in": (sum, sum),
    "a set among the constants": (made("def f(x): return x in {'a', 'b'}"), made("def f(x): return x in {'b', 'a'}")),
    "itself": (made("def f(n): return n and f(n - 1)"), made("def f(n): return n and f(n - 1)")),
}

OTHER = {
    "other code": (made(F), made(F.replace("2", "3"))),
    "another operator": (made(F), made(F.replace("+", "-"))),
    "another default": (made(F), made(F.replace("y=1", "y=2"))),
    "another constant of the cell": (
        made("def f(x): return x * RATE", RATE=1),
        made("def f(x): return x * RATE", RATE=2),
    ),
    "another helper": (
        made("def g(x): return x\ndef f(x): return g(x)"),
        made("def g(x): return -x\ndef f(x): return g(x)"),
    ),
    "another class": (
        made("class A:\n def g(self): return 1\ndef f(x): return A().g()"),
        made("class A:\n def g(self): return 2\ndef f(x): return A().g()"),
    ),
    "another captured value": (
        made("def m(k):\n def f(x): return x + k\n return f", "m")(1),
        made("def m(k):\n def f(x): return x + k\n return f", "m")(2),
    ),
    "inner functions": (made("def f(): return lambda: 1"), made("def f(): return lambda: 2")),
    "built in": (sum, max),
    "a partial": (functools.partial(made(F), 1), functools.partial(made(F), 2)),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_functions_of_the_same_code_are_the_same(pair: tuple[Callable[..., Any], Callable[..., Any]]):
    assert function_identity(pair[0]) == function_identity(pair[1])


@pytest.mark.parametrize("pair", OTHER.values(), ids=OTHER)
def test_functions_that_do_something_else_are_others(pair: tuple[Callable[..., Any], Callable[..., Any]]):
    assert function_identity(pair[0]) != function_identity(pair[1])


def test_a_function_that_came_as_code_is_the_same():
    function = made("RATE = 2\ndef g(x): return x * RATE\ndef f(x): return g(x)")

    assert function_identity(pickle.loads(cloudpickle.dumps(function))) == function_identity(function)


def test_a_function_is_the_same_in_every_process():
    script = (
        "from mpreg_lab.protocol.identity import call_key\n"
        "def f(x, mode='a'): return x in {'a', 'b', 'c'} and mode\n"
        "print(call_key(f, ([1.5, 'x'], {'k': (None, True)}), {'mode': 'b'}, ['gpu']))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }

    assert len(told) == 1


def echo(*values: Any, **named: Any) -> tuple[Any, ...]:
    return values, named


def key(*args: Any, **kwargs: Any) -> str:
    return call_key(echo, args, kwargs)


EQUAL: list[Any] = [
    1,
    "text",
    [1, [2.5, None]],
    {"a": (1, 2)},
    {1, 2},
    np.arange(10),
    np.float32(1.5),
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    pd.Timestamp("2026-01-01"),
]


@pytest.mark.parametrize("value", EQUAL, ids=lambda value: type(value).__name__)
def test_a_value_is_the_same_after_a_trip(value: Any):
    assert key(value) == key(pickle.loads(pickle.dumps(value)))


def test_an_array_is_the_same_if_it_cannot_be_written_to():
    array = np.arange(10)
    array.setflags(write=False)

    assert key(array) == key(np.arange(10))
    assert key(array) != key(np.arange(10).reshape(2, 5))
    assert key(array) != key(np.arange(10.0))


def test_it_does_not_matter_how_often_one_object_stands_in_a_value():
    part = ["x" * 100]

    assert key([part, part]) == key([["x" * 100], ["x" * 100]])


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), ("1", 1), ([1], (1,)), (None, False), (0.0, -0.0), ("ab", b"ab")]
)
def test_values_of_other_types_are_others(one: Any, other: Any):
    assert key(one) != key(other)


def test_how_a_value_is_given_matters():
    assert key(1, 2) != key(2, 1)
    assert key(1, x=2) != key(1, y=2)
    assert key(x=1, y=2) == key(y=2, x=1)
    assert call_key(echo, (1,), {}, ["gpu"]) != call_key(echo, (1,), {}, [])
    assert call_key(echo, (), {}, ["ab", "c"]) != call_key(echo, (), {}, ["a", "bc"])


def test_functions_among_the_arguments_are_their_code():
    one, same, other = (made(f"f = lambda x: x + {n}") for n in (1, 1, 2))

    assert key(one) == key(same) != key(other)


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("value", [threading.Lock(), looped(), (i for i in [1])], ids=lambda v: type(v).__name__)
def test_a_value_that_cannot_be_told_from_others_is_named(value: Any):
    with pytest.raises(UnstableValueError, match="argument 2 is a value of type"):
        key(1, value)
    with pytest.raises(UnstableValueError, match="rows is a value of type"):
        key(rows=value)
