from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from mpreg_lab.errors import InvalidStepError, ReferenceValueError
from mpreg_lab.workflow import model
from mpreg_lab.workflow.references import MAX_DEPTH, follow, references, substitute

untyped: Any = model
Ref, Step = untyped.Ref, untyped.Step
RESULTS = {"a": 1, "b": {"x": [10, 20]}, "c": SimpleNamespace(total=5, items="mine")}

Pair = namedtuple("Pair", "left right")


def put(value):
    return substitute(value, RESULTS.__getitem__)


# --- finding ---


def test_references_are_found_at_any_depth_and_in_keywords():
    step = Step("s", "f", (Ref("a"), [1, (Ref("b"), {"k": {Ref("c")}})]), {"kw": [Ref("d")["x"]]})

    assert sorted(map(str, references(step))) == ["a", "b", "c", "d['x']"]


def test_a_string_is_never_a_reference():
    assert references(Step("s", "f", ("a", ["a"]), {"k": "a"})) == []


def test_a_list_that_holds_itself_is_searched_once():
    ring: list[Any] = [1]
    ring.append(ring)

    assert references(Step("s", "f", (ring,))) == []


def test_a_reference_as_key_of_a_dict_is_refused():
    with pytest.raises(InvalidStepError) as caught:
        references(Step("s", "f", ([{Ref("a")["x"]: 1}],)))
    assert str(caught.value) == (
        "step 's': the reference a['x'] is the key of a dict, where a result cannot be put. Make it a value"
    )


def test_arguments_that_are_nested_too_deep_are_refused():
    deep: Any = Ref("a")
    for _ in range(MAX_DEPTH):
        deep = [deep]

    assert references(Step("s", "f", (deep,))) == [Ref("a")]
    with pytest.raises(InvalidStepError) as caught:
        references(Step("s", "f", ([deep],)))
    assert str(caught.value) == "step 's': an argument is nested more than 200 deep. Flatten it"


# --- putting results in their place ---


def test_results_stand_where_references_stood():
    assert put(Ref("a")) == 1
    assert put([Ref("a"), (Ref("b")["x"][1], {"k": Ref("a")})]) == [1, (20, {"k": 1})]
    assert put({Ref("a"), 7}) == {1, 7}
    assert put(frozenset({Ref("a")})) == frozenset({1})


def test_the_deepest_argument_that_is_allowed_is_filled_in():
    deep: Any = Ref("a")
    for _ in range(MAX_DEPTH):
        deep = [deep]
    filled = put((deep,))[0]
    for _ in range(MAX_DEPTH):
        (filled,) = filled
    assert filled == 1


def test_containers_without_references_stay_themselves():
    inner = [1, 2]
    value = {"plain": inner, "other": (3,)}

    assert put(value) is value
    assert put({"plain": inner, "ref": Ref("a")})["plain"] is inner


def test_a_named_tuple_stays_one():
    filled = put(Pair(Ref("a"), 2))

    assert filled == Pair(1, 2)
    assert type(filled) is Pair


def test_the_order_of_a_mapping_is_kept():
    assert list(put(OrderedDict(z=Ref("a"), y=1))) == ["z", "y"]


# --- following a path ---


def test_a_path_goes_by_key_index_and_field():
    assert put(Ref("b")["x"][0]) == 10
    assert put(Ref("b")["x"][-1]) == 20
    assert put(Ref("c").attr("total")) == 5
    assert follow(RESULTS["b"], Ref("b").attr("x")) == [10, 20]


def test_a_field_of_a_mapping_is_its_item_unless_it_has_none():
    assert follow({"items": 3}, Ref("r").attr("items")) == 3
    assert callable(follow({"other": 3}, Ref("r").attr("items")))


WRONG_PATHS = {
    "a missing key": (
        {"x": 1, "y": 2},
        Ref("r")["z"],
        "the reference r['z'] has no value: r is a dict with 2 keys ('x', 'y'), it has no item 'z'",
    ),
    "a key of an empty dict": (
        {},
        Ref("r")["z"],
        "the reference r['z'] has no value: r is a dict with no keys, it has no item 'z'",
    ),
    "a key of a large dict": (
        {f"k{i}": i for i in range(9)},
        Ref("r")["z"],
        "the reference r['z'] has no value: r is a dict with 9 keys "
        "('k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', ...), it has no item 'z'",
    ),
    "an index beyond the end": (
        {"rows": [1, 2]},
        Ref("r")["rows"][5],
        "the reference r['rows'][5] has no value: r['rows'] is a list of length 2, it has no item 5",
    ),
    "a key of a list": (
        [1],
        Ref("r")["x"],
        "the reference r['x'] has no value: r is a list of length 1, it has no item 'x'",
    ),
    "an item of nothing": (None, Ref("r")[0], "the reference r[0] has no value: r is None, it has no item 0"),
    "a missing field": (
        5,
        Ref("r").attr("total"),
        "the reference r.total has no value: r is an int, it has no field 'total'",
    ),
    "a private field": (
        5,
        Ref("r").attr("__class__"),
        "the reference r.__class__ has no value: r is an int, it has no field '__class__'",
    ),
}


@pytest.mark.parametrize(("result", "ref", "message"), WRONG_PATHS.values(), ids=WRONG_PATHS)
def test_a_path_that_leads_nowhere_says_what_is_there(result, ref, message):
    with pytest.raises(ReferenceValueError) as caught:
        follow(result, ref)
    assert str(caught.value) == message


def test_a_reference_may_say_what_stands_there_if_there_is_no_such_part():
    ref = Ref("data", ("csv",), otherwise="data.csv")

    assert follow({"csv": 1}, ref) == 1
    others: list[Any] = [{}, [1], "text", None]
    assert [follow(result, ref) for result in others] == ["data.csv"] * 4


def looped() -> list[Any]:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    return loop


def test_an_argument_that_contains_itself_is_refused_where_results_would_have_to_be_put_into_it():
    named = Step("s", "f", (1, Ref("a")), {"data": looped()})

    with pytest.raises(InvalidStepError, match="step 's': argument 2 of f contains itself"):
        references(Step("s", "f", (Ref("a"), looped())))
    with pytest.raises(InvalidStepError, match="step 's': argument 'data' of f contains itself"):
        references(named)
    assert references(Step("s", "f", (looped(),))) == []


def test_an_argument_may_hold_one_list_in_several_places():
    shared = [Ref("a")]
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 10):
        deep = [deep, shared]

    assert references(Step("s", "f", ([shared, {"again": shared}, [shared]],))) == [Ref("a")]
    with pytest.raises(InvalidStepError, match="nested more than"):
        references(Step("s", "f", (deep,)))
    ladder: list[list[Any]] = [[]]
    for _ in range(2 * MAX_DEPTH):
        ladder.append([*ladder[-1:], 1])
    with pytest.raises(InvalidStepError, match="nested more than"):
        references(Step("s", "f", (ladder[::-1], Ref("a"))))
