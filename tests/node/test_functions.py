from __future__ import annotations

import functools

import pytest

from mpreg_lab.errors import FunctionError
from mpreg_lab.node.functions import FunctionTable, call_problem, describe, function_name, is_async
from mpreg_lab.types import FunctionName, Resource


def clean(rows: list[str], *, drop: str = "") -> list[str]:
    """Rows without noise.

    More of it.
    """
    return [row for row in rows if row != drop]


async def fetch(url): ...


class Model:
    def __call__(self, x): ...


class AsyncModel:
    async def __call__(self, x): ...


# --- the table ---


def test_echo_and_echos_are_there_from_the_start():
    table = FunctionTable()

    assert [info.name for info in table.infos()] == ["echo", "echos"]
    echo, echos = (table.get(name)[0] for name in ("echo", "echos"))  # type: ignore[index]
    assert echo(5) == 5
    assert echos(1, 2) == [1, 2]


def test_a_name_that_is_registered_again_is_replaced_in_its_place():
    table = FunctionTable()
    table.register(clean)
    table.register(len, name="size")
    table.register(fetch, name="clean")

    assert [info.name for info in table.infos()] == ["echo", "echos", "clean", "size"]
    assert table.get("clean") == (fetch, True)


def test_a_function_that_was_removed_is_gone():
    table = FunctionTable()
    table.register(clean)
    table.remove("clean")
    table.remove("clean")

    assert table.get("clean") is None


def test_a_function_is_described_for_people():
    info = describe(clean, FunctionName("tidy"), [Resource("b"), Resource("a")])

    assert (info.name, info.resources) == ("tidy", ("a", "b"))
    assert info.signature == "(rows: list[str], *, drop: str = '') -> list[str]"
    assert info.doc == "Rows without noise.\n\nMore of it."
    assert info.parameters is not None
    assert [(p.name, int(p.kind), p.required) for p in info.parameters] == [("rows", 1, True), ("drop", 3, False)]


def test_a_function_whose_signature_cannot_be_known_takes_anything():
    info = describe(dict.update, FunctionName("update"))

    assert (info.signature, info.parameters) == ("(...)", None)
    assert call_problem(info, 17, ["whatever"]) is None


# --- names ---


def test_a_function_has_its_own_name_or_is_given_one():
    assert function_name(clean) == "clean"
    assert function_name(clean, "tidy") == "tidy"
    assert function_name(lambda x: x, "same") == "same"
    assert function_name(Model(), "model") == "model"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (5, "only something that can be called can be registered, not 5"),
        (lambda x: x, "a lambda has no name of its own. Give it one: register(..., name='my_function')"),
        (
            functools.partial(clean, []),
            "a partial has no name of its own. Give it one: register(..., name='my_function')",
        ),
        (Model(), "a Model has no name of its own. Give it one: register(..., name='my_function')"),
    ],
    ids=["no function", "lambda", "partial", "object"],
)
def test_what_has_no_name_is_refused(function, message):
    with pytest.raises(FunctionError) as caught:
        function_name(function)
    assert str(caught.value) == message


def test_an_empty_name_is_no_name():
    with pytest.raises(FunctionError, match="has no name"):
        function_name(clean, "")


# --- async or not ---


@pytest.mark.parametrize(
    "function", [fetch, functools.partial(fetch, "x"), functools.partial(functools.partial(fetch)), AsyncModel()]
)
def test_coroutine_functions_are_known_behind_partial_and_as_objects(function):
    assert is_async(function)


@pytest.mark.parametrize("function", [clean, functools.partial(clean), Model(), Model, AsyncModel, len, print])
def test_all_others_are_sync(function):
    assert not is_async(function)


# --- calls ---


def f(a, b=1, *, c, d=2): ...


def takes_all(a, *args, **kwargs): ...


def by_position(a, b, /, c): ...


@pytest.mark.parametrize(
    ("function", "positional", "keywords", "problem"),
    [
        (f, 1, ["c"], None),
        (f, 2, ["c", "d"], None),
        (f, 0, ["a", "b", "c"], None),
        (f, 3, ["c"], "3 positional arguments given, it takes 2"),
        (f, 1, [], "nothing is given for 'c'"),
        (f, 0, [], "nothing is given for 'a', 'c'"),
        (f, 1, ["c", "x"], "it has no parameter 'x'"),
        (f, 1, ["a", "c"], "'a' is given twice, by position and by name"),
        (takes_all, 1, [], None),
        (takes_all, 9, ["x", "y"], None),
        (takes_all, 0, ["x"], "nothing is given for 'a'"),
        (by_position, 2, ["c"], None),
        (by_position, 3, [], None),
        (by_position, 1, ["b", "c"], "it has no parameter 'b'"),
        (by_position, 1, ["c"], "nothing is given for 'b'"),
        (Model(), 1, [], None),
        (Model(), 2, [], "2 positional arguments given, it takes 1"),
        (lambda: None, 1, [], "1 positional argument given, it takes 0"),
    ],
)
def test_a_call_is_checked_against_the_signature(function, positional, keywords, problem):
    info = describe(function, FunctionName("f"))

    assert call_problem(info, positional, keywords) == problem
