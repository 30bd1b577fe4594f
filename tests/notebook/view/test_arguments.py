"""Arguments in short, with references as links."""

import pandas as pd
import pytest

from mpreg_lab.notebook.view.arguments import Argument, Piece, arguments
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Ref, Step

INDEX = {StepName("rows"): 0, StepName("other"): 1}


def shown(*args: object, limit: int = 120, **kwargs: object) -> tuple[Argument, ...]:
    return arguments(Step("step", "f", args, kwargs), INDEX, limit)


def text(argument: Argument) -> str:
    return "".join(piece.text for piece in argument.pieces)


def test_positions_and_keywords_name_them():
    assert [argument.name for argument in shown(1, "a", drop=None)] == ["1", "2", "drop"]


def test_a_reference_is_a_link_at_any_depth():
    (deep,) = shown({"a": [Ref("rows")["x"], 5], "b": Ref("other")})

    assert deep.pieces == (
        Piece("{'a': ["),
        Piece("rows['x']", 0),
        Piece(", 5], 'b': "),
        Piece("other", 1),
        Piece("}"),
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", "'text'"),
        (pd.DataFrame({"a": [1, 2]}), "DataFrame of 2 × 1"),  # noqa: RUF001
        (object(), "<object object>"),
        (None, "None"),
    ],
)
def test_a_value_is_one_short_line(value: object, told: str):
    assert text(shown(value)[0]) == told


def test_long_values_are_cut_and_so_are_many():
    assert len(text(shown("x" * 10_000, limit=50)[0])) <= 50
    *some, last = shown(*range(40))
    assert (len(some), text(last)) == (12, "and 28 more")


def test_a_value_that_cannot_be_shown_does_no_harm():
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert text(shown(Shy())[0]) == "<Shy: cannot be shown, RuntimeError>"


def test_text_of_users_makes_no_links():
    (argument,) = shown(f"{chr(0xF0000)}", Ref("rows"))[:1]

    assert all(piece.step is None for piece in argument.pieces)
