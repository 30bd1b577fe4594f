"""Numbers and other people's text."""

import pytest

from mpreg_lab.notebook.view.format import clip, counted, duration, line, plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.24, "-1.24 s"),
        (-0.00084, "-840 µs"),
        (0, "0 µs"),
        (0.00084, "840 µs"),
        (0.0009996, "1.00 ms"),
        (0.01243, "12.4 ms"),
        (0.9996, "1.00 s"),
        (1.24, "1.24 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_durations_have_three_digits_and_a_unit(seconds, text):
    assert duration(seconds) == text


def test_control_characters_become_visible():
    assert plain("a\x1b[0m\r\nb\tc\u202e\ud800") == "a\\x1b[0m\nb\tc\\u202e\\ud800"


def test_a_line_is_one_line_of_limited_length():
    assert line(" a\n  b ") == "a b"
    assert line("x" * 10**6, 20) == "x" * 19 + "…"
    assert clip("abc", 3) == "abc"


def test_counted_things_agree_with_their_number():
    assert [counted(n, "step") for n in (0, 1, 1000)] == ["0 steps", "1 step", "1,000 steps"]
