"""A value as a notebook would show it, whatever its class does."""

import base64

import pandas as pd
import pytest
from matplotlib.figure import Figure

from mpreg_lab.notebook.view.rendering import LIMIT, rendered


class Shows:
    def __init__(self, **methods: object) -> None:
        for name, value in methods.items():
            setattr(self, f"_repr_{name}_", lambda value=value: value)


def test_a_table_of_pandas_is_html_as_high_as_its_rows():
    small, large = rendered(pd.DataFrame({"a": [1, 2]})), rendered(pd.DataFrame({"a": range(50)}))

    assert "<table" in small.html
    assert small.height_px < large.height_px <= 380
    assert (small.preview.type_name, small.preview.note) == ("DataFrame", "2 rows, 1 column")


def test_a_figure_of_matplotlib_is_a_picture():
    figure = Figure()
    figure.add_subplot().plot([1, 2])

    kind, _, data = rendered(figure).image.partition(",")

    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "image"),
    [
        (Shows(png=b"\x89PNG"), "data:image/png;base64,iVBORw=="),
        (Shows(png=("iVBO\nRw==", {"width": 5})), "data:image/png;base64,iVBORw=="),
        (Shows(svg="<svg/>"), "data:image/svg+xml;base64,PHN2Zy8+"),
        (Shows(mimebundle=({"image/jpeg": b"\xff"}, {}), html="<b>x</b>"), "data:image/jpeg;base64,/w=="),
        (Shows(mimebundle={"image/png": "iVBORw=="}), "data:image/png;base64,iVBORw=="),
    ],
    ids=["bytes", "text and size", "svg", "before html", "bundle"],
)
def test_a_value_that_shows_itself_as_a_picture(value: object, image: str):
    assert rendered(value).image == image


@pytest.mark.parametrize("value", [5, "text", [1, 2], Shows(html=None), Shows, Shows(html="")])
def test_other_values_are_text(value: object):
    shown = rendered(value)

    assert (shown.html, shown.image) == ("", "")
    assert shown.preview.text


def test_long_text_is_shown_to_twenty_thousand_characters():
    assert len(rendered("x" * 100_000).preview.text) == 20_000


def test_what_is_too_long_is_left_out_and_said():
    shown = rendered(Shows(html="x" * (LIMIT + 1)))

    assert shown.html == ""
    assert shown.note == "Its text/html is too long to be shown here: 4,000,001 characters."


def test_a_value_that_fails_to_show_itself_is_text():
    class Broken:
        def _repr_html_(self) -> str:
            raise ZeroDivisionError("no rows")

    assert rendered(Broken()).note == "Its own picture cannot be shown: ZeroDivisionError: no rows"
    assert rendered(Broken()).preview.type_name == "Broken"
