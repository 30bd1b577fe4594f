"""Any value as a short text."""

import numpy as np
import pandas as pd
import pytest

from mpreg_lab.notebook.view.preview import result_preview


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr for you")


class Huge:
    def __repr__(self) -> str:
        return "x" * 10_000_000


class FalseList(list):
    def __len__(self) -> int:
        raise RuntimeError("no length")


def test_a_list_of_dicts_is_a_table():
    shown = result_preview([{"a": 1, "b": "x"}, {"a": 2.5, "c": None}])

    assert shown.columns == ("a", "b", "c")
    assert shown.rows == (("1", "x", ""), ("2.5", "", "None"))
    assert shown.numeric == (True, False, False)
    assert shown.note == "2 rows, 3 columns"


def test_a_data_frame_shows_its_head_and_its_size():
    shown = result_preview(pd.DataFrame({"n": range(100), "name": "x"}))

    assert shown.note == "100 rows, 2 columns"
    assert shown.columns == ("", "n", "name")
    assert shown.rows[0] == ("0", "0", "x")
    assert (len(shown.rows), shown.cut) == (10, True)


def test_the_names_of_an_index_are_shown():
    table = pd.DataFrame({"region": ["n", "s"], "n": [1, 2]}).set_index("region")

    assert result_preview(table).columns == ("region", "n")
    assert result_preview(table["n"]).columns == ("region", "n")


def test_dicts_are_tables():
    assert result_preview({"north": 12, "south": None}).rows == (("north", "12"), ("south", "None"))
    assert result_preview({"a": {"x": 1}, "b": {"y": 2}}).rows == (("a", "1", ""), ("b", "", "2"))


def test_an_array_says_shape_and_type():
    assert result_preview(np.zeros((3, 4))).note == "shape (3, 4), float64"


def test_a_string_is_itself_but_harmless():
    assert result_preview("one\ntwo\x1b[31m\u202e").text == "one\ntwo\\x1b[31m\\u202e"


def test_addresses_are_left_out():
    assert " at 0x" not in result_preview(object()).text
    assert " at 0x" not in result_preview([object(), {"a": lambda: None}]).text


@pytest.mark.parametrize(
    "value",
    [
        Raises(), [Raises()], {"a": Raises()}, [{"a": Raises()}], Huge(), [Huge()] * 50, FalseList([1]), "x" * 10**6,
        b"x" * 10**6, list(range(10**6)), dict.fromkeys(range(1000), "y" * 1000),
        [{str(i): i for i in range(1000)}] * 1000,
        pd.DataFrame([[Raises()]]), np.array([Raises()], dtype=object), "\ud800", [[[[[[[[]]]]]]]], 10**4000,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_no_value_raises_or_is_long(value):
    shown = result_preview(value)

    text = "".join([shown.text, shown.note, shown.type_name, *shown.columns, *(c for row in shown.rows for c in row)])
    assert len(text) < 5000
    assert text.encode()


def test_a_list_that_holds_itself_ends():
    loop: list[object] = []
    loop.append(loop)

    assert "..." in result_preview(loop).text
